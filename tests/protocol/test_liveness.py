"""When to ping and when to give up; what we slept through is not the peer's fault."""

from __future__ import annotations

import pytest

from protocol.liveness import (
    BUSY_BYTES,
    BUSY_PING_SECONDS,
    PING_SECONDS,
    SILENCE_SECONDS,
    TICK_SECONDS,
    Liveness,
)


def seconds_until_silent(liveness: Liveness, now: float, step: float = TICK_SECONDS, most: float = 10_000.0) -> float:
    """Ticks until the peer is given up."""
    begun = now
    while now - begun < most:
        now += step
        if liveness.tick(now) and liveness.silent(now):
            return now - begun
    raise AssertionError("never")


def pings(liveness: Liveness, now: float, seconds: int, count: int = 0) -> list[float]:
    due = []
    for second in range(1, seconds + 1):
        liveness.heard(now + second, count)
        if liveness.ping_due(now + second):
            due.append(float(second))
    return due


def test_a_ping_every_twenty_seconds() -> None:
    assert PING_SECONDS == 20
    assert pings(Liveness(100.0), 100.0, 90) == [20, 40, 60, 80]


def test_a_ping_every_second_while_data_flows() -> None:
    assert BUSY_PING_SECONDS == 1
    assert pings(Liveness(100.0), 100.0, 5, BUSY_BYTES) == [1, 2, 3, 4, 5]
    assert pings(Liveness(100.0), 100.0, 41, BUSY_BYTES // 4) == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert pings(Liveness(100.0), 100.0, 41, 100) == [20, 40]


def test_silence() -> None:
    assert SILENCE_SECONDS == 40
    assert seconds_until_silent(Liveness(100.0), 100.0) == 40
    liveness = Liveness(100.0)
    liveness.tick(101.0)
    liveness.heard(101.5)
    assert seconds_until_silent(liveness, 101.0) == 41


@pytest.mark.parametrize("stopped", [3.5, 60.0, 300.0, 10_000.0])
@pytest.mark.parametrize("before", [0, 20, 39])
def test_the_time_we_were_stopped_does_not_count(stopped: float, before: int) -> None:
    """Lesson: a heartbeat that counted stalls as death killed 123 live connections a day."""
    liveness = Liveness(0.0)
    for second in range(1, before + 1):
        assert liveness.tick(float(second))
        assert not liveness.silent(float(second))
    now = before + stopped
    assert not liveness.tick(now)  # what came meanwhile has not been read
    assert liveness.late
    assert liveness.counted(now) == before + TICK_SECONDS
    liveness.heard(now + 0.5)
    assert seconds_until_silent(liveness, now) == pytest.approx(41, abs=1)


def test_a_peer_that_died_while_we_were_stopped_is_found() -> None:
    liveness = Liveness(0.0)
    for second in range(1, 31):
        liveness.tick(float(second))
    assert not liveness.tick(330.0)
    assert seconds_until_silent(liveness, 330.0) <= 10


@pytest.mark.parametrize("step", [1.0, 2.0, 2.9, 3.0, 3.1, 4.0, 10.0, 100.0])
def test_whoever_is_always_late_finds_a_dead_peer_too(step: float) -> None:
    assert 40 <= seconds_until_silent(Liveness(0.0), 0.0, step) <= 41 * step + 1


def test_being_late_a_little_is_no_excuse() -> None:
    liveness = Liveness(0.0)
    assert liveness.tick(3.0)
    assert liveness.counted(3.0) == 3.0
    assert not liveness.late
