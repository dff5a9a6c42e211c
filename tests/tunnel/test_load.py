"""Much at once through one tunnel: nothing lost, nobody stalled, memory bounded. Numbers are printed (``-s``)."""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest
import trio

from protocol import session, version1
from protocol.credit import LARGEST_WINDOW, MOST_GROWTH
from tests.standins.content import content, content_hash, pieces
from tests.support.delay_proxy import DelayProxy
from tests.tunnel.browser import PATIENCE, Browser, CutShort
from tests.tunnel.harness import (
    agent_here,
    agent_process,
    agent_v1,
    connected,
    eventually,
    forget_most_resident,
    most_resident,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.standins.http_local import HttpLocal
    from tests.tunnel.harness import Inside, Outside

MIB: Final = 1 << 20
# SPEC.md, section 4.3: 32 MiB of payload in one direction at most. Beside it what two streams queue to be sent, a piece
# of each socket and pipe, and what an allocator keeps of all that. One direction is one end's: the daemon buffers what
# comes down, the agent what goes up.
MOST_RESIDENT_MORE: Final = 32 * MIB + 16 * MIB


def report(text: str) -> None:
    """Say what was measured."""
    print(f"\n    {text}")


async def _down(browser: Browser, size: int, *, skip: int = 0) -> float:
    """Fetch a body and check it; MB/s, after so many bytes."""
    began = trio.current_time()
    async with browser.call("GET", f"/bytes/{size}") as call:
        await call.end()
        assert await call.head() == 200
        while call.received < skip:
            await call.piece()
            began = trio.current_time()
        start = call.received
        assert (await call.drain(), call.received) == (content_hash(size), size)
    return (size - start) / 1e6 / (trio.current_time() - began)


async def _up(browser: Browser, size: int, *, skip: int = 0) -> float:
    """Send a body and have it checked; MB/s, after so many bytes."""
    began, left = trio.current_time(), skip

    def watched() -> Iterator[memoryview]:
        nonlocal began, left
        for piece in pieces(size):
            if left > 0:
                left -= len(piece)
                began = trio.current_time()
            yield piece

    async with browser.call("POST", "/hash", [("Content-Length", str(size))]) as call:
        sent = await call.send(watched())
        await call.end()
        assert await call.head() == 200
        assert sent.encode() in await call.rest()
    return (size - skip) / 1e6 / (trio.current_time() - began)


async def test_300_megabytes_each_way_at_once(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    size = 300_000_000
    rates: dict[str, float] = {}
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id):
        browser = await outside.browser(sandbox_id)
        assert agent.process is not None
        pids = {"daemon": outside.pid, "agent": agent.process.pid}
        await _down(browser, 1_000_000)
        before = {}
        for name, pid in pids.items():
            forget_most_resident(pid)
            before[name] = most_resident(pid)

        async def down() -> None:
            rates["down"] = await _down(browser, size)

        async def up() -> None:
            rates["up"] = await _up(browser, size)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(down)
            nursery.start_soon(up)
        more = {name: most_resident(pid) - before[name] for name, pid in pids.items()}
    report(f"down {rates['down']:.0f} MB/s, up {rates['up']:.0f} MB/s; " + _memory(before, more))
    assert max(more.values()) < MOST_RESIDENT_MORE


def _memory(before: dict[str, int], more: dict[str, int]) -> str:
    return ", ".join(f"{name} {before[name] / MIB:.0f} + {more[name] / MIB:.1f} MiB" for name in before)


async def test_readers_that_stop_cost_bounded_memory(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    """Sixty downloads that nobody reads: each may hold its window, and all of them no more than the bound."""
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id), AsyncExitStack() as stack:
        browser = await outside.browser(sandbox_id)
        assert agent.process is not None
        pids = {"daemon": outside.pid, "agent": agent.process.pid}
        before = {}
        for name, pid in pids.items():
            forget_most_resident(pid)
            before[name] = most_resident(pid)
        for _ in range(60):
            call = await stack.enter_async_context(browser.call("GET", "/bytes/100000000"))
            call.read_slowly()
            await call.end()
            assert await call.head() == 200
        await _settled(local)
        more = {name: most_resident(pid) - before[name] for name, pid in pids.items()}
        assert (await browser.get("/bytes/100000")).body == content(100_000)
    report(_memory(before, more))
    assert max(more.values()) < MOST_RESIDENT_MORE


async def _settled(local: HttpLocal) -> None:
    """Wait until nothing moves any more."""
    sent = -1
    while sent != (sent := sum(visit.sent for visit in local.visits)):  # noqa: ASYNC110
        await trio.sleep(0.3)


async def _quick(browser: Browser, count: int) -> list[float]:
    """So many small requests, eight at a time; how long each took, sorted."""
    took: list[float] = []

    async def some(each: int) -> None:
        for _ in range(each):
            began = trio.current_time()
            assert (await browser.get("/bytes/100")).body == content(100)
            took.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(some, count // 8)
    return sorted(took)


def _p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98] * 1000


async def test_a_browser_that_stops_reading_stalls_only_itself(
    outside: Outside, tmp_path: Path, local: HttpLocal
) -> None:
    async with connected(outside, tmp_path / "home", local) as (_, sandbox_id):
        browser = await outside.browser(sandbox_id)
        idle = _p99(await _quick(browser, 200))
        async with browser.call("GET", "/bytes/200000000") as stalled:
            stalled.read_slowly()
            await stalled.end()
            assert await stalled.head() == 200
            await _settled(local)
            took = await _quick(browser, 200)
            assert stalled.received == 0
        report(f"p99 of small requests: {idle:.1f} ms idle, {_p99(took):.1f} ms beside one that is stalled")
        assert len(took) == 200
        assert took[-1] < PATIENCE / 3  # a request that waited for the stalled one would wait for ever


async def test_small_requests_beside_a_bulk_transfer(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    async with connected(outside, tmp_path / "home", local) as (_, sandbox_id):
        browser = await outside.browser(sandbox_id)
        idle = _p99(await _quick(browser, 200))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_down, browser, 500_000_000)
            nursery.start_soon(_up, browser, 500_000_000)
            await local.wait_until(lambda: any(visit.sent > 5_000_000 for visit in local.visits))
            took = await _quick(browser, 200)
            nursery.cancel_scope.cancel()
        local.violations.clear()
        report(f"p99 of small requests: {idle:.1f} ms idle, {_p99(took):.1f} ms beside transfers both ways")
        assert took[-1] < PATIENCE / 3


async def test_both_ends_at_full_window(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    """Many streams, all windows full in both directions, readers that stop and go on: no lock-up."""
    size = 6_000_000
    async with connected(outside, tmp_path / "home", local) as (_, sandbox_id):
        browser = await outside.browser(sandbox_id)

        async def echo() -> None:
            async with browser.call("POST", "/echo", [("Content-Length", str(size))]) as call:
                call.read_slowly()
                async with trio.open_nursery() as nursery:

                    async def send() -> None:
                        await call.send(pieces(size))
                        await call.end()

                    nursery.start_soon(send)
                    assert await call.head() == 200
                    with trio.move_on_after(0.3):  # until everything between is full
                        await trio.sleep_forever()
                    assert (await call.drain(), call.received) == (content_hash(size), size)

        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(echo)


async def test_a_long_way(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    """100 ms round trip: the window grows until it carries 20 MB/s, each way."""
    proxy = DelayProxy("127.0.0.1", outside.port, 0.05)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        with agent_process(tmp_path / "home", local.url) as agent:
            url = f"http://127.0.0.1:{proxy.address[1]}"
            agent.start("--server", url, "--code", await outside.code(), "--name", "far")
            await agent.until_said("connected")
            sandboxes = await outside.api("GET", f"/api/workspaces/{outside.workspace}/sandboxes")
            sandbox_id = next(found["id"] for found in sandboxes if found["name"] == "far")
            await outside.until(sandbox_id, "running")
            browser = await outside.browser(sandbox_id)
            with trio.fail_after(PATIENCE):
                down = await _down(browser, 70_000_000, skip=20_000_000)
                up = await _up(browser, 70_000_000, skip=20_000_000)
            report(f"round trip 100 ms: down {down:.1f} MB/s, up {up:.1f} MB/s; window {LARGEST_WINDOW / MIB:.0f} MiB")
            assert min(down, up) > 8  # a window of 64 KiB that does not grow: 0.65 MB/s
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("version", [1, 2])
async def test_too_many_requests(team: Inside, local: HttpLocal, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    for module in (session, version1):
        monkeypatch.setattr(module, "MOST_STREAMS", 5)
    joined = await team.join()
    async with AsyncExitStack() as stack:
        if version == 2:
            await stack.enter_async_context(agent_here(team, joined, local.port))
        else:
            await stack.enter_async_context(agent_v1(team, joined, local.port))
        browser = await team.browser(joined.sandbox_id)
        for number in range(5):
            call = await stack.enter_async_context(browser.call("GET", "/gate/later"))
            await call.end()
            await local.wait_until(lambda number=number: len(local.open) == number + 1)  # type: ignore[misc]
        refused = await browser.get("/bytes/5")
        assert (refused.status, b'"tunnel_busy"' in refused.body) == (503, True)
        local.release("later")
        await local.wait_until(lambda: not local.open)
        await eventually(lambda: not team.link(joined.sandbox_id).streams)
        assert (await browser.get("/bytes/5")).body == content(5)


async def test_nothing_is_left(team: Inside, local: HttpLocal) -> None:
    """A thousand requests of all kinds, a third of them cut somewhere: no stream and no growth of a window is left."""
    joined = await team.join()
    async with agent_here(team, joined, local.port) as agent:
        browser = await team.browser(joined.sandbox_id)
        left = iter(range(1000))

        async def some() -> None:
            for number in left:
                await _one(browser, number)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(some)
        link = team.link(joined.sandbox_id)
        ends = (link, agent.link)
        await eventually(lambda: not any(end.streams or end.session.streams for end in ends))  # type: ignore[union-attr]
        assert [end.session._growth.left for end in ends] == [MOST_GROWTH] * 2  # type: ignore[union-attr]
        await eventually(lambda: all(end.session.lanes.empty for end in ends))  # there may be a ping on its way
        await eventually(lambda: not local.open)
        local.violations.clear()


async def _one(browser: Browser, number: int) -> None:
    kind = number % 9
    target = ["/bytes/100", "/bytes/300000", "/hash", "/break/50000/100", "/never", "/bytes/2000000", "/events",
              "/early", "/bytes/40000?chunked=1"][kind]  # fmt: skip
    body = b"x" * 50_000 if target in ("/hash", "/early") else None
    headers = [] if body is None else [("Content-Length", str(len(body)))]
    async with browser.call("GET" if body is None else "POST", target, headers) as call:
        if body is not None:
            await call.send([body[: 50_000 if number % 2 else 20_000]])
        if body is None or number % 2:
            await call.end()
        if target == "/never":
            return
        if target == "/hash" and not number % 2:
            return  # in the middle of the request
        assert await call.head() in (200, 413, 502)
        if number % 3:
            try:
                with trio.move_on_after(0.05 if target == "/events" else PATIENCE):
                    await call.drain()
            except CutShort:
                assert target.startswith("/break")
