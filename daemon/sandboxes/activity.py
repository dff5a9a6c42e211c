"""When each sandbox was last used. Touching is a dictionary write, so that it may stand in a copy loop."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.store.sandboxes import record_activity

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.db.database import Database

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 5.0  # what another replica or a crash may miss; idle timeouts are minutes
# A sandbox that was quiet for so long may be about to be paused by another replica: its first use is written at once.
QUIET_SECONDS: Final = 60.0
_AT_ONCE_SECONDS: Final = 0.2  # requests of one page come together and are written together
_LAST_FLUSH_SECONDS: Final = 5.0


class Activity:
    """The latest use of every sandbox that this process has seen. Wall-clock times, seconds since the epoch."""

    def __init__(self, db: Database, clock: Callable[[], float] = time) -> None:
        self._db = db
        self._clock = clock
        self._last: dict[str, float] = {}
        self._unwritten: set[str] = set()
        self._urgent = trio.Event()

    def touch(self, sandbox_id: str) -> None:
        """Somebody or something uses it now."""
        now = self._clock()
        if now - self._last.get(sandbox_id, 0.0) > QUIET_SECONDS:
            self._urgent.set()
        self._last[sandbox_id] = now
        self._unwritten.add(sandbox_id)

    def hurry(self, sandbox_id: str | None = None) -> None:
        """Something changes with it (``None``: with any): perhaps another replica is about to pause it.

        What this one knows of its use is written while that one waits (daemon.sandboxes.sweeper).
        """
        if sandbox_id in self._unwritten or (sandbox_id is None and self._unwritten):
            self._urgent.set()

    def last(self, sandbox_id: str) -> datetime | None:
        """When this process last saw it used; ``None``: never."""
        seen = self._last.get(sandbox_id)
        return None if seen is None else datetime.fromtimestamp(seen, UTC)

    def forget(self, sandbox_id: str) -> None:
        """The sandbox is gone."""
        self._last.pop(sandbox_id, None)
        self._unwritten.discard(sandbox_id)

    async def flush(self) -> None:
        """Write what is not written. Raises :class:`DatabaseUnavailable`; nothing is forgotten then."""
        names, self._unwritten = self._unwritten, set()
        if not names:
            return
        try:
            seen = [(name, datetime.fromtimestamp(self._last[name], UTC)) for name in names if name in self._last]
            await self._db.run(record_activity, seen)
        except BaseException:
            self._unwritten |= names
            raise

    async def run(self) -> None:
        """Flush every few seconds, and once more at the end."""
        try:
            while True:
                with trio.move_on_after(FLUSH_SECONDS):
                    await self._urgent.wait()
                    await trio.sleep(_AT_ONCE_SECONDS)
                self._urgent = trio.Event()
                await self._try_flush()
        finally:
            with trio.move_on_after(_LAST_FLUSH_SECONDS, shield=True):
                await self._try_flush()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except DatabaseUnavailable as error:
            log.warning("activity is not written yet", reason=str(error), sandboxes=len(self._unwritten))
