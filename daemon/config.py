"""The settings: one table, one reader, one frozen value. Nothing else in the product looks at the environment."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from daemon import secretfile, values
from daemon.values import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

__all__ = ["SETTINGS", "ConfigError", "Endpoint", "Setting", "Settings", "load"]


class ConfigError(Exception):
    """A setting that cannot be. One line: the variable, its value unless that is secret, and what is accepted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the server, checked. Durations are seconds, sizes bytes."""

    listen: Endpoint
    data_dir: Path
    database_url: str | None = field(repr=False)
    backend: Literal["process", "docker", "k8s"]
    base_domain: str
    base_scheme: Literal["http", "https"]
    public_port: int | None  # None: the scheme's own port, not written in URLs; 0: see :meth:`listening_at`
    idle_timeout: float  # 0 = never
    busy_limit: float  # after so long without any other sign of use, a status of "busy" is not believed; 0 = for ever
    anthropic_api_key: str | None = field(repr=False)
    anthropic_auth_token: str | None = field(repr=False)
    anthropic_base_url: str
    anthropic_proxy_url: str | None  # None: derived from the listener
    docker_host: str
    agent_image: str
    agent_egress: Literal["open", "proxy"]
    agent_runtime: str | None
    agent_networks: IPv4Network
    opencode_bin: str
    opencode_config_content: str | None = field(repr=False)
    oidc_redirect_base_url: str | None
    github_client_id: str | None
    github_client_secret: str | None = field(repr=False)
    oidc_issuer_url: str | None
    oidc_client_id: str | None
    oidc_client_secret: str | None = field(repr=False)
    registration: Literal["open", "first-user", "closed"]
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    metrics_listen: Endpoint | None
    agent_memory_limit: int
    agent_cpu_limit: float
    agent_pids_limit: int
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["console", "json"]

    @property
    def secure(self) -> bool:
        """Whether browsers reach us by https; decides cookie names and flags."""
        return self.base_scheme == "https"

    @property
    def main_origin(self) -> str:
        """Origin of the main site, as browsers send it: ``http://localhost:8080``."""
        return f"{self.base_scheme}://{self.base_domain}{self._port_suffix}"

    def host_origin(self, label: str) -> str:
        """Origin of a sandbox host; ``label`` is ``oc-{id}`` or ``{port}-{id}``."""
        return f"{self.base_scheme}://{label}.{self.base_domain}{self._port_suffix}"

    def listening_at(self, where: Endpoint) -> Settings:
        """These settings once the listener is open, which may be elsewhere than ``LISTEN`` says.

        It is where that left the port to the system, and where a service manager opened the socket. A public port that
        was the listener's follows it.
        """
        public = self.public_port
        if self.local and public == _written(self.listen.port, self.base_scheme):
            public = _written(where.port, self.base_scheme)
        return dataclasses.replace(self, listen=where, public_port=public)

    @property
    def local(self) -> bool:
        """Whether the base domain means the browser's own machine."""
        return _local(self.base_domain)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret values that are set, for logs to leave out; of the database's address its password too."""
        found = [getattr(self, setting.field) for setting in SETTINGS if setting.secret]
        found.append(values.database_password(self.database_url or ""))
        return tuple(value for value in found if value)

    @property
    def _port_suffix(self) -> str:
        return "" if self.public_port is None else f":{self.public_port}"


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
    Setting("OIDC_ISSUER_URL", values.http_url, None, _URL, "generic OIDC sign-in: the issuer"),
    Setting("OIDC_CLIENT_ID", values.credential, None, _CREDENTIAL, "generic OIDC sign-in: the client's id"),
    Setting(
        "OIDC_CLIENT_SECRET", values.credential, None,
        _CREDENTIAL, "generic OIDC sign-in: the client's secret", secret=True,
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
)  # fmt: skip

_SETS = (
    ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"),
    ("OIDC_ISSUER_URL", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"),
)
_USERINFO = re.compile(r"//[^/\s]*@")
_OWN_PORTS = {"http": 80, "https": 443}
# Enough of a wrong value to recognize it, and the line stays one.
_SHOWN = 120


def load(environ: Mapping[str, str], flags: Mapping[str, str] | None = None, *, terminal: bool = False) -> Settings:
    """Read and check every setting. Raises :class:`ConfigError`.

    Both mappings are by variable; a flag overrides the environment, and an empty value means unset. A secret may also
    be given by the name of a file, in ``NAME_FILE``. ``terminal``: whether the log goes to one.
    """
    found: dict[str, Any] = {}
    for setting in SETTINGS:
        text, variable = _given(setting, environ, flags or {})
        text = text or setting.default or ""
        found[setting.field] = _parse(setting, text, variable) if text else None
    _check_sets(found)
    _check_proxies(found)
    return Settings(**(found | _derived(found, terminal=terminal)))


def _given(setting: Setting, environ: Mapping[str, str], flags: Mapping[str, str]) -> tuple[str, str]:
    """What somebody set, empty if nobody did, and by which variable. A flag overrides both ways of the environment."""
    plain, by_file = setting.variable, setting.file_variable
    layer = flags if plain in flags or (setting.secret and by_file in flags) else environ
    value = layer.get(plain, "").strip()
    path = layer.get(by_file, "").strip() if setting.secret else ""
    if not path:
        return value, plain
    if value:
        raise ConfigError(f"{by_file} and {plain} are both set; accepted is one of them")
    try:
        return secretfile.read_secret(path).strip(), by_file
    except ValueError as error:
        why = f"{_shown(path)} cannot be used: {error}"
        raise ConfigError(f"{by_file} {why}; accepted is {secretfile.ACCEPTED}") from None


def _parse(setting: Setting, text: str, variable: str) -> object:
    try:
        return setting.parse(text)
    except ValueError as error:
        value = "(its value is not shown)" if setting.secret else _shown(text)
        why = f": {_one_line(str(error))}" if str(error) else ""
        raise ConfigError(f"{variable} {value} cannot be used{why}; accepted is {setting.accepted}") from None


def _shown(text: str) -> str:
    """A value as one line of printable characters; what stands where a URL has credentials is left out."""
    text = _USERINFO.sub("//…@", text)
    quoted = json.dumps(text[:_SHOWN], ensure_ascii=not text[:_SHOWN].isprintable())
    return quoted if len(text) <= _SHOWN else quoted + "…"


def _one_line(text: str) -> str:
    """``text``, which may repeat a piece of the value, with what cannot be printed escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text[:_SHOWN])


def _check_sets(found: Mapping[str, Any]) -> None:
    """Settings of one sign-in belong together: half of them would be ignored without a word."""
    for names in _SETS:
        missing = [name for name in names if found[name.lower()] is None]
        if missing and len(missing) < len(names):
            present = next(name for name in names if name not in missing)
            raise ConfigError(
                f"{missing[0]} is unset while {present} is set; accepted is all of {', '.join(names)}, or none"
            )


def _check_proxies(found: Mapping[str, Any]) -> None:
    """A proxy among the sandboxes would get no page: who comes from there is a sandbox, and never believed."""
    pool = found["agent_networks"]
    for network in found["trusted_proxies"] or ():
        if found["backend"] == "docker" and network.version == pool.version and network.subnet_of(pool):
            raise ConfigError(
                f"TRUSTED_PROXIES {network} cannot be used: sandboxes come from there (AGENT_NETWORKS {pool}); "
                "accepted are the addresses of proxies, and another AGENT_NETWORKS"
            )


def _derived(found: Mapping[str, Any], *, terminal: bool) -> dict[str, Any]:
    """The defaults that depend on other settings."""
    local = _local(found["base_domain"])
    scheme = found["base_scheme"] or ("http" if local else "https")
    port = found["public_port"]
    if port is None and local:
        port = found["listen"].port
    return {
        "base_scheme": scheme,
        "public_port": None if port is None else _written(port, scheme),
        "trusted_proxies": found["trusted_proxies"] or (),
        "log_format": found["log_format"] or ("console" if terminal else "json"),
    }


def _local(domain: str) -> bool:
    return domain == "localhost" or domain.endswith(".localhost")


def _written(port: int, scheme: str) -> int | None:
    """The port as URLs have it: not at all if it is the scheme's own."""
    return None if port == _OWN_PORTS[scheme] else port
