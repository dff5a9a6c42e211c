"""The table of statuses. Lesson: status was written without compare-and-set; a crash left it there for ever."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from daemon.sandboxes import status
from daemon.sandboxes.status import TRANSITIONS, IllegalStatus, may, sources
from daemon.store import sandboxes as store
from daemon.store import wishes
from tests.sandboxes.fakes import SOMEBODY, add, row_of, status_of

if TYPE_CHECKING:
    from daemon.db.database import Connection, Database

LEGAL = {
    "cloud": {
        ("creating", "running"), ("creating", "failed"), ("creating", "deleting"),
        ("running", "pausing"), ("running", "failed"), ("running", "deleting"),
        ("pausing", "paused"), ("pausing", "running"), ("pausing", "failed"), ("pausing", "deleting"),
        ("paused", "resuming"), ("paused", "deleting"),
        ("resuming", "running"), ("resuming", "failed"), ("resuming", "deleting"),
        ("failed", "resuming"), ("failed", "deleting"),
    },
    "local": {("running", "offline"), ("running", "deleting"), ("offline", "running"), ("offline", "deleting")},
}  # fmt: skip
PAIRS = list(itertools.product(["cloud", "local"], sorted(status.STATUSES), sorted(status.STATUSES)))


@pytest.mark.parametrize(("kind", "before", "after"), PAIRS)
def test_what_is_legal(kind: str, before: str, after: str) -> None:
    """The contract's diagram, written down a second time."""
    assert may(before, after, kind) == ((before, after) in LEGAL[kind])
    assert (before in sources(after, kind)) == ((before, after) in LEGAL[kind])


@pytest.mark.parametrize("kind", ["cloud", "local"])
def test_no_status_is_a_trap(kind: str) -> None:
    """Lesson: a crash left a status for ever. Each leads on to deleting, and the transitional ones to rest as well."""
    for before, after in TRANSITIONS[kind].items():
        assert before == status.DELETING or status.DELETING in after
        assert before not in status.TRANSITIONAL - {status.DELETING} or status.FAILED in after


async def test_the_database_obeys_the_table(db: Database) -> None:
    """Lesson: status without compare-and-set. Every pair, for both types, by the statement that everybody uses."""
    ids = {kind: await add(db, "running", kind) for kind in ("cloud", "local")}

    def try_all(conn: Connection) -> None:
        for kind, before, after in PAIRS:
            conn.execute("UPDATE sandboxes SET status = %s WHERE id = %s", (before, ids[kind]))
            changed = store.change_status(conn, ids[kind], after)
            assert (changed is not None) == ((before, after) in LEGAL[kind]), (kind, before, after)

    await db.run(try_all)


async def test_a_generation_that_is_not_the_present_one_changes_nothing(db: Database) -> None:
    """A finishing job never overwrites a newer wish."""
    sandbox_id = await add(db, "creating")
    seen = await row_of(db, sandbox_id)
    await db.run(wishes.request_status, sandbox_id, "deleting", SOMEBODY)
    assert await db.run(store.change_status, sandbox_id, "running", generation=seen.generation) is None
    assert await status_of(db, sandbox_id) == "deleting"


@pytest.mark.parametrize(("before", "after"), [("running", "pausing"), ("offline", "resuming"), ("running", "failed")])
async def test_a_local_sandbox_is_neither_paused_nor_resumed(db: Database, before: str, after: str) -> None:
    """Contract, section 7: local sandboxes are never paused; the store itself refuses."""
    sandbox_id = await add(db, before, "local")
    with pytest.raises(IllegalStatus) as raised:
        await db.run(wishes.request_status, sandbox_id, after, SOMEBODY)
    assert (raised.value.status, raised.value.kind) == (before, "local")
    assert await status_of(db, sandbox_id) == before


async def test_who_resumes_a_failed_sandbox_starts_with_a_clean_record(db: Database) -> None:
    """Failures in the past must not end the next try of a person early."""
    sandbox_id = await add(db, "failed", failures=4, failed_at="now")
    await db.run(wishes.request_status, sandbox_id, "resuming", SOMEBODY)
    found = await row_of(db, sandbox_id)
    assert (found.failures, found.failed_at) == (0, None)


async def test_a_sandbox_that_does_not_exist_is_not_an_illegal_status(db: Database) -> None:
    """Lesson: errors were shown as "not found"; here "not found" is only what is not there."""
    with pytest.raises(store.SandboxNotFound):
        await db.run(wishes.request_status, "a123456789abcdef", "pausing", SOMEBODY)
