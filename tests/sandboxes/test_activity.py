"""Recording use. Lesson: activity was never recorded, so that sandboxes were paused while in use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from daemon.db.database import DatabaseUnavailable
from daemon.sandboxes import activity as module
from daemon.sandboxes.activity import Activity
from tests.sandboxes.fakes import DEADLINE, add, row_of, running, until

if TYPE_CHECKING:
    import pytest

    from daemon.db.database import Database

LONG_AGO = datetime.now(UTC) - timedelta(hours=2)
AT = datetime(2031, 1, 1, tzinfo=UTC)


class Away:
    """A database that is away for as long as ``away`` says."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.away = True
        self.tries = 0

    async def run(self, op: Any, *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.tries += 1
        if self.away:
            raise DatabaseUnavailable("gone")
        return await self.db.run(op, *args)


async def until_active(db: Database, sandbox_id: str, since: datetime) -> None:
    with trio.fail_after(DEADLINE):
        while (await row_of(db, sandbox_id)).last_activity_at < since:  # noqa: ASYNC110 - the database sets no events
            await trio.sleep(0.02)


async def test_what_is_touched_is_written_and_never_moved_back(db: Database) -> None:
    """Another replica may have seen a later use."""
    now = [AT.timestamp()]
    activity = Activity(db, lambda: now[0])
    sandbox_id = await add(db, "running", last_activity_at=LONG_AGO)
    activity.touch(sandbox_id)
    assert activity.last(sandbox_id) == AT
    await activity.flush()
    assert (await row_of(db, sandbox_id)).last_activity_at == AT
    now[0] -= 3600
    activity.touch(sandbox_id)
    await activity.flush()
    assert (await row_of(db, sandbox_id)).last_activity_at == AT


async def test_a_sandbox_that_is_gone_does_not_keep_others_from_being_written(db: Database) -> None:
    activity = Activity(db)
    sandbox_id = await add(db, "running", last_activity_at=LONG_AGO)
    activity.touch("a123456789abcdef")
    activity.touch(sandbox_id)
    activity.touch("b123456789abcdef")
    activity.forget("b123456789abcdef")
    await activity.flush()
    assert (await row_of(db, sandbox_id)).last_activity_at > LONG_AGO
    assert activity.last("b123456789abcdef") is None


async def test_the_first_use_after_a_quiet_time_is_written_at_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica may be about to pause it."""
    monkeypatch.setattr(module, "FLUSH_SECONDS", 3600.0)
    activity = Activity(db)
    sandbox_id = await add(db, "running", last_activity_at=LONG_AGO)
    async with running(activity.run):
        activity.touch(sandbox_id)
        await until_active(db, sandbox_id, LONG_AGO + timedelta(hours=1))


async def test_what_was_seen_while_the_database_was_away_is_written_when_it_is_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson: a hiccup of the database must not make sandboxes look unused."""
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.02)
    away: Any = Away(db)
    activity = Activity(away)
    sandbox_id = await add(db, "running", last_activity_at=LONG_AGO)
    async with running(activity.run):
        activity.touch(sandbox_id)
        await until(lambda: away.tries >= 3)
        away.away = False
        await until_active(db, sandbox_id, LONG_AGO + timedelta(hours=1))


async def test_the_last_use_is_written_at_shutdown(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the daemon forgets nothing."""
    monkeypatch.setattr(module, "FLUSH_SECONDS", 3600.0)
    monkeypatch.setattr(module, "_AT_ONCE_SECONDS", 3600.0)
    activity = Activity(db)
    sandbox_id = await add(db, "running", last_activity_at=LONG_AGO)
    async with running(activity.run):
        await trio.testing.wait_all_tasks_blocked()
        activity.touch(sandbox_id)
    assert (await row_of(db, sandbox_id)).last_activity_at > LONG_AGO


async def test_a_shutdown_without_a_database_has_an_end() -> None:
    """The last flush is shielded, and bounded."""

    class Hanging:
        async def run(self, op: Any, *args: Any) -> Any:
            raise DatabaseUnavailable("gone")

    hanging: Any = Hanging()
    activity = Activity(hanging)
    with trio.fail_after(DEADLINE):
        async with running(activity.run):
            await trio.testing.wait_all_tasks_blocked()
            activity.touch("a123456789abcdef")
