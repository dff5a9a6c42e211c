"""Three servers of one installation in a cluster: a sandbox with the real opencode is used through any of them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio_websocket

from daemon.gateway.lookup import KEPT_SECONDS
from tests.kubernetes.installed import prepared
from tests.replicas.three import Three, three
from tests.support.product import free_port
from tests.tunnel.browser import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.product import Product

pytestmark = [
    pytest.mark.needs("opencode", "bubblewrap", "root", "postgres", "helm", "nss-wrapper"),
    pytest.mark.timeout(240),
]
PATIENCE = 60.0


@pytest.fixture
def team(database_url: str, tmp_path: Path) -> Iterator[Three]:
    """Three of them on the stand-in for a cluster."""
    public = free_port()
    with prepared(tmp_path, public) as (_, env), three(tmp_path / "replicas", database_url, public, **env) as made:
        yield made


async def asked(browser: Browser, method: str, target: str, body: bytes | None = None) -> Any:
    """What opencode says."""
    reply = await browser.ask(method, target, [("Content-Type", "application/json")], body)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


async def healthy(browser: Browser) -> bool:
    """What opencode says of itself, as soon as this server has heard of it from the one that started it: before what it
    has kept is too old."""
    with trio.fail_after(KEPT_SECONDS / 2):
        while (reply := await browser.ask("GET", "/global/health")).status != 200:  # noqa: ASYNC110 - nobody tells us
            await trio.sleep(0.1)
    return json.loads(reply.body)["healthy"] is True


async def first_event(browser: Browser) -> bytes:
    """What the event stream begins with."""
    with trio.fail_after(PATIENCE):
        async with browser.call("GET", "/event", [("Accept", "text/event-stream")]) as call:
            await call.end()
            assert await call.head() == 200
            return await call.piece()


async def typed(browser: Browser, public: int) -> str:
    """What a terminal answers to a command; pages come from the port ``public``."""
    terminal = (await asked(browser, "POST", "/pty", b"{}"))["id"]
    headers = [(b"Cookie", browser.cookie.encode()), (b"Origin", f"http://{browser.host}:{public}".encode())]
    stream = await trio.open_tcp_stream("127.0.0.1", browser.port)
    said = ""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(
                nursery, stream, f"{browser.host}:{browser.port}", f"/pty/{terminal}/connect", extra_headers=headers
            )
            await socket.send_message("echo te$((40+2))rm\n")
            while "te42rm" not in said:
                message = await socket.get_message()
                said += message if isinstance(message, str) else message.decode(errors="replace")
            nursery.cancel_scope.cancel()
    stream.socket.close()
    return said


def watching(team: Three) -> Product | None:
    """The one that compares what should run with what does; none while nobody has taken it over."""
    query = "SELECT r.url FROM duties d JOIN replicas r ON r.id = d.holder WHERE d.name = 'reconciler'"
    holders = {url for (url,) in team.rows(query)}
    return next((one for one in team.replicas if one.env["REPLICA_URL"] in holders), None)


async def test_a_sandbox_through_any_and_one_is_killed(team: Three) -> None:
    visitor = team.visitor
    box = await trio.to_thread.run_sync(visitor.running, team.workspace)
    host = await trio.to_thread.run_sync(visitor.open, box)
    browser = Browser.of(visitor, host)
    for replica in team.replicas:
        at = team.at(replica, browser)
        assert await healthy(at)
        assert b"server.connected" in await first_event(at)
        assert "te42rm" in await typed(at, visitor.port)
    before = team.changes(box)

    killed = watching(team)
    assert killed is not None
    await trio.to_thread.run_sync(killed.kill)
    deadline = time.monotonic() + PATIENCE
    while watching(team) in (killed, None):
        assert time.monotonic() < deadline
        await trio.sleep(0.1)
    for replica in team.replicas:
        if replica is not killed:
            assert (await asked(team.at(replica, browser), "GET", "/global/health"))["healthy"] is True
    assert team.changes(box) == before, "nobody was told of anything"
    visitor.api("POST", f"/api/sandboxes/{box}/pause")
    await trio.to_thread.run_sync(visitor.wait_for, box, "paused")
    visitor.api("POST", f"/api/sandboxes/{box}/resume")
    await trio.to_thread.run_sync(visitor.wait_for, box, "running")
    alive = next(one for one in team.replicas if one is not killed)
    assert await healthy(team.at(alive, browser))
