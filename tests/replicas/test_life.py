"""Replicas that come and go: agents are back through another one, and nobody is refused who could be served."""

from __future__ import annotations

import http.client
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.backends.fake_image import fake_image
from tests.conftest import require
from tests.replicas.three import Three, three
from tests.standins.content import content, pieces
from tests.tunnel.browser import Browser, CutShort
from tests.tunnel.harness import connected, eventually, http_local

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.standins.http_local import HttpLocal
    from tests.support.product import Product

pytestmark = [pytest.mark.needs("postgres", "docker"), pytest.mark.timeout(180)]
SOON: Final = 4.0  # seconds until an agent is back whose replica was killed: its first attempt is within one
OFFLINE: Final = 8.0  # until a machine is offline whose replica and agent were killed: dead after 3 s (quick.py)


@pytest.fixture
def team(database_url: str, tmp_path: Path) -> Iterator[Three]:
    """Three replicas that a test may end."""
    require("docker")
    with three(tmp_path / "replicas", database_url, AGENT_IMAGE=fake_image()) as made:
        yield made


async def test_one_that_ends_says_so_and_serves_on(database_url: str, tmp_path: Path) -> None:
    """Until load balancers have noticed: /readyz says no, answers end their connections, agents are sent elsewhere."""
    # All that is asked below must be asked in the time that it gives them.
    with three(tmp_path / "replicas", database_url, AGENT_IMAGE=fake_image(), QUICK_NOTICE="3") as team:
        await _ends_and_serves_on(team)


async def _ends_and_serves_on(team: Three) -> None:
    replica = team.replicas[0]
    joined = await team.join()
    kept = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=5)
    host = {"Host": f"localhost:{team.port}"}
    kept.request("GET", "/healthz", headers=host)
    answer = kept.getresponse()
    assert (answer.status, answer.read(), answer.getheader("connection")) == (200, b"ok\n", None)
    assert replica.process is not None
    replica.process.terminate()
    await eventually(lambda: "shutting down" in replica.log)
    kept.request("GET", "/healthz", headers=host)
    answer = kept.getresponse()
    assert (answer.status, answer.getheader("connection")) == (200, "close")
    assert replica.readiness() == 503
    fresh = Browser(replica.port, "localhost")
    assert (await fresh.get("/api/auth/me")).status == 401, "it serves new connections"
    upgrade = [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Authorization", f"Bearer {joined.token}"),
    ]  # fmt: skip
    refused = await fresh.get(f"/api/tunnel/{joined.sandbox_id}", upgrade)
    assert (refused.status, refused.all("retry-after")) == (503, ["1"])
    kept.close()
    assert await trio.to_thread.run_sync(replica.process.wait, 15) == 0
    assert team.rows("SELECT count(*) FROM replicas") == [(2,)]


async def test_one_is_killed(team: Three, local: HttpLocal, tmp_path: Path) -> None:
    async with connected(team, tmp_path / "home", local) as (agent, sandbox_id):
        browser = await team.browser(sandbox_id)
        before = team.changes(sandbox_id)
        holder = team.holder(sandbox_id)
        async with browser.call("GET", "/events") as stream:
            await stream.end()
            assert await stream.head() == 200
            began = time.monotonic()
            await trio.to_thread.run_sync(holder.kill)
            with pytest.raises(CutShort):
                await stream.drain()
        reply = await browser.ask("POST", "/hash", body=b"x")
        assert reply.status == 200, reply
        seconds = time.monotonic() - began
        print(f"back after {seconds:.2f} s")
        assert seconds < SOON
        # Who has the tunnel serves by it before it is written.
        await eventually(lambda: team.holder(sandbox_id) is not holder)
        assert team.changes(sandbox_id) == before, "running all the time, as far as anybody was told"

        await trio.to_thread.run_sync(holder.start)
        last = team.holder(sandbox_id)
        agent.signal(signal.SIGSTOP)  # or it would be back, or the replica would say itself that it is offline
        await trio.to_thread.run_sync(last.kill)
        agent.signal(signal.SIGKILL)
        await agent.wait()
        # The request waits for the machine to come back by another replica; meanwhile it is found to be offline.
        reply = await browser.get("/bytes/5")
        assert (reply.status, reply.all("retry-after")) == (503, ["10"])
        await team.until(sandbox_id, "offline", seconds=OFFLINE)
        assert [kind for _, kind in team.changes(sandbox_id)[len(before) :]] == ["sandbox.updated"]
        agent.start()
        await team.until(sandbox_id, "running")
        assert (await browser.get("/bytes/5")).body == content(5)


@dataclass
class Load:
    """Requests without a break, each on a connection of its own."""

    browser: Browser
    done: int = 0
    failed: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """For ever."""
        while True:
            for method, target, body in (("GET", "/bytes/20000", None), ("POST", "/hash", b"x" * 30_000)):
                try:
                    reply = await self.browser.ask(method, target, body=body)
                except (CutShort, OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
                    self.failed.append(f"{method} {error!r}")
                else:
                    if reply.status != 200:
                        self.failed.append(f"{method} {reply.status} {reply.body[:200]!r}")
                self.done += 1

    async def api(self, team: Three) -> None:
        """The same for the API."""
        while True:
            answer = await trio.to_thread.run_sync(team.visitor.request, "GET", "localhost", "/api/workspaces")
            self.done += 1
            if answer.status != 200:
                self.failed.append(f"api {answer.status}")


@dataclass
class Events:
    """A page that listens to ``/api/events``, and goes on where it was when a stream ends."""

    browser: Browser
    heard: list[str] = field(default_factory=list)
    streams: int = 0
    last: str = ""
    broken: list[str] = field(default_factory=list)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """For ever; started when the first stream is open."""
        while True:
            headers = [("Last-Event-ID", self.last)] if self.last else []
            try:
                async with self.browser.call("GET", "/api/events", headers) as stream:
                    await stream.end()
                    assert await stream.head() == 200
                    while piece := (await stream.piece()).decode():
                        self._take(piece)
                        if not self.streams:
                            self.streams = 1
                            task_status.started()
            except CutShort as error:
                self.broken.append(str(error))
            self.streams += 1

    def _take(self, piece: str) -> None:
        for line in piece.splitlines():
            if line.startswith("id: "):
                self.last = line[4:]
            elif line.startswith("data: "):
                self.heard.append(line)


@asynccontextmanager
async def load(team: Three, browser: Browser) -> AsyncIterator[Load]:
    """For the time of the block."""
    made = Load(browser)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(made.run)
        nursery.start_soon(made.api, team)
        yield made
        nursery.cancel_scope.cancel()


def _ends(replica: Product) -> bool:
    return "shutting down" in replica.log


async def test_one_that_hangs(team: Three, local: HttpLocal, tmp_path: Path) -> None:
    """It keeps its connections and says nothing: who waits for it is told when it is held for dead."""
    async with connected(team, tmp_path / "home", local) as (_, sandbox_id):
        browser = await team.browser(sandbox_id)
        holder, other = team.holder(sandbox_id), team.others(sandbox_id)[0]
        assert holder.process is not None
        team.balancer.only = other.port
        async with browser.call("GET", "/never") as waiting, browser.call("GET", "/events") as stream:
            await waiting.end()
            await stream.end()
            assert await stream.head() == 200
            await local.wait_until(lambda: len(local.open) == 2)
            holder.process.send_signal(signal.SIGSTOP)
            with trio.fail_after(OFFLINE):
                assert await waiting.head() == 502
                with pytest.raises(CutShort):
                    await stream.drain()
        holder.process.send_signal(signal.SIGCONT)
        await team.until(sandbox_id, "running", seconds=OFFLINE)
        await eventually(lambda: team.rows("SELECT count(*) FROM replicas") == [(3,)])
        assert (await browser.get("/bytes/5")).body == content(5)


async def test_a_rolling_restart(team: Three, tmp_path: Path) -> None:
    """Each in turn, under load: nothing is refused, and what is under way ends by itself."""
    async with http_local() as local, connected(team, tmp_path / "home", local) as (agent, sandbox_id):
        browser = await team.browser(sandbox_id)
        before = team.changes(sandbox_id)
        page = Events(Browser.of(team.visitor, "localhost"))
        created = []
        async with load(team, browser) as made, trio.open_nursery() as nursery:
            await nursery.start(page.run)
            for replica in team.replicas:
                async with browser.call("POST", "/hash", [("Content-Length", "3000000")]) as upload:
                    await upload.send(pieces(1_000_000))
                    assert replica.process is not None
                    replica.process.terminate()
                    await eventually(partial(_ends, replica))
                    await upload.send([b"y" * 1_000_000])
                    await trio.sleep(1.5)  # the load balancer has noticed, and agents are on their way
                    await upload.send([b"y" * 1_000_000])
                    await upload.end()
                    assert await upload.head() == 200
                assert await trio.to_thread.run_sync(replica.process.wait, 30) == 0
                (replica.folder / "daemon.log").rename(replica.folder / "older.log")
                created.append(await team.api("POST", "/api/workspaces", {"name": f"without {replica.port}"}))
                await trio.to_thread.run_sync(replica.start)
            await eventually(lambda: all(any(one["id"] in line for line in page.heard) for one in created))
            nursery.cancel_scope.cancel()
        assert (page.broken, page.streams > 1) == ([], True), "a stream that has no end of its own ends in peace"
        assert not [line for line in page.heard if "reset" in line], "and nothing is missed"
        assert made.failed == [], f"of {made.done}"
        assert made.done > 200
        assert team.changes(sandbox_id) == before
        assert not agent.ended
