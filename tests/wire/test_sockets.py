"""Streams: what they promise and that nobody is starved."""

from __future__ import annotations

import socket

import pytest
import trio

from daemon.wire.sockets import SocketStream, connect_tcp
from tests.gateway.harness import limit
from tests.gateway.peer import eventually, stream_pair


async def test_what_is_received() -> None:
    stream, other = stream_pair()
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
    stream, other = stream_pair()
    with other:
        other.sendall(b"x")
        await eventually(lambda: not stream.still_open())
        assert await stream.receive() == b"x"
        assert stream.still_open()
        stream.close()


async def test_a_reset_is_seen_as_such() -> None:
    stream, other = stream_pair()
    with other:
        stream.reset()
        with pytest.raises(ConnectionResetError):
            other.recv(1)


async def test_errors_are_os_errors() -> None:
    stream, other = stream_pair()
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
    stream, other = stream_pair()
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


async def test_a_stream_that_never_waits_lets_others_have_a_turn() -> None:
    """Calls that the kernel serves at once do not go through the scheduler, but for every sixteenth."""
    stream, other = stream_pair()
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


async def test_nothing_is_lost_by_who_gives_up() -> None:
    """Whether it is cancelled while it waits or while others have their turn."""
    stream, other = stream_pair()
    sent = bytes(range(100))
    received = b""
    with other:
        other.sendall(sent)
        with limit(READ_SIZE=1):
            while len(received) < len(sent):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    received += await stream.receive()
                assert received == sent[: len(received)]
        stream.close()


async def test_connecting_has_a_deadline() -> None:
    listening = trio.socket.socket()
    await listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    fill = [trio.socket.socket() for _ in range(3)]  # the queue is full after one or two
    with listening, limit(CONNECT_SECONDS=0.2):
        for sock in fill:
            with trio.move_on_after(0.05):
                await sock.connect(listening.getsockname())
        with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
            await connect_tcp(*listening.getsockname())
        for sock in fill:
            sock.close()
