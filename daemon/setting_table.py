"""The table of settings: each with its variable, how it is written, its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon import cluster_values, security_txt, values

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SETTINGS", "Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table. ``default`` is written as a person would write it; ``None`` means unset or derived."""

    variable: str
    parse: Callable[[str], object]
    default: str | None
    accepted: str
    help: str
    derived: str = ""  # how the default comes about where it is not a plain value
    secret: bool = False

    @property
    def field(self) -> str:
        """The attribute of :class:`Settings`."""
        return self.variable.lower()

    @property
    def flag(self) -> str:
        """The command-line flag: ``--base-domain``."""
        return "--" + self.variable.lower().replace("_", "-")

    @property
    def file_variable(self) -> str:
        """For a secret, the variable that names a file with the value."""
        return f"{self.variable}_FILE"

    @property
    def file_flag(self) -> str:
        """The flag of :attr:`file_variable`: ``--anthropic-api-key-file``."""
        return f"{self.flag}-file"

    @property
    def default_text(self) -> str:
        """The default for people."""
        return self.derived or self.default or "unset"


_DURATION = "a duration such as 30m, 90s, 2h, 1d or 1h30m, or 0"
_URL = "an http or https URL without query, fragment or credentials"
_PROVIDER_URL = "an https URL without query, fragment or credentials; http on this machine only"
_CREDENTIAL = "visible ASCII characters without blanks"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "LISTEN", values.endpoint, "127.0.0.1:8080",
        "host:port, [::1]:8080 or :8080 for every address", "address and port of the one public listener",
    ),
    Setting(
        "DATA_DIR", values.path, "~/.local/share/cli-server",
        "a path", "where the embedded database and the process backend keep their files",
    ),
    Setting(
        "DATABASE_URL", values.database_url, None,
        "postgresql://user:password@host:port/name, or libpq's host=… dbname=…",
        "PostgreSQL connection string; unset: an embedded PostgreSQL in DATA_DIR", secret=True,
    ),
    Setting(
        "SECRET_KEY_FILE", values.path, None, "a path",
        "file with the installation's key of 32 bytes, as they are or in base64; it is the same for all replicas",
        derived="secret.key in DATA_DIR, made at the first start",
    ),
    Setting(
        "REPLICA_LISTEN", values.endpoint, None, "host:port, [fd00::1]:8081 or :8081 for every address",
        "where the other replicas reach this one; unset: there is only one",
    ),
    Setting(
        "REPLICA_URL", values.replica_url, None, "http://host:port without a path",
        "the URL of REPLICA_LISTEN for the other replicas", derived="from REPLICA_LISTEN, where that is one address",
    ),
    Setting(
        "BACKEND", values.one_of("process", "docker", "k8s"), "process",
        "process, docker or k8s", "where sandboxes run",
    ),
    Setting(
        "BASE_DOMAIN", values.domain, "localhost",
        "a host name without scheme and port, such as agents.example.com",
        "host of the main site; sandboxes live on oc-{sandboxId}.{BASE_DOMAIN}",
    ),
    Setting(
        "BASE_SCHEME", values.one_of("http", "https"), None,
        "http or https", "scheme of generated URLs", derived="http on localhost, else https",
    ),
    Setting(
        "PUBLIC_PORT", values.number_between(1, 65535), None,
        "a port, 1 to 65535", "port in generated URLs where it is not the scheme's own",
        derived="the listener's port on localhost, else none",
    ),
    Setting(
        "IDLE_TIMEOUT", values.duration, "30m",
        _DURATION, "pause a sandbox after so long without activity; 0: never",
    ),
    Setting(
        "BUSY_LIMIT", values.duration, "12h", _DURATION,
        "after so long without any other sign of use, a sandbox that calls itself busy is paused too; 0: never",
    ),
    Setting(
        "ANTHROPIC_API_KEY", values.credential, None,
        _CREDENTIAL, "the operator's key for the Anthropic API", secret=True,
    ),
    Setting(
        "ANTHROPIC_AUTH_TOKEN", values.credential, None,
        _CREDENTIAL, "the operator's bearer token for the Anthropic API, for gateways that want one", secret=True,
    ),
    Setting(
        "ANTHROPIC_BASE_URL", values.http_url, "https://api.anthropic.com",
        _URL, "address of the Anthropic API; its path is kept",
    ),
    Setting(
        "ANTHROPIC_PROXY_URL", values.http_url, None,
        _URL, "URL by which sandboxes reach this server's Anthropic proxy", derived="from the listener",
    ),
    Setting(
        "DOCKER_HOST", values.engine_host, "unix:///var/run/docker.sock",
        "unix:///path or tcp://host:port", "address of the Docker engine (docker)",
    ),
    Setting(
        "AGENT_IMAGE", values.image, "cli-server-sandbox:latest",
        "the name of a container image", "sandbox image (docker, k8s)",
    ),
    Setting(
        "AGENT_EGRESS", values.one_of("open", "proxy"), "open",
        "open or proxy",
        "what sandboxes reach: the internet and what else this machine reaches (docker) or nothing private (k8s), "
        "or this server's Anthropic proxy only",
    ),
    Setting(
        "AGENT_RUNTIME", values.runtime_name, None,
        "the name of a runtime that the engine knows, or of a RuntimeClass, such as runsc or gvisor",
        "container runtime of sandboxes (docker, k8s)", derived="the default of the engine or the cluster",
    ),
    Setting(
        "AGENT_NETWORKS", values.network_pool, "10.213.0.0/16",
        "a private IPv4 network of at least /26 that nobody else comes from",
        "addresses for the workspaces' networks, 64 for each (docker)",
    ),
    Setting(
        "KUBECONFIG", values.path, None,
        "a path", "how the cluster is reached (k8s); unset: by the service account of this server's pod",
    ),
    Setting(
        "K8S_NAMESPACE_PREFIX", cluster_values.namespace_prefix, "cli-server",
        "lower-case letters, digits and hyphens, at most 46, beginning with a letter",
        "a workspace's namespace is {prefix}-{workspaceId} (k8s)",
    ),
    Setting(
        "K8S_SERVER_NAMESPACE", cluster_values.object_name, None,
        "the name of a namespace", "where this server's pods are (k8s, required there)",
    ),
    Setting(
        "K8S_SERVER_LABELS", cluster_values.labels, None,
        "labels separated by commas, such as app.kubernetes.io/name=cli-server,app.kubernetes.io/instance=x",
        "what this server's pods have: only they reach sandboxes (k8s, required there)",
    ),
    Setting(
        "K8S_SERVICE_ACCOUNT", cluster_values.object_name, None,
        "the name of a service account in K8S_SERVER_NAMESPACE",
        "who gets K8S_WORKSPACE_ROLE in the workspaces' namespaces (k8s)",
    ),
    Setting(
        "K8S_WORKSPACE_ROLE", cluster_values.object_name, None,
        "the name of a ClusterRole",
        "bound to K8S_SERVICE_ACCOUNT in each workspace's namespace (k8s); unset: rights are given another way",
    ),
    Setting(
        "K8S_STORAGE_CLASS", cluster_values.object_name, None,
        "the name of a StorageClass", "where homes and disks are made (k8s)", derived="the cluster's default",
    ),
    Setting(
        "K8S_HOME_SIZE", values.size_from(2**20, "1Mi"), "5Gi",
        "a size such as 5Gi", "size of a sandbox's home (k8s)",
    ),
    Setting(
        "K8S_DISK_SIZE", values.size_from(2**20, "1Mi"), "10Gi",
        "a size such as 10Gi", "size of a workspace's disk (k8s)",
    ),
    Setting(
        "K8S_DISK_ACCESS_MODE", values.one_of("ReadWriteMany", "ReadWriteOnce"), "ReadWriteMany",
        "ReadWriteMany or ReadWriteOnce",
        "of a workspace's disk (k8s); ReadWriteOnce keeps the sandboxes of a workspace on one node",
    ),
    Setting(
        # opencode's own database and a log fit; an agent that builds something needs gigabytes.
        "K8S_EPHEMERAL_LIMIT", values.size_from(64 * 2**20, "64Mi"), "4Gi",
        "a size of at least 64Mi, such as 4Gi", "what a sandbox may have in /tmp and in its log (k8s)",
    ),
    Setting(
        "K8S_CPU_REQUEST", values.cores, "250m",
        "a number of cores such as 1, 0.5 or 250m", "processor cores set aside for one sandbox (k8s)",
    ),
    Setting(
        "K8S_MEMORY_REQUEST", values.size_from(2**20, "1Mi"), "512Mi",
        "a size such as 512Mi", "memory set aside for one sandbox (k8s)",
    ),
    Setting(
        "K8S_EGRESS_ALLOW", values.networks, None,
        "networks separated by commas, such as 10.1.2.0/24, fd00:1::/64",
        "private networks that sandboxes reach all the same with AGENT_EGRESS open (k8s)", derived="none",
    ),
    Setting(
        "K8S_NODE_SELECTOR", cluster_values.labels, None,
        "labels separated by commas, such as disktype=ssd", "nodes on which sandboxes run (k8s)", derived="any",
    ),
    Setting(
        "K8S_TOLERATIONS", cluster_values.tolerations, None,
        "a JSON list of objects, as in a pod's tolerations", "taints that sandboxes bear (k8s)", derived="none",
    ),
    Setting(
        "AGENT_LISTEN", values.endpoint, None, "host:port, [fd00::1]:8082 or :8082 for every address",
        "where sandboxes reach this server's Anthropic proxy, and nothing else of it; ANTHROPIC_PROXY_URL leads there",
        derived="LISTEN, at the host of ANTHROPIC_PROXY_URL",
    ),
    Setting(
        "OPENCODE_BIN", values.one_line, "opencode",
        "a program's name or path", "opencode program of the process backend", derived="opencode on PATH",
    ),
    Setting(
        "OPENCODE_CONFIG_CONTENT", values.json_object, None,
        "a JSON object", "opencode configuration merged into every sandbox's", secret=True,
    ),
    Setting(
        "OIDC_REDIRECT_BASE_URL", values.http_origin, None,
        "an http or https URL without path", "external URL for sign-in callbacks", derived="the main site",
    ),
    Setting("GITHUB_CLIENT_ID", values.credential, None, _CREDENTIAL, "GitHub sign-in: the application's id"),
    Setting(
        "GITHUB_CLIENT_SECRET", values.credential, None,
        _CREDENTIAL, "GitHub sign-in: the application's secret", secret=True,
    ),
    Setting(
        "GITHUB_ALLOWED_ORGS", values.organisations, None,
        "names of organisations separated by commas, such as acme, acme-labs",
        "GitHub sign-in: members of these may come without registration; unset: as REGISTRATION says",
    ),
    Setting(
        "GITHUB_URL", values.provider_url, "https://github.com",
        _PROVIDER_URL, "GitHub sign-in: where GitHub is, for GitHub Enterprise Server",
    ),
    Setting(
        "GITHUB_API_URL", values.provider_url, None,
        _PROVIDER_URL, "GitHub sign-in: where its REST API is",
        derived="https://api.github.com, or /api/v3 of another GITHUB_URL",
    ),
    Setting("OIDC_ISSUER_URL", values.provider_url, None, _PROVIDER_URL, "generic OIDC sign-in: the issuer"),
    Setting("OIDC_CLIENT_ID", values.credential, None, _CREDENTIAL, "generic OIDC sign-in: the client's id"),
    Setting(
        "OIDC_CLIENT_SECRET", values.credential, None,
        _CREDENTIAL, "generic OIDC sign-in: the client's secret", secret=True,
    ),
    Setting(
        "OIDC_NAME", values.one_line, None, "one line of text",
        "generic OIDC sign-in: what people call it, on the button", derived="the issuer's host",
    ),
    Setting(
        "OIDC_SCOPES", values.scopes, "openid profile email",
        "scopes separated by blanks, openid among them", "generic OIDC sign-in: what the provider is asked for",
    ),
    Setting(
        "OIDC_ALLOWED_DOMAINS", values.domains, None,
        "domains separated by commas, such as example.com, example.org",
        "generic OIDC sign-in: only people with a verified e-mail address of these come in",
        derived="everybody whom the provider lets in",
    ),
    Setting(
        "OIDC_ADMIN_GROUP", values.one_line, None, "the name of a group",
        "generic OIDC sign-in: who is in this group is an admin, decided at each sign-in; unset: admins decide",
    ),
    Setting(
        "OIDC_GROUPS_CLAIM", values.one_line, "groups",
        "the name of a claim", "generic OIDC sign-in: where the provider lists a person's groups",
    ),
    Setting(
        "REGISTRATION", values.one_of("open", "first-user", "closed"), "first-user",
        "open, first-user or closed",
        "who may register with a password: everybody, the first one (who becomes admin, then nobody), nobody",
    ),
    Setting(
        "TRUSTED_PROXIES", values.networks, None,
        "networks separated by commas, such as 10.0.0.0/8, fd00::/8",
        "networks whose X-Forwarded-* headers are believed", derived="none",
    ),
    Setting(
        "METRICS_LISTEN", values.endpoint_or_off, "127.0.0.1:9464",
        "host:port, [::1]:9464, :9464 for every address, or off", "Prometheus listener",
    ),
    Setting(
        "AGENT_MEMORY_LIMIT",
        # opencode alone holds 330 MB; below a third of that not even a shell and a proxy would start.
        values.size_from(128 * 2**20, "128Mi"), "2Gi",
        "a size of at least 128Mi, such as 2Gi, 512Mi or a number of bytes", "memory of one sandbox",
    ),
    Setting(
        "AGENT_CPU_LIMIT", values.cores, "2",
        "a number of cores such as 2, 0.5 or 500m", "processor cores of one sandbox",
    ),
    Setting(
        # Below 32, opencode's own threads do not fit; the most is what 64-bit Linux can count to.
        "AGENT_PIDS_LIMIT", values.number_between(32, 4194304), "512",
        "a whole number, 32 to 4194304", "processes and threads of one sandbox",
    ),
    Setting(
        "LOG_LEVEL", values.one_of("debug", "info", "warning", "error"), "info",
        "debug, info, warning or error", "how much is logged",
    ),
    Setting(
        "LOG_FORMAT", values.one_of("console", "json"), None,
        "console or json", "form of the log", derived="console on a terminal, else json",
    ),
    Setting(
        "AUDIT_RETENTION", values.retention, "365d",
        "a duration of at least 1d, such as 90d, or 0",
        "how long entries of the audit log are kept; 0: for ever",
    ),
    Setting(
        "SECURITY_CONTACT", security_txt.contact, None,
        "mailto: and an address, or an https URL",
        "to whom people tell of security problems of this server, in /.well-known/security.txt",
    ),
)  # fmt: skip
