"""Trouble that lasts is told when it begins and when it is over, however often it is met in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class Outage:
    """One thing that is away at times; ``away`` and ``back`` are the log's words for it.

    It may have several causes, each of which is told once: what is behind the first would else not be known.
    """

    def __init__(self, log: FilteringBoundLogger, away: str, back: str) -> None:
        self._log = log
        self._away = away
        self._back = back
        self._told: set[object] = set()

    def met(self, reason: str, cause: object = None) -> None:
        """It is away, or still is."""
        say = self._log.debug if cause in self._told else self._log.warning
        self._told.add(cause)
        say(self._away, reason=reason)

    def over(self) -> None:
        """It is there, or still is."""
        if self._told:
            self._told.clear()
            self._log.info(self._back)
