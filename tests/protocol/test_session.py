"""Version 2, rule by rule: what each end does when the other breaks it, and when messages cross."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol import frames
from protocol.errors import AnswerUnfit, LocalProtocolError, RequestTooLarge
from protocol.events import Answered, Arrived, GoneAway, Greeted, Opened, Reset
from protocol.frames import MAX_CHUNK, MAX_HEADER
from protocol.heads import MOST_LENGTH
from protocol.messages import RequestHead, ResponseHead
from protocol.session import FLOOD, MOST_ID, MOST_STREAMS, local_hello
from protocol.version2 import MOST_INTERIM, AgentSession, ServerSession
from tests.protocol.peers import content, greeted
from tests.protocol.refusing import refused
from tests.protocol.test_frames import NO_TEXTS

NOW = 1000.0
HELLO: dict[str, Any] = {
    "type": "hello",
    "version": 2,
    "software": "x/1",
    "window": 65_536,
    "maxChunk": 16_384,
    "maxStreams": 3,
}
GET = RequestHead(b"GET", b"/", [])
POST = RequestHead(b"POST", b"/", [], None)
OK = ResponseHead(200, b"OK", [], None)


def message(kind: str, payload: bytes = b"", **members: Any) -> bytes:
    return frames.join(frames.dump({"type": kind, **members}), payload)


def parsed(raw: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(raw[:4], "big")
    return json.loads(raw[4 : 4 + size]), raw[4 + size :]


def said(session: ServerSession | AgentSession) -> list[dict[str, Any]]:
    """The headers of all that goes out now; payloads by their size."""
    out = []
    while raw := session.messages(1 << 20):
        for one in raw:
            header, payload = parsed(one)
            out.append({**header, "payload": len(payload)} if payload else header)
    return out


def hello(**members: Any) -> bytes:
    return frames.join(frames.dump({**HELLO, **members}))


def server(**members: Any) -> ServerSession:
    """A server's end whose agent said hello."""
    session = ServerSession(local_hello("server"), NOW)
    assert isinstance(session.receive(hello(**members), NOW), Greeted)
    said(session)
    return session


def agent() -> AgentSession:
    session = AgentSession(local_hello("agent"), NOW)
    assert isinstance(session.receive(hello(), NOW), Greeted)
    said(session)
    return session


def opened(number: int = 1, payload: bytes = b"", **members: Any) -> bytes:
    return message("open", payload, **{"id": number, "method": "GET", "path": "/", "headers": [], **members})


def head(number: int = 1, payload: bytes = b"", **members: Any) -> bytes:
    return message("head", payload, **{"id": number, "status": 200, "headers": [], **members})


# Hello


def test_each_end_begins_by_itself() -> None:
    session = AgentSession(local_hello("a" * 200, {"os": "x"}), NOW)
    assert said(session) == [
        {
            "type": "hello",
            "version": 2,
            "software": "a" * 100,
            "window": 65_536,
            "maxChunk": 16_384,
            "maxStreams": 256,
            "info": {"os": "x"},
        }
    ]
    session.tick(NOW + 5)
    assert said(session) == []
    session.receive(hello(), NOW + 6)
    assert [one["type"] for one in said(session)] == ["ping"]


@pytest.mark.parametrize(
    "members",
    [
        *[{"version": value} for value in (1, 3, "2", None, 2.0, True)],
        *[{"software": value} for value in (None, 5, "a" * 101)],
        *[{"window": value} for value in (None, 16_383, 1_048_577, "65536", 65_536.0)],
        *[{"maxChunk": value} for value in (None, 1023, MOST_LENGTH + 1, "1024")],
        *[{"maxStreams": value} for value in (None, 0, 65_536, True)],
        *[{"info": value} for value in (*NO_TEXTS[:4], {"os": 1}, {"os": None})],
        {"type": "ping"},
        {"type": None},
        {"type": ["hello"]},
    ],
)
def test_a_hello_that_is_none(members: dict[str, Any]) -> None:
    refused("bad_hello", ServerSession(local_hello("server"), NOW).receive, hello(**members), NOW)


@pytest.mark.parametrize("name", [name for name in HELLO if name != "type"])
def test_a_hello_is_complete(name: str) -> None:
    header = {key: value for key, value in HELLO.items() if key != name}
    raw = frames.join(frames.dump(header))
    refused("bad_hello", AgentSession(local_hello("agent"), NOW).receive, raw, NOW)


@pytest.mark.parametrize(
    ("members", "chunk"),
    [({"maxChunk": 1024}, 1024), ({"maxChunk": 10**9}, 16_384), ({"window": 16_384}, 16_384), ({"more": [1]}, 16_384)],
)
def test_the_others_limits_are_kept(members: dict[str, Any], chunk: int) -> None:
    session = server(**members)
    session.open(POST, b"a" * 50_000)
    pieces = [one["payload"] for one in said(session) if "payload" in one]
    assert max(pieces) <= chunk
    assert sum(pieces) == min(50_000, members.get("window", 65_536))


def test_our_own_limits_are_held_against_the_other() -> None:
    mine = local_hello("agent")
    small = type(mine)("agent", 16_384, 1024, 1, {})
    session = AgentSession(small, NOW)
    session.receive(hello(), NOW)
    refused("too_large", session.receive, opened(payload=b"a" * 1025), NOW)
    for number in range(16):
        session.receive(opened(payload=b"a" * 1024) if not number else message("data", b"a" * 1024, id=1), NOW)
    refused("no_credit", session.receive, message("data", b"a", id=1), NOW)
    refused("too_many_streams", session.receive, opened(2), NOW)


def test_a_second_hello() -> None:
    refused("bad_hello", server().receive, hello(), NOW)
    refused("bad_hello", agent().receive, hello(), NOW)


def test_a_hello_that_does_not_come() -> None:
    for session in (ServerSession(local_hello("server"), NOW), AgentSession(local_hello("agent"), NOW)):
        for second in range(1, 10):
            session.tick(NOW + second)
        refused("bad_hello", session.tick, NOW + 10)


def test_nothing_is_opened_before_the_hello_came() -> None:
    session = ServerSession(local_hello("server"), NOW)
    assert not session.can_open
    with pytest.raises(LocalProtocolError):
        session.open(GET, end=True)


# Messages that an end does not take


@pytest.mark.parametrize("kind", ["open", "hallo", "", "stream", None, 5, [], {}])
def test_unknown_types_for_the_server(kind: Any) -> None:
    refused("unknown_type", server().receive, frames.join(frames.dump({"type": kind, "id": 1})), NOW)


@pytest.mark.parametrize("kind", ["head", "request"])
def test_unknown_types_for_the_agent(kind: str) -> None:
    refused("unknown_type", agent().receive, message(kind, id=1), NOW)


def test_members_that_are_not_known_are_ignored() -> None:
    session = agent()
    assert session.receive(message("ping", b"payload", token=5, more={"a": 1}), NOW) is None
    assert said(session) == [{"type": "pong", "token": 5}]
    assert isinstance(session.receive(opened(priority=5), NOW), Opened)


def test_text_is_not_taken() -> None:
    refused("malformed", server().receive_text, "{}")


def test_payloads_are_bounded() -> None:
    session = agent()
    session.receive(opened(payload=b"a" * MAX_CHUNK), NOW)
    refused("too_large", session.receive, message("data", b"a" * (MAX_CHUNK + 1), id=1), NOW)


BAD_IDS = [0, -1, 2**31, None, "1", 1.0, True]


@pytest.mark.parametrize("number", BAD_IDS)
@pytest.mark.parametrize("kind", ["data", "credit", "reset", "open"])
def test_ids_that_cannot_be(number: Any, kind: str) -> None:
    members: dict[str, Any] = {"code": "broken", "bytes": 1, "method": "GET", "path": "/", "headers": []}
    refused("malformed", agent().receive, message(kind, **members, id=number), NOW)


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        *[("credit", {"id": 1, "bytes": value}) for value in (0, -1, 2**31, None, "1", 1.5, True)],
        ("credit", {"id": 1}),
        *[("reset", {"id": 1, "code": value}) for value in (None, 5, "a" * 101)],
        ("reset", {"id": 1}),
        *[("reset", {"id": 1, "code": "a", "message": value}) for value in NO_TEXTS],
        *[("go_away", {"code": value}) for value in (None, 5, "a" * 101)],
        *[("go_away", {"code": "a", "message": value}) for value in NO_TEXTS],
        *[("ping", {"token": value}) for value in (-1, 2**53, None, "1")],
        *[("pong", {"token": value}) for value in (-1, 2**53, None, "1")],
        ("data", {"id": 1, "end": 1}),
        ("data", {"id": 1, "end": None}),
    ],
)
def test_malformed_members(kind: str, members: dict[str, Any]) -> None:
    session = agent()
    session.receive(opened(), NOW)
    refused("malformed", session.receive, message(kind, **members), NOW)


def test_texts_for_logs_are_cut() -> None:
    session = agent()
    session.receive(opened(), NOW)
    assert session.receive(message("reset", id=1, code="cancelled", message="m" * 600), NOW) == Reset(
        1, "cancelled", "m" * 500
    )
    assert session.receive(message("go_away", code="shutdown", message="m" * 600), NOW) == GoneAway(
        "shutdown", "m" * 500
    )


# Streams


def test_ids_count_up_by_one() -> None:
    for number in (2, 3, MOST_ID):
        refused("bad_stream", agent().receive, opened(number), NOW)
    session = agent()
    session.receive(opened(1, end=True), NOW)
    session.receive(opened(2, end=True), NOW)
    refused("bad_stream", session.receive, opened(2, end=True), NOW)


def test_when_the_ids_are_used_up() -> None:
    session = server()
    session.last_id = MOST_ID - 1
    assert session.open(GET, end=True) == MOST_ID
    assert not session.can_open
    with pytest.raises(LocalProtocolError):
        session.open(GET, end=True)
    refused("ids_used_up", session.tick, NOW + 1)


@pytest.mark.parametrize("raw", [message("data", id=1), message("data", id=1, end=True)])
def test_a_stream_that_is_not_open(raw: bytes) -> None:
    refused("bad_stream", agent().receive, raw, NOW)
    refused("bad_stream", server().receive, raw, NOW)
    session = agent()
    session.receive(opened(end=True), NOW)
    refused("bad_stream", session.receive, raw, NOW)


def test_answers_to_what_was_not_asked() -> None:
    refused("bad_stream", server().receive, head(), NOW)
    session = server()
    session.open(GET, end=True)
    assert isinstance(session.receive(head(end=True), NOW), Answered)
    refused("bad_stream", session.receive, head(end=True), NOW)


def test_credit_and_reset_may_cross_the_end_but_not_the_beginning() -> None:
    for session in (server(), agent()):
        refused("bad_stream", session.receive, message("credit", id=1, bytes=1), NOW)
        refused("bad_stream", session.receive, message("reset", id=1, code="broken"), NOW)
    over = server()
    over.open(GET, end=True)
    over.receive(head(end=True), NOW)
    over.release(1)
    assert over.streams == {}
    said(over)
    assert over.receive(message("credit", id=1, bytes=1), NOW) is None
    assert over.receive(message("reset", id=1, code="enough"), NOW) is None
    assert said(over) == []


def test_a_body_before_its_head() -> None:
    session = server()
    session.open(GET, end=True)
    refused("bad_stream", session.receive, message("data", b"a", id=1), NOW)
    session.receive(head(status=103), NOW)
    refused("bad_stream", session.receive, message("data", b"a", id=1), NOW)


def test_two_answers() -> None:
    session = server()
    session.open(GET, end=True)
    session.receive(head(), NOW)
    refused("bad_stream", session.receive, head(), NOW)
    refused("bad_stream", session.receive, head(status=103), NOW)


def test_interim_answers() -> None:
    session = server()
    session.open(GET, end=True)
    for _ in range(MOST_INTERIM):
        assert isinstance(session.receive(head(status=103), NOW), Answered)
    refused("bad_stream", session.receive, head(status=103), NOW)
    another = server()
    another.open(GET, end=True)
    refused("bad_stream", another.receive, head(status=103, payload=b"a"), NOW)


def test_our_agent_leaves_out_interim_answers_that_are_too_many() -> None:
    session = agent()
    session.receive(opened(end=True), NOW)
    for _ in range(MOST_INTERIM + 5):
        session.answer(1, ResponseHead(103, b"", []))
    session.answer(1, OK, end=True)
    assert [one["status"] for one in said(session)] == [103] * MOST_INTERIM + [200]


@pytest.mark.parametrize(
    ("length", "pieces", "ended"),
    [(3, [b"ab", b"cd"], False), (3, [b"ab"], True), (0, [b"a"], False), (3, [b"abcd"], False), (1, [b""], True)],
)
def test_a_body_of_another_length(length: int, pieces: list[bytes], ended: bool) -> None:
    up = agent()
    up.receive(opened(length=length), NOW)
    down = server()
    down.open(GET, end=True)
    down.receive(head(length=length), NOW)
    for session in (up, down):
        for piece in pieces[:-1]:
            session.receive(message("data", piece, id=1), NOW)
        refused("bad_length", session.receive, message("data", pieces[-1], id=1, end=ended), NOW)


def test_a_body_of_another_length_with_its_head() -> None:
    refused("bad_length", agent().receive, opened(payload=b"ab", length=3, end=True), NOW)
    session = server()
    session.open(GET, end=True)
    refused("bad_length", session.receive, head(payload=b"abcd", length=3), NOW)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_answers_without_a_body(method: bytes, status: int) -> None:
    def asked() -> ServerSession:
        session = server()
        session.open(RequestHead(method, b"/", []), end=True)
        return session

    refused("bad_length", asked().receive, head(status=status, length=5), NOW)
    refused("bad_length", asked().receive, head(status=status, payload=b"a", end=True), NOW)
    for length in (None, 5):
        members: dict[str, Any] = {} if length is None else {"length": length}
        event = asked().receive(head(status=status, end=True, **members), NOW)
        assert isinstance(event, Answered)
        assert (event.head.body_length, event.end) == (length, True)


def test_a_body_that_comes_whole_has_a_length() -> None:
    event = agent().receive(opened(payload=b"abc", end=True), NOW)
    assert isinstance(event, Opened)
    assert event.head.body_length == 3
    session = server()
    session.open(GET, end=True)
    answer = session.receive(head(payload=b"ab", end=True), NOW)
    assert isinstance(answer, Answered)
    assert answer.head.body_length == 2


def test_head_may_switch_too() -> None:
    """Browsers can ask for it, and a local server may agree: no reason to end the session of all others."""
    session = server()
    session.open(RequestHead(b"HEAD", b"/ws", [], 0, b"websocket"))
    answered = session.receive(message("head", id=1, status=101, headers=[], upgrade="websocket"), NOW)
    assert isinstance(answered, Answered)
    arrived = session.receive(message("data", b"raw", id=1), NOW)
    assert isinstance(arrived, Arrived)
    assert arrived.payload == b"raw"


def test_what_may_switch_reaches_the_agent_without_a_body() -> None:
    pair = greeted()
    flow = pair.open(RequestHead(b"GET", b"/pty", [(b"a", b"b")], 0, b"websocket"))
    pair.pump()
    there = pair.agent.flows[1]
    assert there.request == RequestHead(b"GET", b"/pty", [(b"a", b"b")], 0, b"websocket")
    pair.agent.answer(there, ResponseHead(101, b"Switching Protocols", [], 0, b"websocket"), b"early")
    pair.agent.send(there, b"", end=True)
    pair.server.send(flow, b"up", end=True)
    pair.pump()
    assert (bytes(flow.came), flow.ended) == (b"early", True)
    assert (bytes(there.came), there.ended) == (b"up", True)


def test_too_many_streams() -> None:
    session = agent()
    for number in range(1, MOST_STREAMS + 1):
        session.receive(opened(number), NOW)
    session.receive(message("reset", id=7, code="cancelled"), NOW)  # its place is free, even if its owner is not done
    session.receive(opened(MOST_STREAMS + 1), NOW)
    refused("too_many_streams", session.receive, opened(MOST_STREAMS + 2), NOW)


def test_the_server_keeps_to_the_agents_number_of_streams() -> None:
    session = server(maxStreams=2)
    session.open(GET, end=True)
    session.open(GET, end=True)
    assert not session.can_open
    with pytest.raises(LocalProtocolError):
        session.open(GET, end=True)
    session.receive(head(1, end=True), NOW)
    session.release(1)
    assert session.can_open


def test_the_server_bounds_the_streams_of_a_boastful_agent() -> None:
    """What an end buffers is bounded by its own number of streams, SPEC.md, section 4.3."""
    session = server(maxStreams=65_535)
    for _ in range(MOST_STREAMS):
        session.open(GET, end=True)
    assert not session.can_open


# Heads that cannot be said


@pytest.mark.parametrize(
    "request_head",
    [RequestHead(b"POST", b"/", [], MOST_LENGTH + 1), RequestHead(b"GET", b"/", [(b"a", b"\x01" * (MAX_HEADER // 6))])],
)
def test_a_request_that_is_too_large_is_not_opened(request_head: RequestHead) -> None:
    session = server()
    with pytest.raises(RequestTooLarge):
        session.open(request_head)
    assert (said(session), session.streams, session.last_id) == ([], {}, 0)
    assert session.open(GET, end=True) == 1


@pytest.mark.parametrize(
    "answer",
    [
        ResponseHead(999, b"", []),
        ResponseHead(200, b"", [], MOST_LENGTH + 1),
        ResponseHead(200, b"", [(b"a", b"\x01" * (MAX_HEADER // 6))]),
    ],
)
def test_an_answer_that_cannot_be_said_spoils_itself_only(answer: ResponseHead) -> None:
    session = agent()
    session.receive(opened(end=True), NOW)
    with pytest.raises(AnswerUnfit):
        session.answer(1, answer)
    assert said(session) == []
    session.reset(1, "refused", "it cannot be said", NOW)
    assert said(session) == [{"type": "reset", "id": 1, "code": "refused", "message": "it cannot be said"}]


def test_the_largest_heads_pass() -> None:
    """32 KiB of what JSON doubles, in a hundred fields."""
    value = b'"' * 320 + b"\xff"
    headers = [(b"x-%02d" % number, value) for number in range(100)]
    pair = greeted()
    pair.open(RequestHead(b"GET", b"/" + b"a" * 16_383, headers), end=True)
    pair.pump()
    there = pair.agent.flows[1]
    assert there.request is not None
    assert there.request.headers == headers
    pair.agent.answer(there, ResponseHead(200, b"OK", headers, None), end=True)
    pair.pump()
    assert pair.server.flows[1].heads[0].headers == headers


def test_an_agent_answers_once() -> None:
    session = agent()
    session.receive(opened(end=True), NOW)
    session.answer(1, OK)
    with pytest.raises(LocalProtocolError):
        session.answer(1, OK)


# Resets


def test_a_reset_is_answered_and_forgotten() -> None:
    pair = greeted()
    flow = pair.open(POST, b"abc")
    pair.pump()
    pair.server.release(flow, pair.now)
    assert 1 in pair.server.streams
    pair.pump()
    assert pair.agent.flows[1].broken == "cancelled"
    assert pair.server.streams == {}
    pair.agent.release(pair.agent.flows[1], pair.now)
    assert pair.agent.streams == {}


def test_a_reset_overtakes_what_is_queued() -> None:
    session = server()
    session.open(POST, b"a" * 50_000)
    session.reset(1, "cancelled", "m", NOW)
    assert [one["type"] for one in said(session)] == ["open", "reset"]


def test_what_arrives_behind_our_reset_is_dropped_but_counted() -> None:
    session = server()
    session.open(GET, end=True)
    session.reset(1, "cancelled", "", NOW)
    assert session.receive(head(payload=b"a" * 10), NOW) is None
    assert session.receive(message("data", b"a" * 10, id=1), NOW) is None
    session.consumed(1, 20, NOW)
    assert session.receive(message("data", id=1, end=True), NOW) is None
    session.release(1)
    assert session.streams == {}
    refused("bad_stream", session.receive, message("data", id=1), NOW)


def test_a_reset_that_is_not_answered() -> None:
    session = server()
    session.open(GET, end=True)
    session.reset(1, "cancelled", "", NOW)
    session.release(1)
    for second in range(1, 60):
        session.heard(NOW + second, 10)
        session.tick(NOW + second)
    session.heard(NOW + 60, 10)
    refused("unanswered", session.tick, NOW + 60)


def test_enough_lets_the_answer_arrive_whole() -> None:
    """An answer to an upload that was not read to its end: it is queued behind the server's credit, and then whole."""
    pair = greeted()
    flow = pair.open(POST, content(2, 0, 50_000))
    pair.pump()
    there = pair.agent.flows[1]
    pair.agent.answer(there, OK)
    for _ in range(4):
        pair.agent.send(there, content(3, len(there.said), 40_000))
    pair.agent.send(there, b"", end=True)
    pair.agent.reset(there, "enough", pair.now)
    pair.agent.release(there, pair.now)
    pair.server.send(flow, content(2, 50_000, 50_000))
    pair.pump()
    assert not flow.ended
    assert not flow.broken
    while flow.unread:
        pair.server.read(flow, flow.unread, pair.now)
        pair.pump()
    assert (flow.ended, flow.came, flow.broken) == (True, there.said, "enough")
    pair.server.release(flow, pair.now)
    pair.pump()
    for end in pair.ends:
        assert end.streams == {}
        assert end.session.lanes.empty


def test_enough_is_not_said_of_a_request_that_ended_meanwhile() -> None:
    pair = greeted()
    flow = pair.open(POST, b"a")
    pair.pump()
    there = pair.agent.flows[1]
    pair.agent.answer(there, OK, content(3, 0, 50_000))
    pair.agent.send(there, content(3, 50_000, 50_000), end=True)
    pair.agent.reset(there, "enough", pair.now)
    pair.server.send(flow, b"", end=True)
    pair.pump(read=True)
    assert (flow.ended, flow.broken) == (True, "")


def test_enough_before_the_end_was_said_is_a_break() -> None:
    session = agent()
    session.receive(opened(), NOW)
    session.answer(1, OK, b"a" * 50_000)
    session.reset(1, "enough", "", NOW)
    assert [one["type"] for one in said(session)] == ["head", "reset"]


def test_resets_that_cross() -> None:
    pair = greeted()
    flow = pair.open(POST, b"abc")
    pair.pump()
    pair.server.release(flow, pair.now)
    pair.agent.release(pair.agent.flows[1], pair.now)
    pair.pump()
    assert [end.streams for end in pair.ends] == [{}, {}]
    assert [flow.broken, pair.agent.flows[1].broken] == ["", ""]


# Credit


def test_more_than_the_credit() -> None:
    session = agent()
    session.receive(opened(payload=b"a" * MAX_CHUNK), NOW)
    for _ in range(3):
        session.receive(message("data", b"a" * MAX_CHUNK, id=1), NOW)
    refused("no_credit", session.receive, message("data", b"a", id=1), NOW)


def test_too_much_credit() -> None:
    session = server()
    session.open(POST)
    session.receive(message("credit", id=1, bytes=2**31 - 1 - 65_536), NOW)
    refused("no_credit", session.receive, message("credit", id=1, bytes=1), NOW)


def test_no_credit_for_what_has_ended() -> None:
    session = agent()
    session.receive(opened(payload=b"a" * MAX_CHUNK), NOW)
    session.receive(message("data", b"a" * MAX_CHUNK, id=1), NOW)
    session.consumed(1, MAX_CHUNK, NOW)
    assert said(session) == [{"type": "credit", "id": 1, "bytes": MAX_CHUNK}]
    session.receive(message("data", id=1, end=True), NOW)
    session.consumed(1, MAX_CHUNK, NOW)
    assert said(session) == []


# Fair sharing


def test_control_is_never_behind_data() -> None:
    session = server()
    session.open(POST, b"a" * 100_000)
    session.messages(1)
    session.receive(message("ping", token=9), NOW)
    assert [one["type"] for one in said(session)][:2] == ["pong", "data"]


def test_a_peer_that_does_not_read() -> None:
    session = agent()
    said(session)
    for number in range(FLOOD):
        session.receive(message("ping", token=number), NOW)
    refused("flood", session.receive, message("ping", token=0), NOW)


# Pings and ends


def test_the_round_trip_is_measured_by_pings() -> None:
    session = server()
    session.receive(message("pong", token=1), NOW + 0.25)
    assert session._round_trip.seconds == 0.25
    session.receive(message("pong", token=1), NOW + 9)
    session.receive(message("pong", token=77), NOW + 9)
    assert session._round_trip.seconds == 0.25


def test_a_planned_end() -> None:
    pair = greeted()
    flow = pair.open(GET, end=True)
    pair.pump()
    pair.server.session.shut_down("soon")
    pair.server.session.shut_down("again")
    assert not pair.server.session.can_open
    pair.agent.answer(pair.agent.flows[1], OK, b"abc", end=True)
    pair.pump()
    assert flow.came == b"abc"
    assert [event for event in pair.agent.events if isinstance(event, GoneAway)] == [GoneAway("shutdown", "soon")]
    pair.server.session.close("shutdown", "now")
    assert pair.server.session.messages(1000) == []


@pytest.mark.parametrize("code", ["replaced", "removed", "malformed"])
def test_an_end_at_once(code: str) -> None:
    session = server()
    session.open(POST, b"a" * 50_000)
    session.close(code, "m")
    session.close(code, "again")
    assert [one for one in said(session) if one["type"] != "open"] == [
        {"type": "go_away", "code": code, "message": "m"}
    ]
    assert not session.has_messages
    assert not session.can_open


def test_who_is_told_to_go_opens_nothing() -> None:
    session = server()
    assert session.receive(message("go_away", code="shutdown"), NOW) == GoneAway("shutdown", "")
    assert not session.can_open


def test_what_comes_for_the_reader_is_told() -> None:
    session = agent()
    event = session.receive(opened(payload=b"ab", method="POST"), NOW)
    assert event == Opened(1, RequestHead(b"POST", b"/", [], None), b"ab", False)
    assert session.receive(message("data", b"cd", id=1), NOW) == Arrived(1, b"cd", False)
    assert session.receive(message("data", b"ef", id=1), NOW) == Arrived(1, b"ef", False)
    assert session.receive(message("data", b"", id=1, end=True), NOW) == Arrived(1, b"", True)
