"""Bodies: whole, streamed, slowed by who reads slowly, and broken where they broke."""

from __future__ import annotations

import errno
import hashlib
import random
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import trio
import trio.testing

from daemon.gateway import limits, relay, splicing
from daemon.wire.limits import MAX_HEAD, READ_SIZE
from tests.gateway.harness import GET, OK, gateway, limit, quick
from tests.gateway.peer import MOST_IN_FLIGHT
from tests.gateway.wire import chunked, response, upload

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

SIZES = [
    1,
    READ_SIZE - 1,
    READ_SIZE,
    READ_SIZE + 1,
    limits.SPLICE_FROM - 1,
    limits.SPLICE_FROM,
    limits.SPLICE_FROM + 1,
    limits.SPLICE_FROM + READ_SIZE + MAX_HEAD + 7,
    limits.PIPE_SIZE * 2 + 1,
    20 * 1024 * 1024 + 12_345,
]


@cache
def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def same(one: bytes, other: bytes) -> bool:
    """Whether they are equal, without a difference of 20 MB in the report."""
    return hashlib.sha256(one).digest() == hashlib.sha256(other).digest()


def copying() -> AbstractContextManager[Any]:
    """As on a system without splice(2)."""
    return patch.object(relay, "AVAILABLE", False)


# Whole


@pytest.mark.parametrize("mode", ["splice", "copy"])
@pytest.mark.parametrize("size", SIZES)
async def test_an_upload_of_known_length_is_whole(size: int, mode: str) -> None:
    data = noise(size)
    with copying() if mode == "copy" else nullcontext():
        async with gateway() as gate, trio.open_nursery() as nursery:
            client = await gate.client()
            nursery.start_soon(client.send, upload(size) + data + GET)
            upstream = await gate.accept()
            assert same((await upstream.request()).body, data)
            await upstream.send(OK)
            assert (await client.response()).body == b"ok"
            await upstream.request()


@pytest.mark.parametrize("size", SIZES)
async def test_a_chunked_upload_is_whole(size: int) -> None:
    data = noise(size)
    async with gateway() as gate, trio.open_nursery() as nursery:
        client = await gate.client()
        nursery.start_soon(client.send, upload(None) + chunked(data) + GET)
        upstream = await gate.accept()
        assert same((await upstream.request()).body, data)
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"
        await upstream.request()


@pytest.mark.parametrize("mode", ["splice", "copy"])
@pytest.mark.parametrize("size", SIZES)
async def test_a_download_of_known_length_is_whole(size: int, mode: str) -> None:
    data = noise(size)
    with copying() if mode == "copy" else nullcontext():
        async with gateway() as gate, trio.open_nursery() as nursery:
            client, upstream = await gate.conversation()
            nursery.start_soon(upstream.send, response(size) + data)
            assert same((await client.response()).body, data)
            await client.send(GET)
            await upstream.request()
            assert gate.nobody_connects()


@pytest.mark.parametrize("size", SIZES)
async def test_a_chunked_download_is_whole(size: int) -> None:
    data = noise(size)
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await gate.conversation()
        nursery.start_soon(upstream.send, response(None) + chunked(data))
        assert same((await client.response()).body, data)
        await client.send(GET)
        await upstream.request()
        assert gate.nobody_connects()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("size", [0, *SIZES])
async def test_a_download_until_the_end_is_whole(size: int, version: bytes) -> None:
    """For HTTP/1.1 it becomes chunked, for 1.0 it ends with the connection."""
    data = noise(size)
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await gate.conversation(b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n")

        async def send() -> None:
            await upstream.send(response(None, close=True) + data)
            upstream.close()

        nursery.start_soon(send)
        message = await client.response()
        assert same(message.body, data)
        if version == b"1.1":
            assert message.only("transfer-encoding") == b"chunked"
            await client.send(GET)
            await (await gate.accept()).request()
        else:
            assert (message.only("transfer-encoding"), message.only("connection")) == (None, b"close")


async def test_chunks_for_http10_end_with_the_connection() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation(b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        await upstream.send(response(None) + chunked(b"hello", 2))
        message = await client.response()
        assert (message.body, message.only("connection")) == (b"hello", b"close")
        assert await client.ending() == "eof"


async def test_a_body_byte_by_byte_both_ways() -> None:
    async with gateway() as gate, trio.open_nursery() as nursery:
        client = await gate.client()
        nursery.start_soon(client.drip, upload(None) + chunked(b"hello, upstream", 4))
        upstream = await gate.accept()
        assert (await upstream.request()).body == b"hello, upstream"
        nursery.start_soon(upstream.drip, response(None) + chunked(b"hello, client", 3))
        assert (await client.response()).body == b"hello, client"


@pytest.mark.parametrize(("shown", "used"), [(False, 1), (True, 0)])
async def test_large_bodies_are_spliced_unless_somebody_looks_at_them(shown: bool, used: int) -> None:
    calls: list[int] = []

    async def counting(*args: Any) -> bool:
        calls.append(args[2])
        return await splicing.splice(*args)

    async with gateway() as gate, trio.open_nursery() as nursery:
        seen: list[bytes] = []
        if shown:
            gate.site.options["on_down_data"] = seen.append
        with patch.object(relay, "splice", counting):
            client, upstream = await gate.conversation()
            nursery.start_soon(upstream.send, response(1 << 20) + noise(1 << 20))
            await client.response()
        assert len(calls) == used
        assert not shown or same(b"".join(seen), noise(1 << 20))


async def test_without_a_file_descriptor_for_a_pipe_bodies_are_copied() -> None:
    async with gateway() as gate, trio.open_nursery() as nursery:
        with patch("os.pipe2", side_effect=OSError(errno.EMFILE, "Too many open files")):
            client = await gate.client()
            nursery.start_soon(client.send, upload(1 << 20) + noise(1 << 20))
            upstream = await gate.accept()
            assert same((await upstream.request()).body, noise(1 << 20))
            nursery.start_soon(upstream.send, response(1 << 20) + noise(1 << 20))
            assert same((await client.response()).body, noise(1 << 20))


async def test_bytes_are_counted_when_spliced() -> None:
    up: list[int] = []
    down: list[int] = []
    async with gateway() as gate, trio.open_nursery() as nursery:
        gate.site.options |= {"on_up_bytes": up.append, "on_down_bytes": down.append}
        client = await gate.client()
        nursery.start_soon(client.send, upload(1 << 20) + noise(1 << 20))
        upstream = await gate.accept()
        await upstream.request()
        nursery.start_soon(upstream.send, response(3 << 20) + noise(3 << 20))
        await client.response()
        assert (sum(up), sum(down)) == (1 << 20, 3 << 20)


# As it comes


async def test_events_arrive_one_by_one() -> None:
    """The second event is sent only when the client has the first."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.head()
        for number in range(5):
            event = b"data: %d\n\n" % number
            await upstream.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert await client.until(b"\n\n\r\n") == b"9\r\n" + event + b"\r\n"
        await upstream.send(b"0\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("close", [True, False])
async def test_the_head_comes_before_the_body(close: bool) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(response(5, close=close))
        await client.head()
        await upstream.send(b"he")
        await client.until(b"he")
        await upstream.send(b"llo")
        await client.until(b"llo")
        if close:
            upstream.close()
            await client.until(b"0\r\n\r\n")


async def test_the_upload_arrives_as_it_is_sent() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation(upload(10))
        await client.send(b"hello")
        assert await upstream.exactly(5) == b"hello"
        await client.send(b"world")
        assert await upstream.exactly(5) == b"world"


async def test_both_directions_at_the_same_time() -> None:
    """An upstream that answers while it reads: neither side waits for the other's end."""
    async with gateway() as gate:
        client, upstream = await gate.conversation(upload(None))
        await upstream.send(response(None))
        await client.head()
        for number in range(5):
            piece = b"1\r\n%d\r\n" % number
            await client.send(piece)
            await upstream.send(await upstream.exactly(len(piece)))
            assert await client.exactly(len(piece)) == piece
        await client.send(b"0\r\n\r\n")
        assert await upstream.until(b"\r\n\r\n") == b"0\r\n\r\n"
        await upstream.send(b"0\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"0\r\n\r\n"
        await client.send(GET)
        await upstream.request()
        assert gate.nobody_connects()


# Back-pressure


@pytest.mark.parametrize("length", [None, 1 << 40])
async def test_a_slow_reader_slows_its_upstream_and_nobody_else(length: int | None) -> None:
    """Lessons: a full buffer dropped chunks; one slow reader stalled the others. Memory is bounded by what is taken."""
    async with gateway() as gate:
        client = await gate.client(receive_buffer=4096)
        await client.send(GET)
        upstream = await gate.accept()
        await upstream.head()
        await upstream.send(response(length))
        piece = bytes(65536) if length else b"10000\r\n" + bytes(65536) + b"\r\n"
        assert await upstream.flood(piece) < MOST_IN_FLIGHT
        other = await gate.client()
        await other.send(GET)
        second = await gate.accept()
        await second.head()
        await second.send(OK)
        assert (await other.response()).body == b"ok"


@pytest.mark.parametrize("length", [None, 1 << 40])
async def test_a_slow_upstream_slows_its_client(length: int | None) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(upload(length))
        upstream = await gate.accept()
        await upstream.head()
        piece = bytes(65536) if length else b"10000\r\n" + bytes(65536) + b"\r\n"
        assert await client.flood(piece) < MOST_IN_FLIGHT


async def test_nothing_is_lost_when_a_slow_reader_goes_on() -> None:
    """Lesson: of 200 MB, 174 to 197 arrived, each time with status 200."""
    data = noise(SIZES[-1])
    async with gateway() as gate, trio.open_nursery() as nursery:
        client = await gate.client(receive_buffer=4096)
        await client.send(GET)
        upstream = await gate.accept()
        await upstream.head()
        nursery.start_soon(upstream.send, response(None) + chunked(data))
        await client.head()
        await trio.testing.wait_all_tasks_blocked(0.05)
        client.buffer[:0] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert same((await client.response()).body, data)


async def test_a_slow_upstream_is_not_taken_for_a_silent_client() -> None:
    """Lesson: streams were cut by timeouts meant for something else. The spliced upload waits for the upstream."""
    with limit(BODY_SILENCE_SECONDS=0.1), quick():
        async with gateway() as gate, trio.open_nursery() as nursery:
            client = await gate.client()
            size = 64 << 20
            nursery.start_soon(client.send, upload(size) + bytes(size))
            upstream = await gate.accept()
            await upstream.head()
            await trio.sleep(0.4)  # three times the patience with the client would be over; nothing is waited for here
            assert len(await upstream.exactly(size)) == size
            await upstream.send(OK)
            assert (await client.response()).body == b"ok"


async def test_a_silent_upstream_is_not_taken_for_a_client_that_does_not_read() -> None:
    with limit(WRITE_SECONDS=0.1), quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation()
            size = 1 << 20
            await upstream.send(response(size) + bytes(1000))
            await client.until(bytes(1000))
            await trio.sleep(0.4)  # three times the patience with a client that does not read; this one does
            await upstream.send(bytes(size - 1000))
            await client.exactly(size - 1000)
