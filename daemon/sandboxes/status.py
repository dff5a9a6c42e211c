"""Statuses of a sandbox and the changes that are legal. This table is the only place that says so."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATING: Final = "creating"
RUNNING: Final = "running"
PAUSING: Final = "pausing"
PAUSED: Final = "paused"
RESUMING: Final = "resuming"
OFFLINE: Final = "offline"
FAILED: Final = "failed"
DELETING: Final = "deleting"

CLOUD: Final = "cloud"  # runs in our backend
LOCAL: Final = "local"  # somebody's own machine, reached through its tunnel; we never start or stop it

# By type, from each status to these. Every status has a way out, and every one may be deleted.
TRANSITIONS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = MappingProxyType(
    {
        CLOUD: {
            CREATING: frozenset({RUNNING, FAILED, DELETING}),
            RUNNING: frozenset({PAUSING, FAILED, DELETING}),
            # Back to running: the sweeper, when somebody came in the same moment.
            PAUSING: frozenset({PAUSED, RUNNING, FAILED, DELETING}),
            PAUSED: frozenset({RESUMING, DELETING}),
            RESUMING: frozenset({RUNNING, FAILED, DELETING}),
            FAILED: frozenset({RESUMING, DELETING}),
            DELETING: frozenset(),  # its way out is the end of the row
        },
        LOCAL: {
            RUNNING: frozenset({OFFLINE, DELETING}),
            OFFLINE: frozenset({RUNNING, DELETING}),
            DELETING: frozenset(),
        },
    }
)
STATUSES: Final = frozenset({CREATING, RUNNING, PAUSING, PAUSED, RESUMING, OFFLINE, FAILED, DELETING})
# In these the life-cycle service has something to do.
TRANSITIONAL: Final = frozenset({CREATING, PAUSING, RESUMING, DELETING})


class IllegalStatus(Exception):
    """The sandbox's status, or its type, does not allow the change."""

    def __init__(self, status: str, wanted: str, kind: str = CLOUD) -> None:
        super().__init__(f"a {kind} sandbox that is {status} cannot become {wanted}")
        self.status = status
        self.wanted = wanted
        self.kind = kind


def may(before: str, after: str, kind: str = CLOUD) -> bool:
    """Whether a sandbox of this type may go from one status to another."""
    return after in TRANSITIONS[kind].get(before, frozenset())


def sources(after: str, kind: str = CLOUD) -> list[str]:
    """The statuses from which a sandbox of this type can reach ``after``, sorted."""
    return sorted(before for before in TRANSITIONS[kind] if may(before, after, kind))
