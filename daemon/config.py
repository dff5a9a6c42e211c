"""The settings: one table, one reader, one frozen value. Nothing else in the product looks at the environment.

The table is in :mod:`daemon.setting_table`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from daemon import secretfile, values
from daemon.setting_table import SETTINGS, Setting
from daemon.values import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    secret_key_file: Path | None  # None: in data_dir
    replica_listen: Endpoint | None  # None: a single replica
    replica_url: str | None
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
    kubeconfig: Path | None
    k8s_namespace_prefix: str
    k8s_server_namespace: str | None
    k8s_server_labels: Mapping[str, str]
    k8s_service_account: str | None
    k8s_workspace_role: str | None
    k8s_storage_class: str | None
    k8s_home_size: int
    k8s_disk_size: int
    k8s_disk_access_mode: Literal["ReadWriteMany", "ReadWriteOnce"]
    k8s_ephemeral_limit: int
    k8s_cpu_request: float
    k8s_memory_request: int
    k8s_egress_allow: tuple[IPv4Network | IPv6Network, ...]
    k8s_node_selector: Mapping[str, str]
    k8s_tolerations: tuple[Mapping[str, Any], ...]
    agent_listen: Endpoint | None  # None: the public listener
    opencode_bin: str
    opencode_config_content: str | None = field(repr=False)
    oidc_redirect_base_url: str | None
    github_client_id: str | None
    github_client_secret: str | None = field(repr=False)
    github_allowed_orgs: tuple[str, ...]
    github_url: str
    github_api_url: str
    oidc_issuer_url: str | None
    oidc_client_id: str | None
    oidc_client_secret: str | None = field(repr=False)
    oidc_name: str
    oidc_scopes: str
    oidc_allowed_domains: tuple[str, ...]
    oidc_admin_group: str | None
    oidc_groups_claim: str
    registration: Literal["open", "first-user", "closed"]
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    metrics_listen: Endpoint | None
    agent_memory_limit: int
    agent_cpu_limit: float
    agent_pids_limit: int
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["console", "json"]
    audit_retention: float  # 0 = for ever
    security_contact: str | None

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


_SETS = (
    ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"),
    ("OIDC_ISSUER_URL", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"),
)
# What belongs to one of them and would be ignored without it.
_MORE = {
    "GITHUB_CLIENT_ID": ("GITHUB_ALLOWED_ORGS", "GITHUB_URL", "GITHUB_API_URL"),
    "OIDC_ISSUER_URL": ("OIDC_NAME", "OIDC_SCOPES", "OIDC_ALLOWED_DOMAINS", "OIDC_ADMIN_GROUP", "OIDC_GROUPS_CLAIM"),
}
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
    given: set[str] = set()
    for setting in SETTINGS:
        text, variable = _given(setting, environ, flags or {})
        given |= {setting.variable} if text else set()
        text = text or setting.default or ""
        found[setting.field] = _parse(setting, text, variable) if text else None
    _check_sets(found)
    _check_more(given)
    _check_proxies(found)
    _check_door(found)
    _check_replicas(found)
    _check_kubernetes(found)
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


def _check_more(given: set[str]) -> None:
    """What says more about a sign-in that is not set up would be ignored without a word, too."""
    for name, more in _MORE.items():
        for variable in more:
            if variable in given and name not in given:
                raise ConfigError(f"{variable} is set while {name} is unset; accepted is both, or none")


def _check_proxies(found: Mapping[str, Any]) -> None:
    """A proxy among the sandboxes would get no page: who comes from there is a sandbox, and never believed."""
    pool = found["agent_networks"]
    for network in found["trusted_proxies"] or ():
        if found["backend"] == "docker" and network.version == pool.version and network.subnet_of(pool):
            raise ConfigError(
                f"TRUSTED_PROXIES {network} cannot be used: sandboxes come from there (AGENT_NETWORKS {pool}); "
                "accepted are the addresses of proxies, and another AGENT_NETWORKS"
            )


def _check_door(found: Mapping[str, Any]) -> None:
    """A door that no sandbox knows of would be left open for nothing."""
    if found["agent_listen"] is not None and found["anthropic_proxy_url"] is None:
        raise ConfigError("ANTHROPIC_PROXY_URL is unset while AGENT_LISTEN is set; accepted is a URL that leads there")


def _check_replicas(found: Mapping[str, Any]) -> None:
    """What several replicas must share; half of it would work until the second one starts."""
    where = found["replica_listen"]
    if where is None:
        if found["replica_url"] is not None:
            raise ConfigError("REPLICA_URL is set while REPLICA_LISTEN is unset; accepted is both, or none")
        return
    if found["backend"] == "process":
        raise ConfigError("REPLICA_LISTEN is set with BACKEND process, which one daemon has to itself; accepted is "
                          "docker or k8s")  # fmt: skip
    for name in ("DATABASE_URL", "SECRET_KEY_FILE"):
        if found[name.lower()] is None:
            raise ConfigError(f"{name} is unset while REPLICA_LISTEN is set; all replicas share one, so it must be set")
    if found["anthropic_proxy_url"] is None:
        raise ConfigError(
            "ANTHROPIC_PROXY_URL is unset while REPLICA_LISTEN is set; accepted is a URL that leads to any replica"
        )
    if (where.everywhere or where.port == 0) and found["replica_url"] is None:
        raise ConfigError(
            "REPLICA_URL is unset while REPLICA_LISTEN is no single address; accepted is http://host:port"
        )


def _check_kubernetes(found: Mapping[str, Any]) -> None:
    """What a cluster does not tell: who this server is in it, and the name that sandboxes find it by."""
    if found["backend"] == "k8s":
        for name in ("K8S_SERVER_NAMESPACE", "K8S_SERVER_LABELS", "ANTHROPIC_PROXY_URL"):
            if not found[name.lower()]:
                accepted = next(setting.accepted for setting in SETTINGS if setting.variable == name)
                raise ConfigError(f"{name} is unset while BACKEND is k8s; accepted is {accepted}")
    if (found["k8s_service_account"] is None) != (found["k8s_workspace_role"] is None):
        unset, given = ("K8S_SERVICE_ACCOUNT", "K8S_WORKSPACE_ROLE")
        if found["k8s_workspace_role"] is None:
            unset, given = given, unset
        raise ConfigError(f"{unset} is unset while {given} is set; accepted is both, or none")


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
        "replica_url": found["replica_url"] or _replica_url(found["replica_listen"]),
        "trusted_proxies": found["trusted_proxies"] or (),
        "k8s_server_labels": found["k8s_server_labels"] or {},
        "k8s_egress_allow": found["k8s_egress_allow"] or (),
        "k8s_node_selector": found["k8s_node_selector"] or {},
        "k8s_tolerations": found["k8s_tolerations"] or (),
        "github_allowed_orgs": found["github_allowed_orgs"] or (),
        "github_api_url": found["github_api_url"] or _github_api(found["github_url"]),
        "oidc_name": found["oidc_name"] or urlsplit(found["oidc_issuer_url"] or "").hostname or "OIDC",
        "oidc_allowed_domains": found["oidc_allowed_domains"] or (),
        "log_format": found["log_format"] or ("console" if terminal else "json"),
    }


def _replica_url(where: Endpoint | None) -> str | None:
    if where is None:
        return None
    return f"http://[{where.host}]:{where.port}" if ":" in where.host else f"http://{where.host}:{where.port}"


def _github_api(github: str) -> str:
    return "https://api.github.com" if github == "https://github.com" else f"{github}/api/v3"


def _local(domain: str) -> bool:
    return domain == "localhost" or domain.endswith(".localhost")


def _written(port: int, scheme: str) -> int | None:
    """The port as URLs have it: not at all if it is the scheme's own."""
    return None if port == _OWN_PORTS[scheme] else port
