"""The life-cycle service: it carries out what statuses ask for.

Whoever wants something sets a status by compare-and-set (``creating``, ``pausing``, ``resuming``, ``deleting``); that is
the order. This service claims such rows with a lease, acts through the backend, and ends with another compare-and-set
on the generation it started from, so that it never overwrites a newer wish. A daemon that dies leaves the row, and the
order with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
import trio

from backends.base import BackendError, BackendRejected
from daemon.db.database import DatabaseUnavailable
from daemon.ids import new_id
from daemon.sandboxes import status
from daemon.store import sandboxes as store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backends.base import Backend, SandboxSpec
    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.store.sandboxes import SandboxRow

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0  # after so long another replica goes on with what a dead one began
_RENEW_SECONDS: Final = 10.0  # a third: two renewals may fail
_LOOK_SECONDS: Final = 5.0  # notifications may be lost; this bounds how long an order then waits
_MOST_JOBS: Final = 64  # claimed at once; the rest waits in the database
STARTS: Final = 4  # opencode's start takes a core for some seconds; more at once would only all be late
TRIES: Final = 3  # of a start, if the backend is unavailable; then a person should look
_PAUSES: Final = (1.0, 5.0, 15.0, 60.0)  # seconds between tries; the last for ever, where giving up is no way out


@dataclass(slots=True)
class _Job:
    generation: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)


def _pause(attempt: int) -> float:
    return _PAUSES[min(attempt, len(_PAUSES) - 1)]


class Lifecycle:
    """One per daemon. ``spec`` says how to start a sandbox; ``finished`` is told of every job (metrics).

    ``take_over``: leases of others are of dead daemons, because only one runs on this backend at a time.
    """

    def __init__(
        self,
        db: Database,
        backend: Backend,
        spec: Callable[[SandboxRow], SandboxSpec],
        notifications: Notifications,
        *,
        take_over: bool,
        finished: Callable[[str, str, float], None] = lambda _kind, _outcome, _seconds: None,
    ) -> None:
        self.owner = new_id()
        self._db = db
        self._backend = backend
        self._spec = spec
        self._take_over = take_over
        self._finished = finished
        self._jobs: dict[str, _Job] = {}
        self._starts = trio.CapacityLimiter(STARTS)
        self._wake = trio.Event()
        for word in ("sandbox", "workspace"):
            notifications.subscribe(word, lambda _words: self._wake.set())
        notifications.on_gap(lambda: self._wake.set())

    # Wishes

    async def request_pause(self, sandbox_id: str) -> None:
        """Ask for a pause. Raises :class:`~daemon.sandboxes.status.IllegalStatus`."""
        await self._request(sandbox_id, status.PAUSING)

    async def request_resume(self, sandbox_id: str) -> None:
        """Ask for a resume, or for another try after a failure. Raises as :meth:`request_pause`."""
        await self._request(sandbox_id, status.RESUMING)

    async def request_delete(self, sandbox_id: str) -> None:
        """Ask for it to be deleted; of one that is being deleted already, too."""
        try:
            await self._request(sandbox_id, status.DELETING)
        except status.IllegalStatus as error:
            if error.status != status.DELETING:
                raise

    async def _request(self, sandbox_id: str, after: str) -> None:
        await self._db.run(store.request_status, sandbox_id, after)
        self._wake.set()

    # The service

    async def run(self) -> None:
        """Carry out orders until cancelled. What is under way then is taken up by the next daemon."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew_leases)
            while True:
                self._wake = trio.Event()
                try:
                    await self._claim(nursery)
                    await self._remove_emptied_workspaces()
                except DatabaseUnavailable as error:
                    log.warning("orders cannot be read", reason=str(error))
                    await trio.sleep(_PAUSES[0])
                    continue
                with trio.move_on_after(_LOOK_SECONDS):
                    await self._wake.wait()

    async def _claim(self, nursery: trio.Nursery) -> None:
        rows = await self._db.run(store.claim, self.owner, LEASE_SECONDS, most=_MOST_JOBS, take_over=self._take_over)
        for row in rows:
            older = self._jobs.get(row.id)
            if older is not None and older.generation == row.generation:
                continue  # ours already; the lease had run out while the database was away
            job = self._jobs[row.id] = _Job(row.generation)
            nursery.start_soon(self._do, row, job, older, name=f"{row.status} {row.id}")

    async def _renew_leases(self) -> None:
        while True:
            await trio.sleep(_RENEW_SECONDS)
            if self._jobs:
                try:
                    await self._db.run(store.renew, self.owner, list(self._jobs), LEASE_SECONDS)
                except DatabaseUnavailable as error:
                    log.warning("leases are not renewed", reason=str(error))

    async def _do(self, row: SandboxRow, job: _Job, older: _Job | None) -> None:
        """One job; the one it supersedes ends first."""
        if older is not None:
            older.scope.cancel()
            await older.done.wait()
        started = trio.current_time()
        outcome = "superseded"
        try:
            with job.scope:
                outcome = await self._act(row)
        except Exception:
            log.exception("job failed", sandbox=row.id, status=row.status)
            outcome = "error"
            await self._give_up(row, "an internal error, which the server's log tells more about")
        finally:
            job.done.set()
            if self._jobs.get(row.id) is job:
                del self._jobs[row.id]
        self._finished(row.status, outcome, trio.current_time() - started)
        log.info("job done", sandbox=row.id, job=row.status, outcome=outcome)

    async def _act(self, row: SandboxRow) -> str:
        if row.status in (status.CREATING, status.RESUMING):
            async with self._starts:
                return await self._start(row)
        if row.status == status.PAUSING:
            return await self._stop(row)
        return await self._delete(row)

    async def _start(self, row: SandboxRow) -> str:
        reason = ""
        for attempt in range(TRIES):
            try:
                await self._backend.ensure_running(self._spec(row))
            except BackendRejected as error:
                reason = str(error)
                break
            except BackendError as error:
                reason = str(error)
                log.warning("sandbox does not start yet", sandbox=row.id, reason=reason, attempt=attempt + 1)
                if attempt + 1 < TRIES:
                    await trio.sleep(_pause(attempt))
            else:
                return await self._finish(row, status.RUNNING)
        return await self._finish(row, status.FAILED, reason)

    async def _stop(self, row: SandboxRow) -> str:
        reason = ""
        for attempt in range(TRIES):
            try:
                await self._backend.pause(row.id)
            except BackendError as error:
                reason = f"it could not be paused: {error}"
                await trio.sleep(_pause(attempt))
            else:
                return await self._finish(row, status.PAUSED)
        return await self._finish(row, status.FAILED, reason)

    async def _delete(self, row: SandboxRow) -> str:
        attempt = 0
        while True:
            try:
                await self._backend.destroy(row.id, row.workspace_id)
            except BackendError as error:
                log.warning("sandbox is not deleted yet", sandbox=row.id, reason=str(error), attempt=attempt + 1)
                await trio.sleep(_pause(attempt))
                attempt += 1
            else:
                await self._surely(lambda: self._db.run(store.remove_row, row.id))
                self._wake.set()  # it may have been the last one of a deleted workspace
                return "deleted"

    async def _finish(self, row: SandboxRow, after: str, reason: str | None = None) -> str:
        """End with ``after``, unless there is a newer wish."""

        async def change() -> SandboxRow | None:
            return await self._db.run(store.change_status, row.id, after, generation=row.generation, reason=reason)

        changed = await self._surely(change)
        return "superseded" if changed is None else after

    async def _surely(self, operation: Callable[[], Awaitable[SandboxRow | bool | None]]) -> SandboxRow | bool | None:
        """Repeat what only a database that is away can hinder. A change that was committed unseen is found so again."""
        attempt = 0
        while True:
            try:
                return await operation()
            except DatabaseUnavailable as error:
                log.warning("a status waits for the database", reason=str(error))
                await trio.sleep(_pause(attempt))
                attempt += 1

    async def _give_up(self, row: SandboxRow, reason: str) -> None:
        if row.status == status.DELETING:
            await trio.sleep(_PAUSES[-1])
            await self._surely(lambda: self._release(row.id))
        else:
            await self._finish(row, status.FAILED, reason)

    async def _release(self, sandbox_id: str) -> bool:
        await self._db.run(store.release, self.owner, sandbox_id)
        return True

    async def _remove_emptied_workspaces(self) -> None:
        for workspace_id in await self._db.run(store.emptied_workspaces):
            try:
                await self._backend.destroy_workspace(workspace_id)
            except BackendError as error:
                log.warning("workspace's disk is not removed yet", workspace=workspace_id, reason=str(error))
            else:
                await self._db.run(store.remove_workspace, workspace_id)
