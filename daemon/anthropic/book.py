"""The book of usage: counts in memory, written to the database at once by one service, each exactly once.

A call's end must not wait for the database, and an absent database must not lose what was counted. So calls only add to
sums in memory, and :meth:`UsageBook.run` writes them, everything that came meanwhile in one transaction. Where a
connection breaks in the middle of a commit, PostgreSQL is asked afterwards whether that transaction was committed.

The same transaction counts the requests of each hour, of which people see the last day.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol, TypeVar

import structlog
import trio

from daemon.db.database import Connection, DatabaseUnavailable
from daemon.store.usage import HourEntry, UsageEntry, add_usage, was_committed

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.anthropic.meter import Usage

log = structlog.get_logger(__name__)

# Sums held while the database is away, one for each sandbox, model and day, some 500 bytes each. A thousand sandboxes
# with three models fill a third of it in a day.
MOST_SUMS: Final = 10_000
FIRST_PAUSE: Final = 0.5  # seconds before writing again; doubled up to
LONGEST_PAUSE: Final = 30.0
LAST_FLUSH_SECONDS: Final = 5.0  # at shutdown, for one small transaction, and to find out about one under way

P = ParamSpec("P")
T = TypeVar("T")
Key = tuple[date, str, str, str]
HourKey = tuple[datetime, str, str]


class Runner(Protocol):
    """The part of :class:`daemon.db.database.Database` that the book needs."""

    async def run(self, op: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``op`` in one transaction. Raises :class:`DatabaseUnavailable`."""
        ...


def utc_now() -> datetime:
    """The time whose day and hour usage belongs to."""
    return datetime.now(UTC)


@dataclass(slots=True)
class _Batch:
    """What one transaction writes. ``transaction`` is its id as soon as one has begun."""

    entries: list[UsageEntry]
    hours: list[HourEntry]
    transaction: str | None = field(default=None)

    def began(self, transaction: str) -> None:
        self.transaction = transaction


class UsageBook:
    """Takes what calls cost with :meth:`add`; :meth:`run` is its service.

    ``lost`` counts the requests that were not booked, because the database was away for longer than memory lasted.
    """

    def __init__(
        self,
        database: Runner,
        *,
        now: Callable[[], datetime] = utc_now,
        most_sums: int = MOST_SUMS,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._database = database
        self._now = now
        self._most_sums = most_sums
        self._first_pause = first_pause
        self._sums: dict[Key, UsageEntry] = {}
        self._hours: dict[HourKey, int] = {}
        self._batch: _Batch | None = None
        self._added = trio.Event()
        self.lost = 0

    @property
    def waiting(self) -> int:
        """How many sums are not known to be in the database."""
        return len(self._sums) + (len(self._batch.entries) if self._batch is not None else 0)

    def add(self, workspace_id: str, sandbox_id: str, usage: Usage) -> None:
        """Take one call into the book. Never waits."""
        now = self._now()
        key = (now.date(), workspace_id, sandbox_id, usage.model)
        kept = self._sums.get(key)
        if kept is None and self.waiting >= self._most_sums:
            if not self.lost:
                log.error("usage is lost: the database is away and memory is full", sums=self.waiting)
            self.lost += usage.requests
            return
        self._sums[key] = _sum(kept or UsageEntry(*key, 0, 0, 0, 0, 0), usage)
        self._count_hour((_hour_of(now), workspace_id, sandbox_id), usage.requests)
        self._added.set()

    def _count_hour(self, key: HourKey, requests: int) -> None:
        """There are more hours than days: where memory ends for them, the books go on without them."""
        if key in self._hours or len(self._hours) < self._most_sums:
            self._hours[key] = self._hours.get(key, 0) + requests

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is added, for ever; cancelled, try once more to write the rest."""
        task_status.started()
        pause = self._first_pause
        try:
            while True:
                try:
                    await self._write_all()
                except DatabaseUnavailable as error:
                    log.warning("usage is not written yet", reason=str(error), sums=self.waiting, pause=pause)
                    await trio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    pause = self._first_pause
                    await self._added.wait()
        finally:
            await self._write_the_rest()

    async def _write_the_rest(self) -> None:
        reason = f"the database took longer than {LAST_FLUSH_SECONDS:g} s"
        with trio.move_on_after(LAST_FLUSH_SECONDS, shield=True):
            try:
                await self._write_all()
            except DatabaseUnavailable as error:
                reason = str(error)
        if self.waiting:
            log.error("usage is left unwritten", reason=reason, sums=self.waiting)

    async def _write_all(self) -> None:
        """Write until nothing waits. Raises :class:`DatabaseUnavailable`; what was not written stays."""
        while self.waiting:
            if self._batch is None:
                hours = [HourEntry(*key, requests) for key, requests in self._hours.items()]
                self._batch = _Batch(list(self._sums.values()), hours)
                self._sums.clear()
                self._hours.clear()
                self._added = trio.Event()
            if await self._must_be_written(self._batch):
                batch = self._batch
                await self._database.run(add_usage, batch.entries, batch.began, hours=batch.hours)
            self._batch = None

    async def _must_be_written(self, batch: _Batch) -> bool:
        """False if an attempt of which we heard nothing more was committed after all."""
        if batch.transaction is None:
            return True
        committed = await self._database.run(was_committed, batch.transaction)
        if committed is None:
            raise DatabaseUnavailable("an earlier attempt is still under way")
        return not committed


def _hour_of(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


def _sum(kept: UsageEntry, usage: Usage) -> UsageEntry:
    return replace(
        kept,
        requests=kept.requests + usage.requests,
        input_tokens=kept.input_tokens + usage.input_tokens,
        output_tokens=kept.output_tokens + usage.output_tokens,
        cache_read_tokens=kept.cache_read_tokens + usage.cache_read_tokens,
        cache_write_tokens=kept.cache_write_tokens + usage.cache_write_tokens,
    )
