"""Compares what should run with what does. It acts only on lists that are known to be good, on one thing at a time.

The database is read first and the backend second, and every change is a compare-and-set on the generation that was
read: what somebody changed in between is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import trio

from backends.base import BackendError
from daemon.db.database import DatabaseUnavailable
from daemon.sandboxes import status
from daemon.store import sandboxes as store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.base import Backend, Observed
    from daemon.db.database import Connection, Database
    from daemon.store.sandboxes import SandboxRow

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0  # an opencode that died is noticed within; the process backend's list costs nothing
# What nobody knows is removed when it was unknown for so long without a break: longer than any start takes.
UNKNOWN_SECONDS: Final = 60.0
# An opencode that dies more often than this within the window has a reason that a restart does not mend.
RESTARTS: Final = 3
WINDOW_SECONDS: Final = 600.0
_GONE: Final = "it stopped with the server"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one comparison asks for."""

    dead: list[tuple[SandboxRow, str]]  # rows that say running, with the reason why they do not
    stray: list[SandboxRow]  # rows that say paused or failed, of which something runs
    unknown: list[Observed]  # what runs or lies about without a row


def compare(rows: list[SandboxRow], observed: Mapping[str, Observed]) -> Plan:
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


def fail_and_resume(conn: Connection, row: SandboxRow, reason: str) -> SandboxRow | None:
    """A sandbox that should run does not: note it, and start it again unless it dies too often. One transaction."""
    failed = store.record_failure(conn, row.id, row.generation, reason, WINDOW_SECONDS)
    if failed is None or failed.failures > RESTARTS:
        return failed
    return store.change_status(conn, row.id, status.RESUMING, generation=failed.generation, reason=reason)


class Reconciler:
    """The service."""

    def __init__(self, db: Database, backend: Backend) -> None:
        self._db = db
        self._backend = backend
        self._first_seen: dict[str, float] = {}  # strays and unknowns: since when, on Trio's clock

    async def run(self) -> None:
        """Compare now and every few seconds, until cancelled."""
        while True:
            try:
                await self.once()
            except (BackendError, DatabaseUnavailable) as error:
                log.warning("nothing is reconciled: a list is not to be had", reason=str(error))
                self._first_seen.clear()
            await trio.sleep(LOOK_SECONDS)

    async def once(self) -> None:
        """One comparison. Raises what keeps either list from being good, before anything was done."""
        rows = await self._db.run(store.all_cloud)
        plan = compare(rows, await self._backend.inventory())
        for row, reason in plan.dead:
            changed = await self._db.run(fail_and_resume, row, reason)
            if changed is not None:
                log.warning("sandbox was not running", sandbox=row.id, reason=reason, now=changed.status)
        ripe = self._ripe([row.id for row in plan.stray] + [seen.sandbox_id for seen in plan.unknown])
        for row in plan.stray:
            if row.id in ripe and await self._unchanged(row):
                log.warning("sandbox runs although it should not", sandbox=row.id, status=row.status)
                await self._backend.pause(row.id)
        for seen in plan.unknown:
            if seen.sandbox_id in ripe and await self._db.run(store.find_sandbox, seen.sandbox_id) is None:
                log.warning("remains of a sandbox are removed", sandbox=seen.sandbox_id)
                await self._backend.destroy(seen.sandbox_id, seen.workspace_id)

    def _ripe(self, ids: list[str]) -> set[str]:
        now = trio.current_time()
        self._first_seen = {id_: self._first_seen.get(id_, now) for id_ in ids}
        return {id_ for id_, since in self._first_seen.items() if now - since >= UNKNOWN_SECONDS}

    async def _unchanged(self, row: SandboxRow) -> bool:
        found = await self._db.run(store.find_sandbox, row.id)
        return found is not None and found.generation == row.generation
