"""Flow control between two real ends: nobody's reader stops anybody else, and nothing locks up."""

from __future__ import annotations

import random
from typing import Final

from protocol.credit import FIRST_WINDOW, LARGEST_WINDOW, MOST_GROWTH
from protocol.messages import RequestHead, ResponseHead
from protocol.version2 import AgentSession, ServerSession
from tests.protocol.peers import End, Flow, Pair, content, greeted

TOTAL: Final = 1_000_000
POST: Final = RequestHead(b"POST", b"/", [], None)
OK: Final = ResponseHead(200, b"OK", [], None)


def fill(pair: Pair, end: End, total: int = TOTAL) -> None:
    """Every source of an end goes on as far as it may."""
    for flow in end.flows.values():
        while flow.writable and end.session.has_room(flow.number):
            data = content(2 * flow.number + (end is pair.agent), len(flow.said), min(20_000, total - len(flow.said)))
            end.send(flow, data, end=len(flow.said) + len(data) == total)


def both_ways(count: int) -> Pair:
    pair = greeted()
    for _ in range(count):
        pair.open(POST)
    pair.pump()
    for flow in pair.agent.flows.values():
        pair.agent.answer(flow, OK)
    return pair


def test_both_ends_at_full_window_never_lock_up() -> None:
    """Lesson: both ends writing at full window dead-locked. Here nobody reads until asked to, and then a little."""
    pair = both_ways(4)
    chance = random.Random(7)
    for end in pair.ends:
        fill(pair, end)
    pair.pump()
    for end in pair.ends:
        assert {len(flow.came) for flow in end.flows.values()} == {FIRST_WINDOW}
    flows = [(end, flow) for end in pair.ends for flow in end.flows.values()]
    while any(not flow.ended or flow.unread for _, flow in flows):
        end, flow = chance.choice(flows)
        end.read(flow, chance.choice([1, 5000, 100_000]), pair.now)
        pair.now += chance.choice([0.0, 0.001])
        fill(pair, end)
        if chance.random() < 0.2:
            pair.pump()
    for end, flow in flows:
        other = pair.twin(end, flow)
        assert other is not None
        assert flow.came == other.said
        assert len(flow.came) == TOTAL


def test_readers_that_stop_stop_nobody_else() -> None:
    """Lesson: one slow reader stalled every stream of its tunnel. A small request passes, however many are stopped."""
    pair = both_ways(100)
    for end in pair.ends:
        fill(pair, end)
    pair.pump()
    flow = pair.open(RequestHead(b"GET", b"/small", []), end=True)
    for end in pair.ends:
        end.flush(pair.other(end))
        pair.other(end).deliver(1 << 20, pair.now)
    there = pair.agent.flows[flow.number]
    pair.agent.answer(there, OK, b"small", end=True)
    pair.agent.flush(pair.server)
    pair.server.deliver(1 << 20, pair.now)
    assert (bytes(flow.came), flow.ended) == (b"small", True)


def test_a_small_answer_waits_for_one_chunk_of_each_at_most() -> None:
    pair = both_ways(5)
    fill(pair, pair.agent)
    late = pair.open(RequestHead(b"GET", b"/small", [], 0), end=True)
    pair.server.flush(pair.agent)
    pair.agent.deliver(1 << 20, pair.now)
    there = pair.agent.flows[late.number]
    pair.agent.answer(there, OK)
    pair.agent.send(there, b"small", end=True)
    pair.agent.flush(pair.server, 6 * 16_384)
    pair.server.deliver(1 << 20, pair.now)
    assert late.came == b"small"


def round_trip(pair: Pair, flow: Flow, seconds: float) -> int:
    """One round trip in which everything moves once each way; how much of the stream came."""
    before = len(flow.came)
    fill(pair, pair.agent, 50_000_000)
    while pair.agent.flush(pair.server):
        fill(pair, pair.agent, 50_000_000)
    pair.tick(seconds / 2)
    pair.server.deliver(1 << 30, pair.now)
    pair.server.read(flow, flow.unread, pair.now)
    pair.server.flush(pair.agent)
    pair.tick(seconds / 2)
    pair.agent.deliver(1 << 30, pair.now)
    return len(flow.came) - before


def test_a_window_follows_the_measured_round_trip_to_its_bound() -> None:
    """40 MB/s at 100 ms: a window of 4 MiB for each round trip."""
    pair = Pair()
    for _ in range(3):  # hello, ping, pong
        for end in pair.ends:
            end.flush(pair.other(end))
        pair.tick(0.05)
        for end in pair.ends:
            end.deliver(1 << 20, pair.now)
    flow = pair.open(RequestHead(b"GET", b"/", []), end=True)
    pair.pump()
    pair.agent.answer(pair.agent.flows[1], OK)
    came = [round_trip(pair, flow, 0.1) for _ in range(12)]
    assert came[0] == FIRST_WINDOW
    assert came[-1] > 0.7 * LARGEST_WINDOW
    session = pair.server.session
    assert isinstance(session, ServerSession | AgentSession)
    assert session.streams[1].window.size == LARGEST_WINDOW
    assert session._growth.left == MOST_GROWTH - LARGEST_WINDOW + FIRST_WINDOW
    pair.server.release(flow, pair.now)
    pair.pump()
    assert session._growth.left == MOST_GROWTH
