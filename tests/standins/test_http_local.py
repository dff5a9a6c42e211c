"""The local stand-in against clients that are not ours: httpx, trio-websocket, raw sockets."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, wrap_client_stream

from tests.standins.content import PIECE, content, content_hash, pieces
from tests.standins.http_local import HttpLocal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_websocket import WebSocketConnection

PATIENCE = 30.0  # seconds until a test gives up waiting
UPGRADE = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"


@asynccontextmanager
async def running() -> AsyncIterator[tuple[HttpLocal, httpx.AsyncClient]]:
    """The stand-in, and a client of it."""
    local = HttpLocal()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(local.serve)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as client:
                yield local, client
            nursery.cancel_scope.cancel()
    assert not local.violations


async def connect(local: HttpLocal, data: bytes) -> trio.SocketStream:
    """A raw connection that has sent ``data``."""
    stream = await trio.open_tcp_stream("127.0.0.1", local.port)
    await stream.send_all(data)
    return stream


async def until(stream: trio.SocketStream, marker: bytes) -> bytes:
    """What comes up to a marker, and perhaps more."""
    found = b""
    while marker not in found:
        data = await stream.receive_some()
        assert data, found
        found += data
    return found


async def head(stream: trio.SocketStream) -> bytes:
    """What comes up to the end of a head, and perhaps more."""
    return await until(stream, b"\r\n\r\n")


async def rest(stream: trio.SocketStream) -> bytes:
    """What comes up to the end."""
    return b"".join([bytes(data) async for data in stream])


async def send(stream: trio.SocketStream, size: int) -> None:
    """Send the content."""
    for piece in pieces(size):
        await stream.send_all(piece)


async def slowly(size: int) -> AsyncIterator[bytes]:
    """The content, as a body that httpx sends."""
    for piece in pieces(size):
        yield bytes(piece)


def test_content_is_the_same_whatever_the_pieces() -> None:
    size = 9_000_001  # more than two periods
    whole = content(size)
    assert len(whole) == size
    assert whole == b"".join(pieces(size, most=16384))
    assert hashlib.sha256(whole).hexdigest() == content_hash(size)
    assert content(1000, seed=1) != content(1000)
    at = [whole[start : start + 16384] for start in range(0, size - 16384, 16384)]
    assert len(set(at)) == len(at), "two pieces look alike: one in the other's place would not be seen"
    assert max(len(piece) for piece in pieces(size)) == PIECE


@pytest.mark.parametrize("chunked", ["", "?chunked=1", "?chunked=1&piece=7"])
@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 300_001])
async def test_bodies(size: int, chunked: str) -> None:
    async with running() as (local, client):
        answer = await client.get(f"/bytes/{size}{chunked}")
        assert hashlib.sha256(answer.content).hexdigest() == content_hash(size)
        assert answer.headers.get("content-length") == (None if chunked else str(size))
        await local.wait_until(lambda: not local.open)
        assert [(visit.sent, visit.end) for visit in local.visits] == [(size, "whole")]


async def test_large_bodies_both_ways_at_once() -> None:
    size = 50_000_000

    async with running() as (local, client), trio.open_nursery() as nursery:

        async def upload(headers: dict[str, str]) -> None:
            seen = (await client.post("/hash", content=slowly(size), headers=headers)).json()
            assert (seen["received"], seen["sha256"]) == (size, content_hash(size))

        nursery.start_soon(upload, {"content-length": str(size)})
        nursery.start_soon(upload, {})
        async with await connect(local, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size) as raw:
            nursery.start_soon(send, raw, size)
            data = (await head(raw)).partition(b"\r\n\r\n")[2]
            found, left = hashlib.sha256(data), size - len(data)
            while left:
                data = await raw.receive_some()
                left -= len(data)
                found.update(data)
        assert found.hexdigest() == content_hash(size)


@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_a_chunked_body_is_given_back_chunked(size: int) -> None:
    async with running() as (_, client):
        answer = await client.post("/echo", content=slowly(size))
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.content == content(size)


async def test_heads() -> None:
    async with running() as (local, client):
        assert (await client.head("/bytes/1000")).headers["content-length"] == "1000"
        cookies = await client.get("/cookies")
        assert len(cookies.headers.get_list("set-cookie")) == 2
        assert cookies.headers.get_list("x-thrice") == ["a", "b, c", "d"]
        for status in (200, 204, 304, 404, 500):
            assert (await client.get(f"/status/{status}?hints=2")).status_code == status
        assert (await client.get("/redirect?to=/hash")).headers["location"] == "/hash"
        assert [visit.target for visit in local.visits if "/hash" in visit.path] == []
        early = await client.post("/early", content=b"x" * 1000)
        await local.wait_until(lambda: not local.open)
        assert (early.status_code, local.visits[-1].received) == (413, 1000)
        assert (await client.get("/__state")).json()["open"] == 1  # this one
        assert (await client.get("/global/health")).json()["healthy"] is True


async def test_the_hints_are_on_the_wire() -> None:
    async with (
        running() as (local, _),
        await connect(local, b"GET /status/204?hints=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as stream,
    ):
        found = await rest(stream)
        assert found.count(b"HTTP/1.1 103 ") == 2
        assert b"HTTP/1.1 204 " in found
        assert b"content-length" not in found
        assert b"transfer-encoding" not in found


async def test_a_password() -> None:
    local = HttpLocal("secret")
    async with trio.open_nursery() as nursery:
        url = await nursery.start(local.serve)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get("/hash")).status_code == 401
            assert (await client.get("/hash", auth=("opencode", "secret"))).status_code == 200
        nursery.cancel_scope.cancel()


async def test_events_come_on_command() -> None:
    async with running() as (local, client):
        async with await connect(local, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") as stream:
            assert (await until(stream, b": open\n\n\r\n")).endswith(b"\r\n\r\n8\r\n: open\n\n\r\n")
            assert local.event("one") == 1
            assert await until(stream, b"\n\n\r\n") == b"b\r\ndata: one\n\n\r\n"
            assert (await client.post("/__event", content=b"two")).json() == {"streams": 1}
            assert await until(stream, b"\n\n\r\n") == b"b\r\ndata: two\n\n\r\n"
        await local.wait_until(lambda: local.left)
        assert [visit.target for visit in local.left] == ["/events"]
        assert local.event("three") == 0


@pytest.mark.parametrize("target", ["/never", "/gate/shut"])
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_leaves_is_seen(target: str, way: str) -> None:
    async with running() as (local, _):
        stream = await connect(local, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await local.wait_until(lambda: local.open)
        if way == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await local.wait_until(lambda: local.left)
        assert local.left[0].ended is not None
        assert not local.open


async def test_gates_open() -> None:
    async with running() as (local, client), trio.open_nursery() as nursery:

        async def at_the_gate() -> None:
            assert (await client.get("/gate/one")).status_code == 200

        async def unread() -> None:
            assert (await client.post("/unread/two", content=content(5_000_000))).json()["received"] == 5_000_000

        nursery.start_soon(at_the_gate)
        nursery.start_soon(unread)
        await local.wait_until(lambda: len(local.open) == 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert [visit.received for visit in local.visits] == [0, 0]
        local.release("one")
        await client.post("/__release/two")


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_that_break(how: str, *, chunked: bool) -> None:
    async with running() as (local, client):
        async with client.stream("GET", f"/break/100000/50000?how={how}&chunked={int(chunked)}") as answer:
            data, found = answer.aiter_raw(), b""
            while len(found) < 50_000:
                found += await anext(data)
            assert found == content(50_000)
            with pytest.raises(httpx.HTTPError):
                await anext(data)
        with pytest.raises(httpx.HTTPError):
            await client.get(f"/break/1/-1?how={how}")
        await local.wait_until(lambda: not local.open)
        assert [visit.end for visit in local.visits] == ["broken", "broken"]


async def test_what_is_no_http_is_written_down() -> None:
    bad = b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n"
    async with running() as (local, _), await connect(local, bad) as stream:
        assert await stream.receive_some() == b""
        await local.wait_until(lambda: local.violations)
        local.violations.clear()


@asynccontextmanager
async def socket_of(local: HttpLocal, target: str) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket that offers two subprotocols."""
    async with await trio.open_tcp_stream("127.0.0.1", local.port) as stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, "127.0.0.1", target, subprotocols=["a", "b"])
        yield socket
        await socket.aclose()


async def test_a_websocket_gives_back() -> None:
    async with running() as (local, _):
        async with socket_of(local, "/ws") as ws:
            assert ws.subprotocol == "a"
            for message in ("text", b"binary", "", b"", "ä" * 40_000, content(100_000)):
                await ws.send_message(message)
                assert await ws.get_message() == message
            await ws.ping(b"hello")
            await ws.aclose(4001)
        await local.wait_until(lambda: local.visits[0].end)
        assert (local.visits[0].end, local.visits[0].close_code) == ("whole", 4001)


async def test_frames_stay_what_they_were() -> None:
    async with running() as (local, _), await connect(local, UPGRADE % b"/ws") as stream:
        assert (await head(stream)).startswith(b"HTTP/1.1 101 ")
        mask = b"\0\0\0\0"
        parts = (
            b"\x01\x82" + mask + b"ab",
            b"\x00\x80" + mask,
            b"\x89\x81" + mask + b"p",
            b"\x80\x81" + mask + b"c",
        )
        found = b""
        for part in parts:
            for index in range(len(part)):
                await stream.send_all(part[index : index + 1])
        expected = b"\x01\x02ab" + b"\x00\x00" + b"\x8a\x01p" + b"\x80\x01c"
        while len(found) < len(expected):
            found += await stream.receive_some()
        assert found == expected
        # A reserved bit: what came before it is answered, then it is over with 1002.
        await stream.send_all(b"\x81\x81" + mask + b"x" + b"\xc1\x80" + mask)
        assert re.match(b"\x81\x01x\x88.\x03\xea", await rest(stream), re.DOTALL)


async def test_websockets_that_end() -> None:
    async with running() as (local, _):
        async with socket_of(local, "/ws/bytes/100000?piece=1000") as ws:
            assert b"".join([await ws.get_message() for _ in range(100)]) == content(100_000)  # type: ignore[misc]
            with pytest.raises(ConnectionClosed):
                await ws.get_message()
            assert ws.closed is not None
            assert ws.closed.code == 1000
        async with socket_of(local, "/ws/bytes/100000000") as ws:
            await ws.get_message()
            await ws.aclose(4000)
        await local.wait_until(lambda: not local.open)
        assert local.visits[-1].close_code == 4000
        async with await connect(local, UPGRADE % b"/ws/bytes/100000000") as stream:
            await head(stream)
        await local.wait_until(lambda: not local.open)
        assert local.visits[-1].end == "left"
        async with socket_of(local, "/ws/close/4009?reason=enough") as ws:
            with pytest.raises(ConnectionClosed):
                await ws.get_message()
            assert ws.closed is not None
            assert (ws.closed.code, ws.closed.reason) == (4009, "enough")
        async with socket_of(local, "/ws/cut") as ws:
            await ws.send_message("x")
            with pytest.raises(ConnectionClosed):
                await ws.get_message()
            assert ws.closed is not None
            assert ws.closed.code == 1006
        async with await connect(local, UPGRADE % b"/ws") as stream:
            await head(stream)
        await local.wait_until(lambda: local.visits[-1].end == "left")


async def test_half_closed() -> None:
    async with running() as (local, _):
        async with await connect(local, UPGRADE % b"/half/client" + b"behind") as stream:
            assert (await head(stream)).partition(b"\r\n\r\n")[0].startswith(b"HTTP/1.1 101 ")
            await stream.send_all(b"more")
            await stream.send_eof()
            assert (await rest(stream)).endswith(b"10 bytes")
        async with await connect(local, UPGRADE % b"/half/server") as stream:
            assert (await head(stream) + await rest(stream)).endswith(b"\r\n\r\nhello")
            await stream.send_all(b"still here")
            await stream.send_eof()
            await local.wait_until(lambda: not local.open)
            assert local.visits[-1].sha256 == hashlib.sha256(b"still here").hexdigest()
