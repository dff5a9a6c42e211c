"""Spreads the event log to the open streams: one query for a batch of new events, however many listen."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.store import events as store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.store.events import EventRow

log = structlog.get_logger(__name__)

BATCH: Final = 500  # events read at once
# A stream that is so far behind is told to load everything anew, which is cheaper than so many events.
MOST_WAITING: Final = 1000
_PAUSE_SECONDS: Final = 1.0


class Listener:
    """One open stream. ``ended``: its session is over; ``lost``: it fell behind and missed events."""

    def __init__(self, session_id: str, user_id: str) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.waiting: list[EventRow] = []
        self.lost = False
        self.ended = False
        self._news = trio.Event()

    def give(self, events: list[EventRow]) -> None:
        """New events have come."""
        if len(self.waiting) + len(events) > MOST_WAITING:
            self.lost = True
        else:
            self.waiting += events
        self._news.set()

    def end(self) -> None:
        """The stream must end now."""
        self.ended = True
        self._news.set()

    async def take(self) -> list[EventRow]:
        """Wait for news and take the events."""
        if not (self.waiting or self.lost or self.ended):
            self._news = trio.Event()
            await self._news.wait()
        taken, self.waiting = self.waiting, []
        return taken


class EventHub:
    """The service."""

    def __init__(self, db: Database, notifications: Notifications) -> None:
        self._db = db
        self._listeners: set[Listener] = set()
        self._last: int | None = None
        self._wake = trio.Event()
        notifications.subscribe("event", lambda _words: self._wake.set())
        notifications.on_gap(lambda: self._wake.set())
        notifications.subscribe("session", self._on_session)
        notifications.subscribe("user", self._on_user)

    @contextmanager
    def listen(self, session_id: str, user_id: str) -> Iterator[Listener]:
        """A listener for the time of the block; from its first moment on it misses nothing."""
        listener = Listener(session_id, user_id)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Read and spread until cancelled."""
        while True:
            self._wake = trio.Event()
            try:
                more = await self._spread()
            except DatabaseUnavailable as error:
                log.warning("events wait for the database", reason=str(error))
                await trio.sleep(_PAUSE_SECONDS)
                continue
            if not more:
                await self._wake.wait()

    async def _spread(self) -> bool:
        if self._last is None:
            self._last = (await self._db.run(store.bounds))[1]
        events = await self._db.run(store.events_after, self._last, BATCH)
        if events:
            self._last = events[-1].id
            for listener in self._listeners:
                listener.give(events)
        return len(events) == BATCH

    def _on_session(self, words: list[str]) -> None:
        for listener in self._listeners:
            if listener.session_id == words[0]:
                listener.end()

    def _on_user(self, words: list[str]) -> None:
        for listener in self._listeners:
            if listener.user_id == words[0]:
                listener.end()
