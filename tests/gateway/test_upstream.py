"""Upstreams that fail, lie or hang up: before the head the client gets 502, and nothing is answered twice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import trio

from tests.gateway.harness import GET, OK, Gateway, gateway, limit
from tests.gateway.peer import Peer, eventually

if TYPE_CHECKING:
    from daemon.wire.sockets import SocketStream

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
EMPTY_POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

# Before the head


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: a\r\n", b"HTTP/1.1 103 Early\r\n\r\n"])
async def test_an_upstream_that_ends_before_its_head(way: str, said: bytes) -> None:
    """Lesson: a tunnel that died before the first response byte produced an empty 200. It is 502."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(said)
        if said.endswith(b"\r\n\r\n"):
            assert b" 103 " in await client.head()
        upstream.close() if way == "close" else upstream.reset()
        message = await client.response()
        assert (message.status, message.only("connection")) == (502, None)
        assert len(gate.book.failures) == 1
        await client.send(GET)
        await (await gate.accept()).head()


async def test_an_upstream_that_is_not_there() -> None:
    async with gateway() as gate:
        gate.stop_upstream()
        client = await gate.client()
        await client.send(GET + POST)
        assert [(await client.response()).status for _ in range(2)] == [502, 502]
        assert all("cannot connect" in failure for failure in gate.book.failures)


async def test_an_upstream_that_does_not_accept_in_time() -> None:
    async def never() -> SocketStream:
        raise TimeoutError("no connection within 5 s")

    async with gateway(connect=never) as gate:
        client = await gate.client()
        await client.send(GET)
        assert (await client.response()).status == 502


NONSENSE = {
    "nothing like HTTP": b"hello\r\n\r\n",
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "a request": GET,
    "HTTP/2": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n\r\n",
    "no version": b"200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status that is a word": b"HTTP/1.1 abc OK\r\n\r\n",
    "a header without colon": b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
    "a space before a colon": b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
    "a space before a length's colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "an empty name": b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
    "a status there is not": b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
    "a version there is not": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "a length with a plus": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "a length that is a word": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 40_000,
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_an_upstream_that_does_not_speak_http(name: str) -> None:
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await gate.conversation()

        async def send() -> None:
            with contextlib.suppress(OSError):
                await upstream.send(NONSENSE[name])

        nursery.start_soon(send)
        message = await client.response()
        assert message.status == 502
        assert await upstream.ending() in ("eof", "reset")
        assert gate.pool.take_idle() is None


ODD_BUT_READABLE = {
    "folded": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", [(b"x", b"a b")]),
    "bare LF": (b"HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok", [(b"x", b"a")]),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", []),
    "the same length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", []),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", []),
    "a control character": (b"HTTP/1.1 200 OK\r\nX: a\x01\r\nContent-Length: 2\r\n\r\nok", [(b"x", b"a?")]),
    "beyond ASCII": (b"HTTP/1.1 200 \xc3\xa9\r\nX: \xe9\r\nContent-Length: 2\r\n\r\nok", [(b"x", b"\xe9")]),
}


@pytest.mark.parametrize("name", ODD_BUT_READABLE)
async def test_an_odd_answer_becomes_a_regular_one(name: str) -> None:
    """The head is written anew, so that the client never has to guess."""
    data, headers = ODD_BUT_READABLE[name]
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(data)
        message = await client.response()
        assert (message.status, message.body) == (200, b"ok")
        assert message.headers == [*headers, (b"content-length", b"2")]


# Kept connections


async def kept(gate: Gateway) -> tuple[Peer, Peer]:
    """A client and a kept upstream connection that waits for its second request."""
    client, upstream = await gate.conversation()
    await upstream.send(OK)
    await client.response()
    return client, upstream


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
async def test_a_kept_connection_that_closes_as_it_is_used_is_replaced_once(way: str, method: bytes) -> None:
    async with gateway() as gate:
        client, upstream = await kept(gate)
        await client.send(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        await upstream.head()
        upstream.close() if way == "close" else upstream.reset()
        again = await gate.accept()
        assert (await again.request()).first == method
        again.close() if way == "close" else again.reset()
        assert (await client.response(method)).status == 502
        assert gate.nobody_connects()


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("request_bytes", [POST, EMPTY_POST, EMPTY_POST.replace(b"POST", b"DELETE")])
async def test_what_changes_something_is_never_sent_twice(way: str, request_bytes: bytes) -> None:
    async with gateway() as gate:
        client, upstream = await kept(gate)
        await client.send(request_bytes)
        await upstream.request()
        upstream.close() if way == "close" else upstream.reset()
        assert (await client.response()).status == 502
        assert gate.nobody_connects()


async def test_a_get_is_not_repeated_after_the_first_byte_of_its_answer() -> None:
    async with gateway() as gate:
        client, upstream = await kept(gate)
        await client.send(GET)
        await upstream.head()
        await upstream.send(b"H")
        upstream.close()
        assert (await client.response()).status == 502
        assert gate.nobody_connects()


async def test_a_get_with_a_body_is_not_repeated() -> None:
    async with gateway() as gate:
        client, upstream = await kept(gate)
        await client.send(POST.replace(b"POST", b"GET"))
        await upstream.request()
        upstream.close()
        assert (await client.response()).status == 502
        assert gate.nobody_connects()


@pytest.mark.parametrize("request_bytes", [GET, POST])
async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(request_bytes: bytes) -> None:
    async with gateway() as gate:
        client, upstream = await kept(gate)
        upstream.close()
        await client.send(request_bytes)
        again = await gate.accept()
        await again.request()
        await again.send(OK)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize("request_bytes", [GET, POST])
async def test_a_kept_connection_on_which_something_was_said_is_not_used(request_bytes: bytes) -> None:
    """What an upstream says unasked would be the answer to the next request."""
    async with gateway() as gate:
        _, upstream = await kept(gate)
        await upstream.send(OK.replace(b"ok", b"no"))
        other = await gate.client()
        await other.send(request_bytes)
        again = await gate.accept()
        await again.request()
        await again.send(OK)
        assert (await other.response()).body == b"ok"


async def test_a_kept_connection_that_is_too_old_is_not_used() -> None:
    with limit(IDLE_UPSTREAM_SECONDS=0.05):
        async with gateway() as gate:
            client, upstream = await kept(gate)
            await trio.sleep(0.1)
            await client.send(GET)
            await (await gate.accept()).head()
            assert await upstream.ending() == "eof"


async def test_only_so_many_connections_are_kept() -> None:
    with limit(MAX_IDLE_UPSTREAM=3):
        async with gateway() as gate:
            pairs = [await gate.conversation() for _ in range(5)]
            for client, upstream in pairs:
                await upstream.send(OK)
                await client.response()
            endings = [upstream for _, upstream in pairs[:2]]
            for upstream in endings:
                assert await upstream.ending() == "eof"
            assert len(gate.pool._idle) == 3


async def test_a_closed_pool_keeps_nothing_and_exchanges_go_on() -> None:
    async with gateway() as gate:
        first, kept_one = await kept(gate)
        await first.send(GET)
        await kept_one.head()
        _, second = await gate.conversation()
        gate.pool.close()
        await kept_one.send(OK)
        assert (await first.response()).body == b"ok"
        assert await kept_one.ending() == "eof"
        second.close()


async def test_a_connection_is_given_back_only_after_a_whole_request() -> None:
    """An answer that came before the end of the upload leaves the rest of the upload in the pipe."""
    async with gateway() as gate:
        client = await gate.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        upstream = await gate.accept()
        await upstream.head()
        await upstream.send(OK)
        await client.response()
        await upstream.ending()
        await eventually(lambda: not gate.pool._idle)
