"""Pauses sandboxes that nobody uses and that do not work.

A pause is claimed in one statement, which compares everything the decision was made from. The claim comes with a lease
of the sweeper's own, under which the life cycle does not act yet. Then every replica has had the time to write its
latest activity, and one more statement either hands the sandbox over to the life cycle or undoes the claim. So a
request that comes in the same moment keeps the sandbox awake, on whichever replica it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon import values
from daemon.db.database import DatabaseUnavailable
from daemon.sandboxes.duty import Duty
from daemon.sandboxes.idle import Witnesses, Work, is_idle, quiet_long_enough
from daemon.store import sandboxes as store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.config import Settings
    from daemon.db.database import Database
    from daemon.sandboxes.activity import Activity
    from daemon.store.sandboxes import SandboxRow

log = structlog.get_logger(__name__)

SHORTEST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0
# Of several replicas one asks the sandboxes whether they work; after so long without a sweep another one does.
_DUTY_SECONDS: Final = 2 * LONGEST_SECONDS
_ASK_SECONDS: Final = 5.0  # between questions whether that one is gone (daemon.store.replicas.forget_dead)
_HELD_SECONDS: Final = 10.0  # a claim's lease; should this daemon die, the pause goes on after it
# Between claim and hand-over: others write the first use of a quiet sandbox within 0.2 s (daemon.sandboxes.activity).
SETTLE_SECONDS: Final = 1.0
_PROBES: Final = 8  # sandboxes that are asked, and of which a pause is claimed, at the same time
# Pauses that are handed over at the same time. They have turns of their own: behind hundreds that are still to be
# asked, a claim's lease would run out.
_HAND_OVERS: Final = 4


def interval(timeouts: list[float]) -> float:
    """Seconds until the next sweep: a quarter of the shortest timeout, within bounds."""
    shortest = min((timeout for timeout in timeouts if timeout > 0), default=4 * LONGEST_SECONDS)
    return max(SHORTEST_SECONDS, min(LONGEST_SECONDS, shortest / 4))


@dataclass(frozen=True, slots=True)
class _Claim:
    """A pause that is claimed. ``before``: the last use that this process knew of until then."""

    row: SandboxRow
    cutoff: datetime
    before: datetime | None


class Sweeper:
    """The service. ``probe`` asks opencode whether it works; ``paused`` is told of every pause (metrics).

    ``owner`` is the life cycle's, whose leases are forgotten together with this one's. ``replica``: this daemon's name
    among several.
    """

    def __init__(
        self,
        db: Database,
        activity: Activity,
        settings: Settings,
        probe: Callable[[SandboxRow], Awaitable[Work]],
        owner: str,
        *,
        paused: Callable[[], None] = lambda: None,
        settle: float = SETTLE_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        replica: str | None = None,
    ) -> None:
        self._duty = Duty(db, "sweeper", replica, _DUTY_SECONDS)
        self._db = db
        self._activity = activity
        self._settings = settings
        self._probe = probe
        self._owner = f"{owner} sweeper"  # not the life cycle's own, which would begin with the pause at once
        self._settle = settle
        self._paused = paused
        self._now = now

    async def run(self) -> None:
        """Sweep until cancelled. A database that is away stops nobody's sandbox."""
        while True:
            pause = LONGEST_SECONDS
            try:
                pause = await self.once() if await self._duty.is_ours() else _ASK_SECONDS
            except DatabaseUnavailable as error:
                log.warning("no sweep", reason=str(error))
            await trio.sleep(pause)

    async def once(self) -> float:
        """One sweep; seconds until the next."""
        rows = await self._db.run(store.running_cloud)
        probing, handing = trio.CapacityLimiter(_PROBES), trio.CapacityLimiter(_HAND_OVERS)
        async with trio.open_nursery() as nursery:
            for row in rows:
                if self._may_be_idle(row):
                    nursery.start_soon(self._look, row, probing, handing, name=f"sweep {row.id}")
        # The server's own timeout too: the next sandbox will have it.
        return interval([self._settings.idle_timeout, *map(self._timeout, rows)])

    def _timeout(self, row: SandboxRow) -> float:
        return self._settings.idle_timeout if row.idle_timeout is None else values.duration(row.idle_timeout)

    def _last_activity(self, row: SandboxRow) -> datetime:
        seen = self._activity.last(row.id)
        return row.last_activity_at if seen is None else max(seen, row.last_activity_at)

    def _may_be_idle(self, row: SandboxRow) -> bool:
        return quiet_long_enough(self._now(), self._last_activity(row), row.last_busy_at, self._timeout(row))

    async def _look(self, row: SandboxRow, probing: trio.CapacityLimiter, handing: trio.CapacityLimiter) -> None:
        """While one claim settles, others are asked: those of a whole company are idle in the same evening."""
        try:
            async with probing:
                claim = await self._judge(row, await self._probe(row))
            if claim is not None:
                await trio.sleep(self._settle)
                async with handing:
                    await self._hand_over(claim)
        except DatabaseUnavailable as error:
            log.warning("sandbox is not judged", sandbox=row.id, reason=str(error))

    async def _judge(self, row: SandboxRow, work: Work) -> _Claim | None:
        now = self._now()
        seen = Witnesses(self._last_activity(row), row.last_busy_at, work)
        timeout = self._timeout(row)
        if is_idle(now, seen, timeout, self._settings.busy_limit):
            return await self._claim(row, now - timedelta(seconds=timeout), work)
        if work is Work.BUSY:
            await self._db.run(store.record_busy, row.id, now)
        return None

    async def _claim(self, row: SandboxRow, cutoff: datetime, work: Work) -> _Claim | None:
        before = self._activity.last(row.id)
        await self._activity.flush()
        busy_cutoff = cutoff if work is Work.IDLE else None  # else its being busy is not believed
        claimed = await self._db.run(store.claim_idle, row, cutoff, busy_cutoff, self._owner, _HELD_SECONDS)
        return None if claimed is None else _Claim(claimed, cutoff, before)

    async def _hand_over(self, claim: _Claim) -> None:
        """Look once more: who came meanwhile keeps the sandbox awake."""
        row = claim.row
        used = self._activity.last(row.id) != claim.before
        if await self._db.run(store.hand_over, row, self._owner, claim.cutoff, used=used):
            log.info("sandbox is idle", sandbox=row.id, last_activity=row.last_activity_at.isoformat())
            self._paused()
