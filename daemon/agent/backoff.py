"""How long to wait before the next attempt. Pure: the random numbers are passed in.

After a failure the wait is ``step * (0.5 + random / 2)`` with steps of 1, 2, 4, 8, 16, 32 and 60 seconds: never longer
than the step, so that a person can rely on it, and spread over half of it, so that agents that lost the same server at
the same moment do not return at the same moment. (Spreading from zero would let some of them come at once.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST: Final = 1.0  # seconds, as the next: the contract's numbers
LONGEST: Final = 60.0
# A connection that lived so long counts as a success, and the next wait is short. As long as the longest wait, so that
# a server that takes connections and drops them is not asked more often than one that does not answer.
LASTED: Final = 60.0
# A server that restarts has said so: it is back in seconds. Five hundred agents in that span are a hundred or two a
# second, which a daemon that has just started bears.
AFTER_SHUTDOWN: Final = (0.5, 4.0)
# The server that shuts down may be one of several: another one is asked within a second, so that what people do waits
# no longer, and not by all agents in the same moment. Where it was the only one, an attempt is refused and costs
# little.
ELSEWHERE: Final = 1.0
# A server may ask for more patience than we have by ourselves, but a nonsensical date must not silence an agent.
MOST_PATIENCE: Final = 600.0


class Backoff:
    """The waits of one connection that is to be kept up. ``random`` gives numbers from 0 to 1."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._step = FIRST

    def failed(self, retry_after: float | None = None) -> float:
        """The wait after an attempt that failed. ``retry_after`` is what the server asked for, at least."""
        wait = self._step * (0.5 + self._random() / 2)
        self._step = min(2 * self._step, LONGEST)
        if retry_after is None:
            return wait
        return max(wait, min(retry_after, MOST_PATIENCE) + self._random() * FIRST)

    def ended(self, lasted: float) -> float:
        """The wait after a connection that lasted so many seconds."""
        if lasted >= LASTED:
            self._step = FIRST
        return self.failed()

    def elsewhere(self) -> float:
        """The wait before another server is asked, and between such attempts."""
        return ELSEWHERE * self._random()

    def shut_down(self) -> float:
        """The wait after a server said that it shuts down. If it then is away, the steps begin anew."""
        self._step = FIRST
        least, most = AFTER_SHUTDOWN
        return least + (most - least) * self._random()
