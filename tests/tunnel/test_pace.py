"""How often a machine may connect."""

from __future__ import annotations

from daemon.tunnel import pace
from daemon.tunnel.pace import BURST, SECONDS, Pace


def test_a_burst_and_then_one_in_so_many_seconds() -> None:
    counted = Pace()
    assert [counted.wait("a", 100.0) for _ in range(BURST)] == [0.0] * BURST
    assert counted.wait("a", 100.0) == SECONDS
    assert counted.wait("a", 101.0) == SECONDS - 1
    assert counted.wait("b", 101.0) == 0
    assert counted.wait("a", 100.0 + SECONDS) == 0
    assert counted.wait("a", 100.0 + SECONDS) == SECONDS
    later = 100.0 + 10 * BURST * SECONDS
    assert [counted.wait("a", later) for _ in range(BURST)] == [0.0] * BURST
    assert counted.wait("a", later)


def test_the_quiet_are_forgotten_and_the_others_are_not() -> None:
    counted = Pace()
    for number in range(pace._MOST_KEPT - 1):
        counted.wait(str(number), 0.0)
    for _ in range(BURST):
        counted.wait("a", SECONDS)
    assert counted.wait("b", SECONDS) == 0
    assert len(counted._full) == 2
    assert counted.wait("a", SECONDS)
