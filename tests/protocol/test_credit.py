"""Windows: what a reader took is given back as credit; they grow while they hold a sender up, and within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.credit import FIRST_WINDOW, LARGEST_WINDOW, MOST_GROWTH, MOST_OWED, Growth, RoundTrip, Window
from protocol.errors import RemoteProtocolError
from tests.protocol.refusing import refused

QUARTER = FIRST_WINDOW // 4
SLOW = 1000.0  # between two reads: no round trip is so long


def test_more_than_the_credit_is_refused() -> None:
    window = Window(Growth())
    window.arrived(FIRST_WINDOW)
    window.arrived(0)
    refused("no_credit", window.arrived, 1)


def test_credit_is_given_for_what_was_taken_only() -> None:
    window = Window(Growth())
    window.arrived(FIRST_WINDOW)
    assert window.taken(QUARTER - 1, SLOW, 0.1) == 0
    assert window.credit == 0
    assert window.taken(1, 2 * SLOW, 0.1) == QUARTER
    assert window.credit == QUARTER
    assert window.taken(QUARTER, 3 * SLOW, 0.1) == QUARTER


@pytest.mark.parametrize(
    ("seconds", "round_trip", "grows"),
    [(0.19, 0.1, True), (0.2, 0.1, False), (5.0, 0.1, False), (0.0, 0.0, False), (0.01, 0.0, False), (0.01, 0.1, True)],
)
def test_a_window_doubles_when_half_is_taken_within_two_round_trips(
    seconds: float, round_trip: float, grows: bool
) -> None:
    window = Window(Growth())
    window.arrived(FIRST_WINDOW)
    window.taken(FIRST_WINDOW // 2, SLOW, round_trip)  # the first measurement begins
    assert window.size == FIRST_WINDOW
    given = window.taken(FIRST_WINDOW // 2, SLOW + seconds, round_trip)
    assert window.size == FIRST_WINDOW * (2 if grows else 1)
    assert given == FIRST_WINDOW // 2 + (FIRST_WINDOW if grows else 0)


def read_fast(window: Window, rounds: int, round_trip: float = 0.1) -> None:
    """A sender that uses all credit at once, and a reader that takes it at once."""
    for step in range(rounds):
        count = window.credit
        window.arrived(count)
        window.taken(count, SLOW + step * 0.001, round_trip)


def test_a_window_grows_to_its_bound() -> None:
    growth = Growth()
    window = Window(growth)
    read_fast(window, 50)
    assert window.size == window.credit == LARGEST_WINDOW
    assert growth.left == MOST_GROWTH - (LARGEST_WINDOW - FIRST_WINDOW)


def test_what_all_windows_grow_by_is_bounded_and_given_back() -> None:
    growth = Growth()
    windows = [Window(growth) for _ in range(10)]
    for window in windows:
        read_fast(window, 50)
    assert growth.left == 0
    assert sum(window.size - FIRST_WINDOW for window in windows) == MOST_GROWTH
    assert [window.size for window in windows[5:]] == [FIRST_WINDOW] * 5  # and these work on
    assert windows[9].credit == FIRST_WINDOW
    windows[0].close()
    windows[0].close()
    assert growth.left == LARGEST_WINDOW - FIRST_WINDOW
    read_fast(windows[9], 50)
    assert windows[9].size == LARGEST_WINDOW
    for window in windows:
        window.close()
    assert growth.left == MOST_GROWTH


def test_the_first_size_is_that_of_the_hello() -> None:
    growth = Growth()
    window = Window(growth, 16_384)
    assert window.credit == 16_384
    read_fast(window, 3)
    window.close()
    assert growth.left == MOST_GROWTH


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 40_000), st.sampled_from([0.0, 0.001, 0.15, 9.0]))),
    st.sampled_from([0.0, 0.05, 1.0]),
)
def test_what_is_on_its_way_and_unread_never_exceeds_the_window(
    steps: list[tuple[int, int, float]], round_trip: float
) -> None:
    growth, unread, owed, now = Growth(200_000), 0, 0, SLOW
    window = Window(growth)
    for arrives, takes, pause in steps:
        now += pause
        arrives, before = min(arrives, window.credit), window.size
        window.arrived(arrives)
        unread += arrives
        takes = min(takes, unread)
        unread -= takes
        owed += takes - window.taken(takes, now, round_trip) + window.size - before
        assert window.credit + unread + owed == window.size
        assert 0 <= owed < min(window.size // 4, MOST_OWED)
        assert growth.left + window.size - FIRST_WINDOW == 200_000
        assert growth.left >= 0


def test_a_reader_that_reads_all_never_starves_its_sender() -> None:
    """Whatever the pieces: with everything taken, there is credit for three quarters of the window at least."""
    for piece in (1, 7, 16_383, 16_384):
        window = Window(Growth())
        for step in range(200):
            count = min(piece, window.credit)
            assert count > 0
            window.arrived(count)
            window.taken(count, SLOW * step, 0.1)
            assert window.credit * 4 > window.size * 3 - 4 * piece


def test_a_large_window_is_nearly_whole() -> None:
    """A quarter of 4 MiB that is owed would cost a line of 100 ms a quarter of its speed."""
    window, now = Window(Growth()), SLOW
    while window.size < LARGEST_WINDOW:
        window.arrived(16_384)
        window.taken(16_384, now, 0.1)
    for _ in range(1000):
        window.arrived(16_384)
        window.taken(16_384, now, 0.1)
        assert window.credit > LARGEST_WINDOW - MOST_OWED - 16_384


def test_the_round_trip_is_the_greatest_of_the_last_four() -> None:
    round_trip = RoundTrip()
    assert round_trip.seconds == 0.0
    seen = []
    for seconds in (0.1, 0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05):
        round_trip.measured(seconds)
        seen.append(round_trip.seconds)
    assert seen == [0.1, 0.5, 0.5, 0.5, 0.5, 0.2, 0.1, 0.05]


def test_the_error_is_the_peers() -> None:
    with pytest.raises(RemoteProtocolError, match="65537 bytes were sent with credit for 65536"):
        Window(Growth()).arrived(FIRST_WINDOW + 1)
