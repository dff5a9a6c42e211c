"""Version 2 through the real daemon and our agent: everything that HTTP/1.1 can do arrives as it was."""

from __future__ import annotations

import json
import statistics
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from daemon.agent import requests
from tests.standins.content import content, content_hash, pieces
from tests.support.product import free_port
from tests.tunnel.browser import PATIENCE, Browser, CutShort
from tests.tunnel.harness import AgentHere, agent_here, eventually, http_local, websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from trio_websocket import WebSocketConnection

    from tests.standins.http_local import HttpLocal
    from tests.tunnel.harness import Outside

SIZES = [0, 1, 16383, 16384, 16385, 65536, 30_000_000]


@pytest.fixture
async def browser(outside: Outside, local: HttpLocal) -> AsyncIterator[Browser]:
    """Of a machine that is connected; in the end nothing is left of its streams."""
    joined = await outside.join()
    async with agent_here(outside, joined, local.port) as agent:
        with trio.fail_after(2 * PATIENCE):
            yield await outside.browser(joined.sandbox_id)
        await eventually(lambda: _clean(agent))


def _clean(agent: AgentHere) -> bool:
    return not agent.link.streams and not agent.link.session.streams  # type: ignore[union-attr]


def _seen(reply: Any) -> dict[str, list[str]]:
    """The headers of a request as the local server saw them."""
    found: dict[str, list[str]] = {}
    for name, value in json.loads(reply.body)["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


# Heads


async def test_repeated_headers_survive(browser: Browser) -> None:
    reply = await browser.get("/cookies", [("X-Twice", "a"), ("X-Twice", "b")])
    assert reply.all("set-cookie") == ["first=1; Path=/", "second=2; Path=/"]
    assert reply.all("x-thrice") == ["a", "b, c", "d"]
    assert _seen(await browser.get("/hash", [("X-Twice", "a"), ("X-Twice", "b")]))["x-twice"] == ["a", "b"]


async def test_host_survives_and_what_is_of_one_hop_does_not(browser: Browser) -> None:
    sent = [
        ("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("TE", "trailers"),
        ("Proxy-Authorization", "Basic x"), ("Proxy-Connection", "keep-alive"), ("X-End", "1"),
    ]  # fmt: skip
    seen = _seen(await browser.get("/hash", sent))
    assert seen["host"] == [f"{browser.host}:{browser.port}"]
    assert seen["x-end"] == ["1"]
    assert not seen.keys() & {"connection", "x-hop", "keep-alive", "te", "proxy-authorization", "proxy-connection"}


async def test_what_is_secret_does_not_reach_the_local_server(browser: Browser) -> None:
    cookies = f"{browser.cookie}; theirs=1"
    seen = _seen(await browser.get("/hash?auth_token=x&a=1", [("Cookie", cookies), ("Authorization", "Bearer mine")]))
    assert seen["cookie"] == ["theirs=1"]
    assert "authorization" not in seen


async def test_the_agents_own_password_opens_the_local_server(outside: Outside) -> None:
    joined = await outside.join()
    async with http_local("geheim") as local, trio.open_nursery() as nursery:
        agent = AgentHere()
        assert local.credentials is not None
        await nursery.start(agent.run, joined, local.port, local.credentials.encode())
        await outside.until(joined.sandbox_id, "running")
        browser = await outside.browser(joined.sandbox_id)
        reply = await browser.get("/hash", [("Authorization", "Basic Zm9vOmJhcg==")])
        assert reply.status == 200
        assert _seen(reply)["authorization"] == [local.credentials]
        agent.scope.cancel()


async def test_interim_answers_pass(browser: Browser) -> None:
    assert (await browser.get("/status/200?hints=3")).interim == [103, 103, 103]


async def test_too_many_interim_answers_do_not_cost_the_tunnel(browser: Browser) -> None:
    assert (await browser.get("/status/200?hints=16")).status == 200
    assert len((await browser.get("/status/200?hints=40")).interim) == 16
    assert (await browser.get("/bytes/5")).body == content(5)


async def test_answers_without_a_body(browser: Browser) -> None:
    head = await browser.ask("HEAD", "/bytes/20000")
    assert (head.status, head.all("content-length"), head.body) == (200, ["20000"], b"")
    chunked = await browser.ask("HEAD", "/bytes/20000?chunked=1")
    assert (chunked.status, chunked.body) == (200, b"")
    assert (await browser.get("/status/204")).body == b""
    assert (await browser.get("/status/304")).all("etag") == ['"same"']
    assert (await browser.get("/status/500")).status == 500


async def test_redirects_pass_and_are_not_followed(browser: Browser, local: HttpLocal) -> None:
    async with http_local() as elsewhere:
        reply = await browser.get(f"/redirect?to={elsewhere.url}/hash")
        assert (reply.status, reply.all("location")) == (302, [f"{elsewhere.url}/hash"])
        assert not elsewhere.visits


async def test_targets_lead_to_the_local_server_only(outside: Outside, browser: Browser, local: HttpLocal) -> None:
    async with http_local() as evil:
        for target in (
            f"/@127.0.0.1:{evil.port}/hash", f"//127.0.0.1:{evil.port}/hash", f"/..//127.0.0.1:{evil.port}/",
            f"/{evil.url}/hash", "/%0d%0aHost:%20evil", "/\\evil", "/a?b=http://evil/#", "/?", "/a;b=c//../d",
        ):  # fmt: skip
            await browser.get(target)
            assert local.visits[-1].target == target
        # The form that proxies are asked in is answered before the tunnel, whatever host it names.
        before = len(local.visits)
        for target in (f"{evil.url}/hash", f"http://{browser.host}:{browser.port}@127.0.0.1:{evil.port}/hash"):
            assert (await browser.get(target)).status in (400, 421)
        assert (len(local.visits), len(evil.visits)) == (before, 0)


async def test_a_large_head_costs_its_own_request_only(browser: Browser) -> None:
    reply = await browser.get("/hash", [("X-Large", '"' * 15000), ("X-Larger", "\\" * 12000)])
    assert _seen(reply)["x-large"] == ['"' * 15000]


# Bodies


@pytest.mark.parametrize("how", ["", "?chunked=1"])
async def test_bodies_down(browser: Browser, how: str) -> None:
    for size in SIZES:
        async with browser.call("GET", f"/bytes/{size}{how}") as call:
            await call.end()
            assert await call.head() == 200
            assert (await call.drain(), call.received) == (content_hash(size), size)


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
async def test_bodies_up(browser: Browser, framing: str, local: HttpLocal) -> None:
    for size in SIZES:
        value = str(size) if framing == "Content-Length" else "chunked"
        async with browser.call("POST", "/hash", [(framing, value)]) as call:
            await call.send(pieces(size))
            await call.end()
            assert await call.head() == 200
            seen = json.loads(await call.rest())
        assert (seen["received"], seen["sha256"]) == (size, content_hash(size))


async def test_both_ways_at_once(browser: Browser) -> None:
    size = 10_000_000
    async with browser.call("POST", "/echo", [("Content-Length", str(size))]) as call, trio.open_nursery() as nursery:

        async def send() -> None:
            await call.send(pieces(size))
            await call.end()

        nursery.start_soon(send)
        assert await call.head() == 200
        assert (await call.drain(), call.received) == (content_hash(size), size)


async def test_continue(browser: Browser, local: HttpLocal) -> None:
    async with browser.call("POST", "/hash", [("Content-Length", "5"), ("Expect", "100-continue")]) as call:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.head)
            await eventually(lambda: call.interim)
            nursery.cancel_scope.cancel()
        await call.send([b"hello"])
        await call.end()
        assert await call.head() == 200
        assert call.interim == [100]
        assert "expect" not in [name.lower() for name, _ in json.loads(await call.rest())["headers"]]


@pytest.mark.parametrize("framing", [("Content-Length", "60000000"), ("Transfer-Encoding", "chunked")])
async def test_an_answer_before_the_whole_body(browser: Browser, local: HttpLocal, framing: tuple[str, str]) -> None:
    async with browser.call("POST", "/early", [framing]) as call, trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                await call.send(pieces(60_000_000))
            except trio.BrokenResourceError:
                return

        nursery.start_soon(send)
        assert await call.head() == 413
        assert json.loads(await call.rest()) == {"error": "too large"}
        nursery.cancel_scope.cancel()
    assert (await browser.get("/bytes/5")).body == content(5)
    await local.wait_until(lambda: not local.open)
    local.violations.clear()  # half a chunk is one, and here it is what has to come


async def test_an_early_answer_that_is_large_is_whole(outside: Outside) -> None:
    """The tail of an answer must not be lost because nobody wants the rest of the request."""
    size = 3_000_000
    joined = await outside.join()
    async with _answering_early(size) as port, agent_here(outside, joined, port) as agent:
        browser = await outside.browser(joined.sandbox_id)
        for framing in (("Content-Length", "1000"), ("Transfer-Encoding", "chunked")):
            async with browser.call("POST", "/", [framing]) as call:
                await call.send([b"x"])
                assert await call.head() == 200
                assert (await call.drain(), call.received) == (content_hash(size), size)
        await eventually(lambda: _clean(agent))


@asynccontextmanager
async def _answering_early(size: int) -> AsyncIterator[int]:
    """A local server that answers when it has the head, and reads no more; its port."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for piece in pieces(size):
                await stream.send_all(piece)
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


# What breaks


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("chunked", [0, 1])
@pytest.mark.parametrize("after", [0, 10, 200_000])
async def test_a_body_that_breaks_off_breaks_the_connection(
    browser: Browser, how: str, chunked: int, after: int
) -> None:
    async with browser.call("GET", f"/break/900000/{after}?chunked={chunked}&how={how}") as call:
        await call.end()
        assert await call.head() == 200
        with pytest.raises(CutShort):
            await call.drain()
        assert call.received <= after  # what was under way may be lost: it is an error, and no end
    assert (await browser.get("/bytes/5")).body == content(5)


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_breaking_off_before_the_head_is_a_502(browser: Browser, how: str) -> None:
    for method in ("GET", "POST"):
        reply = await browser.ask(method, f"/break/5/-1?how={how}", body=b"x" * 100 if method == "POST" else None)
        assert (reply.status, reply.all("content-type")) == (502, ["application/problem+json"])


async def test_a_fault_of_the_agent_costs_one_request(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fault(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(requests.Requests, "_carry", fault)
        assert (await browser.get("/bytes/5")).status == 502
    assert (await browser.get("/bytes/5")).body == content(5)
    assert "ZeroDivisionError" in capsys.readouterr().err


async def test_a_local_server_that_is_away(outside: Outside) -> None:
    joined = await outside.join()
    async with agent_here(outside, joined, free_port()):
        browser = await outside.browser(joined.sandbox_id)
        problem = await browser.get("/")
        assert (problem.status, problem.all("content-type")) == (502, ["application/problem+json"])
        page = await browser.get("/", [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")])
        assert page.status == 502
        assert page.all("content-type")[0].startswith("text/html")
        assert (await browser.ask("POST", "/", body=b"x" * 100_000)).status == 502


# Streams


async def test_events_come_one_by_one(browser: Browser, local: HttpLocal) -> None:
    async with browser.call("GET", "/events", [("Accept", "text/event-stream")]) as call:
        await call.end()
        assert await call.head() == 200
        assert await call.piece() == b": open\n\n"
        took = []
        for number in range(20):
            began = trio.current_time()
            local.event(f"number {number}")
            with trio.fail_after(PATIENCE):
                assert await call.piece() == b"data: number %d\n\n" % number
            took.append(trio.current_time() - began)
        assert statistics.median(took) < 0.5, "each at once, and none with the next"


def _websocket(browser: Browser, target: str) -> AbstractAsyncContextManager[WebSocketConnection]:
    headers = [("Cookie", browser.cookie), ("Origin", f"http://{browser.host}:{browser.port}")]
    return websocket(browser, target, headers, ["chat"])


async def test_websockets(browser: Browser, local: HttpLocal) -> None:
    async with _websocket(browser, "/ws") as socket:
        assert socket.subprotocol == "chat"
        for message in ("text", b"", b"x" * 200_000, "ü" * 5000):
            await socket.send_message(message)
            assert await socket.get_message() == message
        await socket.aclose(4001, "enough")
    await eventually(lambda: local.visits[-1].close_code == 4001)
    seen = [(name.lower(), value) for name, value in local.visits[-1].headers]
    assert [value for name, value in seen if name in ("transfer-encoding", "content-length")] == []


async def test_websocket_floods_down(browser: Browser) -> None:
    got = 0
    async with _websocket(browser, "/ws/bytes/5000000?piece=16384") as socket:
        with suppress(ConnectionClosed):
            while True:
                got += len(await socket.get_message())
        assert got == 5_000_000


UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")]  # fmt: skip


async def test_a_client_that_is_done_hears_the_rest(browser: Browser) -> None:
    sent = content(300_000)
    async with browser.call("GET", "/half/client", UPGRADE) as call:
        await call.end()
        assert await call.head() == 101
        got = b""
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await call.stream.send_all(sent)
                await call.stream.send_eof()

            nursery.start_soon(send)
            while data := await call.raw():
                got += data
        assert got == sent + b"300000 bytes"


async def test_a_server_that_is_done_hears_the_rest(browser: Browser, local: HttpLocal) -> None:
    async with browser.call("GET", "/half/server", UPGRADE) as call:
        await call.end()
        assert await call.head() == 101
        got = b""
        while data := await call.raw():
            got += data
        assert got == b"hello"
        await call.stream.send_all(content(300_000))
        await call.stream.send_eof()
        await local.wait_until(lambda: local.visits[-1].end)
        assert local.visits[-1].sha256 == content_hash(300_000)


async def test_what_was_said_last_outlives_the_connection(browser: Browser, local: HttpLocal) -> None:
    """Both are done, and the other end of the way has not read it yet."""
    async with browser.call("GET", "/half/server/late", UPGRADE) as call:
        await call.end()
        assert await call.head() == 101
        while await call.raw():
            pass
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await call.stream.send_all(content(6_000_000))
                await call.stream.send_eof()

            nursery.start_soon(send)
            await trio.sleep(0.3)  # all that fits is on its way
            local.release("late")
        await local.wait_until(lambda: local.visits[-1].end)
        assert local.visits[-1].sha256 == content_hash(6_000_000)


@pytest.mark.parametrize("size", [10, 300_000])
async def test_an_upgrade_that_is_refused(browser: Browser, size: int) -> None:
    """The refusal is whole, however large: it is not the browser's fault that it comes while nothing has ended."""
    async with browser.call("GET", f"/bytes/{size}", UPGRADE) as call:
        await call.end()
        assert await call.head() == 200
        assert (await call.drain(), call.received) == (content_hash(size), size)
