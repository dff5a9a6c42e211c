"""What the kernel is asked about a socket, and Unix sockets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.gateway.kernel import connect_unix, untaken
from daemon.wire.sockets import TCP_NOTSENT_LOWAT, bound_unsent
from tests.gateway.peer import stream_pair

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_the_peer_has_not_taken_is_known() -> None:
    stream, other = stream_pair()
    with other:
        assert untaken(stream.socket) == 0
        with trio.move_on_after(0.2):
            await stream.send(bytes(32 << 20))
        assert untaken(stream.socket) > 0
        stream.reset()


async def test_what_waits_unsent_can_be_bound() -> None:
    stream, other = stream_pair()
    with other:
        bound_unsent(stream.socket, 4096)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT or 0) == 4096
        stream.close()


def test_a_unix_socket_has_no_such_bound() -> None:
    left, right = socket.socketpair()
    with left, right:
        bound_unsent(left, 4096)


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        stream = await connect_unix(path)
        with server.accept()[0] as other:
            await stream.send(b"hello")
            assert other.recv(10) == b"hello"
            stream.close()


async def test_a_unix_socket_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        await connect_unix("/nonexistent/socket")
