"""Which site a request is for. Pure: the ``Host`` of each request and nothing else decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from daemon.ids import ID_PATTERN
from protocol.addresses import is_address

_LABEL = re.compile(rf"(?:oc|([1-9][0-9]{{3,4}}))-({ID_PATTERN})")
_HOST = re.compile(r"(?:\[((?=[^\]]*:)[0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z._-]{1,253}))(?::([0-9]{1,5}))?")
MIN_PORT, MAX_PORT = 1024, 65535


@dataclass(frozen=True, slots=True)
class MainSite:
    """Web UI, API, tunnel endpoint, Anthropic proxy."""


@dataclass(frozen=True, slots=True)
class SandboxSite:
    """opencode of a sandbox, or with ``port`` a web server inside it. ``label`` is the first label of the host."""

    sandbox_id: str
    port: int | None
    label: str


Route = MainSite | SandboxSite
_MAIN = MainSite()


@lru_cache(maxsize=4096)
def parse_host(value: str) -> tuple[str, int | None] | None:
    """Split a ``Host`` value into host (lower case, no brackets, no final dot) and port; ``None`` if malformed."""
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    port = int(match[3]) if match[3] else None
    if port is not None and port > MAX_PORT:
        return None
    if match[1] is not None:
        return (match[1].lower(), port) if is_address(match[1]) else None
    return match[2].lower().removesuffix("."), port


@lru_cache(maxsize=4096)  # the same few hosts come again and again; an attacker's many only push each other out
def route(host: str, base_domain: str, local_address: str) -> Route | None:
    """The site for ``host`` (from :func:`parse_host`), or ``None``: 421.

    ``local_address`` is the address at which this very connection was accepted; by it the main site is reached too.
    """
    if host == base_domain:
        return _MAIN
    if host.endswith("." + base_domain):
        match = _LABEL.fullmatch(host[: -len(base_domain) - 1])
        if match is None:
            return None
        port = int(match[1]) if match[1] else None
        if port is not None and not MIN_PORT <= port <= MAX_PORT:
            return None
        return SandboxSite(match[2], port, match[0])
    if is_address(host) and ip_address(host) == ip_address(local_address):
        return _MAIN
    return None
