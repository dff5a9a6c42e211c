"""Statuses of a sandbox and the changes that are legal. This table is the only place that says so."""

from __future__ import annotations

from typing import Final

CREATING: Final = "creating"
RUNNING: Final = "running"
PAUSING: Final = "pausing"
PAUSED: Final = "paused"
RESUMING: Final = "resuming"
OFFLINE: Final = "offline"
FAILED: Final = "failed"
DELETING: Final = "deleting"

# From each status to these. Every status has a way out, and every one may be deleted.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    CREATING: frozenset({RUNNING, FAILED, DELETING}),
    RUNNING: frozenset({PAUSING, FAILED, DELETING, OFFLINE}),
    PAUSING: frozenset({PAUSED, RUNNING, FAILED, DELETING}),
    PAUSED: frozenset({RESUMING, DELETING}),
    RESUMING: frozenset({RUNNING, FAILED, DELETING}),
    OFFLINE: frozenset({RUNNING, DELETING}),
    FAILED: frozenset({RESUMING, DELETING}),
    DELETING: frozenset(),  # its way out is the end of the row
}
STATUSES: Final = frozenset(TRANSITIONS)
# In these the life-cycle service has something to do.
TRANSITIONAL: Final = frozenset({CREATING, PAUSING, RESUMING, DELETING})
# Only a laptop's agent comes and goes.
LOCAL_ONLY: Final = frozenset({OFFLINE})


class IllegalStatus(Exception):
    """The sandbox's status does not allow the change."""

    def __init__(self, status: str, wanted: str) -> None:
        super().__init__(f"a sandbox that is {status} cannot become {wanted}")
        self.status = status
        self.wanted = wanted


def may(before: str, after: str) -> bool:
    """Whether a sandbox may go from one status to another."""
    return after in TRANSITIONS[before]


def before(after: str) -> list[str]:
    """The statuses from which ``after`` can be reached, sorted."""
    return sorted(status for status, targets in TRANSITIONS.items() if after in targets)
