"""running and offline follow the live connections, whatever becomes of the database and of other daemons."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.tunnel import presence as module
from daemon.tunnel.presence import EXPIRE_SECONDS, HEARTBEAT_SECONDS, Presence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.db.database import Database

PATIENCE = 30.0  # seconds until something that takes milliseconds is taken to have failed
W, BOX, OTHER = "w" * 16, "b" * 16, "o" * 16
SETUP = f"""
INSERT INTO workspaces (id, name) VALUES ('{W}', 'Work');
INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES
    ('{BOX}', '{W}', 'Laptop', 'local', 'offline'), ('{OTHER}', '{W}', 'Desk', 'local', 'offline');
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.01,))


async def execute(db: Database, query: str, *args: object) -> list[tuple[Any, ...]]:
    """Run one statement; the rows, if it has any."""

    def op(conn: Any) -> list[tuple[Any, ...]]:
        cursor = conn.execute(query, args or None)
        return cursor.fetchall() if cursor.description else []

    return await db.run(op)


async def statuses(db: Database) -> dict[str, str]:
    rows = await execute(db, "SELECT id, status FROM sandboxes")
    return {row[0]: row[1] for row in rows}


async def age(db: Database, seconds: float) -> None:
    """All heartbeats are older by so much."""
    await execute(db, "UPDATE sandboxes SET last_heartbeat_at = last_heartbeat_at - make_interval(secs => %s)", seconds)


@pytest.fixture
async def boxes(db: Database) -> Database:
    await execute(db, SETUP)
    return db


class Flaky:
    """The real database, but for the ways to fail that are still ``planned``: "before" or "after" the commit."""

    def __init__(self, db: Database, *planned: str) -> None:
        self._db = db
        self.planned = list(planned)
        self.failed = trio.Event()

    async def run(self, op: Any, /, *args: Any, **kwargs: Any) -> Any:
        how = self.planned.pop(0) if self.planned else ""
        result = None if how == "before" else await self._db.run(op, *args, **kwargs)
        if how:
            self.failed.set()
            raise DatabaseUnavailable("it is away")
        return result


@asynccontextmanager
async def serving(presence: Presence) -> AsyncIterator[None]:
    """The service, for the time of the block."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(presence.run)
            yield
            nursery.cancel_scope.cancel()


async def test_a_connection_is_written_as_it_comes_and_goes(boxes: Database) -> None:
    presence = Presence(boxes, only_one=False)
    async with serving(presence):
        presence.up(BOX, "1")
        assert await presence.written("1")
        assert await statuses(boxes) == {BOX: "running", OTHER: "offline"}
        presence.up(BOX, "1", {"host": "laptop"})
        presence.up(BOX, "1", {"host": "laptop", "system": "Linux"})
        assert await presence.written("1")
        rows = await execute(boxes, "SELECT agent_info FROM sandboxes WHERE id = %s", BOX)
        assert rows == [({"host": "laptop", "system": "Linux"},)]
        presence.down(BOX, "1")
        assert not await presence.written("1")
        assert await statuses(boxes) == {BOX: "offline", OTHER: "offline"}
        assert not await presence.written("never heard of")


async def test_a_machine_that_says_something_new_all_the_time_makes_few_events(boxes: Database) -> None:
    presence = Presence(boxes, only_one=False)
    count = "SELECT count(*) FROM events WHERE kind = 'sandbox.updated'"
    for number in range(20):
        presence.up(BOX, "1", {"load": number})
        await presence.flush()
    assert await execute(boxes, count) == [(1,)]
    await presence.beat()
    await presence.flush()
    assert await execute(boxes, "SELECT agent_info FROM sandboxes WHERE id = %s", BOX) == [({"load": "19"},)]
    assert await execute(boxes, count) == [(2,)]


async def test_the_clean_up_of_an_older_connection_leaves_the_newer(boxes: Database) -> None:
    """Lesson: a reconnecting agent was marked offline by the clean-up of its older connection."""
    presence = Presence(boxes, only_one=False)
    async with serving(presence):
        presence.up(BOX, "1")
        await presence.written("1")
        presence.up(BOX, "2")
        presence.down(BOX, "1")
        await presence.written("1")
        assert await presence.written("2")
        assert (await statuses(boxes))[BOX] == "running"


async def test_who_waits_for_a_connection_that_ends_at_once_is_told(boxes: Database) -> None:
    presence = Presence(boxes, only_one=False)
    answers: list[bool] = []

    async def wait() -> None:
        answers.append(await presence.written("1"))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            presence.up(BOX, "1")
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            presence.down(BOX, "1")
            await presence.flush()
    assert answers == [False]
    assert await execute(boxes, "SELECT generation FROM sandboxes WHERE id = %s", BOX) == [(1,)]


@pytest.mark.parametrize("planned", [["before"], ["after"], ["before", "after", "before"]])
async def test_nothing_is_forgotten_while_the_database_is_away(boxes: Database, planned: list[str]) -> None:
    flaky: Any = Flaky(boxes, *planned)
    presence = Presence(flaky, only_one=False)
    presence.up(BOX, "1")
    presence.up(OTHER, "2")
    async with serving(presence):
        await flaky.failed.wait()
        presence.down(OTHER, "2")
        presence.up(BOX, "3")
        presence.down(BOX, "1")
        assert await presence.written("3")
        await presence.written("2")
        assert not flaky.planned
        assert await statuses(boxes) == {BOX: "running", OTHER: "offline"}
        assert await execute(boxes, "SELECT tunnel_connection FROM sandboxes WHERE id = %s", BOX) == [("3",)]


@pytest.mark.parametrize("end", ["UPDATE sandboxes SET status = 'deleting'", "DELETE FROM sandboxes"])
async def test_a_connection_without_a_sandbox_is_told(boxes: Database, end: str) -> None:
    """Deleted before it was written, or since: then the next heartbeat finds out, at the latest."""
    lost: list[str] = []
    presence = Presence(boxes, only_one=False, lost=lost.append)
    presence.up(BOX, "1")
    await presence.flush()
    await presence.beat()
    assert lost == []
    await execute(boxes, end)
    presence.up(OTHER, "2")
    await presence.flush()
    assert lost == ["2"]
    assert not await presence.written("2")
    await presence.beat()
    assert lost == ["2", "1"]
    await presence.beat()
    assert lost == ["2", "1"]


async def test_a_newer_connection_of_another_daemon_takes_over(boxes: Database) -> None:
    lost: list[str] = []
    first, second = Presence(boxes, only_one=False, lost=lost.append), Presence(boxes, only_one=False)
    first.up(BOX, "1")
    await first.flush()
    second.up(BOX, "2")
    await second.flush()
    await first.beat()
    assert lost == ["1"]
    first.down(BOX, "1")
    await first.flush()
    assert (await statuses(boxes))[BOX] == "running"


async def test_heartbeats_keep_alive_and_a_dead_daemons_tunnels_run_out(boxes: Database) -> None:
    dead, living = Presence(boxes, only_one=False), Presence(boxes, only_one=False)
    dead.up(BOX, "1")
    await dead.flush()
    living.up(OTHER, "2")
    await living.flush()
    await age(boxes, EXPIRE_SECONDS + 1)
    await living.beat()
    assert await statuses(boxes) == {BOX: "running", OTHER: "running"}, "others get a round to bring theirs"
    await living.beat()
    assert await statuses(boxes) == {BOX: "offline", OTHER: "running"}
    await dead.beat()  # it was not dead
    assert await statuses(boxes) == {BOX: "running", OTHER: "running"}


async def test_a_database_that_was_away_for_long_makes_nobody_offline(boxes: Database) -> None:
    flaky: Any = Flaky(boxes)
    first, second = Presence(flaky, only_one=False), Presence(boxes, only_one=False)
    second.up(OTHER, "2")
    await second.flush()
    await first.beat()  # it may expire from now on
    async with serving(first):
        flaky.planned = ["before"] * 1000
        first.up(BOX, "1")
        await flaky.failed.wait()
        await age(boxes, EXPIRE_SECONDS + 1)
        flaky.planned.clear()
        assert await first.written("1")
        while not first._may_expire:  # its first beat since
            await trio.lowlevel.checkpoint()
        assert await statuses(boxes) == {BOX: "running", OTHER: "running"}


async def test_the_service_writes_a_heartbeat_when_it_begins(boxes: Database) -> None:
    presence = Presence(boxes, only_one=False)
    presence.up(BOX, "1")
    await presence.flush()
    await age(boxes, HEARTBEAT_SECONDS)
    async with serving(presence):
        fresh = "SELECT 1 FROM sandboxes WHERE id = %s AND last_heartbeat_at > now() - interval '10 seconds'"
        while not await execute(boxes, fresh, BOX):
            await trio.lowlevel.checkpoint()


async def test_a_machine_that_comes_and_goes_without_end_stops_no_heartbeat(boxes: Database) -> None:
    presence = Presence(boxes, only_one=False)
    presence.up(OTHER, "2")
    await presence.flush()
    await age(boxes, HEARTBEAT_SECONDS)
    number = 0

    def write(*args: Any) -> list[str]:
        nonlocal number
        trio.from_thread.run_sync(presence.up, BOX, f"connection {number}")
        number += 1
        return real(*args)

    real = module.write
    presence.up(BOX, "first")
    async with serving(presence):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, "write", write)
            fresh = "SELECT 1 FROM sandboxes WHERE id = %s AND last_heartbeat_at > now() - interval '10 seconds'"
            while not await execute(boxes, fresh, OTHER):
                await trio.lowlevel.checkpoint()
    assert number


async def test_the_only_daemon_forgets_the_former_one_once(boxes: Database) -> None:
    former = Presence(boxes, only_one=True)
    former.up(BOX, "1")
    await former.flush()
    presence = Presence(boxes, only_one=True)
    presence.up(OTHER, "2")
    await presence.flush()
    assert await statuses(boxes) == {BOX: "offline", OTHER: "running"}
    async with serving(presence):  # as after a failure of the service
        presence.up(BOX, "3")
        await presence.written("3")
        assert await statuses(boxes) == {BOX: "running", OTHER: "running"}


@pytest.mark.parametrize("planned", [[], ["after"]])
async def test_at_the_end_its_own_tunnels_are_offline(boxes: Database, planned: list[str]) -> None:
    flaky: Any = Flaky(boxes)
    ours, others = Presence(flaky, only_one=False), Presence(boxes, only_one=False)
    others.up(OTHER, "2")
    await others.flush()
    async with serving(ours):
        ours.up(BOX, "1")
        await ours.written("1")
        if planned:
            flaky.planned = planned
            ours.up(BOX, "3")
            await flaky.failed.wait()
    assert await statuses(boxes) == {BOX: "offline", OTHER: "running"}


async def test_the_end_does_not_wait_for_a_database_that_is_away(boxes: Database) -> None:
    flaky: Any = Flaky(boxes)
    presence = Presence(flaky, only_one=False)
    async with serving(presence):
        presence.up(BOX, "1")
        await presence.written("1")
        flaky.planned = ["before"] * 1000
    assert (await statuses(boxes))[BOX] == "running"  # until it runs out


async def test_a_failure_of_the_service_ends_no_tunnel(boxes: Database) -> None:
    class Broken(Flaky):
        async def run(self, op: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self.planned:
                raise RuntimeError(self.planned.pop())
            return await super().run(op, *args, **kwargs)

    broken: Any = Broken(boxes)
    presence = Presence(broken, only_one=False)
    presence.up(BOX, "1")
    await presence.flush()
    presence.up(OTHER, "2")
    broken.planned = ["a bug"]
    with trio.fail_after(PATIENCE), pytest.raises(RuntimeError, match="a bug"):
        await presence.run()
    assert await statuses(boxes) == {BOX: "running", OTHER: "offline"}
    async with serving(presence):
        assert await presence.written("2")
        assert await statuses(boxes) == {BOX: "running", OTHER: "running"}
