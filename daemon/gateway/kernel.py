"""What Unix kernels alone can do with a socket. What works anywhere is in daemon/wire/sockets.py."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import termios

import trio

from daemon.wire.limits import CONNECT_SECONDS
from daemon.wire.sockets import SocketStream


def untaken(sock: socket.socket) -> int:
    """Bytes sent that the peer has not taken yet: the kernel holds them."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


async def connect_unix(path: str) -> SocketStream:
    """Connect to a Unix socket. Raises :class:`OSError`."""
    with trio.move_on_after(CONNECT_SECONDS):
        stream = await trio.open_unix_socket(path)
        return SocketStream(socket.socket(fileno=stream.socket.detach()))
    raise TimeoutError(f"no connection to {os.path.basename(path)} within {CONNECT_SECONDS:g} s")
