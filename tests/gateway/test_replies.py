"""What the gateway says itself: 100 Continue, and answers of its sites."""

from __future__ import annotations

import pytest

from daemon.gateway.exchange import Reply
from tests.gateway.harness import GET, OK, gateway

# Expect: 100-continue

EXPECTING = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"


@pytest.mark.parametrize("chunked", [True, False])
async def test_100_continue_comes_before_the_body(chunked: bool) -> None:
    async with gateway() as gate:
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 5"
        client, upstream = await gate.conversation(EXPECTING + framing + b"\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello")
        assert await upstream.exactly(5) == (b"5\r\nhe" if chunked else b"hello")
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"


async def test_no_100_continue_for_who_does_not_wait_for_it() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(EXPECTING + b"Content-Length: 5\r\n\r\nhello")
        assert (await client.response()).body == b"POST /"


async def test_no_100_continue_if_the_site_refuses() -> None:
    async with gateway() as gate:
        gate.site.reply = lambda _: Reply(403, [], b"no")
        client = await gate.client()
        await client.send(EXPECTING + b"Content-Length: 5\r\n\r\n")
        (message,) = await client.responses()
        assert (message.status, message.only("connection")) == (403, b"close")


@pytest.mark.parametrize("size", [11, 10**17])
async def test_no_100_continue_if_the_body_is_too_large(size: int) -> None:
    async with gateway() as gate:
        gate.site.options["body_limit"] = 10
        client = await gate.client()
        await client.send(EXPECTING + b"Content-Length: %d\r\n\r\n" % size)
        (message,) = await client.responses()
        assert (message.status, message.only("connection")) == (413, b"close")
        assert gate.nobody_connects()


# Replies of our own


async def test_replies_keep_the_connection_and_may_be_used_again() -> None:
    """A site may return the same Reply each time: the gateway must not write into it."""
    async with gateway() as gate:
        reply = Reply(200, [(b"x-a", b"1")], b"mine")
        gate.site.reply = lambda _: reply
        client = await gate.client()
        kept = b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
        for request in (GET, kept, kept, GET):
            await client.send(request)
            message = await client.response()
            assert (message.status, message.body) == (200, b"mine")
            assert message.all("connection") == ([b"keep-alive"] if request == kept else [])
            assert len(message.all("date")) == 1
        assert reply.headers == [(b"x-a", b"1")]


async def test_a_reply_to_head_has_the_length_and_no_body() -> None:
    async with gateway() as gate:
        gate.site.reply = lambda _: Reply(200, [], b"mine")
        client = await gate.client()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert (await client.response(b"HEAD")).only("content-length") == b"4"
        assert (await client.response()).body == b"mine"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_without_a_body_declares_none(status: int) -> None:
    async with gateway() as gate:
        gate.site.reply = lambda _: Reply(status, [])
        client = await gate.client()
        await client.send(GET + GET)
        assert [(await client.response()).all("content-length") for _ in range(2)] == [[], []]


async def test_a_reply_skips_a_body_that_is_here() -> None:
    async with gateway() as gate:
        gate.site.reply = lambda request: Reply(200, [], request.target)
        client = await gate.client()
        await client.send(b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + GET)
        assert [(await client.response()).body for _ in range(2)] == [b"/1", b"/"]


async def test_a_reply_does_not_wait_for_a_body_that_is_not_here() -> None:
    async with gateway() as gate:
        gate.site.reply = lambda _: Reply(200, [], b"mine")
        client = await gate.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
        (message,) = await client.responses()
        assert (message.body, message.only("connection")) == (b"mine", b"close")
