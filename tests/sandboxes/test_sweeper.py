"""The idle sweeper on the real database. Lesson: sandboxes were paused while in use; sweeper against user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.sandboxes import lifecycle as lifecycle_module
from daemon.sandboxes import sweeper as module
from daemon.sandboxes.activity import Activity
from daemon.sandboxes.idle import Work
from daemon.sandboxes.status import IllegalStatus
from daemon.sandboxes.sweeper import Sweeper
from daemon.store import sandboxes as store
from tests.api.support import make_settings
from tests.sandboxes.fakes import (
    DEADLINE,
    SOMEBODY,
    Good,
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
    from collections.abc import Callable

    from daemon.db.database import Database
    from daemon.store.sandboxes import SandboxRow

LONG_AGO = datetime.now(UTC) - timedelta(hours=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle_module, "_LOOK_SECONDS", 0.1)


def sweeper(db: Any, activity: Activity, work: Work = Work.IDLE, **more: Any) -> Sweeper:
    async def probe(row: SandboxRow) -> Work:
        return work

    return Sweeper(db, activity, make_settings(), more.pop("probe", probe), more.pop("owner", "o"), settle=0.0, **more)


async def quiet(db: Database, **columns: Any) -> str:
    """A sandbox that nobody has used for two hours."""
    return await add(db, "running", **({"last_activity_at": LONG_AGO} | columns))


async def test_who_is_idle_is_paused_through_the_life_cycle(db: Database) -> None:
    """From the claim to the backend, without a wait for a lease to run out."""
    backend, told = Good(), list[str]()
    sandbox_id = await quiet(db)
    life = lifecycle(db, backend)
    one = sweeper(db, Activity(db), owner=life.owner, paused=lambda: told.append("paused"))
    await one.once()
    assert await status_of(db, sandbox_id) == "pausing"
    async with running(life.run):
        await until_status(db, sandbox_id, "paused")
    assert told == ["paused"]
    assert backend.calls == [("pause", sandbox_id)]


@pytest.mark.parametrize("work", [Work.BUSY, Work.UNKNOWN])
async def test_who_works_or_may_work_stays(db: Database, work: Work) -> None:
    """Lesson: do not stop a sandbox while its agent works; a status that cannot be read counts as work."""
    sandbox_id = await quiet(db)
    await sweeper(db, Activity(db), work).once()
    row = await row_of(db, sandbox_id)
    assert (row.status, row.last_busy_at is not None) == ("running", work is Work.BUSY)


async def test_a_status_that_is_stuck_on_busy_has_a_cap(db: Database) -> None:
    """Contract, section 7. What another replica has noted as busy does not hold it either."""
    sandbox_id = await quiet(db, last_activity_at=datetime.now(UTC) - timedelta(days=2), last_busy_at=LONG_AGO)
    await sweeper(db, Activity(db), Work.BUSY).once()
    assert await status_of(db, sandbox_id) == "pausing"


@pytest.mark.parametrize("changes", [{"type": "local"}, {"idle_timeout": "0"}, {"idle_timeout": "3h"}])
async def test_who_is_never_paused(db: Database, changes: dict[str, str]) -> None:
    """Local sandboxes, a timeout of never, and a timeout of one's own."""
    sandbox_id = await quiet(db, **changes)
    await sweeper(db, Activity(db)).once()
    assert await status_of(db, sandbox_id) == "running"


async def test_use_that_is_not_written_yet_counts(db: Database) -> None:
    """Lesson: activity was never recorded. This process knows more than the row."""
    sandbox_id = await quiet(db)
    activity = Activity(db)
    activity.touch(sandbox_id)
    await sweeper(db, activity).once()
    assert await status_of(db, sandbox_id) == "running"


async def test_hundreds_are_claimed_while_the_first_claims_settle(db: Database) -> None:
    """Of the sandboxes that a whole company leaves in the evening, none waits for the settling of others."""
    ids = [await quiet(db) for _ in range(3 * module._PROBES)]

    async def probe(row: SandboxRow) -> Work:
        return Work.IDLE

    one = Sweeper(db, Activity(db), make_settings(), probe, "o", settle=3600.0)
    async with running(one.once):
        for sandbox_id in ids:
            await until_status(db, sandbox_id, "pausing")


# What happens between the decision and the claim


def during_probe(db: Database, action: Callable[[SandboxRow], Any]) -> Callable[[SandboxRow], Any]:
    async def probe(row: SandboxRow) -> Work:
        await action(row)
        return Work.IDLE

    return probe


@pytest.mark.parametrize("changes", [{"idle_timeout": "0"}, {"last_activity_at": "now"}, {"last_busy_at": "now"}])
async def test_what_changed_since_the_row_was_read_counts(db: Database, changes: dict[str, str]) -> None:
    """One statement claims the pause and compares everything: a timeout set to never, and what other replicas saw."""
    sandbox_id = await quiet(db)
    probe = during_probe(db, lambda row: change(db, row.id, **changes))
    await sweeper(db, Activity(db), probe=probe).once()
    assert await status_of(db, sandbox_id) == "running"


async def test_a_request_while_opencode_is_asked_keeps_it_awake(db: Database) -> None:
    """Lesson: sweeper against user. The last use is written before the claim, which then does not match."""
    sandbox_id = await quiet(db)
    activity = Activity(db)

    async def touch(row: SandboxRow) -> None:
        activity.touch(row.id)

    await sweeper(db, activity, probe=during_probe(db, touch)).once()
    assert await status_of(db, sandbox_id) == "running"


async def test_a_user_who_pauses_and_resumes_meanwhile_is_not_paused_again(db: Database) -> None:
    """Lesson: sweeper against user: a new generation is a new decision."""
    sandbox_id = await quiet(db)

    async def round_trip(row: SandboxRow) -> None:
        for after in ("pausing", "paused", "resuming", "running"):
            await db.run(store.change_status, row.id, after)
        await change(db, row.id, last_activity_at=LONG_AGO)

    await sweeper(db, Activity(db), probe=during_probe(db, round_trip)).once()
    assert await status_of(db, sandbox_id) == "running"


async def test_of_sweeper_and_user_one_wins(db: Database) -> None:
    """Lesson: double pause. The backend is told once, whoever was first."""
    backend = Good()
    sandbox_id = await quiet(db)
    life = lifecycle(db, backend)
    refused: list[str] = []

    async def user() -> None:
        try:
            await life.request_pause(sandbox_id, SOMEBODY)
        except IllegalStatus as error:
            refused.append(error.status)

    async with running(life.run) as nursery:
        nursery.start_soon(user)
        await sweeper(db, Activity(db), owner=life.owner).once()
        await until_status(db, sandbox_id, "paused")
    assert backend.called("pause") == [sandbox_id]
    assert refused in ([], ["pausing"], ["paused"])


# What happens between the claim and the hand-over


class Paused:
    """A database that stops the sweeper right after its claim."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.claimed, self.go_on = trio.Event(), trio.Event()
        self.away = False

    async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        if op is store.hand_over:
            self.claimed.set()
            await self.go_on.wait()
            if self.away:
                raise DatabaseUnavailable("gone")
        return await self.db.run(op, *args, **kwargs)


async def test_a_request_in_the_same_moment_on_another_replica_keeps_it_awake(db: Database) -> None:
    """Contract, section 7. The life cycle does not act before the sweeper has looked once more."""
    backend, db_, told = Good(), Paused(db), list[str]()
    sandbox_id = await quiet(db)
    life = lifecycle(db, backend)
    elsewhere = Activity(db)
    one = sweeper(db_, Activity(db), owner=life.owner, paused=lambda: told.append("paused"))

    async with running(life.run) as nursery:
        nursery.start_soon(one.once)
        await db_.claimed.wait()
        assert await status_of(db, sandbox_id) == "pausing"
        await life.request_pause(await add(db, "running"), SOMEBODY)  # the life cycle looks, and leaves it alone
        await until(lambda: len(backend.called("pause")) == 1)
        elsewhere.touch(sandbox_id)
        await elsewhere.flush()
        db_.go_on.set()
        await until_status(db, sandbox_id, "running")
    assert sandbox_id not in backend.called("pause")
    assert not told


async def test_a_use_known_to_this_process_alone_undoes_the_claim(db: Database) -> None:
    """The touch of a request that this replica has taken in, and not written yet."""
    activity = Activity(db)
    sandbox_id = await quiet(db)

    class Touching:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            result = await db.run(op, *args, **kwargs)
            if op is store.claim_idle:
                activity.touch(sandbox_id)
            return result

    await sweeper(Touching(), activity).once()
    assert await status_of(db, sandbox_id) == "running"


async def test_who_is_deleted_after_the_claim_is_deleted(db: Database) -> None:
    """Lesson: pause against delete: the hand-over leaves the newer wish, and ends the lease."""
    backend, db_ = Good(), Paused(db)
    sandbox_id = await quiet(db)
    life = lifecycle(db, backend)
    async with running(life.run) as nursery:
        nursery.start_soon(sweeper(db_, Activity(db), owner=life.owner).once)
        await db_.claimed.wait()
        await life.request_delete(sandbox_id, SOMEBODY)
        db_.go_on.set()
        await until_status(db, sandbox_id, None)
    assert backend.calls == [("destroy", sandbox_id)]


async def test_a_sweeper_that_dies_after_its_claim_leaves_no_trap(db: Database) -> None:
    """Lesson: a crash in ``pausing`` left it there for ever."""
    db_ = Paused(db)
    sandbox_id = await quiet(db)
    async with running(sweeper(db_, Activity(db), owner="dead").once):
        await db_.claimed.wait()
    assert await status_of(db, sandbox_id) == "pausing"
    async with running(lifecycle(db, Good(), take_over=True).run):
        await until_status(db, sandbox_id, "paused")


async def test_two_sweepers_pause_once(db: Database) -> None:
    """Contract, section 7: several replicas sweep without doing it twice."""
    told: list[str] = []
    ids = [await quiet(db) for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for owner in ("a", "b"):
            one = sweeper(db, Activity(db), owner=owner, paused=lambda: told.append("paused"))
            nursery.start_soon(one.once)
    assert len(told) == len(ids)
    assert {(await row_of(db, sandbox_id)).generation for sandbox_id in ids} == {2}


# A database that goes away


async def test_a_database_that_goes_away_in_the_middle_ends_no_service(db: Database) -> None:
    """Lesson: database errors took services down. The next sweep goes on."""
    sandbox_id = await quiet(db)

    class Flaky:
        away = True
        refused = trio.Event()

        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            if op is store.claim_idle and self.away:
                self.refused.set()
                raise DatabaseUnavailable("gone")
            return await db.run(op, *args, **kwargs)

    flaky = Flaky()
    one = sweeper(flaky, Activity(db))
    async with running(one.run):
        with trio.fail_after(DEADLINE):
            await flaky.refused.wait()
        assert await status_of(db, sandbox_id) == "running"
        flaky.away = False
        await one.once()
        assert await status_of(db, sandbox_id) == "pausing"


async def test_a_database_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: with a database hiccup everything was stopped."""
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.01)
    tries: list[str] = []

    class Away:
        async def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
            tries.append(op.__name__)
            raise DatabaseUnavailable("gone")

    away: Any = Away()
    async with running(sweeper(away, Activity(away)).run):
        await until(lambda: len(tries) > 2)
    assert set(tries) == {"running_cloud"}
