"""What the agent tells its person: lines on stderr, each with the time, and no line for ever again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

# A failure that lasts is said again so often: whoever looks in between sees that it still does.
AGAIN_SECONDS: Final = 600.0


def to_stderr(line: str) -> None:
    """One line, at once."""
    print(line, file=sys.stderr, flush=True)


class Voice:
    """Says things. ``write`` gets whole lines."""

    def __init__(self, write: Callable[[str], None] = to_stderr) -> None:
        self._write = write
        self._said: dict[str, float] = {}  # trouble: when

    def say(self, text: str) -> None:
        """Say it."""
        self._write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(text.split())}")

    def trouble(self, text: str) -> None:
        """Say it, unless the same was said in the last ten minutes."""
        now = trio.current_time()
        if now - self._said.get(text, now - AGAIN_SECONDS) >= AGAIN_SECONDS:
            self._said[text] = now
            self.say(text)

    def over(self) -> None:
        """All is well: what goes wrong from here on is new."""
        self._said.clear()
