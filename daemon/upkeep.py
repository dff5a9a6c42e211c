"""What has run out goes: sessions in the second in which they end, old rows once an hour. And sandboxes are counted.

With several replicas each does so; a row that is gone already is nobody's error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.store import access, audit, expiry
from daemon.store import sandboxes as store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from daemon.db.database import Database
    from daemon.db.listen import Notifications

log = structlog.get_logger(__name__)

_PURGE_SECONDS: Final = 3600.0  # expired sessions, tickets, old events: an hour's worth is some hundred rows
_EXPIRY_SECONDS: Final = 60.0  # a look at what runs out next; what does so within the hour is also announced
_COUNT_SECONDS: Final = 15.0  # as often as Prometheus asks by default


class Upkeep:
    """Three services. ``audit_retention``: seconds; ``counted`` is told how many sandboxes are in which status."""

    def __init__(
        self,
        db: Database,
        notifications: Notifications,
        audit_retention: float,
        counted: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._db = db
        self._audit_retention = audit_retention
        self._counted = counted
        self._sooner = trio.Event()  # a session was made that ends soon
        notifications.subscribe("expiry", lambda _words: self._sooner.set())

    def services(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """With their names."""
        yield "clean-up", self._purge
        yield "expiry", self._expire
        yield "census", self._count

    async def _purge(self) -> None:
        while True:
            removed = await self._db.run(access.purge_expired)
            removed += await self._db.run(audit.forget_old, self._audit_retention)
            log.debug("expired rows removed", rows=removed)
            await trio.sleep(_PURGE_SECONDS)

    async def _expire(self) -> None:
        """Sessions end, with what lives by them, in the second in which they run out."""
        while True:
            self._sooner = trio.Event()
            left = await self._db.run(expiry.end_expired)
            with trio.move_on_after(_EXPIRY_SECONDS if left is None else min(_EXPIRY_SECONDS, max(left, 0))):
                await self._sooner.wait()

    async def _count(self) -> None:
        while True:
            self._counted(await self._db.run(store.count_by_status))
            await trio.sleep(_COUNT_SECONDS)
