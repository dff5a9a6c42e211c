"""The door to PostgreSQL: an operation is a plain function ``(conn, …) -> result``, run whole in one worker thread.

psycopg cannot await under Trio. So every operation is one transaction in one thread, which nothing can cut in half: if
its caller is cancelled, the statement is cancelled in the server, the transaction is rolled back, and only then
:class:`trio.Cancelled` goes on.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import trio

from daemon.db.connect import Connection, DatabaseUnavailable, complete_conninfo
from daemon.db.job import Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Connection", "Database", "DatabaseUnavailable"]

P = ParamSpec("P")
T = TypeVar("T")

MAX_SIZE = 8  # more than two cores ever run at once; each costs PostgreSQL some 10 MB
POOL_WAIT = 10.0  # seconds in the queue, after which the caller had better be told
# An unused connection is replaced rather than trusted: firewalls forget one after 5 minutes and more.
IDLE_SECONDS = 240.0
CANCEL_REPEAT = 0.5  # a cancel that arrives between two statements does nothing; it is sent again
CANCEL_SECONDS = 5.0  # after which the connection is cut instead
CUT_SECONDS = 1.0  # a thread notices at once that its socket is shut; one that does not is left alone

# Threads are bounded by the connections; Trio's own limit is for other people's threads.
_NO_LIMIT = trio.CapacityLimiter(math.inf)


class Database:
    """A small pool of connections, at most ``max_size``, opened when they are needed. Use :meth:`open`."""

    def __init__(self, conninfo: str, *, max_size: int = MAX_SIZE) -> None:
        """``conninfo`` is a URL or ``name=value`` words; raises :class:`DatabaseUnavailable` if it is neither."""
        self._conninfo = complete_conninfo(conninfo)
        self._slots = trio.CapacityLimiter(max_size)
        self._idle: list[tuple[float, Connection]] = []  # since when, the latest used last
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, conninfo: str, *, max_size: int = MAX_SIZE) -> AsyncIterator[Database]:
        """A database for the time of the block. It connects when first used, so it opens while PostgreSQL is down."""
        database = cls(conninfo, max_size=max_size)
        try:
            yield database
        finally:
            database._closed = True
            database._close_idle(before=math.inf)

    async def run(self, op: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``op(conn, *args, **kwargs)`` in one transaction in a thread and return its result, committed.

        If it raises, the transaction is rolled back and the error goes on unchanged, but for those that say that the
        database is away, lost, closing or too slow (15 s for a statement): :class:`DatabaseUnavailable`. ``op`` may
        run again from its start after PostgreSQL rolled it back for the sake of another transaction; it is never run
        again after a lost connection, when nobody knows whether it was committed. So it must do nothing but SQL.
        """
        job = Job(self._conninfo, lambda conn: op(conn, *args, **kwargs))
        await self._take_slot(job)
        job.conn = self._take_idle()
        token = trio.lowlevel.current_trio_token()
        try:
            return await trio.to_thread.run_sync(
                job.run, partial(token.run_sync_soon, self._finish, job), abandon_on_cancel=True, limiter=_NO_LIMIT
            )
        except BaseException as error:
            if job.claim():
                self._finish(job)  # no thread had begun with it, and none will
            elif isinstance(error, trio.Cancelled):
                await self._cancel(job)
            raise

    @property
    def load(self) -> tuple[int, int, int]:
        """Connections at work, idle connections, and operations that wait for one."""
        return self._slots.borrowed_tokens, len(self._idle), self._slots.statistics().tasks_waiting

    async def check(self) -> None:
        """Raise :class:`DatabaseUnavailable` unless the database answers."""
        await self.run(_select_one)

    async def _take_slot(self, job: Job[T]) -> None:
        if self._closed:
            raise DatabaseUnavailable("the database is closed")
        with trio.move_on_after(POOL_WAIT) as waiting:
            await self._slots.acquire_on_behalf_of(job)
        if waiting.cancelled_caught:
            raise DatabaseUnavailable(f"no database connection was free for {POOL_WAIT:g} s")

    def _take_idle(self) -> Connection | None:
        self._close_idle(before=trio.current_time() - IDLE_SECONDS)
        return self._idle.pop()[1] if self._idle else None

    def _close_idle(self, *, before: float) -> None:
        while self._idle and self._idle[0][0] < before:
            self._idle.pop(0)[1].close()

    def _finish(self, job: Job[T]) -> None:
        """The thread of ``job`` has ended: give its slot and, where it is sound, its connection to others."""
        job.finished.set()
        self._slots.release_on_behalf_of(job)
        if job.conn is not None and job.usable and not self._closed:
            self._idle.append((trio.current_time(), job.conn))
        elif not job.being_cancelled:
            job.close()

    async def _cancel(self, job: Job[T]) -> None:
        """End the statement of ``job`` and wait for its thread, for a bounded time.

        Its connection is not used again: a cancel request that is late would hit the next operation on it.
        """
        if job.finished.is_set():
            return  # in the same moment; its connection may serve another job already
        job.cancelled = job.being_cancelled = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_SECONDS):
            while not job.finished.is_set():
                await trio.to_thread.run_sync(job.cancel_statement, CANCEL_SECONDS, limiter=_NO_LIMIT)
                with trio.move_on_after(CANCEL_REPEAT):
                    await job.finished.wait()
        if not job.finished.is_set():
            job.cut()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CUT_SECONDS):
                await job.finished.wait()
        job.being_cancelled = False
        if job.finished.is_set():
            job.close()


def _select_one(conn: Connection) -> None:
    conn.execute("SELECT 1")
