"""Is a sandbox idle? One pure decision over the witnesses (contract, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Work(Enum):
    """What opencode says of itself."""

    BUSY = "busy"
    IDLE = "idle"
    UNKNOWN = "unknown"  # it could not be read: nobody is stopped for that


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Everything that is known about the use of one sandbox.

    ``last_activity``: browser or LLM call, the later. ``last_busy``: when opencode last said that it works.
    """

    last_activity: datetime
    last_busy: datetime | None
    work: Work


def quiet_long_enough(now: datetime, last_activity: datetime, last_busy: datetime | None, timeout: float) -> bool:
    """Whether it is worth asking opencode: nobody used it for ``timeout`` seconds, which is not 0."""
    latest = last_activity if last_busy is None else max(last_activity, last_busy)
    return timeout > 0 and (now - latest).total_seconds() >= timeout


def is_idle(now: datetime, seen: Witnesses, timeout: float, busy_limit: float) -> bool:
    """Whether to pause. ``timeout`` and ``busy_limit`` in seconds, 0 = never.

    Work counts from its end. After ``busy_limit`` without any other witness a status of busy is not believed: an agent
    that works calls its model.
    """
    if timeout <= 0:
        return False
    if busy_limit > 0 and (now - seen.last_activity).total_seconds() >= max(busy_limit, timeout):
        return True
    return seen.work is Work.IDLE and quiet_long_enough(now, seen.last_activity, seen.last_busy, timeout)
