"""Lanes: whoever has something to send takes turns, a chunk each; order is kept, credit is kept to, nothing is lost."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.credit import MOST_CREDIT
from protocol.frames import MAX_CHUNK
from protocol.lanes import QUEUE, Lanes
from tests.protocol.refusing import refused


def lanes(*streams: int, credit: int = 10**6, chunk: int = 10) -> Lanes:
    made = Lanes(chunk)
    for stream in streams:
        made.add(stream, credit)
    return made


def test_turns_are_taken_a_chunk_each() -> None:
    many = lanes(1, 2, 3)
    many.push(1, b"a" * 35, end=True)
    many.push(2, b"b" * 15, end=True)
    many.push(3, b"c", end=False)
    assert list(many.next()) == [
        (1, b"a" * 10, False),
        (2, b"b" * 10, False),
        (3, b"c", False),
        (1, b"a" * 10, False),
        (2, b"b" * 5, True),
        (1, b"a" * 10, False),
        (1, b"a" * 5, True),
    ]
    assert not many


def test_one_that_comes_later_waits_for_a_chunk_of_each_only() -> None:
    """However much the others have queued."""
    many = lanes(*range(1, 11))
    for stream in range(1, 10):
        many.push(stream, b"x" * 10_000, end=True)
    assert len(list(islice(many.next(), 123))) == 123
    many.push(10, b"small", end=True)
    before = [stream for stream, _, _ in islice(many.next(), 10)]
    assert before[9] == 10
    assert len(set(before)) == 10


def test_whoever_pushes_often_gets_no_second_turn() -> None:
    many = lanes(1, 2)
    for _ in range(5):
        many.push(1, b"a", end=False)
        many.push(2, b"b", end=False)
    assert [stream for stream, _, _ in many.next()] == [1, 2] * 5


def test_the_end_comes_with_the_last_piece_or_alone() -> None:
    many = lanes(1, 2, 3)
    many.push(1, b"", end=True)
    many.push(2, b"b", end=False)
    assert list(many.next()) == [(1, b"", True), (2, b"b", False)]
    many.push(2, b"", end=True)
    many.push(3, b"c", end=False)
    many.push(3, b"", end=True)
    assert list(many.next()) == [(2, b"", True), (3, b"c", True)]


def test_credit_is_kept_to() -> None:
    many = lanes(1, 2, credit=12)
    many.push(1, b"a" * 30, end=True)
    many.push(2, b"b" * 12, end=True)
    assert list(many.next()) == [(1, b"a" * 10, False), (2, b"b" * 10, False), (1, b"aa", False), (2, b"bb", True)]
    assert not many
    many.give(1, 1)
    assert list(many.next()) == [(1, b"a", False)]
    many.give(1, 100)
    assert list(many.next()) == [(1, b"a" * 10, False), (1, b"a" * 7, True)]


def test_the_end_needs_no_credit() -> None:
    many = lanes(1, credit=3)
    many.push(1, b"abc", end=False)
    assert list(many.next()) == [(1, b"abc", False)]
    many.push(1, b"", end=True)
    assert list(many.next()) == [(1, b"", True)]


def test_credit_can_be_spent_beside_the_lanes() -> None:
    many = lanes(1, credit=8)
    many.spend(1, 5)
    many.push(1, b"abcd", end=False)
    assert list(many.next()) == [(1, b"abc", False)]


def test_credit_is_bounded() -> None:
    many = lanes(1, credit=5)
    many.give(1, MOST_CREDIT - 5)
    refused("no_credit", many.give, 1, 1)
    many.give(99, MOST_CREDIT)  # it has ended, or never was


def test_without_credit_there_is_no_limit() -> None:
    many = Lanes(10)
    many.add(1)
    many.push(1, b"a" * 25, end=True)
    assert [len(piece) for _, piece, _ in many.next()] == [10, 10, 5]


def test_what_is_dropped_does_not_come() -> None:
    many = lanes(1, 2)
    many.push(1, b"a" * 30, end=True)
    many.push(2, b"b" * 15, end=True)
    turns = many.next()
    assert next(turns) == (1, b"a" * 10, False)
    many.drop(1)
    many.drop(1)
    assert list(turns) == [(2, b"b" * 10, False), (2, b"b" * 5, True)]
    assert (many.queued(1), many.queued(2), bool(many)) == (0, 0, False)


def test_an_ended_lane_is_gone() -> None:
    many = lanes(1)
    many.push(1, b"a", end=True)
    assert many.ending(1)
    assert list(many.next()) == [(1, b"a", True)]
    assert not many.ending(1)
    many.give(1, 5)
    many.drop(1)
    with pytest.raises(KeyError):
        many.push(1, b"b", end=False)


def test_sources_are_woken_when_there_is_room_again() -> None:
    many = Lanes()
    many.add(1, QUEUE + MAX_CHUNK)
    many.push(1, b"a" * (QUEUE - 1), end=False)
    turns = many.next()
    next(turns)
    assert many.lowered == []  # nobody waits below the mark
    many.push(1, b"a" * (MAX_CHUNK + 1), end=False)
    assert many.queued(1) == QUEUE
    next(turns)
    assert many.lowered == [1]
    assert many.queued(1) == QUEUE - MAX_CHUNK
    next(turns)
    assert many.lowered == [1]  # once
    many.lowered.clear()
    many.push(1, b"", end=True)
    list(turns)
    assert many.lowered == [1]  # the end, for whoever waits for it


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([0, 1, 5, 10, 11, 40]), st.booleans(), st.integers(0, 30)),
        max_size=60,
    )
)
def test_bytes_keep_their_order_and_number(steps: list[tuple[int, int, bool, int]]) -> None:
    said: dict[int, bytes] = dict.fromkeys(range(1, 5), b"")
    sent = dict(said)
    credit = dict.fromkeys(said, 20)
    over: set[int] = set()
    many = lanes(*said, credit=20)

    def turn(stream: int, piece: bytes, end: bool) -> None:
        assert len(piece) <= 10
        sent[stream] += piece
        assert len(sent[stream]) <= credit[stream]
        assert end == (stream in over and sent[stream] == said[stream])

    for stream, size, end, more in steps:
        if stream not in over:
            data = bytes((len(said[stream]) + place) % 251 for place in range(size))
            said[stream] += data
            many.push(stream, data, end=end)
            over |= {stream} if end else set()
        if more:
            many.give(stream, more)
            credit[stream] += more
        for piece in islice(many.next(), size % 3):
            turn(*piece)
    for stream in said:
        many.give(stream, 10**6)
        credit[stream] += 10**6
    for piece in many.next():
        turn(*piece)
    assert sent == said
