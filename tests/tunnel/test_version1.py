"""Our server with an agent of version 1 that was written from the contract alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from daemon.wire import link
from tests.standins.content import content, content_hash
from tests.standins.tunnel_wire_v1 import encode
from tests.tunnel.browser import PATIENCE, Browser, CutShort
from tests.tunnel.harness import agent_v1, eventually, websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_websocket import WebSocketConnection

    from tests.standins.http_local import HttpLocal
    from tests.standins.tunnel_agent_v1 import TunnelAgentV1
    from tests.tunnel.harness import Inside, Joined, Outside, Team

SIZES = [0, 1, 16383, 16384, 16385, 20_000_000]
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")]  # fmt: skip


@pytest.fixture
async def joined(outside: Outside) -> Joined:
    return await outside.join()


@pytest.fixture
async def agent(outside: Outside, joined: Joined, local: HttpLocal) -> AsyncIterator[TunnelAgentV1]:
    async with agent_v1(outside, joined, local.port, ping_seconds=0.05) as made:
        with trio.fail_after(2 * PATIENCE):
            yield made


@pytest.fixture
async def browser(outside: Outside, joined: Joined, agent: TunnelAgentV1) -> Browser:
    return await outside.browser(joined.sandbox_id)


@pytest.mark.parametrize("how", ["", "?chunked=1"])
async def test_bodies_down(browser: Browser, how: str) -> None:
    for size in SIZES:
        async with browser.call("GET", f"/bytes/{size}{how}") as call:
            await call.end()
            assert await call.head() == 200
            assert (await call.drain(), call.received) == (content_hash(size), size)


async def test_what_has_no_body(browser: Browser) -> None:
    head = await browser.ask("HEAD", "/bytes/20000")
    assert (head.status, head.all("content-length"), head.body) == (200, ["20000"], b"")
    assert (await browser.get("/status/204")).body == b""
    assert (await browser.get("/status/304")).all("etag") == ['"same"']


async def test_a_request_that_is_too_big_does_not_cost_the_tunnel(browser: Browser, agent: TunnelAgentV1) -> None:
    fits = content(30_000)
    for headers in ([], [("Transfer-Encoding", "chunked")]):
        assert json.loads((await browser.ask("POST", "/hash", headers, fits)).body)["received"] == len(fits)
        for size in (32_768, 1_000_000):
            reply = await browser.ask("POST", "/hash", headers, content(size))
            assert reply.status == 413
            assert json.loads(reply.body)["code"]
    assert (await browser.get("/bytes/5")).body == content(5)
    assert agent.reason is None


async def test_terminals_need_a_newer_agent(browser: Browser) -> None:
    assert (await browser.get("/ws", UPGRADE)).status == 501
    assert (await browser.get("/bytes/5")).body == content(5)


async def test_a_browser_that_leaves_spoils_nothing(browser: Browser, local: HttpLocal) -> None:
    async with browser.call("GET", "/bytes/50000000") as call:
        await call.end()
        assert await call.head() == 200
    async with browser.call("GET", "/events") as call:
        await call.end()
        assert await call.head() == 200
    for _ in range(20):
        assert (await browser.get("/bytes/20000")).body == content(20_000)
    await local.wait_until(lambda: all(visit.end for visit in local.visits if visit.path[0] == "bytes"))


async def test_more_forsaken_answers_than_streams(browser: Browser) -> None:
    """An older agent cannot be told to stop; pages that were closed must not lock the others out."""
    for _ in range(280):
        async with browser.call("GET", "/events") as call:
            await call.end()
            assert await call.head() == 200
    assert (await browser.get("/bytes/5")).status == 200


async def test_what_the_agent_says_of_its_machine(outside: Outside, joined: Joined, agent: TunnelAgentV1) -> None:
    with trio.fail_after(PATIENCE):
        await agent.ponged(2)
    info: dict[str, str] = {}

    async def shown() -> bool:
        nonlocal info
        info = (await outside.api("GET", f"/api/sandboxes/{joined.sandbox_id}")).get("agentInfo") or {}
        return bool(info)

    with trio.fail_after(PATIENCE):
        while not await shown():  # noqa: ASYNC110
            await trio.sleep(0.02)
    assert info["os"] == "linux"


# Agents that are played by hand


class ByHand:
    """A version 1 agent that answers what a test tells it to."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def request(self) -> dict[str, Any]:
        """The next request's header."""
        message = await self.socket.get_message()
        assert isinstance(message, bytes)
        length = int.from_bytes(message[:4], "big")
        header: dict[str, Any] = json.loads(message[4 : 4 + length])
        return header

    async def say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """A message."""
        await self.socket.send_message(encode(header, payload))

    async def answer(self, length: int | None, *pieces: bytes, done: bool = True) -> None:
        """Answer the next request with a ``Content-Length`` and these pieces."""
        name = (await self.request())["id"]
        headers = {} if length is None else {"Content-Length": str(length)}
        await self.say({"type": "stream", "id": name, "status": 200, "headers": headers, "done": False}, pieces[0])
        for piece in pieces[1:]:
            await self.say({"type": "stream", "id": name, "done": False}, piece)
        if done:
            await self.say({"type": "stream", "id": name, "done": True})


async def by_hand(team: Team, joined: Joined) -> AsyncIterator[ByHand]:
    target = f"/api/tunnel/{joined.sandbox_id}?token={joined.token}"
    async with websocket(Browser(team.port, "localhost"), target, []) as socket:
        await team.until(joined.sandbox_id, "running")
        with trio.fail_after(2 * PATIENCE):
            yield ByHand(socket)


@pytest.fixture
async def hand(outside: Outside, joined: Joined) -> AsyncIterator[ByHand]:
    async for made in by_hand(outside, joined):
        yield made


@pytest.mark.parametrize(("length", "pieces"), [(10, [b"short"]), (10, [b""]), (3, [b"long"])])
async def test_bodies_that_are_not_as_long_as_they_said(
    outside: Outside, joined: Joined, hand: ByHand, length: int, pieces: list[bytes]
) -> None:
    browser = await outside.browser(joined.sandbox_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand.answer, length, *pieces)
        async with browser.call("GET", "/") as call:
            await call.end()
            if await call.head() == 200:
                with pytest.raises(CutShort):
                    await call.drain()
            else:  # it was found out before anything was sent
                assert call.status == 502
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand.answer, 4, b"fi", b"ne")
        assert (await browser.get("/")).body == b"fine"


STREAM = {"type": "stream", "id": "1"}
HEAD = {**STREAM, "status": 200, "headers": {}, "done": False}
MALFORMED: dict[str, tuple[bytes | str, int]] = {
    "no length": (b"\0\0", 1002),
    "empty": (b"", 1002),
    "header longer than the message": (b"\0\0\0\x09{}", 1002),
    "header length 0": (b"\0\0\0\0", 1002),
    "header length 1": (b"\0\0\0\x01{", 1002),
    "header length 0x7fffffff": (b"\x7f\xff\xff\xff{}", 1009),
    "header length 0xfffffffc": (b"\xff\xff\xff\xfc{}", 1009),
    "header length 0xffffffff": (b"\xff\xff\xff\xff{}", 1009),
    "no JSON": (b"\0\0\0\x04{{{{", 1002),
    "no object": (b"\0\0\0\x02[]", 1002),
    "no type": (encode({"id": "1"}), 1002),
    "unknown type": (encode({"type": "credit", "id": "1"}), 1002),
    "nobody asked": (encode({**HEAD, "id": "77"}), 1002),
    "another spelling of the id": (encode({**HEAD, "id": "01"}), 1002),
    "id is a number": (encode({**HEAD, "id": 1}), 1002),
    "status is text": (encode({**HEAD, "status": "200"}), 1002),
    "status 99": (encode({**HEAD, "status": 99}), 1002),
    "status 101": (encode({**HEAD, "status": 101}), 1002),
    "headers are a list": (encode({**HEAD, "headers": []}), 1002),
    "a value is a list": (encode({**HEAD, "headers": {"a": ["b"]}}), 1002),
    "a value has a line end": (encode({**HEAD, "headers": {"a": "b\r\nc: d"}}), 1002),
    "a name has a space": (encode({**HEAD, "headers": {"a b": "c"}}), 1002),
    "done is a number": (encode({**HEAD, "done": 1}), 1002),
    "a body without a head": (encode({**STREAM, "done": False}, b"x"), 1002),
    "a payload with the end": (encode({**HEAD, "done": True}, b"x"), 1002),
    "a payload that is too large": (encode(HEAD, bytes(16385)), 1009),
    "a message that is too large": (encode(HEAD, bytes(40000)), 1009),
    "text that is no JSON": ("hello", 1002),
    "text of another type": ('{"type":"ping"}', 1002),
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_malformed_messages(outside: Outside, joined: Joined, hand: ByHand, kind: str) -> None:
    browser = await outside.browser(joined.sandbox_id)
    message, code = MALFORMED[kind]
    async with browser.call("GET", "/") as call:
        await call.end()
        await hand.request()
        await hand.socket.send_message(message)
        with pytest.raises(ConnectionClosed) as caught:
            await hand.socket.get_message()
        assert caught.value.reason is not None
        assert (caught.value.reason.code, len(caught.value.reason.reason or "") > 10) == (code, True)
        assert await call.head() == 502
    await outside.until(joined.sandbox_id, "offline")


async def test_a_second_head_and_a_frame_after_the_end(outside: Outside, joined: Joined, hand: ByHand) -> None:
    browser = await outside.browser(joined.sandbox_id)
    async with browser.call("GET", "/") as call:
        await call.end()
        await hand.answer(None, b"x")
        assert await call.head() == 200
        assert await call.rest() == b"x"
    await hand.say({**STREAM, "done": True})
    with pytest.raises(ConnectionClosed):
        await hand.socket.get_message()


# Who reads slowly


async def test_a_reader_that_stops_is_broken_off_and_the_others_go_on(
    team: Inside, local: HttpLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HELD_V1", 1_000_000)
    monkeypatch.setattr(link, "HELD_SECONDS_V1", 0.3)
    joined = await team.join()
    crowded, given_up = trio.Event(), trio.Event()
    relieve, reset = link.ServerLink.relieve, link.ServerLink.reset

    async def relieved(tunnel: link.ServerLink) -> None:
        crowded.set()  # perhaps for a moment only: the kernel may take some more
        await relieve(tunnel)

    def broken_off(tunnel: link.ServerLink, *args: Any) -> None:
        reset(tunnel, *args)
        given_up.set()

    monkeypatch.setattr(link.ServerLink, "relieve", relieved)
    monkeypatch.setattr(link.ServerLink, "reset", broken_off)
    async with agent_v1(team, joined, local.port) as made:
        browser = await team.browser(joined.sandbox_id)
        async with browser.call("GET", "/bytes/60000000") as call:
            call.read_slowly()
            await call.end()
            assert await call.head() == 200
            with trio.fail_after(PATIENCE):
                for news in (crowded, given_up):
                    await news.wait()
                    assert (await browser.get("/bytes/100000")).body == content(100_000)
            # All that was sent to it is still good; then it breaks.
            with pytest.raises(CutShort):
                await call.drain()
            assert call.received < 60_000_000
        assert made.reason is None


async def test_a_reader_that_is_slow_gets_everything(
    team: Inside, local: HttpLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HELD_V1", 300_000)
    joined = await team.join()
    size = 30_000_000
    async with agent_v1(team, joined, local.port):
        browser = await team.browser(joined.sandbox_id)
        async with browser.call("GET", f"/bytes/{size}") as call:
            call.read_slowly()
            await call.end()
            assert await call.head() == 200
            await eventually(lambda: team.link(joined.sandbox_id).crowded)
            assert (await call.drain(), call.received) == (content_hash(size), size)
