"""PostgreSQL's notifications, delivered to callbacks in Trio's thread.

A notification tells that something changed, and what changed is read from the tables. Notifications are lost while the
connection is; ``on_gap`` tells when, and its callbacks forget whatever they keep of the database.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from threading import Event
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio
from psycopg.pq import ExecStatus

from daemon.db.connect import Connection, DatabaseUnavailable, connect, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = structlog.get_logger(__name__)

CHANNEL = "cli_server"
KEEPALIVE_SECONDS = 30.0  # half of the shortest silence after which a load balancer was seen to cut
ANSWER_SECONDS = 10.0  # for the server to answer a keepalive; a busy one takes milliseconds
FIRST_PAUSE = 0.2  # seconds before connecting again; doubled up to
LONGEST_PAUSE = 5.0


class Notifications:
    """A service that listens on the channel for as long as it runs. Subscribe before, or at any time."""

    def __init__(
        self, conninfo: str, *, keepalive: float = KEEPALIVE_SECONDS, answer_within: float = ANSWER_SECONDS
    ) -> None:
        """``keepalive``: after so many seconds of silence the server is asked, and must answer in ``answer_within``."""
        self._conninfo = conninfo
        self._keepalive = keepalive
        self._answer_within = answer_within
        self._callbacks: dict[str, list[Callable[[list[str]], None]]] = {}
        self._gap_callbacks: list[Callable[[], None]] = []
        self.connected = False

    def subscribe(self, word: str, callback: Callable[[list[str]], None]) -> None:
        """Call ``callback`` with the other words of every payload whose first word is ``word``. It must not wait."""
        self._callbacks.setdefault(word, []).append(callback)

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the connection is lost and again when it is there: in between, anything was missed."""
        self._gap_callbacks.append(callback)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever, connecting again as often as needed; started once it listens for the first time.

        A callback that raises ends it, after a gap was told: an invalidation that was not carried out must not be lost.
        """
        started = False
        pause = FIRST_PAUSE
        while True:
            try:
                async with _connection(self._conninfo) as conn:
                    await self._listen(conn)
                    pause = FIRST_PAUSE
                    if not started:
                        task_status.started()
                        started = True
                    await self._deliver(conn)
            except DatabaseUnavailable as error:
                log.warning("notifications interrupted", reason=str(error), pause=pause)
            finally:
                self._lost()
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _listen(self, conn: Connection) -> None:
        await self._query(conn, f"LISTEN {CHANNEL}".encode())
        self.connected = True
        self._gap()

    async def _deliver(self, conn: Connection) -> None:
        while True:
            readable = False
            with trio.move_on_after(self._keepalive):
                await trio.lowlevel.wait_readable(conn.fileno())
                readable = True
            if readable:
                self._receive(conn)
            else:
                await self._query(conn, b"SELECT 1")

    async def _query(self, conn: Connection, query: bytes) -> None:
        """Run ``query`` without a thread, handing out notifications that come before its answer."""
        pgconn = conn.pgconn
        with trio.move_on_after(self._answer_within):
            try:
                pgconn.send_query(query)
                while pgconn.flush():
                    await trio.lowlevel.wait_writable(conn.fileno())
            except psycopg.OperationalError as error:
                raise unavailable("the notification connection was lost", error) from None
            while True:
                while pgconn.is_busy():
                    await trio.lowlevel.wait_readable(conn.fileno())
                    self._receive(conn)
                result = pgconn.get_result()
                if result is None:
                    return
                if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
                    reason = result.get_error_message().strip().partition("\n")[0]
                    raise DatabaseUnavailable(f"the notification connection failed: {reason}")
        raise DatabaseUnavailable(f"the database did not answer within {self._answer_within:g} s")

    def _receive(self, conn: Connection) -> None:
        try:
            conn.pgconn.consume_input()
        except psycopg.OperationalError as error:
            raise unavailable("the notification connection was lost", error) from None
        while notification := conn.pgconn.notifies():
            words = notification.extra.decode(errors="replace").split()
            for callback in self._callbacks.get(words[0], ()) if words else ():
                callback(words[1:])

    def _lost(self) -> None:
        if self.connected:
            self.connected = False
            self._gap()

    def _gap(self) -> None:
        for callback in self._gap_callbacks:
            callback()


@asynccontextmanager
async def _connection(conninfo: str) -> AsyncIterator[Connection]:
    """A connection made in a thread and used in Trio's. Cancelled meanwhile, it is closed by whoever holds it last."""
    made: list[Connection] = []
    unwanted = Event()

    def make() -> None:
        made.append(connect(conninfo))
        if unwanted.is_set():
            _close(made)

    try:
        await trio.to_thread.run_sync(make, abandon_on_cancel=True)
        yield made[0]
    finally:
        unwanted.set()
        _close(made)


def _close(made: list[Connection]) -> None:
    # Taking it from the list is atomic, so only one side closes it.
    while made:
        made.pop().close()
