"""The table of settings: each with its variable, how it is written, its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon import security_txt, values

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
        "what sandboxes reach: what this machine reaches, or this server's Anthropic proxy only (docker)",
    ),
    Setting(
        "AGENT_RUNTIME", values.runtime_name, None,
        "the name of a runtime that the engine knows, such as runsc", "container runtime of sandboxes (docker)",
        derived="the engine's default",
    ),
    Setting(
        "AGENT_NETWORKS", values.network_pool, "10.213.0.0/16",
        "a private IPv4 network of at least /26 that nobody else comes from",
        "addresses for the workspaces' networks, 64 for each (docker)",
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
