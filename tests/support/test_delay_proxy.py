"""The long wire: what is measured over it must be the wire's delay and nothing else of it."""

from __future__ import annotations

import hashlib
import socket
import struct
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.standins.content import content_hash, pieces
from tests.support.delay_proxy import DelayProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 30.0  # seconds until a test gives up waiting


class Wire:
    """A proxy with both its ends in the hand."""

    def __init__(self, proxy: DelayProxy, listener: trio.SocketListener) -> None:
        self.proxy = proxy
        self._listener = listener
        self._streams: list[trio.SocketStream] = []

    async def connect(self) -> tuple[trio.SocketStream, trio.SocketStream]:
        """A new connection: the client's end and the target's."""
        self._streams += [await trio.open_tcp_stream(*self.proxy.address), await self._listener.accept()]
        return self._streams[-2], self._streams[-1]

    async def close(self) -> None:
        """Close all ends."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def wire(seconds: float = 0.0, *, most: int = 64 << 20) -> AsyncIterator[Wire]:
    """A proxy in this process."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = DelayProxy("127.0.0.1", listener.socket.getsockname()[1], seconds, most=most)
    with trio.fail_after(PATIENCE):
        async with listener, trio.open_nursery() as nursery:
            await nursery.start(proxy.serve)
            it = Wire(proxy, listener)
            yield it
            await it.close()
            nursery.cancel_scope.cancel()
    assert proxy.open_connections == 0


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < count:
        data = await stream.receive_some(count - len(found))
        assert data, found
        found += data
    return found


async def test_each_way_takes_its_time() -> None:
    async with wire(0.1) as it:
        client, target = await it.connect()
        for _ in range(3):
            before = trio.current_time()
            await client.send_all(b"ping")
            assert await exactly(target, 4) == b"ping"
            there = trio.current_time()
            await target.send_all(b"pong")
            assert await exactly(client, 4) == b"pong"
            assert there - before >= 0.1
            assert trio.current_time() - there >= 0.1
        assert (it.proxy.up, it.proxy.down) == (12, 12)


async def test_bytes_arrive_whole_both_ways_at_once() -> None:
    size = 30_000_000
    async with wire(0.05) as it:
        client, target = await it.connect()

        async def send(stream: trio.SocketStream) -> None:
            for piece in pieces(size):
                await stream.send_all(piece)
            await stream.send_eof()

        async def read(stream: trio.SocketStream) -> None:
            found = hashlib.sha256()
            async for data in stream:
                found.update(data)
            assert found.hexdigest() == content_hash(size)

        async with trio.open_nursery() as nursery:
            for stream in (client, target):
                nursery.start_soon(send, stream)
                nursery.start_soon(read, stream)
        assert (it.proxy.up, it.proxy.down, it.proxy.under_way) == (size, size, 0)


async def test_a_side_that_ends_leaves_the_other_open() -> None:
    async with wire(0.01) as it:
        client, target = await it.connect()
        await client.send_all(b"last")
        await client.send_eof()
        assert b"".join([bytes(data) async for data in target]) == b"last"
        await target.send_all(b"still here")
        assert await exactly(client, 10) == b"still here"
        await target.aclose()
        assert await client.receive_some() == b""


async def test_frozen_nothing_moves() -> None:
    async with wire(0.01) as it:
        client, target = await it.connect()
        await client.send_all(b"before")
        await exactly(target, 6)
        it.proxy.freeze()
        await client.send_all(b"during")
        await target.send_all(b"too")
        with trio.move_on_after(0.2) as waiting:
            await target.receive_some()
        assert waiting.cancelled_caught
        assert (it.proxy.up, it.proxy.down, it.proxy.open_connections) == (6, 0, 1)
        it.proxy.thaw()
        assert await exactly(target, 6) == b"during"
        assert await exactly(client, 3) == b"too"


async def test_frozen_in_the_middle_of_a_write() -> None:
    async with wire() as it:
        client, target = await it.connect()
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await client.send_all(bytes(80 << 20))

            nursery.start_soon(flood)
            await exactly(target, 1 << 20)
            it.proxy.freeze()
            frozen = it.proxy.up
            while True:  # what the kernel has of it
                with trio.move_on_after(0.2) as waiting:
                    await target.receive_some(1 << 20)
                if waiting.cancelled_caught:
                    break
            assert it.proxy.up == frozen
            it.proxy.cut()


async def test_a_reader_that_stops_is_waited_for() -> None:
    async with wire(most=1 << 20) as it:
        client, target = await it.connect()
        sent = 0
        while True:
            with trio.move_on_after(0.3) as waiting:
                sent += await client.socket.send(bytes(1 << 16))
            if waiting.cancelled_caught:
                break
        assert it.proxy.under_way < 2 << 20
        assert await exactly(target, sent) == bytes(sent)


@pytest.mark.parametrize("who", ["proxy", "client", "target"])
async def test_a_cut_resets_both_sides(who: str) -> None:
    async with wire() as it:
        client, target = await it.connect()
        await client.send_all(b"x")
        await exactly(target, 1)
        if who == "proxy":
            it.proxy.cut()
        else:
            stream = client if who == "client" else target
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        for stream in {"proxy": (client, target), "client": (target,), "target": (client,)}[who]:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_refusing() -> None:
    async with wire() as it:
        it.proxy.refusing = True
        async with await trio.open_tcp_stream(*it.proxy.address) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        it.proxy.refusing = False
        client, target = await it.connect()
        await client.send_all(b"x")
        assert await exactly(target, 1) == b"x"


async def test_as_a_program() -> None:
    root = Path(__file__).parents[2]
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    target = f"127.0.0.1:{listener.socket.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.support.delay_proxy", "127.0.0.1:0", target, "10"]
    with trio.fail_after(PATIENCE):
        async with listener:
            process = await trio.lowlevel.open_process(command, cwd=root, stdin=PIPE, stdout=PIPE)
            assert process.stdin is not None
            assert process.stdout is not None
            async with process.stdin, process.stdout:
                try:
                    host, _, port = (await process.stdout.receive_some()).decode().strip().partition(":")
                    async with await trio.open_tcp_stream(host, int(port)) as client, await listener.accept() as end:
                        await client.send_all(b"hello")
                        assert await exactly(end, 5) == b"hello"
                        await process.stdin.send_all(b"count\n")
                        assert await process.stdout.receive_some() == b"up=5 down=0 open=1 under_way=0\n"
                        await process.stdin.send_all(b"cut\n")
                        assert await process.stdout.receive_some() == b"ok\n"
                        with pytest.raises(trio.BrokenResourceError):
                            await client.receive_some()
                finally:
                    process.kill()
                    await process.wait()
