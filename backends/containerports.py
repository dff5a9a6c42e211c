"""Which ports are served inside a container, by the kernel's tables as a program inside reads them. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final

from backends.sockets import LEAST_PORT, listeners

COMMAND: Final = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
_MOST: Final = 256  # people start a handful of servers, and nobody reads more
_RESOLVER: Final = IPv4Address("127.0.0.11")  # the engine's own, inside every container


def served(tables: str, hidden: int) -> list[int]:
    """The ports from 1024 that something listens on, in order, without ``hidden``."""
    found = {port for address, port in listeners(tables) if address != _RESOLVER}
    return sorted(port for port in found if port >= LEAST_PORT and port != hidden)[:_MOST]
