"""The settings: one reader, one frozen value. Nothing else in the product looks at the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on. ``port`` 0 asks the system for one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of the server, checked. Durations are seconds, sizes bytes."""

    listen: Endpoint
    data_dir: Path
    database_url: str | None = field(repr=False)
    backend: Literal["process", "docker", "k8s"]
    base_domain: str
    base_scheme: Literal["http", "https"]
    public_port: int | None  # None: the scheme's own port, not written in URLs
    idle_timeout: float  # 0 = never
    busy_limit: float  # after so long without any other sign of use, a status of "busy" is not believed any more
    anthropic_api_key: str | None = field(repr=False)
    anthropic_auth_token: str | None = field(repr=False)
    anthropic_base_url: str
    anthropic_proxy_url: str | None  # None: derived from the listener
    agent_image: str
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

    @property
    def _port_suffix(self) -> str:
        return "" if self.public_port is None else f":{self.public_port}"
