"""The waits between attempts, as a table."""

from __future__ import annotations

import pytest

from daemon.agent.backoff import Backoff

STEPS = [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("dice", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_failures(dice: float, share: float) -> None:
    """Contract: 1 s, 2 s, … 60 s with jitter; never longer than the step, never shorter than half of it."""
    backoff = Backoff(lambda: dice)
    assert [backoff.failed() for _ in STEPS] == [step * share for step in STEPS]


@pytest.mark.parametrize(("lasted", "wait"), [(0, 16), (59.9, 16), (60, 1), (1e9, 1)])
def test_starts_again_after_a_connection_that_lasted(lasted: float, wait: float) -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(4):
        backoff.failed()
    assert backoff.ended(lasted) == wait


def test_a_first_connection_that_breaks_is_tried_again_after_a_second() -> None:
    assert Backoff(lambda: 1.0).ended(0.1) == 1


@pytest.mark.parametrize(("dice", "wait"), [(0.0, 0.5), (0.5, 2.25), (1.0, 4.0)])
def test_a_server_that_shuts_down_gets_its_agents_back_staggered(dice: float, wait: float) -> None:
    backoff = Backoff(lambda: dice)
    for _ in range(9):
        backoff.failed()
    assert backoff.shut_down() == wait
    assert backoff.failed() == 0.5 + dice / 2


@pytest.mark.parametrize(
    ("asked", "dice", "wait"),
    [(None, 1.0, 1.0), (0, 1.0, 1.0), (30, 0.0, 30.0), (30, 1.0, 31.0), (10**9, 1.0, 601.0)],
)
def test_a_server_may_ask_for_patience(asked: float | None, dice: float, wait: float) -> None:
    assert Backoff(lambda: dice).failed(asked) == wait
