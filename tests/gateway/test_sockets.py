"""Streams: what they promise over TCP and Unix sockets, and that nobody is starved."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.gateway.sockets import SocketStream, connect_unix
from daemon.gateway.splicing import splice
from tests.gateway.harness import limit
from tests.gateway.peer import eventually

if TYPE_CHECKING:
    from pathlib import Path


def pair() -> tuple[SocketStream, socket.socket]:
    """A stream, and the plain other end; closed by the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        return SocketStream(server.accept()[0]), other


async def test_what_is_received() -> None:
    stream, other = pair()
    with other:
        other.sendall(b"hello")
        assert await stream.receive() == b"hello"
        other.sendall(b"world")
        assert await stream.receive_later() == b"world"
        assert stream.still_open()
        other.shutdown(socket.SHUT_WR)
        assert not stream.still_open()
        assert await stream.receive() == b""
        await stream.send(b"bye")
        assert other.recv(10) == b"bye"
        await stream.send_eof()
        assert other.recv(10) == b""
        stream.close()
        stream.close()
        stream.reset()


async def test_a_peer_that_said_something_is_not_idle() -> None:
    stream, other = pair()
    with other:
        other.sendall(b"x")
        await eventually(lambda: not stream.still_open())
        assert await stream.receive() == b"x"
        assert stream.still_open()
        stream.close()


async def test_a_reset_is_seen_as_such() -> None:
    stream, other = pair()
    with other:
        stream.reset()
        with pytest.raises(ConnectionResetError):
            other.recv(1)


async def test_errors_are_os_errors() -> None:
    stream, other = pair()
    SocketStream(other).reset()
    with pytest.raises(OSError, match="reset"):
        await stream.receive()
    with pytest.raises(OSError, match=r"pipe|reset"):
        await stream.send(b"x")
    with pytest.raises(BrokenPipeError):
        await stream.send_eof()
    assert not stream.still_open()
    stream.close()


async def test_more_than_the_kernel_takes_is_sent_whole() -> None:
    stream, other = pair()
    data = bytes(range(256)) * 100_000
    received = bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(other.recv(1 << 20))

    with other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, read)
            await stream.send(data)
        assert bytes(received) == data
        stream.close()


async def test_what_the_peer_has_not_taken_is_known() -> None:
    stream, other = pair()
    with other:
        assert stream.untaken() == 0
        with trio.move_on_after(0.2):
            await stream.send(bytes(32 << 20))
        assert stream.untaken() > 0
        stream.reset()


async def test_a_stream_that_never_waits_lets_others_have_a_turn() -> None:
    """Calls that the kernel serves at once do not go through the scheduler, but for every sixteenth."""
    stream, other = pair()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    with other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            other.sendall(bytes(1000))
            with limit(READ_SIZE=1):
                for _ in range(1000):
                    await stream.receive()
            nursery.cancel_scope.cancel()
        stream.close()
    assert turns >= 1000 // 20


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


@pytest.mark.parametrize("kind", ["source", "target", "early"])
async def test_splice_says_what_broke(kind: str) -> None:
    (source, feeder), (target, eater) = pair(), pair()
    with feeder, eater, source.socket, target.socket:
        feeder.sendall(bytes(1000))
        if kind == "early":
            feeder.close()
        elif kind == "source":
            SocketStream(feeder).reset()
        else:
            SocketStream(eater).reset()
            with pytest.raises(OSError, match="reset"):
                await target.receive()
        moved: list[int] = []
        with pytest.raises(EOFError if kind == "early" else OSError):
            await splice(source.socket, target.socket, 10**9, moved.append, lambda _: None)
        assert sum(moved) <= 1000
