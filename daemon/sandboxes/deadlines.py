"""Deadlines of calls to a backend. One that never answers must not hold up the sandboxes of others for ever."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from backends.base import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds, generous: a backend has better reasons to give up, and does so earlier."""

    fetch: float = 1800.0  # an image of some gigabytes over a slow line; the backend gives up when nothing comes
    start: float = 120.0  # opencode is healthy after some seconds; the process backend itself gives up after 60
    pause: float = 60.0  # SIGTERM, the grace period, SIGKILL: some 15 s at worst
    destroy: float = 120.0  # a stop, and a home with a hundred thousand files
    inventory: float = 30.0  # a list


# Nodes that are made when they are needed, and images that each node fetches, belong to the start there. The backend
# gives up after five minutes without a pod and one more without an opencode that is healthy.
CLUSTER_DEADLINES: Final = Deadlines(start=420.0)


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Run the block for at most ``seconds``, else raise :class:`BackendUnavailable` with ``what`` in its text."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise BackendUnavailable(f"{what} took longer than {seconds:g} s")
