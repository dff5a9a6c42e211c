"""Which proxy the environment names for a server. Pure.

The variables are those of curl and others: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in lower
case before upper case. What is on this machine is never asked for through a proxy.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from daemon.agent.errors import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.agent.addresses import Server

_PORT = 80  # of an http URL that names none


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT. ``variable`` is where it was named."""

    host: str
    port: int
    variable: str
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The proxy for people, without its password."""
        return f"the proxy {self.host} port {self.port} (from {self.variable})"


def choose_proxy(environ: Mapping[str, str], server: Server) -> Proxy | None:
    """The proxy for ``server``, or ``None``. Raises :class:`WrongSetting`."""
    variable, value = _first(environ, f"{server.scheme}_proxy", "all_proxy")
    if not value or server.is_local or _excepted(_first(environ, "no_proxy")[1], server.host, server.port):
        return None
    return _parse(variable, value)


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first variable with a value, and the value."""
    for name in names:
        for spelling in (name, name.upper()):
            if value := environ.get(spelling, "").strip():
                return spelling, value
    return "", ""


def _parse(variable: str, value: str) -> Proxy:
    wanted = f"{variable} cannot be used; accepted is http://host:port, with user:password@ before the host if need be"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise WrongSetting(wanted) from None
    if parts.scheme != "http" or not host or not re.fullmatch(r"[a-z0-9._:-]+", host):
        raise WrongSetting(wanted)
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(pair.encode("utf-8", "surrogateescape"))
    return Proxy(host, port or _PORT, variable, authorization)


def _excepted(no_proxy: str, host: str, port: int) -> bool:
    """Whether the list names the host: ``*``, a domain and all below it, an address, a network; a port may follow."""
    return any(_matches(entry.lower(), host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with_port = re.fullmatch(r"(.+):([0-9]+)", entry)
    if with_port and (with_port[1].count(":") == 0 or with_port[1].endswith("]")):
        if int(with_port[2]) != port:
            return False
        entry = with_port[1]
    entry = entry.strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").removeprefix(".")
        return host == domain or host.endswith(f".{domain}")
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False
