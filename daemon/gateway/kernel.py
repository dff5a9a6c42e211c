"""What Unix kernels alone can do with a socket. What works anywhere is in daemon/wire/sockets.py."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import termios
from typing import Final

import trio

from daemon.wire.limits import CONNECT_SECONDS
from daemon.wire.sockets import SocketStream

# linux/tcp.h; a Python that was built on old headers lacks the name.
TCP_NOTSENT_LOWAT: Final[int] = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


def untaken(sock: socket.socket) -> int:
    """Bytes sent that the peer has not taken yet: the kernel holds them."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def bound_unsent(sock: socket.socket, most: int) -> None:
    """Let no more than about ``most`` bytes wait in the kernel that are not on their way yet."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # a kernel without it: more waits there, and nothing else changes
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, most)


async def connect_unix(path: str) -> SocketStream:
    """Connect to a Unix socket. Raises :class:`OSError`."""
    with trio.move_on_after(CONNECT_SECONDS):
        stream = await trio.open_unix_socket(path)
        return SocketStream(socket.socket(fileno=stream.socket.detach()))
    raise TimeoutError(f"no connection to {os.path.basename(path)} within {CONNECT_SECONDS:g} s")
