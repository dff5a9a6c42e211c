"""Orders and how they are carried out, on the real database. Lesson of all of these: "State that lies"."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from backends.base import BackendRejected
from daemon.db.database import DatabaseUnavailable
from daemon.ids import new_id
from daemon.sandboxes import lifecycle as module
from daemon.sandboxes.deadlines import Deadlines
from daemon.sandboxes.status import IllegalStatus
from daemon.store import sandboxes as store
from tests.sandboxes.fakes import (
    DEADLINE,
    SOMEBODY,
    Defective,
    DiesAtStart,
    FarAway,
    Good,
    NeverReady,
    Notes,
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

# The call that carries out a status, and what it leads to.
JOBS = [
    ("creating", "start", "running"),
    ("resuming", "start", "running"),
    ("pausing", "pause", "paused"),
    ("deleting", "destroy", None),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.2)


async def test_create_pause_resume_delete(db: Database) -> None:
    """The usual life. Lesson: deleting a running sandbox leaked containers."""
    backend, jobs = Good(), list[tuple[str, str]]()
    life = lifecycle(db, backend, finished=lambda kind, outcome, _seconds: jobs.append((kind, outcome)))
    sandbox_id = await add(db, "creating")
    async with running(life.run):
        await until_status(db, sandbox_id, "running")
        await life.request_pause(sandbox_id, SOMEBODY)
        await until_status(db, sandbox_id, "paused")
        assert (await row_of(db, sandbox_id)).paused_at is not None
        await life.request_resume(sandbox_id, SOMEBODY)
        await until_status(db, sandbox_id, "running")
        await life.request_delete(sandbox_id, SOMEBODY)
        await until_status(db, sandbox_id, None)
        await until(lambda: len(jobs) == 4)
    assert backend.calls == [(call, sandbox_id) for call in ("start", "pause", "start", "destroy")]
    assert jobs == [("creating", "running"), ("pausing", "paused"), ("resuming", "running"), ("deleting", "deleted")]
    assert not backend.existing


@pytest.mark.parametrize(("status", "call"), [job[:2] for job in JOBS])
async def test_delete_during(db: Database, status: str, call: str) -> None:
    """Lesson: pause against delete leaked the container. What is under way ends before the removal begins."""
    backend = Slow()
    life = lifecycle(db, backend)
    sandbox_id = await add(db, status)
    async with running(life.run):
        await until(lambda: backend.called(call))
        await life.request_delete(sandbox_id, SOMEBODY)
        await until(lambda: backend.called("destroy"))
        assert await status_of(db, sandbox_id) == "deleting"
        backend.gate.set()
        await until_status(db, sandbox_id, None)
    assert not backend.overlaps
    assert not backend.existing
    assert len(backend.called("destroy")) == 1


@pytest.mark.parametrize("notified", [True, False])
async def test_delete_on_another_replica_is_carried_out_by_the_one_that_acts(db: Database, notified: bool) -> None:
    """Lesson: pause against delete. The lease survives the wish, so that never two replicas act on one sandbox."""
    backend, notes = Slow(), Notes()
    first, second = lifecycle(db, backend, notes), lifecycle(db, backend)
    sandbox_id = await add(db, "creating")
    async with running(first.run) as nursery:
        await until(lambda: backend.called("start"))
        nursery.start_soon(second.run)
        await second.request_delete(sandbox_id, SOMEBODY)
        if notified:
            notes.send("sandbox", sandbox_id)
        await until(lambda: backend.called("destroy"))
        owner = await db.run(lambda conn: conn.execute("SELECT lease_owner FROM sandboxes").fetchone())
        assert owner == (first.owner,)
        backend.gate.set()
        await until_status(db, sandbox_id, None)
    assert not backend.overlaps
    assert not backend.existing


async def test_two_replicas_do_each_job_once(db: Database) -> None:
    """Lesson: double pause."""
    backend = Good()
    ids = [await add(db, "creating") for _ in range(10)]
    async with running(lifecycle(db, backend).run, lifecycle(db, backend).run):
        for sandbox_id in ids:
            await until_status(db, sandbox_id, "running")
    assert sorted(backend.called("start")) == sorted(ids)


async def test_of_two_pauses_one_wins(db: Database) -> None:
    """Lesson: status without compare-and-set: double pause."""
    life = lifecycle(db, Good())
    sandbox_id = await add(db, "running")
    outcomes: list[str] = []

    async def pause() -> None:
        try:
            await life.request_pause(sandbox_id, SOMEBODY)
        except IllegalStatus as error:
            outcomes.append(error.status)
        else:
            outcomes.append("won")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause)
        nursery.start_soon(pause)
    assert sorted(outcomes) == ["pausing", "won"]


async def test_delete_twice_is_no_error(db: Database) -> None:
    life = lifecycle(db, Good())
    sandbox_id = await add(db, "running")
    await life.request_delete(sandbox_id, SOMEBODY)
    await life.request_delete(sandbox_id, SOMEBODY)


@pytest.mark.parametrize("status", ["offline", "running", "deleting"])
async def test_a_local_sandbox_can_be_deleted(db: Database, status: str) -> None:
    """No status is a trap: the row goes, and no backend is asked."""
    backend = Good()
    life = lifecycle(db, backend)
    sandbox_id = await add(db, status, "local")
    async with running(life.run):
        await life.request_delete(sandbox_id, SOMEBODY)
        await until_status(db, sandbox_id, None)
    assert not backend.calls


@pytest.mark.parametrize(("status", "call", "after"), JOBS)
async def test_a_crash_in(db: Database, status: str, call: str, after: str | None) -> None:
    """Lesson: a crash in a transitional status left it there for ever. The next daemon goes on at once."""
    hanging = Slow()
    sandbox_id = await add(db, status)
    async with running(lifecycle(db, hanging).run):
        await until(lambda: hanging.called(call))
    # A daemon that is killed cannot give its lease back.
    await change(db, sandbox_id, lease_owner="dead", lease_until="infinity")
    backend = Good()
    async with running(lifecycle(db, backend, take_over=True).run):
        await until_status(db, sandbox_id, after)
    assert backend.called(call) == [sandbox_id]


async def test_another_replica_goes_on_when_a_lease_ran_out_and_not_before(db: Database) -> None:
    """Lesson: a crash left a status for ever; and while its holder may live, nobody else acts."""
    backend = Good()
    held, free = await add(db, "creating"), await add(db, "creating")
    await change(db, held, lease_owner="other", lease_until="infinity")
    await change(db, free, lease_owner="other", lease_until="yesterday")
    async with running(lifecycle(db, backend).run):
        await until_status(db, free, "running")
        assert backend.called("start") == [free]
        await change(db, held, lease_until="yesterday")
        await until_status(db, held, "running")


async def test_an_orderly_end_gives_the_leases_back(db: Database) -> None:
    """Replicas that are replaced one by one must not wait for leases."""
    backend = Slow()
    await add(db, "creating")
    async with running(lifecycle(db, backend).run):
        await until(lambda: backend.called("start"))
    assert await db.run(lambda conn: conn.execute("SELECT lease_owner FROM sandboxes").fetchone()) == (None,)


async def test_a_job_whose_lease_was_lost_ends_and_writes_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lesson: status that lies: only who has the lease may say how it went."""
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.05)
    outcomes: list[str] = []
    backend = Slow()
    life = lifecycle(db, backend, finished=lambda _kind, outcome, _seconds: outcomes.append(outcome))
    sandbox_id = await add(db, "creating")
    async with running(life.run):
        await until(lambda: backend.called("start"))
        await change(db, sandbox_id, lease_owner="other", lease_until="infinity")
        await until(lambda: outcomes)
        assert not backend.acting[sandbox_id]
    assert outcomes == ["superseded"]
    assert await status_of(db, sandbox_id) == "creating"


async def test_only_the_start_of_the_service_takes_over(db: Database) -> None:
    """The sweeper's claim of the same daemon is not stolen, whenever it is made."""
    backend = Good()
    first, claimed = await add(db, "creating"), await add(db, "running")
    async with running((life := lifecycle(db, backend, take_over=True)).run):
        await until_status(db, first, "running")
        await change(db, claimed, status="pausing", lease_owner=f"{life.owner} sweeper", lease_until="infinity")
        await life.request_pause(first, SOMEBODY)
        await until_status(db, first, "paused")
        assert claimed not in backend.called("pause")


# Backends that behave badly


async def test_a_start_that_is_refused_says_why_and_leaves_nothing(db: Database) -> None:
    """Lesson: a failed start deleted the row and nobody learned why. What it may have left is stopped."""
    backend = DiesAtStart()
    sandbox_id = await add(db, "creating")
    async with running(lifecycle(db, backend).run):
        await until_status(db, sandbox_id, "failed")
    assert (await row_of(db, sandbox_id)).status_reason == "opencode exited with status 1: no such option"
    assert backend.calls == [("start", sandbox_id), ("pause", sandbox_id)]


@pytest.mark.parametrize(("status", "call", "after"), JOBS)
async def test_a_backend_that_is_away_for_a_while(db: Database, status: str, call: str, after: str | None) -> None:
    """A hiccup costs another try, not the sandbox."""
    backend = UnavailableThenGood(times=2)
    sandbox_id = await add(db, status)
    async with running(lifecycle(db, backend).run):
        await until_status(db, sandbox_id, after)
    assert len(backend.called(call)) == 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("creating", "the backend does not answer"),
        ("pausing", "it could not be paused: the backend does not answer"),
    ],
)
async def test_a_backend_that_stays_away_ends_in_failed(db: Database, status: str, reason: str) -> None:
    """Lesson: no status for ever; ``failed`` has a reason that a person can act on, and a way out."""
    backend = UnavailableThenGood(times=100)
    sandbox_id = await add(db, status)
    async with running((life := lifecycle(db, backend)).run):
        await until_status(db, sandbox_id, "failed")
        assert (await row_of(db, sandbox_id)).status_reason == reason
        backend.times = 0
        await life.request_resume(sandbox_id, SOMEBODY)
        await until_status(db, sandbox_id, "running")


async def test_a_removal_is_tried_for_ever(db: Database) -> None:
    """Lesson: deleting leaked containers: the row stays until nothing is left."""
    backend = UnavailableThenGood(times=6)
    sandbox_id = await add(db, "deleting")
    async with running(lifecycle(db, backend).run):
        await until_status(db, sandbox_id, None)
    assert len(backend.called("destroy")) == 7


async def test_starts_that_hang_do_not_hold_up_others(db: Database) -> None:
    """As many as may start at once never become healthy: the next one does, and theirs fail with a reason."""
    backend = NeverReady()
    stuck = [await add(db, "creating") for _ in range(module.STARTS)]
    backend.stuck.update(stuck)
    async with running(lifecycle(db, backend, deadlines=Deadlines(start=0.5)).run):
        await until(lambda: len(backend.called("start")) == module.STARTS)
        good = await add(db, "creating")
        await until_status(db, good, "running")
        for sandbox_id in stuck:
            await until_status(db, sandbox_id, "failed")
    assert (await row_of(db, stuck[0])).status_reason == "the start took longer than 0.5 s"
    assert sorted(backend.called("pause")) == sorted(stuck)


async def test_pauses_have_turns_and_their_deadlines_begin_with_them(db: Database) -> None:
    """The sweeper finds hundreds in an evening: a backend that takes its time must not fail those that only waited."""

    class Counting(Slow):
        most = 0

        async def stop(self, sandbox_id: str) -> None:
            self.most = max(self.most, sum(self.acting.values()))
            await super().stop(sandbox_id)

    backend = Counting()
    ids = [await add(db, "pausing") for _ in range(module.STOPS + 2)]
    async with running(lifecycle(db, backend, deadlines=Deadlines(pause=0.5)).run):
        await until(lambda: len(backend.called("pause")) > module.STOPS)  # a first turn ended at its deadline
        assert backend.most == module.STOPS
        backend.gate.set()
        for sandbox_id in ids:
            await until_status(db, sandbox_id, "paused")


async def test_pause_and_removal_have_deadlines(db: Database) -> None:
    """A backend that never answers keeps nobody."""
    backend = Slow()
    pausing, deleting = await add(db, "pausing"), await add(db, "deleting")
    async with running(lifecycle(db, backend, deadlines=Deadlines(pause=0.05, destroy=0.05)).run):
        await until_status(db, pausing, "failed")
        await until(lambda: len(backend.called("destroy")) > 1)
        backend.gate.set()
        await until_status(db, deleting, None)


async def test_a_defect_of_a_backend_ends_in_failed_and_stops_nobody_else(db: Database) -> None:
    """Containment: one sandbox's trouble is its own."""
    backend = Defective()
    bad, gone, other = await add(db, "creating"), await add(db, "deleting"), await add(db, "pausing")
    async with running((life := lifecycle(db, backend)).run):
        await until_status(db, bad, "failed")
        await until_status(db, other, "paused")
        await until(lambda: len(backend.called("destroy")) > 1)
        assert await status_of(db, gone) == "deleting"
        assert "internal error" in ((await row_of(db, bad)).status_reason or "")
        await life.request_delete(bad, SOMEBODY)


async def test_a_limit_that_cannot_be_read_is_the_sandboxs_trouble_alone(db: Database) -> None:
    """Containment: making the specification can fail too."""

    def spec(row: Any) -> Any:
        raise ValueError(row.cpu)

    backend: Any = Good()
    notes: Any = Notes()
    sandbox_id = await add(db, "creating")
    async with running(module.Lifecycle(db, backend, spec, notes, take_over=False).run):
        await until_status(db, sandbox_id, "failed")


# Workspaces


async def deleted_workspace(db: Database) -> str:
    workspace_id = new_id()

    def insert(conn: Connection) -> None:
        conn.execute("INSERT INTO workspaces (id, name, deleted_at) VALUES (%s, 'w', now())", (workspace_id,))

    await db.run(insert)
    return workspace_id


async def workspaces(db: Database) -> set[str]:
    return {row[0] for row in await db.run(lambda conn: conn.execute("SELECT id FROM workspaces").fetchall())}


async def test_the_disk_of_a_deleted_workspace_goes_after_its_last_sandbox(db: Database) -> None:
    """Lesson: deleting a workspace leaked containers and volumes."""
    backend = UnavailableThenGood(times=1)
    sandbox_id = await add(db, "running")
    workspace_id = (await row_of(db, sandbox_id)).workspace_id

    def delete(conn: Connection) -> None:
        conn.execute("UPDATE workspaces SET deleted_at = now() WHERE id = %s", (workspace_id,))
        store.change_status(conn, sandbox_id, "deleting")

    async with running(lifecycle(db, backend).run):
        await db.run(delete)
        with trio.fail_after(DEADLINE):
            while workspace_id in await workspaces(db):  # noqa: ASYNC110 - the database sets no events
                await trio.sleep(0.02)
    assert [name for name, _ in backend.calls] == ["destroy", "destroy", "destroy_workspace"]


async def test_a_disk_that_cannot_be_removed_holds_up_nobody(db: Database) -> None:
    """Containment: a defect, or a removal that never ends, keeps that disk only."""
    hanging, defective = Slow(), Defective()
    for backend in (hanging, defective):
        workspace_id = await deleted_workspace(db)
        async with running(lifecycle(db, backend).run):
            await until(partial(backend.called, "destroy_workspace"))
            sandbox_id = await add(db, "pausing")
            hanging.gate.set() if backend is defective else None
            if backend is defective:
                await until_status(db, sandbox_id, "paused")
            else:
                await until(partial(backend.called, "pause"))
        assert workspace_id in await workspaces(db)


# The database


class Moody:
    """A database that can be away, for all or for chosen operations."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.away: Any = lambda op: False
        self.refused = 0

    async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if self.away(op):
            self.refused += 1
            raise DatabaseUnavailable("the database is away")
        return await self.db.run(op, *args, **kwargs)


async def test_a_database_that_is_away_when_a_start_ends(db: Database) -> None:
    """The result is kept until it can be written; nothing is done twice."""
    moody: Any = Moody(db)
    backend = Good()
    sandbox_id = await add(db, "creating")
    moody.away = lambda op: op is store.change_status
    async with running(lifecycle(moody, backend).run):
        await until(lambda: moody.refused >= 2)
        assert await status_of(db, sandbox_id) == "creating"
        moody.away = lambda op: False
        await until_status(db, sandbox_id, "running")
    assert backend.called("start") == [sandbox_id]


async def test_a_database_that_is_away_for_everything(db: Database) -> None:
    """The service stays and goes on by itself."""
    moody: Any = Moody(db)
    moody.away = lambda op: True
    backend = Good()
    sandbox_id = await add(db, "creating")
    async with running(lifecycle(moody, backend).run):
        await until(lambda: moody.refused >= 2)
        moody.away = lambda op: False
        await until_status(db, sandbox_id, "running")


async def test_more_orders_than_one_claim_takes(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest does not wait for the next look."""
    monkeypatch.setattr(module, "_MOST_JOBS", 2)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 60.0)
    ids = [await add(db, "pausing") for _ in range(5)]
    async with running(lifecycle(db, Good()).run):
        for sandbox_id in ids:
            await until_status(db, sandbox_id, "paused")


async def test_a_job_whose_lease_cannot_be_renewed_ends_before_another_replica_begins(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas never act on one sandbox, not even if one of them has lost the database; it goes on afterwards."""
    monkeypatch.setattr(module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(module, "_MARGIN_SECONDS", 0.1)
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.1)
    moody: Any = Moody(db)
    backend = Slow()
    sandbox_id = await add(db, "creating")
    async with running(lifecycle(moody, backend).run):
        await until(lambda: backend.called("start"))
        await trio.sleep(1.2)  # renewed, it lives longer than the lease that it began with
        assert backend.acting[sandbox_id] == 1
        moody.away = lambda op: True
        await until(lambda: not backend.acting[sandbox_id])
        moody.away = lambda op: False
        backend.gate.set()
        await until_status(db, sandbox_id, "running")
    assert not backend.overlaps


async def test_what_a_start_waits_for_can_be_seen(db: Database) -> None:
    """Users ask for it: a reason in the page, not a spinner. A start that is done has no reason any more."""
    backend = FarAway()
    life = lifecycle(db, backend)
    sandbox_id = await add(db, "creating")
    async with running(life.run):

        async def told() -> bool:
            return (await row_of(db, sandbox_id)).status_reason == "fetching the image: 1 of 2 MiB"

        with trio.fail_after(DEADLINE):
            while not await told():  # noqa: ASYNC110 - the database sets no events
                await trio.sleep(0.02)
        assert await status_of(db, sandbox_id) == "creating"
        assert backend.called("start") == []
        backend.gate.set()
        await until_status(db, sandbox_id, "running")
        assert (await row_of(db, sandbox_id)).status_reason is None


async def test_what_cannot_be_fetched_fails_with_the_reason(db: Database) -> None:
    backend = FarAway()
    backend.fault = BackendRejected("there is no such image")
    backend.gate.set()
    life = lifecycle(db, backend)
    sandbox_id = await add(db, "resuming")
    async with running(life.run):
        await until_status(db, sandbox_id, "failed")
    assert (await row_of(db, sandbox_id)).status_reason == "there is no such image"
    assert backend.called("start") == []


async def test_a_fetch_that_never_ends_has_a_deadline(db: Database) -> None:
    life = lifecycle(db, FarAway(), deadlines=Deadlines(fetch=0.05))
    sandbox_id = await add(db, "creating")
    async with running(life.run):
        await until_status(db, sandbox_id, "failed")
    assert "longer than 0.05 s" in ((await row_of(db, sandbox_id)).status_reason or "")


async def test_a_sandbox_that_waits_for_a_fetch_can_be_deleted(db: Database) -> None:
    """No status is a trap."""
    backend = FarAway()
    life = lifecycle(db, backend)
    sandbox_id = await add(db, "creating")
    async with running(life.run):
        await until(lambda: backend.gate.statistics().tasks_waiting)
        await life.request_delete(sandbox_id, SOMEBODY)
        await until_status(db, sandbox_id, None)
