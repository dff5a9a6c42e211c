"""The life-cycle service: it carries out what statuses ask for.

Whoever wants something sets a status by compare-and-set (``creating``, ``pausing``, ``resuming``, ``deleting``); that
is the order. This service claims such rows with a lease, acts through the backend, and ends with another
compare-and-set on the generation it started from, so that it never overwrites a newer wish. A newer wish leaves the
lease where it is: who holds it notices, ends what it does, and goes on with the new order itself, so that two replicas
never act on one sandbox. A daemon that dies leaves the row, and the order with it.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import trio

from backends.base import BackendError, BackendRejected
from daemon.db.database import DatabaseUnavailable
from daemon.ids import new_id
from daemon.sandboxes import status
from daemon.sandboxes.deadlines import Deadlines, within
from daemon.sandboxes.workspace_disks import WorkspaceDisks
from daemon.store import sandboxes as store
from daemon.store import wishes
from daemon.supervise import beside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from backends.base import Backend, SandboxSpec
    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.store.audit import Actor
    from daemon.store.sandboxes import SandboxRow

T = TypeVar("T")
log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0  # after so long another replica goes on with what a dead one began
_RENEW_SECONDS: Final = 8.0  # two renewals may fail before a job ends itself
_MARGIN_SECONDS: Final = 5.0  # a job whose lease was not renewed has ended so long before anybody else begins
_LOOK_SECONDS: Final = 5.0  # notifications may be lost; this bounds how long an order then waits
_MOST_JOBS: Final = 64  # claimed by one statement
_LAST_SECONDS: Final = 2.0  # for giving the leases back at the end; they run out by themselves
# opencode's start takes a core for some seconds; many more at once than there are cores would only all be late, and
# everybody else with them. Sixteen at most, because the disk is shared.
STARTS: Final = min(16, max(2, os.cpu_count() or 2) + 1)
# Pauses at once. An engine stops some ten a second: of the hundreds that the sweeper finds in an evening, each has its
# deadline from its own turn on.
STOPS: Final = 64
# Where the nodes of a cluster do the work, its API bounds them: each start asks it some times a second.
CLUSTER_STARTS: Final = 32
_TELL_SECONDS: Final = 0.5  # between looks at how far a fetch is
TRIES: Final = 3  # of a start, if the backend is unavailable; then a person should look
_PAUSES: Final = (1.0, 5.0, 15.0, 60.0)  # seconds between tries; the last for ever, where giving up is no way out
_STARTING: Final = frozenset({status.CREATING, status.RESUMING})


@dataclass(slots=True)
class _Job:
    """Work on one generation of a row. The scope's deadline is the end of the lease."""

    generation: int
    scope: trio.CancelScope
    done: trio.Event = field(default_factory=trio.Event)


def _pause(attempt: int) -> float:
    return _PAUSES[min(attempt, len(_PAUSES) - 1)]


def _lease_end() -> float:
    """When a lease that is asked for now is not surely ours any more, on Trio's clock."""
    return trio.current_time() + LEASE_SECONDS - _MARGIN_SECONDS


class Lifecycle:
    """One per daemon. ``spec`` says how to start a sandbox; ``finished`` is told of every job (metrics).

    ``take_over``: when the service begins, leases of others are of dead daemons, because only one runs on this backend.
    ``replica``: this daemon's name among several.
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
        deadlines: Deadlines | None = None,
        replica: str | None = None,
        starts: int = STARTS,
    ) -> None:
        self.owner = new_id()
        self._db = db
        self._backend = backend
        self._spec = spec
        self._take_over = take_over
        self._finished = finished
        self._deadlines = deadlines or Deadlines()
        self._jobs: dict[str, _Job] = {}
        self._starts = trio.CapacityLimiter(starts)
        self._stops = trio.CapacityLimiter(STOPS)
        self._turns: dict[str, trio.CapacityLimiter] = {}
        self._wake = trio.Event()
        self._disks = WorkspaceDisks(db, backend, self._deadlines, replica)
        notifications.subscribe("sandbox", lambda _words: self._wake.set())
        notifications.subscribe("workspace", lambda _words: self._disks.wake())
        notifications.on_gap(lambda: self._wake.set())

    # Wishes

    async def request_pause(self, sandbox_id: str, actor: Actor) -> None:
        """Ask for a pause. Raises :class:`~daemon.sandboxes.status.IllegalStatus`."""
        await self._request(sandbox_id, status.PAUSING, actor)

    async def request_resume(self, sandbox_id: str, actor: Actor) -> None:
        """Ask for a resume, or for another try after a failure. Raises as :meth:`request_pause`."""
        await self._request(sandbox_id, status.RESUMING, actor)

    async def request_delete(self, sandbox_id: str, actor: Actor) -> None:
        """Ask for it to be deleted; of one that is being deleted already, too."""
        try:
            await self._request(sandbox_id, status.DELETING, actor)
        except status.IllegalStatus as error:
            if error.status != status.DELETING:
                raise

    async def _request(self, sandbox_id: str, after: str, actor: Actor) -> None:
        await self._db.run(wishes.request_status, sandbox_id, after, actor)
        self._wake.set()

    # The service

    async def run(self) -> None:
        """Carry out orders until cancelled. What is under way then is taken up by the next daemon."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew_leases)
                nursery.start_soon(self._disks.run)
                await self._claim_for_ever(nursery)
        finally:
            with trio.move_on_after(_LAST_SECONDS, shield=True):
                await self._release_all()

    async def _claim_for_ever(self, nursery: trio.Nursery) -> None:
        while True:
            self._wake = trio.Event()
            try:
                if self._take_over:
                    await self._db.run(store.forget_leases, self.owner)
                    self._take_over = False
                await self._claim(nursery)
            except DatabaseUnavailable as error:
                log.warning("orders cannot be read", reason=str(error))
                await trio.sleep(_PAUSES[0])
                continue
            with trio.move_on_after(_LOOK_SECONDS):
                await self._wake.wait()

    async def _claim(self, nursery: trio.Nursery) -> None:
        until = _lease_end()
        working = {sandbox_id: job.generation for sandbox_id, job in self._jobs.items()}
        rows = await self._db.run(store.claim, self.owner, LEASE_SECONDS, most=_MOST_JOBS, working=working)
        for row in rows:
            older = self._jobs.get(row.id)
            job = self._jobs[row.id] = _Job(row.generation, trio.CancelScope(deadline=until))
            nursery.start_soon(self._do, row, job, older, name=f"{row.status} {row.id}")
        if len(rows) == _MOST_JOBS:
            self._wake.set()

    async def _renew_leases(self) -> None:
        """Keep the leases; a job without one ends, because another replica may have begun with it."""
        while True:
            await trio.sleep(_RENEW_SECONDS)
            jobs, until = dict(self._jobs), _lease_end()
            if not jobs:
                continue
            try:
                kept = await self._db.run(store.renew, self.owner, list(jobs), LEASE_SECONDS)
            except DatabaseUnavailable as error:
                log.warning("leases are not renewed", reason=str(error))
                continue
            for sandbox_id, job in jobs.items():
                job.scope.deadline = until if sandbox_id in kept else trio.current_time()

    async def _release_all(self) -> None:
        try:
            await self._db.run(store.release_all, self.owner)
        except DatabaseUnavailable as error:
            log.warning("leases are left to run out", reason=str(error))

    async def _do(self, row: SandboxRow, job: _Job, older: _Job | None) -> None:
        """One job; the one it supersedes ends first."""
        started = trio.current_time()
        outcome = "superseded"
        try:
            if older is not None:
                older.scope.cancel()
                await older.done.wait()
            with job.scope:
                outcome = await self._act_or_give_up(row)
        finally:
            job.done.set()
            if self._jobs.get(row.id) is job:
                del self._jobs[row.id]
        self._wake.set()  # the lease is still ours if somebody asked for something else meanwhile
        self._finished(row.status, outcome, trio.current_time() - started)
        log.info("job done", sandbox=row.id, job=row.status, outcome=outcome)

    async def _act_or_give_up(self, row: SandboxRow) -> str:
        try:
            return await self._act(row)
        except Exception:
            log.exception("job failed", sandbox=row.id, status=row.status)
        reason = "an internal error, which the server's log tells more about"
        if row.status == status.DELETING:
            await trio.sleep(_PAUSES[-1])
            return "error"  # the row stays and is claimed again
        if row.status in _STARTING:
            await self._stop_remains(row)
        await self._finish(row, status.FAILED, reason)
        return "error"

    async def _act(self, row: SandboxRow) -> str:
        if row.status in _STARTING:
            return await self._start(row)
        if row.status == status.PAUSING:
            return await self._stop(row)
        return await self._delete(row)

    async def _start(self, row: SandboxRow) -> str:
        reason = ""
        for attempt in range(TRIES):
            try:
                await self._fetch(row)
                async with self._turn(row.workspace_id), self._starts, within(self._deadlines.start, "the start"):
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
        await self._stop_remains(row)
        return await self._finish(row, status.FAILED, reason)

    @asynccontextmanager
    async def _turn(self, workspace_id: str) -> AsyncIterator[None]:
        """A single workspace has all starts but one: if its sandboxes never get ready, others still start."""
        turns = self._turns.setdefault(workspace_id, trio.CapacityLimiter(int(self._starts.total_tokens) - 1))
        try:
            async with turns:
                yield
        finally:
            about = turns.statistics()
            if not about.borrowed_tokens and not about.tasks_waiting:
                self._turns.pop(workspace_id, None)

    async def _fetch(self, row: SandboxRow) -> None:
        """Have what the start needs, and let people see what it waits for."""
        words: list[str] = []

        async def fetch() -> None:
            async with within(self._deadlines.fetch, "fetching the image"):
                await self._backend.fetch(words.append)

        await beside(partial(self._tell, row, words), fetch)

    async def _tell(self, row: SandboxRow, words: list[str]) -> None:
        while True:
            await trio.sleep(_TELL_SECONDS)
            if words:
                last = words[-1]
                words.clear()
                await self._surely(partial(self._db.run, store.tell_progress, row, last, owner=self.owner))

    async def _stop_remains(self, row: SandboxRow) -> None:
        """A start that failed may have left processes that nobody will ever use."""
        try:
            async with within(self._deadlines.pause, "the stop"):
                await self._backend.pause(row.id)
        except BackendError as error:  # the reconciler tries again: it stops what runs and should not
            log.warning("remains of a failed start are not stopped", sandbox=row.id, reason=str(error))
        except Exception:
            log.exception("remains of a failed start are not stopped", sandbox=row.id)

    async def _stop(self, row: SandboxRow) -> str:
        reason = ""
        for attempt in range(TRIES):
            try:
                async with self._stops, within(self._deadlines.pause, "the pause"):
                    await self._backend.pause(row.id)
            except BackendError as error:
                reason = f"it could not be paused: {error}"
                await trio.sleep(_pause(attempt))
            else:
                return await self._finish(row, status.PAUSED)
        return await self._finish(row, status.FAILED, reason)

    async def _delete(self, row: SandboxRow) -> str:
        attempt = 0
        while row.type == status.CLOUD:  # what runs on somebody's own machine is not ours to remove
            try:
                async with within(self._deadlines.destroy, "the removal"):
                    await self._backend.destroy(row.id, row.workspace_id)
                break
            except BackendError as error:
                log.warning("sandbox is not deleted yet", sandbox=row.id, reason=str(error), attempt=attempt + 1)
                await trio.sleep(_pause(attempt))
                attempt += 1
        await self._surely(lambda: self._db.run(store.remove_row, row.id))
        self._disks.wake()  # it may have been the last one of a deleted workspace
        return "deleted"

    async def _finish(self, row: SandboxRow, after: str, reason: str | None = None) -> str:
        """End with ``after``, unless there is a newer wish or another replica has taken over."""

        async def change() -> SandboxRow | None:
            return await self._db.run(
                store.change_status, row.id, after, generation=row.generation, reason=reason, owner=self.owner
            )

        changed = await self._surely(change)
        return "superseded" if changed is None else after

    async def _surely(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat what only a database that is away can hinder. A change that was committed unseen is found so again."""
        attempt = 0
        while True:
            try:
                return await operation()
            except DatabaseUnavailable as error:
                log.warning("a status waits for the database", reason=str(error))
                await trio.sleep(_pause(attempt))
                attempt += 1
