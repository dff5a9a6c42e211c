"""Compares what should run with what does. It acts only on lists that are known to be good, on one thing at a time.

The database is read first and the backend second, and every change is a compare-and-set on the generation that was
read: what somebody changed in between is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import trio

from backends.base import BackendError
from backends.outage import Outage
from daemon.db.database import DatabaseUnavailable
from daemon.ids import new_id
from daemon.sandboxes import status
from daemon.sandboxes.deadlines import Deadlines, within
from daemon.sandboxes.duty import Duty
from daemon.store import sandboxes as store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from backends.base import Backend, Observed
    from daemon.db.database import Connection, Database
    from daemon.store.sandboxes import CloudRow, SandboxRow

log = structlog.get_logger(__name__)
T = TypeVar("T")

LOOK_SECONDS: Final = 5.0  # an opencode that died is noticed within; the process backend's list costs nothing
# Several replicas would see the same, and ask the backend for it as often. A list may take some seconds.
_DUTY_SECONDS: Final = 4 * LOOK_SECONDS
# What should not run is stopped when it was seen for so long without a break: longer than any start takes.
UNKNOWN_SECONDS: Final = 60.0
# An opencode that dies more often than this within the window has a reason that a restart does not mend.
RESTARTS: Final = 3
WINDOW_SECONDS: Final = 600.0
_GONE: Final = "it stopped with the server"
_RELEASE_SECONDS: Final = 5.0  # for giving that lease back; it runs out by itself
_LEASE_SECONDS: Final = 90.0  # of a row whose stray processes are stopped: longer than the deadline of that


@dataclass(frozen=True, slots=True)
class Plan:
    """What one comparison asks for."""

    dead: list[tuple[CloudRow, str]]  # rows that say running, with the reason why they do not
    stray: list[CloudRow]  # rows that say paused or failed, of which something runs
    unknown: list[Observed]  # what runs or lies about without a row


def compare(rows: list[CloudRow], observed: Mapping[str, Observed]) -> Plan:
    """Pure. Transitional rows are the life-cycle service's."""
    plan = Plan([], [], [])
    known = {row.id for row in rows}
    for row in rows:
        seen = observed.get(row.id)
        runs = seen is not None and seen.running
        if row.status == status.RUNNING and not runs:
            plan.dead.append((row, (seen.detail if seen is not None else "") or _GONE))
        elif row.status in (status.PAUSED, status.FAILED) and runs:
            plan.stray.append(row)
    plan.unknown.extend(seen for seen in observed.values() if seen.sandbox_id not in known)
    return plan


def fail_and_resume(conn: Connection, row: CloudRow, reason: str, *, counted: bool) -> SandboxRow | None:
    """A sandbox that should run does not: note it, and start it again unless it dies too often. One transaction."""
    failed = store.record_failure(conn, row, reason, WINDOW_SECONDS, counted=counted)
    if failed is None or (counted and failed.failures > RESTARTS):
        return failed
    return store.change_status(conn, row.id, status.RESUMING, generation=failed.generation, reason=reason)


class Reconciler:
    """The service. ``replica``: this daemon's name among several, of which one reconciles."""

    def __init__(
        self,
        db: Database,
        backend: Backend,
        *,
        deadlines: Deadlines | None = None,
        ripe: float | None = None,
        replica: str | None = None,
    ) -> None:
        self._duty = Duty(db, "reconciler", replica, _DUTY_SECONDS)
        self._db = db
        self._backend = backend
        self._deadlines = deadlines or Deadlines()
        self._ripe_after = UNKNOWN_SECONDS if ripe is None else ripe
        self._owner = new_id()
        self._first_seen: dict[str, float] = {}  # strays and unknowns: since when, on Trio's clock
        self._told: set[str] = set()
        self._blind = Outage(log, "nothing is reconciled: a list is not to be had", "what runs is reconciled again")
        self._first_round = True

    async def run(self) -> None:
        """Compare now and every few seconds, until cancelled."""
        while True:
            try:
                if await self._duty.is_ours():
                    await self.once()
                else:
                    self._first_seen.clear()  # somebody else has looked; what was seen here is old
                self._blind.over()
            except (BackendError, DatabaseUnavailable) as error:
                self._blind.met(str(error), cause=isinstance(error, BackendError))
                self._first_seen.clear()
            await trio.sleep(LOOK_SECONDS)

    async def once(self) -> None:
        """One comparison. Raises what keeps either list from being good, before anything was done."""
        rows = await self._db.run(store.all_cloud)
        async with within(self._deadlines.inventory, "the list"):
            observed = await self._backend.inventory()
        plan = compare(rows, observed)
        for row, reason in plan.dead:
            await self._revive(row, reason)
        self._first_round = False
        ripe = self._ripe([row.id for row in plan.stray] + [seen.sandbox_id for seen in plan.unknown])
        for row in plan.stray:
            if row.id in ripe:
                await self._contained(row.id, self._stop_stray, row)
        for seen in plan.unknown:
            if seen.sandbox_id in ripe:
                await self._contained(seen.sandbox_id, self._stop_unknown, seen)

    async def _revive(self, row: CloudRow, reason: str) -> None:
        # What the backend has no word about and was not running when this daemon began to look ended with the former
        # daemon. That says nothing about the sandbox.
        counted = not (self._first_round and reason == _GONE)
        changed = await self._db.run(fail_and_resume, row, reason, counted=counted)
        if changed is not None:
            log.warning("sandbox was not running", sandbox=row.id, reason=reason, now=changed.status)

    def _ripe(self, ids: list[str]) -> set[str]:
        now = trio.current_time()
        self._first_seen = {id_: self._first_seen.get(id_, now) for id_ in ids}
        self._told &= set(ids)
        return {id_ for id_, since in self._first_seen.items() if now - since >= self._ripe_after}

    async def _contained(self, sandbox_id: str, action: Callable[[T], Awaitable[None]], subject: T) -> None:
        """One that cannot be stopped keeps nobody from being looked after."""
        try:
            await action(subject)
        except BackendError as error:
            log.warning("what should not run is not stopped yet", sandbox=sandbox_id, reason=str(error))

    async def _stop_stray(self, row: CloudRow) -> None:
        """With a lease, so that nobody resumes it while it is being stopped."""
        if not await self._db.run(store.take_lease, row, self._owner, _LEASE_SECONDS):
            return
        log.warning("sandbox runs although it should not", sandbox=row.id, status=row.status)
        try:
            await self._pause(row.id)
        finally:
            with trio.move_on_after(_RELEASE_SECONDS, shield=True):
                await self._db.run(store.release, self._owner, row.id)

    async def _stop_unknown(self, seen: Observed) -> None:
        """Something of this installation without a row. It is stopped; its disk is removed only if it was deleted here.

        A database that was restored from a backup knows nothing of what was made since, and that is no reason to
        destroy it. A sandbox that is deleted keeps its row until the backend has removed everything; only what
        was made again in that very moment is left over, and the deletion is on record.
        """
        sandbox_id = seen.sandbox_id
        if await self._db.run(store.find_sandbox, sandbox_id) is not None:
            return
        if await self._db.run(store.was_deleted, sandbox_id):
            log.warning("remains of a deleted sandbox are removed", sandbox=sandbox_id)
            async with within(self._deadlines.destroy, "the removal"):
                await self._backend.destroy(sandbox_id, seen.workspace_id)
            return
        if sandbox_id not in self._told:
            self._told.add(sandbox_id)
            log.warning("a sandbox is not in the database; its disk is kept", sandbox=sandbox_id, runs=seen.running)
        if seen.running:
            await self._pause(sandbox_id)

    async def _pause(self, sandbox_id: str) -> None:
        async with within(self._deadlines.pause, "the stop"):
            await self._backend.pause(sandbox_id)
