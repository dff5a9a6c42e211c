"""Which replica holds a machine's tunnel: looked up once, kept until the database says that it has moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from daemon.gateway.lookup import CachedLookup
from daemon.store import replicas

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.store.replicas import Place

# A notification says when to look; one that is lost costs so much of the few seconds that somebody waits.
_LOOK_SECONDS: Final = 0.5


class Places:
    """Answers of :func:`daemon.store.replicas.find_place`."""

    def __init__(self, db: Database, notifications: Notifications) -> None:
        self._db = db
        self._notifications = notifications
        self._known = CachedLookup[str, "Place"](self._find, self._fresh)
        self._moves: dict[str, trio.Event] = {}  # of sandboxes that somebody waits for
        notifications.subscribe("tunnel", lambda words: self.forget(words[0]))
        notifications.on_gap(self._clear)

    def _fresh(self) -> bool:
        return self._notifications.connected

    async def _find(self, sandbox_id: str) -> Place | None:
        return await self._db.run(replicas.find_place, sandbox_id)

    async def gone(self, replica_ids: Collection[str]) -> set[str]:
        """Those replicas that are not there any more. Raises :class:`~daemon.db.database.DatabaseUnavailable`."""
        return await self._db.run(replicas.gone, replica_ids)

    async def get(self, sandbox_id: str) -> Place | None:
        """Where it is, by what is known. Raises :class:`~daemon.db.database.DatabaseUnavailable`."""
        return await self._known.get(sandbox_id)

    def forget(self, sandbox_id: str) -> None:
        """It is somewhere else now."""
        self._known.forget_key(sandbox_id)
        if sandbox_id in self._moves:
            self._moves.pop(sandbox_id).set()

    def _clear(self) -> None:
        self._known.clear()
        for sandbox_id in list(self._moves):
            self._moves.pop(sandbox_id).set()

    async def other_than(self, sandbox_id: str, connection_id: str | None) -> Place:
        """Wait until it is somewhere, by another connection than this one. Put a deadline around it."""
        while True:
            moved = self._moves.setdefault(sandbox_id, trio.Event())
            self._known.forget_key(sandbox_id)
            place = await self.get(sandbox_id)
            if place is not None and place.connection_id != connection_id:
                return place
            with trio.move_on_after(_LOOK_SECONDS):
                await moved.wait()
