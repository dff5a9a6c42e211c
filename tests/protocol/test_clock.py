"""Sessions under a clock that the test moves: silence, dead peers, and ends that were stopped."""

from __future__ import annotations

import pytest

from protocol.liveness import BUSY_BYTES, BUSY_PING_SECONDS, PING_SECONDS, SILENCE_SECONDS, TICK_SECONDS
from protocol.messages import RequestHead, ResponseHead
from tests.protocol.peers import End, Pair, greeted
from tests.protocol.refusing import refused

GET = RequestHead(b"GET", b"/event", [])


def streaming(version: int) -> Pair:
    """A stream on which nothing happens any more."""
    pair = Pair(version)
    pair.pump()
    pair.open(GET, end=True)
    pair.pump()
    pair.agent.answer(pair.agent.flows[1], ResponseHead(200, b"OK", [], None), b"data: hello\n\n")
    pair.pump()
    assert pair.server.flows[1].came == b"data: hello\n\n"
    return pair


def second(pair: Pair, version: int) -> dict[End, int]:
    """A second passes; how many bytes each was sent."""
    pair.tick(TICK_SECONDS)
    sent = {}
    for end in pair.ends:
        other = pair.other(end)
        if version == 1 and end.session.wants_websocket_ping(pair.now):
            other.wire += end.codec.ping()
        end.flush(other)
        sent[other] = len(other.wire)
        other.deliver(1 << 20, pair.now)
    for end in pair.ends:
        end.flush(pair.other(end))  # pongs
    return sent


@pytest.mark.parametrize("version", [1, 2])
def test_ten_minutes_of_silence(version: int) -> None:
    """Lesson: streams were cut at 60 s by timeouts meant for something else, and by proxies that saw nothing pass."""
    pair = streaming(version)
    silent = dict.fromkeys(pair.ends, 0.0)
    for _ in range(600):
        for end, count in second(pair, version).items():
            silent[end] = 0.0 if count else silent[end] + TICK_SECONDS
            assert silent[end] <= PING_SECONDS
    pair.agent.send(pair.agent.flows[1], b"data: still here\n\n")
    pair.pump()
    assert pair.server.flows[1].came == b"data: hello\n\ndata: still here\n\n"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dead", [0, 1])
def test_a_peer_that_stops_answering(version: int, dead: int) -> None:
    pair = streaming(version)
    for _ in range(40):  # with the pings of the last second
        second(pair, version)
    pair.pump()
    alive = pair.ends[1 - dead]
    for later in range(1, 40):
        alive.session.tick(pair.now + later)
    refused("timeout", alive.session.tick, pair.now + SILENCE_SECONDS)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stopped", [0, 1])
def test_an_end_that_was_stopped_does_not_blame_the_other(version: int, stopped: int) -> None:
    """Five minutes in which the other pinged, and then its pings are read."""
    pair = streaming(version)
    for _ in range(35):
        second(pair, version)
    end = pair.ends[stopped]
    other = pair.other(end)
    end.wire += other.codec.ping()
    pair.now += 300
    end.session.tick(pair.now)  # before it reads
    end.deliver(1 << 20, pair.now)
    for _ in range(39):
        pair.now += TICK_SECONDS
        end.session.tick(pair.now)


@pytest.mark.parametrize("version", [1, 2])
def test_a_machine_that_was_suspended_goes_on(version: int) -> None:
    """Both ends slept: nothing is lost."""
    pair = streaming(version)
    for _ in range(39):
        second(pair, version)
    pair.tick(300)
    for _ in range(100):
        second(pair, version)
    assert not pair.server.flows[1].broken


def test_a_stop_does_not_count_for_other_deadlines() -> None:
    """A hello, and the answer to a reset: they may have come meanwhile."""
    pair = Pair()
    pair.tick(300)
    pair.tick(8)
    pair.pump()
    flow = pair.open(GET, end=True)
    pair.server.release(flow, pair.now)
    pair.tick(1)
    pair.now += 300
    for end in pair.ends:
        end.session.tick(pair.now)
    pair.pump()
    assert pair.agent.flows[1].broken == "cancelled"
    assert pair.server.streams == {}


def test_pings_measure_while_data_flows() -> None:
    pair = greeted()
    pair.open(GET, end=True)
    pair.pump()
    there = pair.agent.flows[1]
    pair.agent.answer(there, ResponseHead(200, b"OK", [], None))
    pings = 0
    for step in range(10):
        for _ in range(20):
            pair.agent.send(there, b"a" * 40_000)
            pair.pump(read=True)
        before = len(pair.agent.messages)
        pair.tick(1.0)
        pair.pump(read=True)
        pings += sum(b'"ping"' in message for message in pair.agent.messages[before:])
        assert pings == step + 1


def test_a_flow_that_begins_is_measured_at_once() -> None:
    """On a fast line a second with the first window is gigabytes that did not flow."""
    pair = streaming(2)
    session = pair.server.session
    session.messages(1 << 20)
    now = pair.now + BUSY_PING_SECONDS
    session.heard(now, BUSY_BYTES // 2)
    assert not session.has_messages
    session.heard(now, BUSY_BYTES)
    assert [b'"ping"' in message for message in session.messages(1 << 20)] == [True]
    session.heard(now, BUSY_BYTES)
    assert not session.has_messages
