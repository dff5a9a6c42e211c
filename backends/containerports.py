"""Which ports are served inside a container, by the kernel's tables as a program inside reads them. Pure."""

from __future__ import annotations

from typing import Final

from backends.sockets import LEAST_PORT, listeners

COMMAND: Final = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
_MOST: Final = 256  # people start a handful of servers, and nobody reads more


def served(tables: str, hidden: int) -> list[int]:
    """The ports from 1024 at which the container is reached, in order, without ``hidden``.

    Not what listens on loopback only: the engine's resolver, which is in every container, and servers whose door
    (``docker/sandbox/doors.py``) is not open yet, or that have none in this image.
    """
    found = {port for address, port in listeners(tables) if not address.is_loopback}
    return sorted(port for port in found if port >= LEAST_PORT and port != hidden)[:_MOST]
