"""Spreads the event log to the open streams, and ends what outlives the session or the membership it lives by.

New events are read once, however many listen. Notifications say when to look; whatever they may have missed is found
by looking at the tables: at every gap, and once a minute, because a session that runs out tells nobody.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import trio

from daemon.auth.roles import Action
from daemon.db.database import DatabaseUnavailable
from daemon.store import access
from daemon.store import events as store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.store.events import EventRow, News

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH: Final = 500  # events read at once
# A stream that is so far behind is told to load everything anew, which is cheaper than so many events.
MOST_WAITING: Final = 1000
HEARTBEAT_SECONDS: Final = 15.0  # a quarter of the shortest silence after which a proxy was seen to cut
CHECK_SECONDS: Final = 60.0  # a session lives for a month: it may end so much late
PAUSE_SECONDS: Final = 1.0  # before the database is asked again


class Follower:
    """An open answer that lives by a session and, where ``workspace_id`` is given, by a right to read logs there."""

    def __init__(self, session_id: str, user_id: str, workspace_id: str | None) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.workspace_id = workspace_id
        self.ended = False
        self._scope: trio.CancelScope | None = None

    @property
    def key(self) -> access.Hold:
        """What it lives by."""
        return self.session_id, self.workspace_id

    def end(self) -> None:
        """It must end now."""
        self.ended = True
        if self._scope is not None:
            self._scope.cancel()

    async def unless_ended(self, what: Callable[[], Awaitable[T]]) -> T | None:
        """The result of ``what``; ``None`` if this ends first, and ``what`` is cancelled then."""
        with trio.CancelScope() as self._scope:
            if self.ended:
                return None
            return await what()
        return None


F = TypeVar("F", bound=Follower)


class Listener(Follower):
    """One stream of events. ``lost``: it fell behind and missed events."""

    def __init__(self, session_id: str, user_id: str) -> None:
        super().__init__(session_id, user_id, None)
        self.lost = False
        self._given = 0
        self._waiting: list[EventRow] = []
        self._news = trio.Event()

    @property
    def position(self) -> int:
        """The id up to which all that is of interest was taken, or is lost."""
        return self._waiting[0].id - 1 if self._waiting else self._given

    def give(self, news: News) -> None:
        """Something has happened; it may be of no interest to this user."""
        self._given = news.position
        events = [] if self.lost else news.for_user(self.user_id)
        if len(self._waiting) + len(events) > MOST_WAITING:
            self.lost = True
            self._waiting = []
        else:
            self._waiting += events
        if events or self.lost:
            self._news.set()

    async def take(self) -> list[EventRow]:
        """Wait for news and take the events; none if it is ``lost``."""
        if not (self._waiting or self.lost):
            self._news = trio.Event()
            await self._news.wait()
        taken, self._waiting = self._waiting, []
        return taken


class EventHub:
    """The service. ``heartbeat`` and ``check``: seconds between a stream's signs of life, and looks at all sessions."""

    def __init__(
        self,
        db: Database,
        notifications: Notifications,
        *,
        heartbeat: float = HEARTBEAT_SECONDS,
        check: float = CHECK_SECONDS,
    ) -> None:
        self.heartbeat = heartbeat
        self._check_seconds = check
        self._db = db
        self._followers: set[Follower] = set()
        self._last: int | None = None
        self._check_due = -math.inf
        self._wake = trio.Event()
        notifications.subscribe("event", lambda _words: self._wake.set())
        notifications.subscribe("session", lambda words: self._end(lambda open_: open_.session_id == words[0]))
        notifications.subscribe("user", lambda words: self._end(lambda open_: open_.user_id == words[0]))
        # What a stream shows depends on it: the client loads everything anew.
        notifications.subscribe(
            "admin", lambda words: self._end(lambda open_: isinstance(open_, Listener) and open_.user_id == words[0])
        )
        notifications.subscribe(
            "member", lambda words: self._end(lambda open_: [open_.workspace_id, open_.user_id] == words)
        )
        notifications.subscribe("workspace", self._on_workspace)
        notifications.on_gap(self._on_gap)

    @property
    def streams(self) -> int:
        """How many streams of events are open."""
        return sum(isinstance(follower, Listener) for follower in self._followers)

    @contextmanager
    def listen(self, session_id: str, user_id: str) -> Iterator[Listener]:
        """A listener for the time of the block."""
        with self._open(Listener(session_id, user_id)) as listener:
            yield listener

    @contextmanager
    def follow(self, session_id: str, user_id: str, workspace_id: str) -> Iterator[Follower]:
        """Something else that ends with the session, or with a change of the user's role in the workspace."""
        with self._open(Follower(session_id, user_id, workspace_id)) as follower:
            yield follower

    @contextmanager
    def _open(self, follower: F) -> Iterator[F]:
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    async def still_allowed(self, follower: Follower) -> bool:
        """Whether what it lives by is there, asked of the database. From its opening on, notifications tell the end.

        So who asks after the opening misses nothing.
        """
        return bool(await self._db.run(access.still_held, [follower.key], Action.READ_LOGS))

    def shut_down(self) -> None:
        """The daemon ends: so do all streams, in peace. Clients go on by the id of what they heard last."""
        self._end(lambda _open: True)

    async def bounds(self) -> tuple[int, int]:
        """The oldest and the newest event. What comes after the newest is given to whoever listens already."""
        await self._begin()
        return await self._db.run(store.bounds)

    async def run(self) -> None:
        """Read and spread until cancelled."""
        while True:
            self._wake = trio.Event()
            try:
                await self._check()
                more = await self._spread()
            except DatabaseUnavailable as error:
                log.warning("events wait for the database", reason=str(error))
                await trio.sleep(PAUSE_SECONDS)
                continue
            if not more:
                with trio.move_on_at(self._check_due):
                    await self._wake.wait()

    async def _begin(self) -> int:
        if self._last is None:
            newest = (await self._db.run(store.bounds))[1]
            if self._last is None:  # somebody else may have been quicker
                self._last = newest
        return self._last

    async def _spread(self) -> bool:
        news = await self._db.run(store.read_news, await self._begin(), BATCH)
        self._last = news.position
        if news.events:
            for follower in self._followers:
                if isinstance(follower, Listener):
                    follower.give(news)
        return len(news.events) == BATCH

    async def _check(self) -> None:
        """End what has lost what it lives by, if it is time to look or notifications may have been missed."""
        now = trio.current_time()
        if now < self._check_due:
            return
        self._check_due = now + self._check_seconds
        asked = list(self._followers)
        if not asked:
            return
        try:
            held = await self._db.run(access.still_held, [follower.key for follower in asked], Action.READ_LOGS)
        except DatabaseUnavailable:
            self._check_due = -math.inf
            raise
        for follower in asked:
            if follower.key not in held:
                follower.end()

    def _end(self, concerned: Callable[[Follower], bool]) -> None:
        for follower in self._followers:
            if concerned(follower):
                follower.end()

    def _on_workspace(self, words: list[str]) -> None:
        """It was changed, or deleted with everybody's membership in it."""
        if any(follower.workspace_id == words[0] for follower in self._followers):
            self._on_gap()

    def _on_gap(self) -> None:
        self._check_due = -math.inf
        self._wake.set()
