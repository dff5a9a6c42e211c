"""Who leaves is noticed at the other end: browsers, agents, cables and the daemon."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest
import trio

from daemon.agent.stopping import DRAIN_SECONDS
from daemon.gateway import limits
from daemon.gateway.lookup import KEPT_SECONDS
from daemon.tunnel import registry
from protocol import liveness
from tests.standins.content import content, pieces
from tests.support.delay_proxy import DelayProxy
from tests.support.product import product
from tests.tunnel.browser import PATIENCE, CutShort
from tests.tunnel.harness import Outside, agent_here, connected, eventually, http_local
from tests.tunnel.test_through import UPGRADE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.standins.http_local import HttpLocal
    from tests.tunnel.browser import Browser, Call
    from tests.tunnel.harness import AgentHere, Inside

SOON: Final = 1.0  # the contract: a browser that leaves is noticed by the local server within a second


# Browsers


@pytest.fixture
async def agent(outside: Outside, local: HttpLocal) -> AsyncIterator[tuple[AgentHere, Browser]]:
    joined = await outside.join()
    async with agent_here(outside, joined, local.port) as made:
        with trio.fail_after(2 * PATIENCE):
            yield made, await outside.browser(joined.sandbox_id)


async def _waiting(call: Call) -> None:
    """Nothing has come yet."""


async def _in_the_middle(call: Call) -> None:
    assert await call.head() == 200
    await call.piece()


async def _uploading(call: Call) -> None:
    await call.send(pieces(100_000))


async def _switched(call: Call) -> None:
    assert await call.head() == 101


CASES = {
    "waiting for the head": ("GET", "/never", [], _waiting),
    "in the middle of a download": ("GET", "/bytes/500000000", [], _in_the_middle),
    "silent events": ("GET", "/events", [], _in_the_middle),
    "an upload that is read": ("POST", "/hash", [("Content-Length", "90000000")], _uploading),
    "a chunked upload": ("POST", "/hash", [("Transfer-Encoding", "chunked")], _uploading),
    "a WebSocket": ("GET", "/ws", UPGRADE, _switched),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_browser_that_leaves(agent: tuple[AgentHere, Browser], local: HttpLocal, case: str) -> None:
    here, browser = agent
    method, target, headers, meanwhile = CASES[case]
    async with browser.call(method, target, headers) as call:
        if method == "GET":
            await call.end()
        await meanwhile(call)
        await local.wait_until(lambda: local.visits and local.visits[-1].target == target)
    with trio.fail_after(SOON):
        await local.wait_until(lambda: local.visits[-1].end == "left")
    assert (await browser.get("/bytes/5")).body == content(5)
    await eventually(lambda: not here.link.streams and not here.link.session.streams)  # type: ignore[union-attr]
    await local.wait_until(lambda: not local.open)
    local.violations.clear()  # what was cut in a chunk is one


async def test_a_browser_that_leaves_an_upload_that_nobody_reads(
    agent: tuple[AgentHere, Browser], local: HttpLocal
) -> None:
    here, browser = agent
    async with browser.call("POST", "/unread/never", [("Content-Length", "90000000")]) as call:
        with trio.move_on_after(0.5):
            await call.send(pieces(90_000_000))
        await eventually(lambda: here.link.streams)
        call.reset()
    await eventually(lambda: not here.link.streams, seconds=SOON)
    local.release("never")
    assert (await browser.get("/bytes/5")).body == content(5)


# Agents


async def test_an_agent_that_is_killed_and_comes_back(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id):
        browser = await outside.browser(sandbox_id)
        async with AsyncExitStack() as stack:
            waiting = await stack.enter_async_context(browser.call("GET", "/never"))
            await waiting.end()
            reading = await stack.enter_async_context(browser.call("GET", "/events"))
            await reading.end()
            assert await reading.head() == 200
            switched = await stack.enter_async_context(browser.call("GET", "/ws", UPGRADE))
            await switched.end()
            assert await switched.head() == 101
            await local.wait_until(lambda: len(local.open) == 3)
            agent.signal(signal.SIGKILL)
            with trio.fail_after(SOON):
                assert await waiting.head() == 502
            with pytest.raises(CutShort):
                await reading.drain()
            with pytest.raises(CutShort):
                await switched.raw()
        await outside.until(sandbox_id, "offline", seconds=SOON)
        assert (await browser.get("/")).status == 503
        await agent.wait()
        agent.start()
        await agent.until_said("connected", 2)
        await outside.until(sandbox_id, "running")
        await _served_soon(browser)
        assert (await browser.get("/bytes/5")).body == content(5)


async def _served_soon(browser: Browser) -> None:
    """Wait until the machine is not taken for offline any more: that is said to everybody, and heard before what was
    kept would be too old."""
    with trio.fail_after(KEPT_SECONDS / 3):
        while (await browser.get("/bytes/1")).status == 503:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_an_agent_that_is_stopped_finishes_what_is_open(
    outside: Outside, tmp_path: Path, local: HttpLocal
) -> None:
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id):
        browser = await outside.browser(sandbox_id)
        async with browser.call("GET", "/gate/open") as call, browser.call("GET", "/bytes/30000000") as large:
            await call.end()
            await large.end()
            large.read_slowly()
            assert await large.head() == 200
            await local.wait_until(lambda: len(local.open) == 2)
            agent.signal(signal.SIGTERM)
            assert await _refused_soon(browser)
            local.release("open")
            assert await call.head() == 200
            await call.rest()
            await large.drain()
            assert large.received == 30_000_000
        assert await agent.wait() == 0
    await outside.until(sandbox_id, "offline")


async def _refused_soon(browser: Browser) -> bool:
    """Whether new requests find the machine away."""
    with trio.move_on_after(PATIENCE):
        while (await browser.get("/bytes/1")).status != 503:  # noqa: ASYNC110
            await trio.sleep(0.01)
        return True
    return False


async def test_an_idle_agent_stops_at_once(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id):
        agent.signal(signal.SIGTERM)
        await eventually(lambda: agent.ended, seconds=DRAIN_SECONDS / 2)
        assert await agent.wait() == 0
    await outside.until(sandbox_id, "offline", seconds=SOON)


# Cables


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Pings come every quarter of a second; four of them are the deadline."""
    monkeypatch.setattr(liveness, "PING_SECONDS", 0.25)
    for module in ("daemon.agent.session", "daemon.tunnel.registry"):
        monkeypatch.setattr(f"{module}.TICK_SECONDS", 0.05)
    monkeypatch.setattr(liveness, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(liveness, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(liveness, "_LATE_SECONDS", 0.25)  # a busy machine may keep this process from its turn
    return 1.0


@pytest.mark.parametrize("busy", [False, True])
async def test_a_cable_that_is_pulled(team: Inside, local: HttpLocal, impatient: float, busy: bool) -> None:
    joined = await team.join()
    proxy = DelayProxy("127.0.0.1", team.port, 0.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        async with agent_here(team, joined, local.port, url=f"http://127.0.0.1:{proxy.address[1]}") as agent:
            browser = await team.browser(joined.sandbox_id)
            async with browser.call("GET", "/never") as waiting, browser.call("GET", "/events") as reading:
                await waiting.end()
                await reading.end()
                assert await reading.head() == 200
                await local.wait_until(lambda: len(local.open) == 2)
                async with trio.open_nursery() as uploads:
                    if busy:  # so that writes are stuck too
                        uploads.start_soon(_upload, browser)
                        await local.wait_until(lambda: any(visit.received > 1_000_000 for visit in local.visits))
                    proxy.freeze()
                    with trio.fail_after(10 * impatient):
                        assert await waiting.head() == 502
                        with pytest.raises(CutShort):
                            await reading.drain()
                        await team.until(joined.sandbox_id, "offline")
                    with trio.fail_after(10 * impatient):  # two seconds are for its last word, which goes nowhere
                        await agent.ended.wait()
                    uploads.cancel_scope.cancel()
            await local.wait_until(lambda: not local.open)
        nursery.cancel_scope.cancel()


async def _upload(browser: Browser) -> None:
    async with browser.call("POST", "/hash", [("Content-Length", "900000000")]) as call:
        try:
            await call.send(pieces(900_000_000))
        except trio.BrokenResourceError:
            return


async def test_silence_is_no_death(team: Inside, local: HttpLocal, impatient: float) -> None:
    """A stream on which nobody says anything lives as long as both ends do."""
    joined = await team.join()
    async with agent_here(team, joined, local.port):
        browser = await team.browser(joined.sandbox_id)
        async with browser.call("GET", "/events") as call:
            await call.end()
            assert await call.head() == 200
            await call.piece()
            with trio.move_on_after(2 * impatient):
                await call.piece()
            local.event("still here")
            assert await call.piece() == b"data: still here\n\n"


# The daemon


async def test_a_daemon_that_restarts_gets_its_agents_back(tmp_path: Path) -> None:
    with product(tmp_path) as made:
        visitor = made.visitor()
        team = Outside(visitor, await trio.to_thread.run_sync(visitor.register), made)
        async with http_local() as local, AsyncExitStack() as stack:
            agents = [
                await stack.enter_async_context(connected(team, tmp_path / f"home{number}", local))
                for number in range(3)
            ]
            browser = await team.browser(agents[0][1])
            began = trio.current_time()
            assert made.process is not None
            made.process.send_signal(signal.SIGTERM)
            for agent, _ in agents:
                await agent.until_said("the tunnel ended: the server restarts or ends")
            assert trio.current_time() - began < registry._PARTING_SECONDS, "idle tunnels delay nothing"
            assert await trio.to_thread.run_sync(made.process.wait, 2 * limits.DRAIN_SECONDS) == 0
            made.start()
            for agent, sandbox_id in agents:
                await agent.until_said("connected", 2)
                assert "the tunnel ended: the server restarts or ends" in agent.said
                await team.until(sandbox_id, "running")
            assert (await browser.get("/bytes/5")).body == content(5)
            made.kill()
            made.start()
            for agent, sandbox_id in agents:
                await agent.until_said("connected", 3)
                await team.until(sandbox_id, "running")


async def test_a_daemon_that_ends_lets_open_requests_finish(tmp_path: Path) -> None:
    with product(tmp_path) as made:
        visitor = made.visitor()
        team = Outside(visitor, await trio.to_thread.run_sync(visitor.register), made)
        async with http_local() as local, connected(team, tmp_path / "home", local) as (agent, sandbox_id):
            browser = await team.browser(sandbox_id)
            async with browser.call("GET", "/gate/open") as call:
                await call.end()
                await local.wait_until(lambda: local.open)
                assert made.process is not None
                made.process.send_signal(signal.SIGTERM)
                await eventually(lambda: "shutting down" in made.log)
                local.release("open")
                assert await call.head() == 200
                assert await call.rest()
            assert await trio.to_thread.run_sync(made.process.wait, limits.DRAIN_SECONDS - 2) == 0
            assert not agent.ended
