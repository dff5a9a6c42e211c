"""Bodies that break off, answers that come too early or too long, bodies over their limit."""

from __future__ import annotations

import contextlib

import pytest
import trio

from tests.gateway.harness import GET, OK, gateway
from tests.gateway.peer import SOON, Peer, eventually
from tests.gateway.wire import chunked, response, upload

# Broken


PARTS = {
    "length": response(10) + b"hello",
    "length, nothing yet": response(10),
    "length, by h11": response(10).replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") + b"hello",
    "large, spliced": response(1 << 30) + bytes(1 << 20),
    "chunked": response(None) + b"5\r\nhello\r\n",
    "chunked, nothing yet": response(None),
    "chunked, in a chunk": response(None) + b"5\r\nhel",
    "chunked, before the last line": response(None) + b"5\r\nhello\r\n0\r\n",
    "chunked, in trailers": response(None) + b"0\r\nX: a\r\n",
    "chunked, then nonsense": response(None) + b"5\r\nhello\r\nx\r\n",
}


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("kind", ["close", "reset"])
@pytest.mark.parametrize("part", PARTS)
async def test_an_answer_that_breaks_off_is_seen_to_break(part: str, kind: str, version: bytes) -> None:
    """Lesson: a tunnel that died in the middle looked like a complete body."""
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await gate.conversation(b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n")
        received: list[bytes] = []

        async def read() -> None:
            try:
                while data := await client.socket.recv(1 << 16):
                    received.append(data)
                received.append(b"<end>")
            except ConnectionResetError:
                received.append(b"<reset>")

        nursery.start_soon(read)
        await upstream.send(PARTS[part])
        if kind == "reset":
            await eventually(lambda: bool(received))  # a reset overtakes what was sent before it
            upstream.reset()
        else:
            upstream.close()
        await eventually(lambda: received[-1:] in ([b"<reset>"], [b"<end>"]))
        assert received[-1] == b"<reset>"
        assert not b"".join(received[:-1]).endswith(b"\r\n0\r\n\r\n")
        assert ("answer broke off" in dict(gate.log.events)) or part == "large, spliced"


async def test_an_upstream_reset_until_the_end_is_not_an_end() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(response(None, close=True) + b"hello")
        await client.until(b"hello")
        upstream.reset()
        assert await client.ending() == "reset"


@pytest.mark.parametrize("extra", [b"!", OK, b"\r\n"])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "by h11"])
@pytest.mark.parametrize("apart", [True, False])
async def test_more_than_was_declared_reaches_nobody(extra: bytes, plain: bool, apart: bool) -> None:
    """Otherwise the surplus becomes the answer to the next request, perhaps of another person."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + (b"" if plain else b"Connection: x\r\n") + b"\r\n"
        if apart:
            await upstream.send(head + b"hello")
            assert (await client.response()).body == b"hello"
            await upstream.send(extra)
        else:
            await upstream.send(head + b"hello" + extra)
            assert (await client.response()).body == b"hello"
        other = await gate.client()
        await other.send(GET)
        again = await gate.accept()
        await again.head()
        await again.send(OK)
        assert (await other.response()).body == b"ok"


async def test_more_than_was_chunked_reaches_nobody() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(response(None) + chunked(b"hello") + OK)
        assert (await client.response()).body == b"hello"
        await client.send(GET)
        await (await gate.accept()).head()


# The answer comes first


async def upload_until_refused(client: Peer, piece: bytes) -> None:
    with contextlib.suppress(OSError, trio.ClosedResourceError):  # or the test has closed it meanwhile
        while True:
            await client.socket.send(piece)


@pytest.mark.parametrize("length", [None, 1 << 30, 100_000])
@pytest.mark.parametrize("reads", [True, False])
async def test_an_answer_before_the_end_of_the_upload_reaches_the_client(length: int | None, reads: bool) -> None:
    async with gateway() as gate, trio.open_nursery() as nursery:
        client = await gate.client()
        await client.send(upload(length))
        upstream = await gate.accept()
        await upstream.head()
        piece = bytes(1000) if length else b"3e8\r\n" + bytes(1000) + b"\r\n"
        if length is None or length > 1 << 20:
            nursery.start_soon(upload_until_refused, client, piece)
        else:
            await client.send(piece)
        if reads:
            await upstream.exactly(1000)
        await upstream.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        if reads:
            upstream.close()
        message = await client.response()
        assert (message.status, message.body) == (413, b"no")
        client.close()
        assert gate.nobody_connects()


async def test_an_upstream_that_answered_early_is_not_used_again() -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(upload(10) + b"hello")
        upstream = await gate.accept()
        await upstream.head()
        await upstream.send(OK)
        assert (await client.response()).status == 200
        assert await client.ending() == "eof"
        assert await upstream.ending() in ("eof", "reset")


async def test_an_upstream_that_never_reads_is_let_go_with_the_client() -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(upload(1 << 30))
        upstream = await gate.accept()
        await upstream.head()
        await client.flood()
        client.close()
        await upstream.ending(SOON + 2)


# Limits of bodies


async def test_a_chunked_body_over_the_limit_is_refused() -> None:
    async with gateway() as gate:
        gate.site.options["body_limit"] = 10
        client = await gate.client()
        await client.send(upload(None) + b"5\r\nhello\r\n")
        upstream = await gate.accept()
        await upstream.until(b"hello\r\n")
        await client.send(b"6\r\nworld!\r\n")
        (message,) = await client.responses()
        assert (message.status, message.only("connection")) == (413, b"close")
        assert await upstream.ending() in ("eof", "reset")


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
@pytest.mark.parametrize("kind", ["chunked", "length"])
async def test_the_limit_of_a_body_is_exact(size: int, status: int, kind: str) -> None:
    async with gateway(origin=True) as gate:
        gate.site.options["body_limit"] = 10
        client = await gate.client()
        body = bytes(size)
        await client.send((upload(None) + chunked(body)) if kind == "chunked" else (upload(size) + body))
        assert (await client.response()).status == status


async def test_a_refused_body_that_was_here_leaves_the_connection_open() -> None:
    async with gateway(origin=True) as gate:
        gate.site.options["body_limit"] = 4
        client = await gate.client()
        await client.send(upload(5) + b"hello" + GET)
        assert [(await client.response()).status for _ in range(2)] == [413, 200]
