"""How many changes one user may make. Each leaves an entry in the audit log, which nobody may fill at will."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

# At once: somebody selects all sandboxes of a very large workspace and deletes them.
BURST: Final = 500
# After that: more than a person or a careful program does; 170,000 entries a day, if it never ends, which is
# 80 MB with their indexes (457 bytes each, measured with PostgreSQL 18).
PER_SECOND: Final = 2.0
# Users who are remembered before those are forgotten who have been quiet for long enough; some 2 MB.
MOST: Final = 10_000


class Allowance:
    """Counts by user, in memory: a bucket that leaks, in the form of GCRA (ITU-T I.371), one number for each."""

    def __init__(
        self,
        burst: int = BURST,
        per_second: float = PER_SECOND,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        self._interval = 1.0 / per_second
        self._burst_seconds = burst * self._interval
        self._now = now
        self._until: dict[str, float] = {}  # when each user's bucket is full again

    def take(self, user_id: str) -> float:
        """Count one change; seconds to wait before it may be made, 0 if it may be made now."""
        now = self._now()
        if len(self._until) >= MOST:
            self._until = {user: until for user, until in self._until.items() if until > now}
        until = max(self._until.get(user_id, now), now) + self._interval
        # A thousandth for what floating point numbers lose on the way.
        too_many = until - now - self._burst_seconds
        if too_many > self._interval / 1000:
            return too_many
        self._until[user_id] = until
        return 0.0
