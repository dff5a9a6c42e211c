"""How often one machine may connect. No input, no output, no clock."""

from __future__ import annotations

from typing import Final

# Each connection is some statements, and news for everybody who looks on. An agent of ours comes eight times in the
# first minute of trouble and then once a minute; two of others' that replace each other would come without end. Whoever
# tries an agent of their own out comes some hundred times in a row, and is not kept from it.
BURST: Final = 1000
SECONDS: Final = 2.0  # and then one in so many
_MOST_KEPT: Final = 4096  # machines, before those that were quiet for a while are forgotten


class Pace:
    """Counts connections by sandbox."""

    def __init__(self) -> None:
        self._full: dict[str, float] = {}  # when a whole burst is allowed again

    def wait(self, sandbox_id: str, now: float) -> float:
        """Count a connection; 0. If it is one too many: for how many seconds none is taken, and it does not count."""
        full = max(now, self._full.get(sandbox_id, now)) + SECONDS
        early = full - now - BURST * SECONDS
        if early > 0:
            return early
        if len(self._full) >= _MOST_KEPT:
            self._full = {name: time for name, time in self._full.items() if time > now}
        self._full[sandbox_id] = full
        return 0.0
