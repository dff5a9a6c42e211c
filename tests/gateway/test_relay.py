"""What passes through the relay: heads both ways, connections kept, answers in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from daemon.gateway import limits
from daemon.gateway.exchange import Request
from tests.gateway import strict
from tests.gateway.harness import GET, OK, gateway
from tests.gateway.peer import eventually
from tests.gateway.strict import statuses

if TYPE_CHECKING:
    from protocol.messages import ResponseHead


def answer(*headers: bytes, body: bytes = b"ok", status: bytes = b"200 OK") -> bytes:
    """A response with a declared length."""
    lines = (b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body))
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


# Connections


async def test_both_connections_are_kept_and_used_again() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        for _ in range(3):
            await upstream.send(OK)
            assert (await client.response()).body == b"ok"
            await client.send(GET)
            await upstream.head()
        await upstream.send(OK)
        assert (await client.response()).only("connection") is None
        assert gate.nobody_connects()


async def test_an_upstream_connection_is_used_again_for_another_client() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(OK)
        await client.response()
        second = await gate.client()
        await second.send(GET)
        await upstream.head()
        await upstream.send(OK)
        assert (await second.response()).body == b"ok"
        assert gate.nobody_connects()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        count = 50
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(count)))
        for number in range(count):
            assert (await client.response()).body == b"GET /%d" % number


async def test_pipelined_requests_byte_by_byte() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.drip(b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        await client.drip(b"POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        await client.drip(b"GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert [message.body for message in await client.responses()] == [b"POST /1", b"POST /2", b"GET /3"]
        assert [message.body for message in gate.origin.seen] == [b"hello", b"hello", b""]


async def test_the_next_request_waits_until_the_answer_is_whole() -> None:
    """Back-pressure for pipelining: what the client sent ahead stays in its socket."""
    async with gateway() as gate:
        client, upstream = await gate.conversation(GET + b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        assert await upstream.silent()
        await upstream.send(b"k")
        assert (await upstream.request()).second == b"/2"
        await upstream.send(OK)
        assert [(await client.response()).body, (await client.response()).body] == [b"ok", b"ok"]


@pytest.mark.parametrize("line", [b"close", b"CLOSE", b"x, close"])
async def test_the_client_asks_to_close(line: bytes) -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: " + line + b"\r\n\r\n" + GET)
        (message,) = await client.responses()
        assert message.only("connection") == b"close"


async def test_an_upstream_that_closes_does_not_close_the_client() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(answer(b"Connection: close"))
        upstream.close()
        message = await client.response()
        assert message.only("connection") is None
        await client.send(GET)
        again = await gate.accept()
        await again.head()
        await again.send(OK)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n"])
async def test_http10_is_kept_only_if_asked(connection: bytes) -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(b"GET / HTTP/1.0\r\nHost: x\r\n" + connection + b"\r\n" + GET)
        client.send_eof()
        messages = await client.responses()
        assert statuses(messages) == ([200, 200] if connection else [200])
        assert messages[0].only("connection") == (b"keep-alive" if connection else b"close")


# Heads


async def test_what_reaches_the_upstream() -> None:
    """Lessons: hop-by-hop headers were forwarded, Host was not; only the first value of a repeated header survived."""
    async with gateway() as gate:
        client = await gate.client()
        await client.send(
            b"POST /a?b=c HTTP/1.1\r\nHOST: X:80\r\nX-A: 1\r\nCookie: a=b\r\nX-Named: secret\r\nx-a: 2\r\n"
            b"Connection: x-named, keep-alive\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n"
            b"TE: trailers\r\nTrailer: x\r\nExpect: 100-continue\r\nUpgrade: h2c\r\nCookie: c=d\r\n"
            b"X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nVia: 1.1 x\r\n"
            b"Content-Length: 5\r\n\r\nhello"
        )
        upstream = await gate.accept()
        message = await upstream.request()
        assert (message.first, message.second, message.body) == (b"POST", b"/a?b=c", b"hello")
        assert message.headers == [
            (b"host", b"X:80"),
            (b"x-a", b"1"),
            (b"cookie", b"a=b"),
            (b"x-a", b"2"),
            (b"cookie", b"c=d"),
            (b"content-length", b"5"),
        ]


@pytest.mark.parametrize("whole", [True, False], ids=["plain", "by h11"])
async def test_what_reaches_the_client(whole: bool) -> None:
    """Lesson: Set-Cookie was lost. In one segment the head takes the short way, else the long one."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        data = (
            b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=b\r\nX-A: 1\r\nServer: x\r\nSet-Cookie: c=d\r\n"
            b"Keep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nContent-Length: 2\r\nX-Empty:\r\nx-a: 2\r\n\r\nok"
        )
        if whole:
            await upstream.send(data)
        else:
            await upstream.drip(data)
        message = await client.response()
        assert (message.first, message.second, message.body) == (b"200", b"Fine", b"ok")
        assert message.headers == [
            (b"set-cookie", b"a=b"),
            (b"x-a", b"1"),
            (b"server", b"x"),
            (b"set-cookie", b"c=d"),
            (b"x-empty", b""),
            (b"x-a", b"2"),
            (b"content-length", b"2"),
        ]


async def test_headers_named_by_the_upstreams_connection_stay_behind() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(answer(b"Connection: X-Named, keep-alive", b"x-named: 1", b"X-Other: 2"))
        assert (await client.response()).headers == [(b"x-other", b"2"), (b"content-length", b"2")]


async def test_host_cannot_be_named_by_connection() -> None:
    """Otherwise a client makes the gateway send a request without Host."""
    async with gateway() as gate:
        client = await gate.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: host, Host\r\n\r\n")
        upstream = await gate.accept()
        assert (await upstream.request()).all("host") == [b"x"]


async def test_rewrite_sees_the_final_head_once() -> None:
    async with gateway() as gate:
        seen: list[int] = []

        def rewrite(head: ResponseHead) -> ResponseHead:
            seen.append(head.status)
            head.headers.append((b"x-rewritten", b"yes"))
            return head

        gate.site.options["rewrite"] = rewrite
        client, upstream = await gate.conversation()
        await upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK)
        message, before = await strict.read_response(client)
        assert seen == [200]
        assert message.only("x-rewritten") == b"yes"
        assert [early.only("x-rewritten") for early in before] == [None]


# Answers without a body


@pytest.mark.parametrize("length", [b"Content-Length: 5000\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
async def test_head_has_no_body_whatever_is_declared(length: bytes) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        await upstream.send(b"HTTP/1.1 200 OK\r\nX: a\r\n" + length + b"\r\n")
        message = await client.response(b"HEAD")
        assert message.all("content-length") == ([b"5000"] if b"5000" in length else [])
        await client.send(GET)
        upstream = await gate.accept()  # a server that sends a body all the same must not answer this with it
        await upstream.head()
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n"])
@pytest.mark.parametrize("plain", [True, False])
async def test_204_and_304_have_no_body(status: bytes, length: bytes, plain: bool) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        extra = b"" if plain else b"Connection: x\r\n"
        await upstream.send(b"HTTP/1.1 " + status + b"\r\n" + length + extra + b"\r\n")
        message = await client.response()
        declared = length.strip().rpartition(b" ")[2]
        assert message.all("content-length") == ([declared] if length and status.startswith(b"304") else [])
        await client.send(GET)
        await upstream.head()
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "by h11"])
@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", b"200 OK"), (b"GET", b"204 No Content"), (b"GET", b"304 Not Modified")]
)
async def test_a_body_where_none_may_be_spoils_the_upstream_connection(
    method: bytes, status: bytes, plain: bool
) -> None:
    """Otherwise the surplus is the next answer, for another client."""
    async with gateway() as gate:
        client, upstream = await gate.conversation(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        extra = b"" if plain else b"Connection: x\r\n"
        await upstream.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n" + extra + b"\r\nhello")
        await client.response(method)
        await client.send(GET)
        again = await gate.accept()
        await again.head()
        await again.send(OK)
        assert (await client.response()).body == b"ok"
        assert await upstream.ending() in ("eof", "reset")


# 1xx


async def test_early_hints_pass_and_100_does_not() -> None:
    """100 is the gateway's to say."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nConnection: x-a\r\nX-A: 1\r\n\r\n"
        await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + early + b"HTTP/1.1 102 Processing\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n"
        assert await client.head() == b"HTTP/1.1 102 Processing\r\n\r\n"
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"


async def test_a_1xx_answer_sets_no_cookies() -> None:
    """The site filters the final head only."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        early = b'Set-Cookie: a=b; Domain=x\r\nClear-Site-Data: "*"\r\nLink: </a>\r\n'
        await upstream.send(b"HTTP/1.1 103 Early Hints\r\n" + early + b"\r\n" + OK)
        assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        assert (await client.response()).body == b"ok"


async def test_1xx_is_not_for_http10() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        await upstream.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize(("count", "status"), [(limits.MAX_INFORMATIONAL, 200), (limits.MAX_INFORMATIONAL + 1, 502)])
@pytest.mark.parametrize("kind", [b"100 Continue", b"103 Early Hints"])
async def test_as_many_1xx_as_may_be(count: int, status: int, kind: bytes) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send((b"HTTP/1.1 " + kind + b"\r\n\r\n") * count + OK)
        message, before = await strict.read_response(client)
        assert message.status == status
        assert len(before) <= limits.MAX_INFORMATIONAL + 1


# What is told


async def test_what_the_site_is_told() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(b"GET http://X:80/a?b HTTP/1.1\r\nHost: x:80\r\nA: 1\r\nA: 2\r\nConnection: close\r\n\r\n")
        await client.responses()
        (request,) = gate.site.requests
        assert isinstance(request, Request)
        assert (request.host, request.target, request.path, request.query) == ("x", b"/a?b", b"/a", b"b")
        assert (request.client_ip, request.local_address, request.client_scheme) == ("127.0.0.1", "127.0.0.1", "http")
        assert (request.get(b"a"), request.get_all(b"a"), request.get(b"b")) == (b"1", [b"1", b"2"], None)


async def test_the_ledger_hears_of_every_request() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(GET + b"GET\r\n\r\n")
        await client.responses()
        assert gate.book.answers == [("test", 200)]
        assert gate.book.codes == ["malformed_request"]


async def test_bytes_are_counted_and_shown() -> None:
    async with gateway() as gate:
        up: list[int] = []
        down: list[int] = []
        shown: list[bytes] = []
        gate.site.options |= {"on_up_bytes": up.append, "on_down_bytes": down.append, "on_down_data": shown.append}
        client, upstream = await gate.conversation(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await client.until(b"abc\r\n")
        await upstream.send(b"2\r\nde\r\n0\r\n\r\n")
        await client.until(b"0\r\n\r\n")
        assert (sum(up), sum(down), b"".join(shown)) == (5, 5, b"abcde")


async def test_trailers_are_dropped_both_ways() -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;a=b\r\nhello\r\n0\r\nX-T: a\r\n\r\n"
        )
        upstream = await gate.accept()
        message = await upstream.request()
        assert (message.body, message.only("x-t"), message.only("trailer")) == (b"hello", None, None)
        await upstream.send(
            b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\nX-T: a\r\n\r\n"
        )
        answered = await client.response()
        assert (answered.body, answered.only("trailer"), bytes(client.buffer)) == (b"ok", None, b"")
        await client.send(GET)
        await upstream.head()
        assert gate.nobody_connects()


async def test_many_clients_at_once() -> None:
    async with gateway(origin=True) as gate, trio.open_nursery() as nursery:

        async def visit(number: int) -> None:
            client = await gate.client()
            for turn in range(5):
                await client.send(b"GET /%d/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (number, turn))
                assert (await client.response()).body == b"GET /%d/%d" % (number, turn)
            client.close()

        for number in range(40):
            nursery.start_soon(visit, number)
        await eventually(lambda: len(nursery.child_tasks) == 0)
