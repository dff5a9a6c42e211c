"""The search for garbage must not stop a daemon that has many connections."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from daemon.garbage import rarely_searched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TUNNEL = 170  # objects of one, as they were counted
TUNNELS = 2_000


def collections() -> int:
    """How often everything was searched."""
    return int(gc.get_stats()[2]["collections"])


def grow() -> list[list[object]]:
    return [[] for _ in range(TUNNEL * TUNNELS)]


def whole_searches(work: Callable[[], object]) -> int:
    before = collections()
    kept = work()
    assert kept
    return collections() - before


@pytest.fixture
def young() -> Iterator[None]:
    """As if the process had just begun: with much that is old, Python waits longer, until a quarter of all is new."""
    gc.collect()
    gc.freeze()
    gc.collect()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("young")
def test_tunnels_that_come_do_not_make_it_search_everything() -> None:
    assert whole_searches(grow) > 0, "with Python's own thresholds it would"
    with rarely_searched():
        assert whole_searches(grow) == 0


def test_garbage_in_cycles_is_found_all_the_same() -> None:
    """Else the memory would grow for ever."""

    def waste() -> int:
        for _ in range(2_000_000):
            cycle: list[object] = []
            cycle.append(cycle)
        return len(gc.get_objects())

    with rarely_searched():
        assert waste() < 100_000


def test_afterwards_all_is_as_before() -> None:
    before = gc.get_threshold()
    with rarely_searched():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
