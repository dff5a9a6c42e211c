"""Who notes what was refused. A flood of refusals must not become a flood of writes, nor take the database from others.

Three bounds, from the nearest to the farthest: the same refusal is noted once in an hour; one is written at a time, and
few wait; and the log takes so many in an hour, of all replicas together (:data:`daemon.store.audit.MOST_REFUSALS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.auth.throttle import network
from daemon.db.database import DatabaseUnavailable
from daemon.store.refusals import Refusal, write_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.db.database import Database

log = structlog.get_logger(__name__)

# An agent whose token is wrong comes again every minute, and a forgotten tab more often. The log is to say that
# somebody tried, and when; not how often.
_SAME_SECONDS: Final = 3600.0
_MOST_KEPT: Final = 10_000  # refusals that are remembered, some 3 MB; of more than that the oldest may be noted again
_MOST_WAITING: Final = 32  # each holds back an answer that says no, by a millisecond or two
_FULL_SECONDS: Final = 60.0  # after the log took no more, it is not asked again for so long


class Refusals:
    """Notes refusals, each in a transaction of its own."""

    def __init__(self, db: Database, now: Callable[[], float] = trio.current_time) -> None:
        self._db = db
        self._now = now
        self._noted: dict[object, float] = {}  # until when each is not noted again, the oldest first
        self._full_until = -1.0
        self._turn = trio.CapacityLimiter(1)

    async def note(self, refusal: Refusal) -> None:
        """Enter it into the audit log, if there is room. Whether it could be does not change what is refused."""
        if self._now() < self._full_until or not self._is_new(refusal):
            return
        if self._turn.statistics().tasks_waiting >= _MOST_WAITING:
            return
        try:
            async with self._turn:
                if not await self._db.run(write_refusal, refusal):
                    self._full_until = self._now() + _FULL_SECONDS
        except DatabaseUnavailable as error:
            log.warning("refusal not noted", action=refusal.action, reason=str(error))

    def _is_new(self, refusal: Refusal) -> bool:
        who = network(refusal.ip) if refusal.actor is None else refusal.actor.user_id
        place = refusal.sandbox_id or refusal.workspace_id
        key = (refusal.action, who, place, refusal.reason, refusal.tried)
        now = self._now()
        if self._noted.get(key, -1.0) > now:
            return False
        self._noted.pop(key, None)
        while len(self._noted) >= _MOST_KEPT:
            del self._noted[next(iter(self._noted))]
        self._noted[key] = now + _SAME_SECONDS
        return True
