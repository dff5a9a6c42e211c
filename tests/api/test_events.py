"""The stream of events: who hears what, resuming, and what ends it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import trio

from daemon.api import events as route
from daemon.api import hub as hubs
from daemon.api.hub import EventHub
from daemon.db.listen import Notifications
from daemon.store.events import EventRow, News
from tests.api.crew import NOWHERE, PATIENCE, Answer, Crew, Live, live, make_crew

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from daemon.db.database import Database
    from tests.api.support import Bench


class Stream:
    """Reads an event stream as the WHATWG says that a browser does."""

    def __init__(self, response: Answer) -> None:
        self.response = response
        self.last_id = ""

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """Type and data of the next event; ``None`` at the end."""
        kind, data = "message", ""
        while (line := await self.response.line()) is not None:
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data += value
            elif not line and data:
                return kind, json.loads(data)
        return None

    async def expect(self, *kinds: str) -> list[dict[str, Any]]:
        """The data of the next events, which are of these types."""
        found = []
        for kind in kinds:
            event = await self.next()
            assert event is not None, f"the stream ended before {kind}"
            assert event[0] == kind, event
            found.append(event[1])
        return found

    async def heartbeat(self) -> None:
        """Wait for a sign of life."""
        while not (await self.response.line() or "").startswith(":"):
            pass
        while line := await self.response.line():
            name, _, self.last_id = line.partition(": ")
            assert name == "id"


@asynccontextmanager
async def listening(live: Live, role: str, path: str = "/api/events", **headers: str) -> AsyncIterator[Stream]:
    """A stream that has begun."""
    async with live.get(role, path, **headers) as response:
        assert response.status_code == 200
        stream = Stream(response)
        if not headers and "?" not in path:
            await stream.expect("ready")
        yield stream


@pytest.fixture
async def system(
    db: Database, database_url: str, make_bench: Callable[..., Bench], tmp_path: Path
) -> AsyncIterator[Live]:
    async with live(db, database_url, make_bench, tmp_path / "api.sock", heartbeat=0.1) as found:
        yield found


async def test_what_is_sent(system: Live) -> None:
    crew = system.crew
    async with listening(system, "guest") as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.response.headers["x-accel-buffering"] == "no"
        made = await (await crew["owner"].post(f"{crew.path}/sandboxes", {"name": "box"})).get_json()
        (event,) = await stream.expect("sandbox.created")
        assert event == {
            "type": "sandbox.created",
            "workspaceId": crew.workspace_id,
            "sandboxId": made["id"],
            "sandbox": made,
        }
        await crew["owner"].patch(f"/api/sandboxes/{made['id']}", {"idleTimeout": "45m"})
        (event,) = await stream.expect("sandbox.updated")
        assert event["sandbox"] == made | {"idleTimeout": "45m"}
        await crew["owner"].patch(crew.path, {"name": "renamed"})
        (event,) = await stream.expect("workspace.updated")
        shown = await (await crew["guest"].get(crew.path)).get_json()
        assert event == {"type": "workspace.updated", "workspaceId": crew.workspace_id, "workspace": shown}
        await crew["owner"].put(f"{crew.path}/members/{crew.id_of('guest')}", {"role": "developer"})
        (event,) = await stream.expect("member.updated")
        assert event["userId"] == crew.id_of("guest")
        await crew.bench.execute("DELETE FROM sandboxes")
        (event,) = await stream.expect("sandbox.deleted")
        assert event == {"type": "sandbox.deleted", "workspaceId": crew.workspace_id, "sandboxId": made["id"]}


async def test_nobody_hears_of_what_is_not_theirs(system: Live) -> None:
    crew = system.crew
    async with listening(system, "stranger") as stranger, listening(system, "guest") as guest:
        box = await crew.box()
        await guest.expect("sandbox.created")
        await crew["stranger"].post("/api/workspaces", {"name": "mine"})
        created, _member = await stranger.expect("workspace.created", "member.created")
        assert created["workspace"]["name"] == "mine"
        await crew["owner"].post(f"{crew.path}/members", {"username": "stranger", "role": "guest"})
        await stranger.expect("member.created")
        await crew["owner"].patch(f"/api/sandboxes/{box}", {"name": "new"})
        await stranger.expect("sandbox.updated")


async def test_a_removed_member_hears_of_it_and_then_nothing(system: Live) -> None:
    """Lesson: member removal left live streams working."""
    crew = system.crew
    async with listening(system, "guest") as guest, listening(system, "owner") as owner:
        await crew["owner"].delete(f"{crew.path}/members/{crew.id_of('guest')}")
        (event,) = await guest.expect("member.deleted")
        assert (event["workspaceId"], event["userId"]) == (crew.workspace_id, crew.id_of("guest"))
        await owner.expect("member.deleted")
        await crew.box()
        await owner.expect("sandbox.created")
        await crew["guest"].post("/api/workspaces", {"name": "mine"})
        await guest.expect("workspace.created")


async def test_members_hear_of_the_end_of_a_workspace(system: Live) -> None:
    """While its rows are there, after they have gone, and when they come back later."""
    crew = system.crew
    await crew.box()
    async with listening(system, "guest") as guest, listening(system, "stranger") as stranger:
        at = guest.last_id
        await crew["owner"].delete(crew.path)
        assert await guest.expect("workspace.deleted") == [
            {"type": "workspace.deleted", "workspaceId": crew.workspace_id}
        ]
        await crew.bench.execute("DELETE FROM sandboxes")
        await crew.bench.execute("DELETE FROM workspaces WHERE id = %s", crew.workspace_id)
        await guest.expect("member.deleted")
        await crew["stranger"].post("/api/workspaces", {"name": "mine"})
        await stranger.expect("workspace.created")
    async with listening(system, "guest", **{"Last-Event-ID": at}) as guest:
        await guest.expect("ready", "workspace.deleted", "member.deleted")
    async with listening(system, "stranger", **{"Last-Event-ID": at}) as stranger:
        await stranger.expect("ready", "workspace.created")


@pytest.mark.parametrize("by_header", [True, False])
async def test_resuming(system: Live, monkeypatch: pytest.MonkeyPatch, by_header: bool) -> None:
    """More than one batch; the id moves on with what happens elsewhere, too."""
    monkeypatch.setattr(route, "BATCH", 3)
    crew = system.crew
    async with listening(system, "guest") as guest:
        await crew.box()
        await guest.expect("sandbox.created")
        at = guest.last_id
    boxes = []
    for _ in range(4):
        await crew["stranger"].post("/api/workspaces", {"name": "elsewhere"})
        boxes.append(await crew.box())
    given: dict[str, Any] = {"Last-Event-ID": at} if by_header else {}
    path = "/api/events" if by_header else f"/api/events?lastEventId={at}"
    async with listening(system, "guest", path, **given) as guest:
        await guest.expect("ready")
        missed = await guest.expect(*["sandbox.created"] * 4)
        assert [event["sandboxId"] for event in missed] == boxes
        await crew["stranger"].post("/api/workspaces", {"name": "elsewhere"})
        ((newest,),) = await crew.bench.execute("SELECT max(id) FROM events")
        while guest.last_id != str(newest):
            await guest.heartbeat()
        boxes.append(await crew.box())
        (event,) = await guest.expect("sandbox.created")
        assert event["sandboxId"] == boxes[-1]


@pytest.mark.parametrize("last", ["0", "99999", "9" * 18, "9" * 40, "-1", "x", "1.5", "12 OR 1=1"])
async def test_ids_that_cannot_be_resumed(system: Live, last: str) -> None:
    """Unknown, too old, or of a database that has been restored since."""
    await system.crew.bench.execute("DELETE FROM events WHERE id < 3")
    async with listening(system, "guest", **{"Last-Event-ID": last}) as guest:
        await guest.expect("reset")
        ((newest,),) = await system.crew.bench.execute("SELECT max(id) FROM events")
        assert guest.last_id == str(newest)
        await guest.expect("ready")
        await system.crew.box()
        await guest.expect("sandbox.created")


async def test_too_much_to_resume(system: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "MOST_RESUMED", 2)
    ((newest,),) = await system.crew.bench.execute("SELECT max(id) FROM events")
    async with listening(system, "guest", **{"Last-Event-ID": str(newest - 2)}) as guest:
        await guest.expect("ready")
    async with listening(system, "guest", **{"Last-Event-ID": str(newest - 3)}) as guest:
        await guest.expect("reset", "ready")


async def test_heartbeats(system: Live) -> None:
    """Lesson: pings end at the next proxy; silence must be bounded on every leg."""
    assert EventHub(system.crew.bench.db, Notifications("dbname=nowhere")).heartbeat == 15
    async with listening(system, "guest") as guest:
        await guest.heartbeat()
        await guest.heartbeat()
        await system.crew.box()
        await guest.expect("sandbox.created")


async def test_head(system: Live) -> None:
    for path in ("/api/events", f"/api/sandboxes/{await system.crew.box()}/logs?follow=1"):
        response = await system.crew["owner"].request("HEAD", path)
        assert response.status_code == 200
        assert await response.get_data() == b""
    assert (await system.crew.bench.client().request("GET", "/api/events")).status_code == 401


# Ends


@pytest.mark.parametrize("way", ["logout", "revoked", "disabled", "removed"])
async def test_it_ends_with_the_session(system: Live, way: str) -> None:
    """Lesson: logout left live streams working."""
    crew = system.crew
    async with listening(system, "guest") as guest, listening(system, "owner") as owner:
        assert system.hub.streams == 2
        session, user = await crew.session_of("guest"), crew.id_of("guest")
        began = trio.current_time()
        if way == "logout":
            await crew["guest"].post("/api/auth/logout")
        elif way == "revoked":
            await crew["guest"].delete(f"/api/auth/sessions/{session}")
        elif way == "disabled":
            await crew["owner"].patch(f"/api/admin/users/{user}", {"disabled": True})
        else:
            await crew.bench.execute("DELETE FROM users WHERE id = %s", user)
        while await guest.next() is not None:
            pass
        assert trio.current_time() - began < 30  # it takes milliseconds; by looking it would take a minute
        await crew.box()
        while (await owner.next() or ("",))[0] != "sandbox.created":
            pass
        assert system.hub.streams == 1


async def test_it_ends_when_the_session_ran_out(
    db: Database, database_url: str, make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    """Nobody tells of that; the hub looks."""
    assert hubs.CHECK_SECONDS == 60
    async with (
        live(db, database_url, make_bench, tmp_path / "api.sock", check=0.05) as system,
        listening(system, "guest") as guest,
        listening(system, "owner") as owner,
    ):
        session = await system.crew.session_of("guest")
        await system.crew.bench.execute("UPDATE sessions SET expires_at = now() WHERE id = %s", session)
        assert await guest.next() is None
        await system.crew.box()
        await owner.expect("sandbox.created")


async def test_it_ends_with_a_session_that_ended_unheard(system: Live, database_url: str) -> None:
    """Lesson: state that lies. While the notification connection is lost, nobody tells of a logout; nor of an event."""
    crew = system.crew
    async with listening(system, "guest") as guest, listening(system, "owner") as owner:
        session = await crew.session_of("guest")
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")  # no triggers: as if their words were lost
            conn.execute("DELETE FROM sessions WHERE id = %s", (session,))
            conn.execute("SET session_replication_role = origin")
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        assert await guest.next() is None
        await crew.box()
        await owner.expect("sandbox.created")


async def test_signed_out_between_the_door_and_the_stream(system: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = system.crew
    session = await crew.session_of("guest")
    listen = system.hub.listen

    def late(session_id: str, user_id: str) -> Any:
        with psycopg.connect(crew.bench.db._conninfo) as conn:
            conn.execute("DELETE FROM sessions WHERE id = %s", (session,))
        return listen(session_id, user_id)

    monkeypatch.setattr(system.hub, "listen", late)
    async with system.get("guest", "/api/events") as response:
        assert await Stream(response).next() is None


async def test_a_client_that_leaves(system: Live) -> None:
    async with listening(system, "guest"):
        assert system.hub.streams == 1
    with trio.fail_after(PATIENCE):
        while system.hub.streams:  # noqa: ASYNC110 - the server's side of a hang-up sets no event here
            await trio.sleep(0.01)


async def test_the_database_comes_and_goes(system: Live, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: database errors were shown as an empty list. The stream stays, and catches up by id."""
    monkeypatch.setattr(route, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(hubs, "PAUSE_SECONDS", 0.01)
    crew = system.crew
    async with listening(system, "guest") as guest:
        await crew.box()
        await guest.expect("sandbox.created")
        name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
        with psycopg.connect(database_url, dbname="postgres", autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            # Until they have ended, or one that lives a moment longer would be cut in what comes below.
            ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
            admin.execute(ended, (name,))
            await guest.heartbeat()
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        boxes = [await crew.box() for _ in range(3)]
        found = await guest.expect(*["sandbox.created"] * 3)
        assert [event["sandboxId"] for event in found] == boxes


# The hub


def row(number: int, workspace: str = "w", user: str | None = None, kind: str = "sandbox.updated") -> EventRow:
    return EventRow(number, kind, workspace, None, user)


async def test_a_slow_consumer_loads_everything_anew(db: Database, make_bench: Callable[..., Bench]) -> None:
    """Lesson: a full buffer dropped data silently. It is told, and never costs more memory than so much."""
    hub = EventHub(db, Notifications("dbname=nowhere"), heartbeat=0.01)
    bench = make_bench(parts={"hub": hub})
    crew = await make_crew(bench)
    with hub.listen(await crew.session_of("guest"), crew.id_of("guest")) as listener:
        stream = route._Stream(bench.parts, listener, None)
        (ready,) = await stream.more()
        assert b"event: ready" in ready
        ids = range(1000, 1000 + hubs.MOST_WAITING + 1)
        listener.give(News(ids[-1], [row(number, user=crew.id_of("guest")) for number in ids]))
        listener.give(News(5000, [row(5000, user=crew.id_of("guest"))]))
        assert await stream.more() == [b'id: 5000\nevent: reset\ndata: {"type":"reset"}\n\n']
        assert stream.over


async def test_it_never_steps_over_what_waits(db: Database) -> None:
    hub = EventHub(db, Notifications("dbname=nowhere"))
    with hub.listen("s", "me") as listener:
        listener.give(News(7, [row(7)], {"w": {"other"}}))
        assert listener.position == 7
        listener.give(News(9, [row(8, user="me"), row(9)], {"w": {"other"}}))
        assert listener.position == 7
        assert [event.id for event in await listener.take()] == [8]
        assert listener.position == 9


def test_who_may_care() -> None:
    events = [row(1, "a"), row(2, "b"), row(3, "c", "me", "member.deleted"), row(4, "d", None, "workspace.deleted")]
    news = News(4, events, {"a": {"me", "other"}, "b": {"other"}})
    assert [event.id for event in news.for_user("me")] == [1, 3, 4]


async def test_a_listener_before_the_hub(db: Database, database_url: str, make_bench: Callable[..., Bench]) -> None:
    """Whoever comes before the hub has begun misses nothing, whenever it begins."""
    notifications = Notifications(database_url)
    hub = EventHub(db, notifications, heartbeat=0.01)
    bench = make_bench(parts={"hub": hub})
    crew: Crew = await make_crew(bench)
    with hub.listen(await crew.session_of("guest"), crew.id_of("guest")) as listener:
        stream = route._Stream(bench.parts, listener, None)
        await stream.more()
        box = await crew.box()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            pieces: list[bytes] = []
            with trio.fail_after(PATIENCE):
                while box.encode() not in b"".join(pieces):
                    pieces += await stream.more()
            nursery.cancel_scope.cancel()


async def test_what_lives_by_a_membership(db: Database, database_url: str, make_bench: Callable[..., Bench]) -> None:
    notifications = Notifications(database_url)
    hub = EventHub(db, notifications)
    crew = await make_crew(make_bench(parts={"hub": hub}))
    async with trio.open_nursery() as nursery:
        await nursery.start(notifications.run)
        nursery.start_soon(hub.run)
        sessions = {role: await crew.session_of(role) for role in ("owner", "developer", "guest")}
        with (
            hub.follow(sessions["owner"], crew.id_of("owner"), crew.workspace_id) as owner,
            hub.follow(sessions["guest"], crew.id_of("guest"), crew.workspace_id) as guest,
            hub.follow(sessions["developer"], crew.id_of("developer"), NOWHERE) as elsewhere,
            hub.follow(sessions["developer"], crew.id_of("developer"), crew.workspace_id) as developer,
        ):
            allowed = [await hub.still_allowed(who) for who in (owner, guest, elsewhere, developer)]
            assert allowed == [True, False, False, True]
            with trio.fail_after(PATIENCE):
                await crew["owner"].delete(f"{crew.path}/members/{crew.id_of('developer')}")
                await developer.unless_ended(trio.sleep_forever)
                assert developer.ended
                assert not owner.ended
        nursery.cancel_scope.cancel()
