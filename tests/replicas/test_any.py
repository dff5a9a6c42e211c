"""Whichever replica is hit: sign-in, API, events, terminals and files of a machine; and what ends, ends on all."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from daemon.agent.serving import Ending
from tests.standins.content import content, content_hash, pieces
from tests.support.visitor import Visitor
from tests.tunnel.browser import Browser, CutShort
from tests.tunnel.harness import Joined, Team, agent_here, eventually, websocket

if TYPE_CHECKING:
    from tests.replicas.three import Three
    from tests.standins.http_local import HttpLocal

pytestmark = [pytest.mark.needs("postgres", "docker"), pytest.mark.timeout(120)]
SOON: Final = 1.0  # seconds: a notification, and a look at the database


async def call(visitor: Visitor, *args: Any, **options: Any) -> Any:
    """A call of the API."""
    return await trio.to_thread.run_sync(partial(visitor.api, *args, **options))


async def somebody(shared: Three) -> Visitor:
    """Signed in a second time, somewhere."""
    visitor = Visitor(shared.balancer.port, secrets=shared.visitor.secrets)
    await trio.to_thread.run_sync(visitor.login)
    return visitor


async def test_every_replica_serves_every_request(shared: Three, local: HttpLocal) -> None:
    joined = await shared.join()
    async with agent_here(shared, joined, local.port):
        before = dict(shared.balancer.given)
        for _ in range(3):
            visitor = await somebody(shared)
            assert (await call(visitor, "GET", "/api/auth/me"))["username"] == "ada"
            browser = Browser.of(visitor, await trio.to_thread.run_sync(visitor.open, joined.sandbox_id))
            for _ in range(3):
                await _use(browser)
        given = [shared.balancer.given[port] - before[port] for port in before]
        assert min(given) > 10, "each one was hit"


async def _use(browser: Browser) -> None:
    """Up, down, and a terminal."""
    assert (await browser.get("/bytes/300000")).body == content(300_000)
    async with browser.call("POST", "/hash", [("Transfer-Encoding", "chunked")]) as upload:
        await upload.send(pieces(1_000_000))
        await upload.end()
        assert await upload.head() == 200
        assert json.loads(await upload.rest())["sha256"] == content_hash(1_000_000)
    headers = [("Cookie", browser.cookie), ("Origin", f"http://{browser.host}:{browser.port}")]
    async with websocket(browser, "/ws", headers) as terminal:
        await terminal.send_message("ls")
        assert await terminal.get_message() == "ls"


async def test_what_happens_at_one_is_told_by_all(shared: Three) -> None:
    async with trio.open_nursery() as nursery:
        heard: list[str] = []
        for replica in shared.replicas:
            shared.balancer.only = replica.port
            browser = Browser.of(shared.visitor, "localhost")
            ready = trio.Event()
            nursery.start_soon(_listen, browser, ready, heard)
            with trio.fail_after(10):
                await ready.wait()
        shared.balancer.only = None
        made = await call(shared.visitor, "POST", "/api/workspaces", {"name": "heard of"})
        await eventually(lambda: len(heard) == 3)
        assert all(made["id"] in event for event in heard)
        nursery.cancel_scope.cancel()


async def _listen(browser: Browser, ready: trio.Event, heard: list[str]) -> None:
    async with browser.call("GET", "/api/events") as stream:
        await stream.end()
        assert await stream.head() == 200
        while piece := (await stream.piece()).decode():
            if "ready" in piece:
                ready.set()
            elif "event: workspace.created" in piece:
                heard.append(piece)


@pytest.mark.parametrize("how", ["signed out", "deleted"])
async def test_what_is_revoked_ends_at_both_ends_of_the_hop(shared: Three, local: HttpLocal, how: str) -> None:
    joined = await shared.join()
    at_first = Joined(joined.sandbox_id, joined.token, f"http://127.0.0.1:{shared.replicas[0].port}")
    async with agent_here(shared, at_first, local.port) as agent:
        visitor = await somebody(shared)
        browser = Browser.of(visitor, await trio.to_thread.run_sync(visitor.open, joined.sandbox_id))
        shared.balancer.only = shared.replicas[1].port
        async with browser.call("GET", "/events") as stream, browser.call("GET", "/never") as waiting:
            for each in (stream, waiting):
                await each.end()
            assert await stream.head() == 200
            await local.wait_until(lambda: len(local.open) == 2)
            shared.balancer.only = shared.replicas[2].port
            if how == "signed out":
                await call(visitor, "POST", "/api/auth/logout", {})
            else:
                await call(visitor, "DELETE", f"/api/sandboxes/{joined.sandbox_id}")
            with trio.fail_after(SOON), pytest.raises(CutShort):
                await stream.drain()
            with trio.fail_after(SOON):
                await local.wait_until(lambda: not local.open)
        shared.balancer.only = None
        assert (await browser.get("/bytes/5")).status in (401, 404, 503)
        if how == "deleted":
            with trio.fail_after(SOON):
                await agent.ended.wait()
            assert getattr(agent.error, "ending", None) is Ending.REMOVED


async def test_the_newest_connection_wins_on_whichever_replica(shared: Three, local: HttpLocal) -> None:
    joined = await shared.join()
    first, second = (
        Joined(joined.sandbox_id, joined.token, f"http://127.0.0.1:{replica.port}") for replica in shared.replicas[:2]
    )
    async with agent_here(shared, first, local.port) as older:
        browser = await Team.browser(shared, joined.sandbox_id)
        before = shared.changes(joined.sandbox_id)
        async with agent_here(shared, second, local.port) as newer:
            with trio.fail_after(SOON):
                await older.ended.wait()
            assert getattr(older.error, "ending", None) is Ending.REPLACED
            for _ in range(3):
                assert (await browser.get("/bytes/5")).body == content(5)
            assert shared.holder(joined.sandbox_id) is shared.replicas[1]
            assert shared.changes(joined.sandbox_id) == before
            assert not newer.ended.is_set()
