"""This daemon among several: it says that it lives, and notices who does not any more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.store import replicas

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.db.database import Connection, Database

log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 2.0  # one small statement
# Four beats may fail. A process that was killed loses its connections at once, and its agents are back by another
# replica within a second or two; this is for machines that are switched off together with it.
DEAD_SECONDS: Final = 10.0
_LAST_SECONDS: Final = 5.0  # at the end, for one small transaction


class Replicas:
    """The service of one replica. ``url``: where the others reach it.

    ``revived`` is called when the others do not know it: at its first sign, and when it was taken for dead.
    """

    def __init__(
        self,
        db: Database,
        replica_id: str,
        url: str,
        version: str,
        *,
        beat: float | None = None,
        dead: float | None = None,
        revived: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._revived = revived
        self.id = replica_id
        self._url = url
        self._version = version
        self._beat_seconds = BEAT_SECONDS if beat is None else beat
        self._dead_seconds = DEAD_SECONDS if dead is None else dead
        # When the database is back, or this process goes on after it was stopped, everybody's beats may be old. Who
        # judges others has seen them have their chance.
        self._steady_since = math.inf
        self._last = -math.inf

    async def run(self) -> None:
        """Beat until cancelled, then leave."""
        try:
            while True:
                try:
                    await self.once()
                except DatabaseUnavailable as error:
                    self._steady_since = math.inf
                    log.warning("this replica gives no sign of life", reason=str(error))
                await trio.sleep(self._beat_seconds)
        finally:
            with trio.move_on_after(_LAST_SECONDS, shield=True):
                await self._leave()

    async def once(self) -> None:
        """One beat. Raises :class:`DatabaseUnavailable`."""
        now = trio.current_time()
        if now - self._last > 2 * self._beat_seconds or self._steady_since == math.inf:
            self._steady_since = now
        self._last = now
        new, dead, left = await self._db.run(self._sign, judge=now - self._steady_since >= self._dead_seconds)
        if new:
            self._revived()
        if dead:
            log.warning("replicas are gone", replicas=dead)
        if left:
            log.warning("machines of a replica that is gone did not come back", sandboxes=left)

    def _sign(self, conn: Connection, *, judge: bool) -> tuple[bool, list[str], list[str]]:
        new = replicas.beat(conn, self.id, self._url, self._version)
        return new, *(replicas.forget_dead(conn, self.id, self._dead_seconds) if judge else ([], []))

    async def _leave(self) -> None:
        try:
            await self._db.run(self._forget)
        except DatabaseUnavailable as error:
            log.warning("this replica is left to be found gone", reason=str(error))

    def _forget(self, conn: Connection) -> None:
        replicas.leave(conn, self.id)
        replicas.give_up_duties(conn, self.id)
