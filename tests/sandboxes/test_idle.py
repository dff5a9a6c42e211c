"""The decision to pause. Lesson: sandboxes were paused while in use, and while their agent worked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from daemon.sandboxes.idle import Witnesses, Work, is_idle
from daemon.sandboxes.sweeper import LONGEST_SECONDS, SHORTEST_SECONDS, interval

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
HALF_HOUR, DAY = 1800.0, 86400.0


@pytest.mark.parametrize(
    ("quiet", "busy_ago", "work", "timeout", "limit", "idle"),
    [
        (HALF_HOUR, None, Work.IDLE, HALF_HOUR, DAY, True),
        (HALF_HOUR - 1, None, Work.IDLE, HALF_HOUR, DAY, False),  # somebody used it
        (HALF_HOUR, None, Work.BUSY, HALF_HOUR, DAY, False),  # the agent works
        (HALF_HOUR, None, Work.UNKNOWN, HALF_HOUR, DAY, False),  # a status that cannot be read = working
        (HALF_HOUR, 60, Work.IDLE, HALF_HOUR, DAY, False),  # it worked a minute ago: the time counts from then
        (HALF_HOUR, HALF_HOUR, Work.IDLE, HALF_HOUR, DAY, True),
        (10 * DAY, None, Work.IDLE, 0, DAY, False),  # 0 = never
        (10 * DAY, None, Work.BUSY, 0, DAY, False),
        (DAY, 1, Work.BUSY, HALF_HOUR, DAY, True),  # stuck on busy: the hard cap
        (DAY, 1, Work.UNKNOWN, HALF_HOUR, DAY, True),
        (DAY - 1, 1, Work.BUSY, HALF_HOUR, DAY, False),
        (10 * DAY, 1, Work.BUSY, HALF_HOUR, 0, False),  # no cap
        (HALF_HOUR, 1, Work.BUSY, DAY, HALF_HOUR, False),  # the cap never shortens the timeout
        (-60, None, Work.IDLE, HALF_HOUR, DAY, False),  # a clock that went back
    ],
)
def test_who_is_idle(
    quiet: float, busy_ago: float | None, work: Work, timeout: float, limit: float, idle: bool
) -> None:
    busy = None if busy_ago is None else NOW - timedelta(seconds=busy_ago)
    assert is_idle(NOW, Witnesses(NOW - timedelta(seconds=quiet), busy, work), timeout, limit) is idle


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [
        ([], LONGEST_SECONDS),
        ([0.0], LONGEST_SECONDS),
        ([1800.0], 30.0),
        ([60.0, 1800.0], 15.0),
        ([1.0], SHORTEST_SECONDS),
    ],
)
def test_how_often_is_looked(timeouts: list[float], seconds: float) -> None:
    """The shortest timeout sets the pace, within bounds."""
    assert interval(timeouts) == seconds
