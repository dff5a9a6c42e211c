"""Who may join by ``GET /api/tunnel/{id}``, and who may not; and how long."""

from __future__ import annotations

from base64 import b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
import trio

from daemon.agent.serving import Ending, SessionEnded
from daemon.tunnel import door, pace
from tests.standins.content import content
from tests.tunnel.browser import PATIENCE, Browser
from tests.tunnel.harness import AgentHere, Inside, Joined, agent_here, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.standins.http_local import HttpLocal
    from tests.tunnel.browser import Call, Headers
    from tests.tunnel.harness import Outside, Team

V2: Final = "cli-server.tunnel.v2"
ABSENT: Final = "a23456789abcdefg"


def handshake(*more: tuple[str, str], without: str = "") -> Headers:
    """The headers of a WebSocket handshake."""
    usual = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", b64encode(bytes(16)).decode()),
    ]
    return [pair for pair in usual if pair[0] != without] + list(more)


def bearer(token: str) -> tuple[str, str]:
    """The header with a token."""
    return "Authorization", f"Bearer {token}"


@asynccontextmanager
async def knock(team: Team, target: str, headers: Headers) -> AsyncIterator[Call]:
    """A request for the tunnel, answered."""
    with trio.fail_after(PATIENCE):
        async with Browser(team.port, "localhost").call("GET", target, headers) as call:
            await call.end()
            await call.head()
            yield call


async def status(team: Team, target: str, headers: Headers) -> int:
    """How such a request is answered."""
    async with knock(team, target, headers) as call:
        return call.status


async def test_who_is_refused(outside: Outside) -> None:
    joined, other = await outside.join(), await outside.join()
    target = f"/api/tunnel/{joined.sandbox_id}"
    good = bearer(joined.token)
    cloud = await outside.api("POST", f"/api/workspaces/{outside.workspace}/sandboxes", {}, expect=(201,))
    cases: list[tuple[int, str, Headers]] = [
        (101, target, handshake(good)),
        (101, target, handshake(("authorization", f"bearer   {joined.token}"))),
        (401, target, handshake(bearer(other.token))),
        (401, target, handshake(bearer(joined.token[:-1]))),
        (401, target, handshake(("Authorization", "Bearer"))),
        (401, target, handshake()),
        (401, target, handshake(("Authorization", f"Basic {joined.token}"))),
        (401, f"{target}?token=", handshake()),
        (401, f"{target}?token=wrong", handshake()),
        (401, f"{target}?token={joined.token}&token={joined.token}", handshake()),
        (101, f"{target}?token={joined.token}", handshake()),
        (401, f"{target}?token={joined.token}", handshake(bearer("wrong"))),
        (401, f"{target}?token={joined.token}", handshake(("Authorization", ""))),
        (101, f"{target}?token=wrong", handshake(good)),
        (404, f"/api/tunnel/{ABSENT}", handshake(good)),
        (404, "/api/tunnel/", handshake(good)),
        (404, f"{target}/", handshake(good)),
        (404, f"{target}%00", handshake(good)),
        (404, f"/api/tunnel/{joined.sandbox_id.upper()}", handshake(good)),
        (404, f"/api/tunnel/{cloud['id']}", handshake(good)),
        (426, target, [good]),
        (426, target, handshake(good, without="Sec-WebSocket-Version")),
        (426, target, [*handshake(good, without="Upgrade"), ("Upgrade", "h2c")]),
        (400, target, handshake(good, without="Sec-WebSocket-Key")),
        (400, target, [*handshake(good, without="Sec-WebSocket-Key"), ("Sec-WebSocket-Key", "short")]),
        (403, target, handshake(good, ("Origin", "https://evil.example"))),
        (403, target, handshake(good, ("Origin", "null"))),
        (403, target, handshake(good, ("Origin", f"http://localhost:{outside.port}"))),
    ]
    found = [await status(outside, where, headers) for _, where, headers in cases]
    assert found == [expected for expected, _, _ in cases]
    await outside.api("DELETE", f"/api/sandboxes/{cloud['id']}")


async def test_what_is_chosen(outside: Outside) -> None:
    joined = await outside.join()
    target, good = f"/api/tunnel/{joined.sandbox_id}", bearer(joined.token)
    for offered, chosen in (
        ([], []),
        (["chat"], []),
        (["cli-server.tunnel.v3"], []),
        ([V2], [V2]),
        (["chat, " + V2], [V2]),
        (["chat", V2], [V2]),
        (["cli-server.tunnel.v3, cli-server.tunnel.v2, chat"], [V2]),
    ):
        headers = handshake(
            good,
            *(("Sec-WebSocket-Protocol", value) for value in offered),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        )
        async with knock(outside, target, headers) as call:
            answer = dict(call.headers)
            assert call.status == 101
            assert [answer[name] for name in answer if name.lower() == "sec-websocket-protocol"] == chosen
            assert "sec-websocket-extensions" not in {name.lower() for name in answer}


async def test_tokens_are_not_in_the_log(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    joined = await outside.join()
    target = f"/api/tunnel/{joined.sandbox_id}"
    for where, headers in (
        (f"{target}?token={joined.token}", handshake()),
        (target, handshake(bearer(joined.token))),
        (f"/api/tunnel/{ABSENT}?token={joined.token}", handshake()),
        (f"/api/tunnel?token={joined.token}", handshake()),
        (f"{target}?token={joined.token}", handshake(bearer("wrong"))),
    ):
        await status(outside, where, headers)
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id):
        assert joined.sandbox_id in outside.product.log
        assert joined.token not in outside.product.log
        assert sandbox_id in agent.said
        saved = (tmp_path / "home" / ".cli-server" / "agent.json").read_text()
        token = saved.partition('"tunnelToken": "')[2].partition('"')[0]
        assert len(token) > 20
        assert token not in agent.said + outside.product.log


# One connection at a time


async def test_a_newer_connection_replaces_the_older(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    async with connected(outside, tmp_path / "home", local) as (older, sandbox_id):
        browser = await outside.browser(sandbox_id)
        token = (tmp_path / "home" / ".cli-server" / "agent.json").read_text()
        token = token.partition('"tunnelToken": "')[2].partition('"')[0]
        async with browser.call("GET", "/never") as call:
            await call.end()
            await local.wait_until(lambda: local.open)
            joined = Joined(sandbox_id, token, f"http://127.0.0.1:{outside.port}")
            async with agent_here(outside, joined, local.port):
                assert await call.head() == 502
                assert await older.wait() == 1
                assert "another agent has connected" in older.said
                # What the older leaves behind does not make it offline.
                for _ in range(20):
                    assert await outside.status(sandbox_id) == "running"
                    assert (await browser.get("/bytes/5")).body == content(5)
        await outside.until(sandbox_id, "offline")


async def test_many_at_once_leave_one(team: Inside, local: HttpLocal) -> None:
    joined = await team.join()
    async with trio.open_nursery() as nursery:
        agents = [AgentHere() for _ in range(8)]
        for agent in agents:
            nursery.start_soon(nursery.start, agent.run, joined, local.port)
        with trio.fail_after(PATIENCE):
            while sum(agent.ended.is_set() for agent in agents) < 7:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert {str(agent.error) for agent in agents if agent.ended.is_set()} == {
            "a newer connection of this sandbox was made"
        }
        await team.until(joined.sandbox_id, "running")
        browser = await team.browser(joined.sandbox_id)
        assert (await browser.get("/bytes/5")).body == content(5)
        for agent in agents:
            agent.scope.cancel()
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_took_longer_replaces_no_newer_connection(
    team: Inside, local: HttpLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of two came first is said when they come in, and not when they are ready; else neither would stay."""
    orders = iter((2, 1))
    monkeypatch.setattr(door, "next_order", lambda conn: next(orders))
    joined = await team.join()
    async with agent_here(team, joined, local.port) as newer:
        async with agent_here(team, joined, local.port) as older:
            with trio.fail_after(PATIENCE):
                await older.ended.wait()
            assert str(older.error) == "a newer connection of this sandbox was made"
        browser = await team.browser(joined.sandbox_id)
        assert (await browser.get("/bytes/5")).body == content(5)
        assert not newer.ended.is_set()


# Rights that end


async def _second_user(team: Inside, role: str = "developer") -> tuple[Inside, str]:
    """A member of the workspace, signed in; the user's id."""
    visitor = type(team.visitor)(team.port)
    await trio.to_thread.run_sync(visitor.register, "bob")
    user = await trio.to_thread.run_sync(visitor.api, "GET", "/api/auth/me")
    await team.api("POST", f"/api/workspaces/{team.workspace}/members", {"username": "bob", "role": role})
    return Inside(visitor, team.workspace, team.tunnels, team.database_url), str(user["id"])


@pytest.mark.parametrize(
    ("what", "refusal"),
    [("sandbox", 404), ("workspace", 404), ("member", 403), ("guest", 403), ("disabled", 403), ("left", 403)],
)
async def test_rights_that_end(team: Inside, local: HttpLocal, what: str, refusal: int) -> None:
    bob, user = await _second_user(team)
    joined = await bob.join()
    members = f"/api/workspaces/{team.workspace}/members/{user}"
    async with agent_here(team, joined, local.port) as agent:
        browser = await team.browser(joined.sandbox_id)
        async with browser.call("GET", "/never") as call:
            await call.end()
            await local.wait_until(lambda: local.open)
            ends: dict[str, Callable[[], Awaitable[None]]] = {
                "sandbox": lambda: team.api("DELETE", f"/api/sandboxes/{joined.sandbox_id}"),
                "workspace": lambda: team.api("DELETE", f"/api/workspaces/{team.workspace}"),
                "member": lambda: team.api("DELETE", members),
                "guest": lambda: team.api("PUT", members, {"role": "guest"}),
                "disabled": lambda: team.api("PATCH", f"/api/admin/users/{user}", {"disabled": True}),
                "left": lambda: bob.api("DELETE", members),
            }
            await ends[what]()
            with trio.fail_after(1):
                await agent.ended.wait()
                await local.wait_until(lambda: not local.open)
        assert agent.error is not None
        assert getattr(agent.error, "ending", None) is not None
        assert "REMOVED" in str(agent.error.ending)  # type: ignore[attr-defined]
    target = f"/api/tunnel/{joined.sandbox_id}"
    assert await status(team, target, handshake(bearer(joined.token))) == refusal


async def test_who_is_disabled_is_out_of_the_sandboxes_too(team: Inside, local: HttpLocal) -> None:
    """What is open is cut, the host's own cookie is worth nothing, also after the account is enabled again."""
    bob, user = await _second_user(team)
    joined = await team.join()
    async with agent_here(team, joined, local.port):
        browser, mine = await bob.browser(joined.sandbox_id), await team.browser(joined.sandbox_id)
        async with browser.call("GET", "/never") as call, mine.call("GET", "/never") as other:
            await call.end()
            await other.end()
            await local.wait_until(lambda: len(local.open) == 2)
            await team.api("PATCH", f"/api/admin/users/{user}", {"disabled": True})
            with trio.fail_after(1):
                await local.wait_until(lambda: len(local.open) == 1)
        for disabled in (True, False):
            await team.api("PATCH", f"/api/admin/users/{user}", {"disabled": disabled})
            assert (await browser.get("/bytes/5")).status == 401
        assert (await mine.get("/bytes/5")).status == 200


async def test_rights_that_do_not_end(team: Inside, local: HttpLocal) -> None:
    """A change of the name, or of other members, leaves a tunnel alone."""
    _, user = await _second_user(team)
    joined = await team.join()
    async with agent_here(team, joined, local.port) as agent:
        members = f"/api/workspaces/{team.workspace}/members/{user}"
        await team.api("PATCH", f"/api/sandboxes/{joined.sandbox_id}", {"name": "another"})
        await team.api("PUT", members, {"role": "maintainer"})
        await team.api("DELETE", members)
        browser = await team.browser(joined.sandbox_id)
        assert (await browser.get("/bytes/5")).body == content(5)
        assert not agent.ended.is_set()


async def test_a_machine_that_connects_all_the_time_is_slowed_down(
    team: Inside, local: HttpLocal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection is news for everybody who looks on; nobody else is slowed down."""
    burst, seconds = 20, 60.0
    monkeypatch.setattr(pace, "BURST", burst)
    monkeypatch.setattr(pace, "SECONDS", seconds)
    joined, other = await team.join(), await team.join("other")
    target = f"/api/tunnel/{joined.sandbox_id}"
    for _ in range(burst):
        assert await status(team, target, handshake(bearer("another"))) == 401  # who has no token slows nobody down
    for _ in range(burst):
        assert await status(team, target, handshake(bearer(joined.token))) == 101
    reply = await Browser(team.port, "localhost").get(target, handshake(bearer(joined.token)))
    assert reply.status == 429
    assert 1 <= int(reply.all("retry-after")[0]) <= seconds
    async with agent_here(team, other, local.port):
        browser = await team.browser(other.sandbox_id)
        assert (await browser.get("/bytes/5")).body == content(5)


async def test_a_newer_connection_is_no_news(team: Inside, local: HttpLocal) -> None:
    """A machine that changes its network comes anew before its older connection is known to be dead; it is not away."""
    joined = await team.join()

    def look() -> tuple[str, int]:
        with psycopg.connect(team.database_url) as conn:
            return conn.execute(
                "SELECT tunnel_connection, (SELECT count(*) FROM events WHERE sandbox_id = sandboxes.id) FROM sandboxes"
                " WHERE id = %s", (joined.sandbox_id,),
            ).fetchone()  # type: ignore[return-value]  # fmt: skip

    async with agent_here(team, joined, local.port) as older:
        before = await trio.to_thread.run_sync(look)
        async with agent_here(team, joined, local.port):
            await older.ended.wait()
            with trio.fail_after(PATIENCE):
                while (after := await trio.to_thread.run_sync(look))[0] in (before[0], None):
                    await trio.lowlevel.checkpoint()
            assert after[1] == before[1]


async def test_a_database_that_forgot_a_connection_costs_no_machine(team: Inside, local: HttpLocal) -> None:
    """A standby that took over may lack the last transactions. The agent comes anew; it is not told to stay away."""
    joined = await team.join()

    def forget() -> None:
        with psycopg.connect(team.database_url) as conn:
            conn.execute("UPDATE sandboxes SET tunnel_connection = 'older' WHERE id = %s", (joined.sandbox_id,))

    async with agent_here(team, joined, local.port) as agent:
        (connection,) = [name for name, tunnel in team.tunnels._open.items() if tunnel.sandbox_id == joined.sandbox_id]
        await trio.to_thread.run_sync(forget)
        team.tunnels.lost(connection)  # what the next heartbeat leads to
        with trio.fail_after(PATIENCE):
            await agent.ended.wait()
        assert isinstance(agent.error, SessionEnded)
        assert agent.error.ending is Ending.SHUTDOWN
    async with agent_here(team, joined, local.port):
        browser = await team.browser(joined.sandbox_id)
        assert (await browser.get("/bytes/5")).body == content(5)


async def test_the_agent_says_that_it_was_removed(outside: Outside, tmp_path: Path, local: HttpLocal) -> None:
    async with connected(outside, tmp_path / "home", local) as (agent, sandbox_id):
        await outside.api("DELETE", f"/api/sandboxes/{sandbox_id}")
        assert await agent.wait() == 1
        assert "ended the tunnel for good" in agent.said
        agent.start()
        assert await agent.wait() == 1
        assert agent.said.count("stopped:") == 2
