"""What should run against what does. Lesson: the clean-up deleted everything, disks included, after a hiccup."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from structlog.testing import capture_logs

from backends.base import BackendError, BackendUnavailable, Observed
from daemon.db.database import DatabaseUnavailable
from daemon.ids import new_id
from daemon.sandboxes import lifecycle as lifecycle_module
from daemon.sandboxes import reconciler as module
from daemon.sandboxes.deadlines import Deadlines
from daemon.sandboxes.reconciler import RESTARTS, Reconciler
from daemon.sandboxes.status import STATUSES
from daemon.store import sandboxes as store
from daemon.store import wishes
from tests.sandboxes.fakes import (
    SOMEBODY,
    BadInventory,
    Good,
    Slow,
    UnavailableThenGood,
    add,
    change,
    lifecycle,
    row_of,
    running,
    status_of,
    until,
    until_status,
)

if TYPE_CHECKING:
    from daemon.db.database import Connection, Database

DETAIL = "opencode exited with status 137"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle_module, "_LOOK_SECONDS", 0.1)


def reconciler(db: Any, backend: Any, **more: Any) -> Reconciler:
    return Reconciler(db, backend, **({"ripe": 0.0} | more))


def exists(backend: Good, sandbox_id: str, *, runs: bool = True, detail: str = "") -> str:
    backend.existing[sandbox_id] = Observed(sandbox_id, "w123456789abcdef", running=runs, detail=detail)
    return sandbox_id


# Lists that are not good


async def test_an_inventory_that_is_not_to_be_had_changes_nothing(db: Database) -> None:
    """Lesson: clean up only against a list that is known to be good. Here: what exists is not known."""
    backend = BadInventory()
    sandbox_id, unknown = await add(db, "running"), exists(backend, new_id())
    with pytest.raises(BackendError):
        await reconciler(db, backend).once()
    assert await status_of(db, sandbox_id) == "running"
    assert unknown in backend.existing
    assert not backend.calls


async def test_a_database_that_is_away_destroys_nothing() -> None:
    """Lesson: with a database hiccup the list of known sandboxes was empty, and everything was deleted."""

    class Away:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            raise DatabaseUnavailable("gone")

    backend = Good()
    exists(backend, new_id())
    with pytest.raises(DatabaseUnavailable):
        await reconciler(Away(), backend).once()
    assert not backend.calls


async def test_the_service_survives_both_and_goes_on(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hiccup ends one round, not the service."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    sandbox_id = await add(db, "running")
    tries: list[Any] = []

    class Hiccup:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            tries.append(op)
            await trio.lowlevel.checkpoint()
            if len(tries) < 4:
                raise DatabaseUnavailable("gone")
            return await db.run(op, *args, **kwargs)

    async with running(reconciler(Hiccup(), Good()).run):
        await until_status(db, sandbox_id, "resuming")


async def test_a_backend_that_is_away_is_told_once_and_once_that_it_is_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    rounds: list[bool] = []

    class Flaky(Good):
        away = True

        async def inventory(self) -> dict[str, Observed]:
            rounds.append(self.away)
            if self.away:
                raise BackendUnavailable(f"no answer, {len(rounds)} times")
            return {}

    backend = Flaky()
    expected = []
    with capture_logs() as logs:
        async with running(reconciler(db, backend).run):
            for away in (True, False, True, False):
                backend.away, seen = away, len(rounds)
                await until(partial(_went_on, rounds, seen + 3))
                expected.append("warning" if away else "info")
                assert [entry["log_level"] for entry in logs if entry["log_level"] != "debug"] == expected
    assert logs[0]["reason"] == "no answer, 1 times"


def _went_on(rounds: list[Any], most: int) -> bool:
    return len(rounds) > most


async def test_what_is_behind_one_trouble_is_told_too(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away, and when it is back so is not the backend: the last word must not be the database's."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    asked: list[Any] = []

    class Hiccup:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(op)
            await trio.lowlevel.checkpoint()
            if len(asked) < 4:
                raise DatabaseUnavailable("gone")
            return await db.run(op, *args, **kwargs)

    with capture_logs() as logs:
        async with running(reconciler(Hiccup(), BadInventory()).run):
            await until(partial(_went_on, asked, 6))
    told = [entry["reason"] for entry in logs if entry["log_level"] != "debug"]
    assert len(told) == 2
    assert told[0] == "gone"


async def test_an_inventory_that_never_answers_has_a_deadline(db: Database) -> None:
    class Hanging(Good):
        async def inventory(self) -> dict[str, Observed]:
            await trio.sleep_forever()
            return {}

    with pytest.raises(BackendUnavailable):
        await reconciler(db, Hanging(), deadlines=Deadlines(inventory=0.05)).once()


# Unknown things


async def test_what_nobody_knows_is_stopped_and_its_disk_kept(db: Database) -> None:
    """Lesson: the clean-up deleted disks. A database restored from a backup does not cost a home."""
    backend = Good()
    runs, lies = exists(backend, new_id()), exists(backend, new_id(), runs=False)
    one = reconciler(db, backend)
    for _ in range(3):
        await one.once()
    assert backend.calls == [("pause", runs)]
    assert set(backend.existing) == {runs, lies}


async def test_remains_of_what_was_deleted_here_are_removed(db: Database) -> None:
    """Lesson: deleting leaked containers. The record of the deletion is the proof."""
    backend = Good()
    sandbox_id = exists(backend, await add(db, "deleting"))
    await db.run(store.remove_row, sandbox_id)
    await reconciler(db, backend).once()
    assert backend.calls == [("destroy", sandbox_id)]


async def test_what_is_unknown_for_a_moment_only_is_left_alone(db: Database) -> None:
    """A sandbox that is being made by another replica, or a list that was a moment older than the other."""
    backend = Good()
    exists(backend, new_id())
    one = reconciler(db, backend, ripe=3600.0)
    for _ in range(3):
        await one.once()
    assert not backend.calls


async def test_a_local_sandboxs_id_is_not_unknown(db: Database) -> None:
    """Lesson: clean up only what is known to be nobody's."""
    backend = Good()
    exists(backend, await add(db, "running", "local"))
    await reconciler(db, backend).once()
    assert not backend.calls


# What runs and should not


@pytest.mark.parametrize("status", sorted(STATUSES - {"offline"}))
async def test_only_what_rests_and_runs_is_stopped(db: Database, status: str) -> None:
    """Transitional rows are the life cycle's, running ones may run."""
    backend = Good()
    sandbox_id = exists(backend, await add(db, status))
    await reconciler(db, backend).once()
    assert backend.called("pause") == ([sandbox_id] if status in ("paused", "failed") else [])
    assert await status_of(db, sandbox_id) == status


async def test_one_that_cannot_be_stopped_holds_up_nobody(db: Database) -> None:
    """Containment: strays, unknowns and the dead are looked after each for itself."""
    backend = UnavailableThenGood(times=3)
    ids = [exists(backend, await add(db, "paused")) for _ in range(2)]
    unknown, dead = exists(backend, new_id()), await add(db, "running")
    one = reconciler(db, backend)
    await one.once()
    assert sorted(backend.called("pause")) == sorted([*ids, unknown])
    assert await status_of(db, dead) == "resuming"
    await one.once()
    assert not any(seen.running for seen in backend.existing.values())


async def test_who_is_resumed_while_a_stray_is_stopped_waits_for_it(db: Database) -> None:
    """Lesson: resume right after pause gave the address of what was still terminating."""
    backend = Slow()
    sandbox_id = exists(backend, await add(db, "paused"))
    life = lifecycle(db, backend)
    async with running(life.run) as nursery:
        nursery.start_soon(reconciler(db, backend).once)
        await until(lambda: backend.called("pause"))
        await life.request_resume(sandbox_id, SOMEBODY)
        backend.gate.set()
        await until_status(db, sandbox_id, "running")
    assert backend.calls == [("pause", sandbox_id), ("start", sandbox_id)]
    assert not backend.overlaps


async def test_who_is_being_resumed_is_no_stray(db: Database) -> None:
    """The row has changed since it was read."""
    backend = Good()
    sandbox_id = exists(backend, await add(db, "paused"))

    class Between:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            if op is store.take_lease:
                await db.run(wishes.request_status, sandbox_id, "resuming", SOMEBODY)
            return await db.run(op, *args, **kwargs)

    await reconciler(Between(), backend).once()
    assert not backend.calls


# What should run and does not


async def test_who_died_is_started_again(db: Database) -> None:
    """failed with the reason, and on to resuming, so that the life cycle starts it."""
    backend = Good()
    sandbox_id = await add(db, "creating")
    async with running(lifecycle(db, backend).run):
        await until_status(db, sandbox_id, "running")
        backend.die(sandbox_id, DETAIL)
        await reconciler(db, backend).once()
        found = await row_of(db, sandbox_id)
        assert found.failures == 1
        await until_status(db, sandbox_id, "running")
    assert backend.called("start") == [sandbox_id] * 2


async def test_a_crash_loop_ends_in_failed_with_its_reason(db: Database) -> None:
    """Lesson: a failure must be told to somebody. A restart does not mend this one; a person's resume counts anew."""
    backend = Good()
    sandbox_id = await add(db, "running")
    one = reconciler(db, backend)
    for _ in range(RESTARTS):
        exists(backend, sandbox_id, runs=False, detail=DETAIL)
        await one.once()
        assert await status_of(db, sandbox_id) == "resuming"
        await change(db, sandbox_id, status="running")
    await one.once()
    found = await row_of(db, sandbox_id)
    assert (found.status, found.status_reason) == ("failed", DETAIL)
    await lifecycle(db, backend).request_resume(sandbox_id, SOMEBODY)
    await change(db, sandbox_id, status="running")
    await one.once()
    assert await status_of(db, sandbox_id) == "resuming"


async def test_deaths_that_lie_apart_are_no_crash_loop(db: Database) -> None:
    sandbox_id = await add(db, "running", failures=RESTARTS, failed_at="yesterday")
    backend = Good()
    exists(backend, sandbox_id, runs=False, detail=DETAIL)
    await reconciler(db, backend).once()
    found = await row_of(db, sandbox_id)
    assert (found.status, found.failures) == ("resuming", 1)


async def test_restarts_of_the_daemon_are_no_failures_of_its_sandboxes(db: Database) -> None:
    """What the backend has no word about when a daemon begins to look ended with the former daemon."""
    sandbox_id = await add(db, "running")
    for _ in range(RESTARTS + 2):
        backend = Good()
        exists(backend, sandbox_id, runs=False)
        await reconciler(db, backend).once()
        found = await row_of(db, sandbox_id)
        assert (found.status, found.failures) == ("resuming", 0)
        await change(db, sandbox_id, status="running")


async def test_who_vanishes_again_and_again_without_a_word_is_a_crash_loop_too(db: Database) -> None:
    """Only the first look of a daemon forgives."""
    sandbox_id = await add(db, "running")
    one = reconciler(db, Good())
    for _ in range(RESTARTS + 1):
        await one.once()
        await change(db, sandbox_id, status="running")
    await one.once()
    assert await status_of(db, sandbox_id) == "failed"


async def test_who_was_paused_while_the_lists_were_read_is_not_dead(db: Database) -> None:
    """Lesson: status without compare-and-set. The row is compared with what was read."""
    backend = Good()
    sandbox_id = await add(db, "running")

    class Between:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            result = await db.run(op, *args, **kwargs)
            if op is store.all_cloud:
                await db.run(pause)
            return result

    def pause(conn: Connection) -> None:
        store.change_status(conn, sandbox_id, "pausing")
        store.change_status(conn, sandbox_id, "paused")

    await reconciler(Between(), backend).once()
    assert await status_of(db, sandbox_id) == "paused"


async def test_a_local_sandbox_is_not_the_backends(db: Database) -> None:
    """Lesson: every local agent answered "offline"."""
    sandbox_id = await add(db, "running", "local")
    await reconciler(db, Good()).once()
    assert await status_of(db, sandbox_id) == "running"
