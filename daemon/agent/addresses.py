"""The two addresses that the agent is given: the server's and its opencode's. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from daemon.agent.errors import WrongSetting, shown
from protocol.addresses import is_address

DEFAULT_OPENCODE: Final = "http://localhost:4096"
_OWN_PORTS: Final = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a cli-server is. It lives at the root of a host, because sandboxes have hosts of their own."""

    scheme: str
    host: str
    port: int

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as the header ``Host`` has them."""
        return _authority(self.scheme, self.host, self.port)

    @property
    def url(self) -> str:
        """The server's address in its one form: what is saved and shown."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    def sandbox_url(self, sandbox_id: str) -> str | None:
        """Where a sandbox of this server is opened; ``None`` where the address does not tell, because it is no name."""
        if is_address(self.host):
            return None
        return f"{self.scheme}://{_authority(self.scheme, f'oc-{sandbox_id}.{self.host}', self.port)}/"


@dataclass(frozen=True, slots=True)
class OpencodeAddress:
    """Where opencode is, or is to be. The password may be in the URL, or not known."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The address without credentials."""
        return f"http://{_authority('http', self.host, self.port)}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, so that opencode can be started there."""
        return is_loopback(self.host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What to connect to, in order. ``localhost`` is either of two; opencode by itself listens on the first."""
        return ("127.0.0.1", "::1") if is_localhost(self.host) else (self.host,)


def is_localhost(host: str) -> bool:
    """Whether a name is this machine by RFC 6761; not every resolver knows."""
    return host == "localhost" or host.endswith(".localhost")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by name or by address."""
    return is_localhost(host) or (is_address(host) and ip_address(host).is_loopback)


def parse_server(text: str) -> Server:
    """The address in ``--server``. Raises :class:`WrongSetting`."""
    parts, host, port = _parse("--server", text, "https://agents.example.com")
    if "@" in parts.netloc:
        raise WrongSetting("--server holds credentials; leave them out, the server is told a code or a saved token")
    server = Server(parts.scheme, host, port)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise WrongSetting(f"--server has a path or a query; a cli-server is at the root of a host: {server.url}")
    return server


def parse_opencode(text: str) -> OpencodeAddress:
    """The address in ``--opencode-url``. Raises :class:`WrongSetting`."""
    parts, host, port = _parse("--opencode-url", text, DEFAULT_OPENCODE, schemes=("http",))
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise WrongSetting("--opencode-url is an address only, without a path or a query: http://host:port")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return OpencodeAddress(host, port, user, password)


def _parse(
    flag: str, text: str, example: str, schemes: tuple[str, ...] = ("http", "https")
) -> tuple[SplitResult, str, int]:
    """URL, host and port. What was given is not repeated where it may hold a password."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise WrongSetting(f"{flag} is not a URL; it looks like {example}") from None
    if parts.scheme not in schemes:
        raise WrongSetting(f"{flag} does not begin with {' or '.join(f'{s}://' for s in schemes)}; e.g. {example}")
    if not host.isascii():
        raise WrongSetting(f"{flag} has a name with other than ASCII letters; write it in its xn-- form")
    if not (is_address(host) or (len(host) <= 253 and all(map(_LABEL.fullmatch, host.split("."))))):
        raise WrongSetting(f"{flag} has no host that can be: {shown(host)!r}")
    if port == 0:
        raise WrongSetting(f"{flag} has port 0, where nothing can be")
    return parts, host, port or _OWN_PORTS[parts.scheme]


def _authority(scheme: str, host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == _OWN_PORTS[scheme] else f"{name}:{port}"
