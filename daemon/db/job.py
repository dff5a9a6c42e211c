"""One database operation on its way through a worker thread: begin, run, commit, and how to end it from outside."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

import psycopg
import trio
from psycopg import errors
from psycopg.pq import TransactionStatus

from daemon.db.connect import Connection, connect, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

ATTEMPTS = 3  # of a transaction that PostgreSQL rolled back for the sake of another one
PAUSE = (0.01, 0.05)  # seconds before another attempt, so that the other transaction, some ms from its end, gets there


class TransactionBroken(Exception):
    """An operation returned, but its transaction cannot be committed any more. A bug in the operation."""


class Job(Generic[T]):
    """One call of :meth:`daemon.db.database.Database.run`. :meth:`run` belongs to its thread, the rest to Trio's."""

    def __init__(self, conninfo: str, op: Callable[[Connection], T]) -> None:
        self._conninfo = conninfo
        self._op = op
        self._claim = threading.Lock()
        self._dead: list[Connection] = []
        self.conn: Connection | None = None  # the pooled connection to try first, later the one in use
        self.cancelled = False  # nobody waits for the result any more
        self.being_cancelled = False  # somebody still uses ``conn`` for that
        self.finished = trio.Event()

    def claim(self) -> bool:
        """Whether the caller is the first to ask: the thread, which then runs, or a canceller: then it never does."""
        return self._claim.acquire(blocking=False)

    @property
    def usable(self) -> bool:
        """Whether the connection can serve another job."""
        return (
            self.conn is not None
            and not self.cancelled
            and not self.conn.closed
            and self.conn.info.transaction_status == TransactionStatus.IDLE
        )

    def run(self, finish: Callable[[], None]) -> T:
        """In the thread. ``finish`` is called at its end, however it ends."""
        if not self.claim():
            raise RuntimeError("cancelled before it began; nobody waits for this")
        try:
            return self._attempts()
        finally:
            try:
                finish()
            except trio.RunFinishedError:
                self.close()

    def _attempts(self) -> T:
        for left in reversed(range(ATTEMPTS)):
            try:
                return self._transaction()
            except (errors.DeadlockDetected, errors.SerializationFailure) as error:
                if not left or self.cancelled:
                    raise unavailable("the database is too busy", error) from error
                time.sleep(random.uniform(*PAUSE))
            except errors.QueryCanceled as error:
                raise unavailable("the database took too long", error) from error
            except psycopg.OperationalError as error:
                raise unavailable("the database failed", error) from error
            except psycopg.InterfaceError as error:
                if self.conn is None or not self.conn.closed:
                    raise
                raise unavailable("the connection to the database was lost", error) from error
        raise AssertionError("the last attempt returns or raises")

    def _transaction(self) -> T:
        with contextlib.ExitStack() as stack:
            conn = self._begin(stack)
            self._check_wanted()
            try:
                result = self._op(conn)
            except psycopg.Rollback as error:
                raise TransactionBroken(
                    "an operation may roll back a savepoint, but not its whole transaction"
                ) from error
            self._check_wanted()
            # psycopg would take a COMMIT that rolls back, or a connection that is gone, for success.
            if conn.closed:
                raise psycopg.OperationalError("the connection was lost")
            if conn.info.transaction_status != TransactionStatus.INTRANS:
                raise TransactionBroken("an operation went on after one of its statements had failed")
        return result

    def _check_wanted(self) -> None:
        if self.cancelled:
            raise errors.QueryCanceled("the caller has gone")

    def _begin(self, stack: contextlib.ExitStack) -> Connection:
        """Enter a transaction. A pooled connection that died meanwhile fails here, before the operation has run."""
        if self.conn is not None:
            try:
                stack.enter_context(self.conn.transaction())
            except (psycopg.OperationalError, psycopg.InterfaceError):
                # Closed at the end, because a canceller may be using it in another thread.
                self._dead.append(self.conn)
                self.conn = None
        if self.conn is None:
            self.conn = connect(self._conninfo)
            stack.enter_context(self.conn.transaction())
        return self.conn

    def cancel_statement(self, timeout: float) -> None:
        """Ask the server to end the running statement, if there is one; at most ``timeout`` seconds. Blocks."""
        conn = self.conn
        if conn is not None:
            # It may be over, or the connection lost: the thread tells.
            with contextlib.suppress(psycopg.Error):
                conn.cancel_safe(timeout=timeout)

    def cut(self) -> None:
        """Shut the connection's socket, so that the thread that waits on it gets an error."""
        conn = self.conn
        if conn is not None and not conn.closed:
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as shared:
                shared.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what :meth:`run` used and nobody will use again."""
        for conn in (*self._dead, self.conn):
            if conn is not None:
                conn.close()
