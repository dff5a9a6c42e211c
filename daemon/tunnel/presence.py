"""Tells the database which local sandboxes are connected: ``running`` and ``offline`` follow the live connections.

Tunnels note what happens without waiting; one service writes it in its order. While the database is away the notes are
kept. Every daemon keeps the heartbeats of its own connections fresh, and those of a daemon that died run out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.store import tunnels
from daemon.tunnel.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.db.database import Connection, Database
    from daemon.tunnel.notes import Change

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 15.0  # one statement for all connections; how old lastHeartbeatAt of a live one may be
EXPIRE_SECONDS: Final = 3 * HEARTBEAT_SECONDS  # two may fail: a database that restarts takes some seconds
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0)  # seconds before writing again; the last for ever
_LAST_SECONDS: Final = 5.0  # at shutdown, for one small transaction and one that is under way


def write(conn: Connection, changes: Sequence[Change], replica: str | None = None) -> list[str]:
    """Carry out ``changes`` in one transaction; the connections whose sandboxes are gone, or have a newer one."""
    refused = []
    for change in changes:
        if not change.up:
            tunnels.tunnel_down(conn, change.sandbox_id, change.connection_id)
        elif not tunnels.tunnel_up(
            conn, change.sandbox_id, change.connection_id, change.info, tunnels.Holder(replica, change.order)
        ):
            refused.append(change.connection_id)
    return refused


def beat(conn: Connection, connections: Sequence[str], *, expire: bool) -> tuple[set[str], list[str]]:
    """Keep our own fresh, then expire others': ours that are still known, and the sandboxes that are offline now."""
    kept = tunnels.heartbeat(conn, connections) if connections else set()
    return kept, tunnels.expire_tunnels(conn, EXPIRE_SECONDS) if expire else []


def _nobody(connection_id: str) -> None:
    """Nobody wants to know."""


class Presence:
    """One per daemon. :meth:`up` and :meth:`down` note, :meth:`run` is the service that writes.

    ``replica``: this daemon's name among several. ``only_one``: whatever is running when the service begins was an
    older daemon's, because no other runs beside it.
    ``lost`` is told of each connection that the database does not accept: its sandbox is gone or being deleted, or is
    reached by a newer connection of another daemon. Such a connection should end.
    """

    def __init__(
        self, db: Database, *, only_one: bool, lost: Callable[[str], None] = _nobody, replica: str | None = None
    ) -> None:
        self._db = db
        self._replica = replica
        self._forget_older = only_one
        self._lost = lost
        self._notes = Notes()
        self._noted = trio.Event()
        self._progress = trio.Event()
        # After a time without the database everybody's heartbeats are old; the others get one round to bring theirs.
        self._may_expire = False
        self._next_beat = -math.inf

    def beat_soon(self) -> None:
        """Others took this daemon for dead, and its tunnels for gone."""
        self._next_beat = -math.inf
        self._noted.set()

    def up(
        self, sandbox_id: str, connection_id: str, info: Mapping[str, object] | None = None, *, order: int = 0
    ) -> None:
        """The sandbox is reached by this connection, and no more by an older one.

        Again for the same connection: its machine says more of itself, which is written at once the first time and then
        with the next heartbeat. ``None`` leaves what it said before. ``order``: of the connection, among those of all
        daemons.
        """
        self._notes.up(sandbox_id, connection_id, info, order)
        self._noted.set()

    def down(self, sandbox_id: str, connection_id: str) -> None:
        """The connection has ended; if the sandbox is reached by a newer one, nothing changes."""
        self._notes.down(connection_id)
        log.debug("tunnel ended", sandbox=sandbox_id, connection=connection_id)
        self._noted.set()

    def hand_on(self, connection_id: str) -> None:
        """It ends because this daemon does: its agent comes back by another one, and nobody is offline meanwhile."""
        self._notes.lost([connection_id])

    async def written(self, connection_id: str) -> bool:
        """Wait until the database has heard what was noted of it; whether its sandbox is running by it."""
        while self._notes.waits(connection_id):
            await self._progress.wait()
        return connection_id in self._notes.live()

    async def run(self) -> None:
        """Write notes and heartbeats until cancelled, then that our connections have ended."""
        try:
            await self._write_for_ever()
        except trio.Cancelled:
            with trio.move_on_after(_LAST_SECONDS, shield=True):
                await self._end()
            raise

    async def _write_for_ever(self) -> None:
        attempt = 0
        while True:
            self._noted = trio.Event()
            try:
                more = await self._write_some()
                if trio.current_time() >= self._next_beat:
                    self._next_beat = trio.current_time() + HEARTBEAT_SECONDS
                    await self.beat()
            except DatabaseUnavailable as error:
                self._may_expire = False
                self._next_beat = -math.inf
                log.warning("tunnels are not written yet", reason=str(error), changes=self._notes.waiting)
                await trio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1
                continue
            attempt = 0
            if not more:
                with trio.move_on_at(self._next_beat):
                    await self._noted.wait()

    async def flush(self) -> None:
        """Write what was noted. Raises :class:`DatabaseUnavailable`; nothing is forgotten then."""
        while await self._write_some():
            continue

    async def _write_some(self) -> bool:
        """One transaction's worth of it; whether there may be more. A machine that comes and goes without end must not
        keep the heartbeats of all others waiting.
        """
        if self._forget_older:
            forgotten = await self._db.run(tunnels.forget_tunnels)
            self._forget_older = False
            if forgotten:
                log.info("tunnels of the former daemon are offline", sandboxes=len(forgotten))
        changes = self._notes.take()
        if changes:
            refused = await self._db.run(write, changes, self._replica)
            self._tell(self._notes.done(refused))
        self._moved()  # also if nothing was written: an end may have taken a beginning back
        return bool(changes)

    async def beat(self) -> None:
        """Write the heartbeats, and look for daemons that write none. Raises :class:`DatabaseUnavailable`."""
        ours = self._notes.written()
        kept, expired = await self._db.run(beat, ours, expire=self._may_expire)
        self._may_expire = True
        self._notes.next_round()
        if self._notes.waiting:
            self._noted.set()
        if expired:
            log.warning("tunnels of a daemon that is gone are offline", sandboxes=expired)
        self._tell(self._notes.lost([connection for connection in ours if connection not in kept]))

    def _moved(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _tell(self, lost: Sequence[str]) -> None:
        for connection_id in lost:
            log.info("tunnel is not its sandbox's any more", connection=connection_id)
            self._lost(connection_id)

    async def _end(self) -> None:
        for connection_id in self._notes.live():
            if self._replica is None:
                self._notes.down(connection_id)
            else:
                self.hand_on(connection_id)
        try:
            await self.flush()
        except DatabaseUnavailable as error:
            log.warning("tunnels are left to run out", reason=str(error), changes=self._notes.waiting)
