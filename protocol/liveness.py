"""Is the peer there? (SPEC.md, section 4.5.) Only silence in which we could have heard something counts."""

from __future__ import annotations

from typing import Final

PING_SECONDS: Final = 20.0  # load balancers were seen to cut after 60 s of silence: two pings may be late
SILENCE_SECONDS: Final = 2 * PING_SECONDS
BUSY_PING_SECONDS: Final = 1.0  # while data flows: the round trip is of use
BUSY_BYTES: Final = 262_144  # since the last ping; a page's small requests are no flow
TICK_SECONDS: Final = 1.0  # how often a session is asked
# What a tick is later than this is not the peer's fault: we were stopped, or busy. It does not count.
_LATE_SECONDS: Final = 3.0


class Liveness:
    """When to ping, and when to give up. Times in seconds on any clock that never goes back."""

    __slots__ = ("_bytes", "_heard", "_lost", "_pinged", "_ticked", "late")

    def __init__(self, now: float) -> None:
        self._heard = now
        self._pinged = now
        self._ticked = now
        self._bytes = 0
        self._lost = 0.0
        self.late = False  # the last tick was: what came meanwhile is read first, and judged at the next

    def heard(self, now: float, count: int = 0) -> None:
        """Something came, ``count`` bytes."""
        self._heard = now
        self._bytes += count

    def counted(self, now: float) -> float:
        """The time without what does not count, for deadlines of the peer."""
        return now - self._lost

    def tick(self, now: float) -> bool:
        """Whether the peer may be judged now. To be asked every ``TICK_SECONDS``."""
        passed = now - self._ticked
        self._ticked = now
        if passed <= _LATE_SECONDS:
            self.late = False
            return True
        self._lost += passed - TICK_SECONDS
        self._heard = min(now, self._heard + passed - TICK_SECONDS)
        # Who is late again and again judges all the same: a dead peer is found some time.
        self.late = not self.late
        return not self.late

    def silent(self, now: float) -> bool:
        """Whether the peer was silent for too long."""
        return now - self._heard >= SILENCE_SECONDS

    def ping_due(self, now: float) -> bool:
        """Whether to ping now; then it counts as done."""
        pause = BUSY_PING_SECONDS if self._bytes >= BUSY_BYTES else PING_SECONDS
        if now - self._pinged < pause:
            return False
        self._pinged, self._bytes = now, 0
        return True
