"""What admins hear of beside their own workspaces, and what a change of an admin's rights does to open streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from daemon.store import events as store
from daemon.store.events import EventRow, News
from tests.api.crew import PATIENCE, live
from tests.api.test_events import Stream, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from daemon.db.database import Database
    from tests.api.crew import Live
    from tests.api.support import Bench

CHANGED = {"type": "admin.changed"}


@pytest.fixture
async def system(
    db: Database, database_url: str, make_bench: Callable[..., Bench], tmp_path: Path
) -> AsyncIterator[Live]:
    """The crew's owner is the admin."""
    async with live(db, database_url, make_bench, tmp_path / "api.sock", heartbeat=0.1) as found:
        yield found


async def act(system: Live, what: str) -> None:
    """Something that the admin would not see otherwise."""
    crew = system.crew
    theirs = (await (await crew["stranger"].get("/api/workspaces")).get_json())[0]["id"]
    guest = f"/api/admin/users/{crew.id_of('guest')}"
    acts: dict[str, Callable[[], Any]] = {
        "user registered": lambda: crew.bench.person("new"),
        "user disabled": lambda: crew["owner"].patch(guest, {"disabled": True}),
        "user made an admin": lambda: crew["owner"].patch(guest, {"isAdmin": True}),
        "workspace created": lambda: crew["stranger"].post("/api/workspaces", {"name": "x"}),
        "workspace renamed": lambda: crew["stranger"].patch(f"/api/workspaces/{theirs}", {"name": "x"}),
        "workspace deleted": lambda: crew["stranger"].delete(f"/api/workspaces/{theirs}"),
        "member added": lambda: crew["stranger"].post(
            f"/api/workspaces/{theirs}/members", {"username": "guest", "role": "guest"}
        ),
        "sandbox created": lambda: crew.box(workspace_id=theirs),
    }
    await acts[what]()


async def until(stream: Stream, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """What is said up to an event of this kind."""
    found: list[tuple[str, dict[str, Any]]] = []
    with trio.fail_after(PATIENCE):
        while not found or found[-1][0] != kind:
            event = await stream.next()
            assert event is not None, f"the stream ended before {kind}"
            found.append(event)
    return found


@pytest.mark.parametrize(
    "what",
    [
        "user registered",
        "user disabled",
        "user made an admin",
        "workspace created",
        "workspace renamed",
        "workspace deleted",
        "member added",
        "sandbox created",
    ],
)
async def test_an_admin_hears_that_something_changed(system: Live, what: str) -> None:
    """And nothing of what it was; what the admin does see comes as it is, and nobody else hears any of it."""
    async with listening(system, "owner") as admin, listening(system, "developer") as developer:
        await act(system, what)
        assert await admin.expect("admin.changed") == [CHANGED]
        box = await system.crew.box()
        heard = await until(admin, "sandbox.created")
        assert all(event == ("admin.changed", CHANGED) for event in heard[:-1])
        assert heard[-1][1]["sandboxId"] == box
        (event,) = await developer.expect("sandbox.created")
        assert event["sandboxId"] == box


async def test_of_their_own_workspaces_admins_hear_as_everybody(system: Live) -> None:
    crew = system.crew
    async with listening(system, "owner") as admin:
        box = await crew.box()
        await crew["owner"].patch(f"/api/sandboxes/{box}", {"name": "new"})
        await crew["owner"].delete(f"{crew.path}/members/{crew.id_of('guest')}")
        await admin.expect("sandbox.created", "sandbox.updated", "member.deleted")


async def test_what_was_missed(system: Live) -> None:
    """An admin who comes back hears of it too, at a place from which to go on."""
    crew = system.crew
    async with listening(system, "owner") as admin:
        await crew.box()
        await admin.expect("sandbox.created")
        at = admin.last_id
    await act(system, "user registered")
    await crew.box()
    await act(system, "workspace created")
    async with listening(system, "owner", **{"Last-Event-ID": at}) as admin:
        await admin.expect("ready", "sandbox.created", "admin.changed")
        ((newest,),) = await crew.bench.execute("SELECT max(id) FROM events")
        assert admin.last_id == str(newest)


async def test_a_change_of_rights_ends_the_streams_of_that_user(system: Live) -> None:
    """Browsers open them again at once, and load what they may see now."""
    crew = system.crew
    guest = f"/api/admin/users/{crew.id_of('guest')}"
    for wanted in (True, False):
        async with listening(system, "guest") as stream, listening(system, "developer") as other:
            await crew["owner"].patch(guest, {"isAdmin": wanted})
            with trio.fail_after(PATIENCE):
                while await stream.next() is not None:
                    pass
            await crew.box()
            await other.expect("sandbox.created")
        async with listening(system, "guest") as again:
            await crew["stranger"].post("/api/workspaces", {"name": "x"})
            await crew.box()
            heard = await until(again, "sandbox.created")
            assert (("admin.changed", CHANGED) in heard) is wanted


async def test_a_log_that_is_followed_goes_on(system: Live) -> None:
    """It shows the same to everybody who may read it."""
    crew = system.crew
    session = await crew.session_of("developer")
    async with listening(system, "developer") as stream:
        await crew.box()
        await until(stream, "sandbox.created")  # what was announced before, as that they are a member, is over
        with system.hub.follow(session, crew.id_of("developer"), crew.workspace_id) as follower:
            await crew["owner"].patch(f"/api/admin/users/{crew.id_of('developer')}", {"isAdmin": True})
            with trio.fail_after(PATIENCE):
                while await stream.next() is not None:
                    pass
            assert not follower.ended
            await crew["owner"].patch(f"/api/admin/users/{crew.id_of('developer')}", {"disabled": True})
            with trio.fail_after(PATIENCE):
                await follower.unless_ended(trio.sleep_forever)
            assert follower.ended


def test_who_may_care() -> None:
    events = [
        EventRow(1, "sandbox.updated", "a", None, None),
        EventRow(2, "user.updated", None, None, "me"),
        EventRow(3, "user.updated", None, None, "other"),
    ]
    news = News(3, events, {"a": {"other"}}, frozenset({"boss"}))
    assert [event.id for event in news.for_user("boss")] == [1, 2, 3]
    assert [event.id for event in news.for_user("me")] == [2]
    assert [event.id for event in news.for_user("nobody")] == []


async def test_once_for_all_and_in_order(system: Live) -> None:
    """The ids of what is told grow, or a client that resumes would go back."""
    crew = system.crew
    ((after,),) = await crew.bench.execute("SELECT max(id) FROM events")
    await crew["stranger"].post("/api/workspaces", {"name": "x"})
    await crew.box()
    await crew["stranger"].post("/api/workspaces", {"name": "y"})
    await crew.box()
    missed = await crew.bench.db.run(store.events_after, after, 100)
    told = await crew.bench.db.run(store.visible, crew.id_of("owner"), missed)
    assert [seen.event.kind for seen in told] == ["sandbox.created", "admin.changed", "sandbox.created"]
    ids = [seen.event.id for seen in told]
    assert ids == sorted(ids)
    told = await crew.bench.db.run(store.visible, crew.id_of("guest"), missed)
    assert [seen.event.kind for seen in told] == ["sandbox.created", "sandbox.created"]
