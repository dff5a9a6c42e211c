"""Each message of a session, changed in every way that came to mind: it ends with a reason, and nothing else does."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
import trio
from wsproto.connection import ConnectionType

from daemon.agent import backoff
from daemon.agent.addresses import parse_opencode
from daemon.agent.connect import Agent, Options
from daemon.agent.credentials import Credentials
from daemon.agent.session import make_serve
from daemon.agent.voice import Voice
from daemon.tunnel import registry
from daemon.tunnel.pace import BURST
from tests.standins.content import content
from tests.tunnel import hostile
from tests.tunnel.browser import PATIENCE, Browser, CutShort
from tests.tunnel.harness import Joined, agent_here, eventually
from tests.tunnel.test_handshake import V2, bearer, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.standins.http_local import HttpLocal
    from tests.tunnel.harness import Inside, Outside, Team

TOKEN: Final = 4242  # of the ping by which we see whether a session still lives


@asynccontextmanager
async def hostile_agent(team: Team, joined: Joined) -> AsyncIterator[hostile.Socket]:
    """A connection that has shaken hands, and may say what it likes."""
    headers = handshake(bearer(joined.token), ("Sec-WebSocket-Protocol", V2))
    async with Browser(team.port, "localhost").call("GET", f"/api/tunnel/{joined.sandbox_id}", headers) as call:
        await call.end()
        assert await call.head() == 101
        early = call._http.trailing_data[0]
        yield hostile.Socket(call.stream, ConnectionType.CLIENT, early)


async def _ask(browser: Browser, over: trio.Event) -> None:
    """A request, however it is answered; but it must be. The machine is offline until its status is written."""
    try:
        while (await browser.get("/")).status == 503 and not over.is_set():  # noqa: ASYNC110
            await trio.sleep(0.001)
    except CutShort:
        return


async def _session(team: Team, joined: Joined, browser: Browser, frames: hostile.Frames) -> str:
    """Play an agent; how it ended: ``lived``, or the reason."""
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        async with hostile_agent(team, joined) as socket:
            await socket.send(hostile.frame(hostile.hello(), client=True))
            nursery.start_soon(_ask, browser, over)
            assert await socket.until(type="open")
            ping = hostile.frame(hostile.message(type="ping", token=TOKEN), client=True)
            await socket.send(b"".join(frames) + ping)
            end = await _end(socket)
        over.set()
    return end


async def _end(socket: hostile.Socket) -> str:
    gone = None
    while (said := await socket.next()) is not None:
        if said["type"] == "pong" and said["token"] == TOKEN:
            return "lived"
        if said["type"] == "go_away":
            gone = said
    closed = socket.closed
    assert closed is not None, "it was cut without a word"
    if gone is not None:
        assert f"{gone['code']}: {gone['message']}".startswith(closed.reason or "?")
        assert closed.code == (1009 if gone["code"] == "too_large" else 1002)
    else:
        assert closed.reason or closed.code in (1000, 1005)
    return str(closed.reason or "closed")


async def test_hostile_agents(outside: Outside, local: HttpLocal) -> None:
    good = await outside.join("good")
    ends: dict[str, str] = {}
    async with agent_here(outside, good, local.port) as agent:
        witness = await outside.browser(good.sandbox_id)
        for number, (name, frames) in enumerate(hostile.mutations(hostile.AGENT, client=True)):
            if number % BURST == 0:  # no machine may connect more often
                bad = await outside.join("bad")
                browser = await outside.browser(bad.sandbox_id)
            try:
                with trio.fail_after(PATIENCE):
                    ends[name] = await _session(outside, bad, browser, frames)
            except BaseException:
                print("\nin:", name)
                raise
        assert (await witness.get("/bytes/100000")).body == content(100_000)
        assert not agent.ended.is_set()
    assert "connection failed" not in outside.product.log
    assert "Traceback" not in outside.product.log
    _look_over(ends)


def _look_over(ends: dict[str, str]) -> None:
    """Most of it must have been found out, the lengths all of it."""
    lived = [name for name, end in ends.items() if end == "lived"]
    print(f"\n    {len(ends)} sessions, {len(lived)} of them lived")
    for length in hostile.LENGTHS:
        assert not [name for name in lived if f"with length {length:#x}" in name]
    assert not [
        name for name in lived if re.search("large|deep|opcode|cut at [01345]$|a close|without (id|type)", name)
    ]


async def test_a_hello_that_is_none(outside: Outside) -> None:
    joined = await outside.join()
    for said in (
        hostile.message(type="ping", token=1),
        hostile.hello() + b"x" * 20_000,
        hostile.message(type="hello", version=3, software="x", window=65536, maxChunk=16384, maxStreams=1),
        hostile.message(type="hello", version=2, software="x", window=1, maxChunk=16384, maxStreams=1),
        hostile.message(type="hello", version=2, software="x", window=65536, maxChunk=16384, maxStreams=0),
        hostile.message(type="hello", version=2, window=65536, maxChunk=16384, maxStreams=1),
        b"",
        b"\xff" * 8,
    ):
        async with hostile_agent(outside, joined) as socket:
            await socket.send(hostile.frame(said, client=True))
            with trio.fail_after(PATIENCE):
                assert await socket.until(type="go_away")
                assert await socket.next() is None
            assert socket.closed is not None
            assert socket.closed.code in (1002, 1009)
        assert await outside.status(joined.sandbox_id) == "offline"


async def test_pings_without_end_are_no_way_to_fill_the_memory(team: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that asks and never reads is cut off."""
    monkeypatch.setattr(registry, "_BURIAL_SECONDS", 0.2)
    joined = await team.join()
    for flood in (
        hostile.frame(hostile.message(type="ping", token=1), client=True) * 1000,
        hostile.frame(bytes(125), client=True, opcode=9) * 1000,
    ):
        async with hostile_agent(team, joined) as socket:
            await socket.send(hostile.frame(hostile.hello(), client=True))
            await socket.until(type="ping")  # it has heard us
            link = team.link(joined.sandbox_id)
            with trio.fail_after(PATIENCE):
                await eventually_cut(socket, flood)
            assert link.failure.code == "flood"
        await team.until(joined.sandbox_id, "offline")


async def eventually_cut(socket: hostile.Socket, flood: bytes) -> None:
    """Send until the other side takes no more and breaks off."""
    while True:
        try:
            await socket.stream.send_all(flood)
        except trio.BrokenResourceError:
            return


# Our agent


class HostileServer:
    """Takes each connection of an agent, and says the next session to it. At the end it is a good one."""

    def __init__(self, sessions: list[tuple[str, hostile.Frames]]) -> None:
        self.sessions = sessions
        self.played = 0
        self.name = ""
        self.port = 0
        self.good: hostile.Socket | None = None
        self.over = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve for ever."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, stream: trio.SocketStream) -> None:
        async with stream:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += await stream.receive_some()
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", asked)
            assert key is not None
            await stream.send_all(
                b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: %s\r\n"
                b"Sec-WebSocket-Accept: %s\r\n\r\n" % (V2.encode(), hostile.accept(key[1].decode()).encode())
            )
            await self._play(hostile.Socket(stream, ConnectionType.SERVER))

    async def _play(self, socket: hostile.Socket) -> None:
        await socket.send(hostile.frame(hostile.hello(), client=False))
        if self.played == len(self.sessions):
            await self._ask(socket)
            return
        self.name, frames = self.sessions[self.played]
        self.played += 1
        await socket.send(b"".join(frames) + hostile.frame(b"\x03\xe8", client=False, opcode=8))
        with trio.fail_after(PATIENCE):
            while await socket.next() is not None:
                pass

    async def _ask(self, socket: hostile.Socket) -> None:
        await socket.send(hostile.frame(hostile.SERVER["open"], client=False))
        answer = await socket.until(type="head", id=1)
        assert answer is not None
        assert (answer["status"], answer["length"]) == (200, 10)
        self.over.set()


async def _visited(server: HostileServer, folder: Path, local: HttpLocal) -> None:
    """Have our agent connect to a hostile server until it has said everything."""
    said: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        joined = Joined("a23456789abcdefg", "token", f"http://127.0.0.1:{server.port}")
        Credentials(folder).put_first(joined.registration)
        options = Options(None, parse_opencode(local.url))
        agent = Agent(options, {}, folder, Voice(said.append), make_serve)
        nursery.start_soon(agent.run)
        try:
            with trio.fail_after(3 * PATIENCE):
                await server.over.wait()
        except BaseException:
            print("\nin:", server.name, said[-3:])
            raise
        nursery.cancel_scope.cancel()
    assert server.played == len(server.sessions)
    await eventually(lambda: not local.open)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST", 0.001), ("LONGEST", 0.001), ("AFTER_SHUTDOWN", (0.0, 0.001))):
        monkeypatch.setattr(backoff, name, value)


@pytest.mark.usefixtures("_impatient")
async def test_hostile_servers(tmp_path: Path, local: HttpLocal) -> None:
    server = HostileServer(list(hostile.mutations(hostile.SERVER, client=False)))
    await _visited(server, tmp_path, local)
    print(f"\n    {server.played} sessions")


@pytest.mark.usefixtures("_impatient")
async def test_a_request_that_is_taken_back_in_the_same_breath(tmp_path: Path, local: HttpLocal) -> None:
    """Nobody could tell the local server later that nobody waits."""
    said = [hostile.message(type="reset", id=1, code="cancelled")]
    said.insert(0, hostile.message(type="open", id=1, method="GET", path="/never", headers=[["host", "x"]], end=True))
    frames = [hostile.frame(one, client=False) for one in said]
    await _visited(HostileServer([("taken back", frames)] * 20), tmp_path, local)
    assert "/never" not in [visit.target for visit in local.visits]
