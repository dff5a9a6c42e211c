"""Version 1, rule by rule. What the contract says exactly is written out here as bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.errors import AnswerUnfit, LocalProtocolError, RemoteProtocolError, RequestTooLarge
from protocol.events import Answered, Arrived, Opened, Reset, Told
from protocol.frames import MAX_CHUNK, MAX_MESSAGE_V1
from protocol.heads import MOST_LENGTH
from protocol.messages import RequestHead, ResponseHead
from protocol.session import FLOOD, MOST_STREAMS
from protocol.version1 import MOST_UNWANTED, AgentSession1, ServerSession1
from tests.protocol.peers import Pair
from tests.protocol.refusing import refused

NOW = 1000.0
GET = RequestHead(b"GET", b"/", [])


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Written from the contract, not by our code."""
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(4, "big") + raw + payload


def stream(number: int = 1, payload: bytes = b"", *, done: bool = False, **members: Any) -> bytes:
    return frame({"type": "stream", "id": str(number), "done": done, **members}, payload)


def first(number: int = 1, payload: bytes = b"", *, done: bool = False, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return stream(number, payload, done=done, status=200, headers=named)


def request(name: str = "r", payload: bytes = b"", **members: Any) -> bytes:
    return frame({"type": "request", "id": name, "method": "GET", "path": "/", "headers": {}, **members}, payload)


def said(session: ServerSession1 | AgentSession1) -> list[tuple[dict[str, Any], bytes]]:
    out = []
    while raw := session.messages(1 << 20):
        for one in raw:
            assert len(one) <= MAX_MESSAGE_V1
            size = int.from_bytes(one[:4], "big")
            out.append((json.loads(one[4 : 4 + size]), one[4 + size :]))
    return out


def asked(head: RequestHead = GET) -> ServerSession1:
    session = ServerSession1(NOW)
    session.open(head, end=True)
    said(session)
    return session


# The server's end


def test_a_request_is_one_message() -> None:
    session = ServerSession1(NOW)
    head = RequestHead(b"POST", b"/session?limit=1", [(b"accept", b"*/*"), (b"cookie", b"a"), (b"cookie", b"b")], None)
    number = session.open(head, b"ab")
    assert said(session) == []
    session.send(number, b"cd")
    session.send(number, b"", end=True)
    session.send(number, b"never")
    members = {"method": "POST", "path": "/session?limit=1", "headers": {"Accept": "*/*", "Cookie": "a; b"}}
    assert said(session) == [({"type": "request", "id": "1", **members}, b"abcd")]


def largest(session: ServerSession1) -> int:
    """The largest body of a small request."""
    session.open(GET, end=True)
    ((header, _),) = said(session)
    return MAX_MESSAGE_V1 - 4 - len(json.dumps(header, separators=(",", ":")))


def test_the_largest_request() -> None:
    session = ServerSession1(NOW)
    most = largest(session)
    session.open(GET, b"a" * most, end=True)
    ((_, body),) = said(session)
    assert len(body) == most
    with pytest.raises(RequestTooLarge):
        session.open(GET, b"a" * (most + 1), end=True)
    with pytest.raises(RequestTooLarge):
        session.open(RequestHead(b"GET", b"/", [], most + 1))
    with pytest.raises(RequestTooLarge):
        session.open(RequestHead(b"GET", b"/" + b"a" * 16_000, [(b"b", b"c" * 16_700)]), end=True)
    assert said(session) == []
    assert session.open(GET, end=True) == 3


def test_a_body_that_grows_too_large_was_never_sent() -> None:
    session = ServerSession1(NOW)
    most = largest(session)
    number = session.open(RequestHead(b"GET", b"/", [], None), b"a" * most)
    with pytest.raises(RequestTooLarge):
        session.send(number, b"a")
    session.send(number, b"", end=True)
    assert said(session) == []
    refused("bad_stream", session.receive, first(number), NOW)


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([first(done=True)], b""),
        ([first(), stream(done=True)], b""),
        ([first(payload=b"ab", content_length="2"), stream(done=True)], b"ab"),
        ([first(payload=b"a" * MAX_CHUNK), stream(payload=b"b"), stream(done=True)], b"a" * MAX_CHUNK + b"b"),
        ([first(content_length="3"), stream(payload=b"ab"), stream(payload=b"c"), stream(done=True)], b"abc"),
    ],
)
def test_answers(messages: list[bytes], body: bytes) -> None:
    session = asked()
    came, ended = b"", False
    for raw in messages:
        event = session.receive(raw, NOW)
        assert isinstance(event, Answered if raw is messages[0] else Arrived)
        assert not ended
        came, ended = came + event.payload, event.end
    assert (came, ended) == (body, True)
    refused("bad_stream", session.receive, stream(done=True), NOW)


def test_an_older_agents_names_of_headers() -> None:
    event = asked().receive(stream(done=True, status=200, headers={"Content-Type": "text/html", "X": "é"}), NOW)
    assert event == Answered(
        1, ResponseHead(200, b"", [(b"content-type", b"text/html"), (b"x", b"\xe9")], 0), b"", True
    )


@pytest.mark.parametrize(
    ("messages", "broken_at"),
    [
        ([first(payload=b"abc", content_length="2"), stream(done=True)], 0),
        ([first(payload=b"a", content_length="2"), stream(payload=b"bc"), stream(payload=b"d"), stream(done=True)], 1),
        ([first(payload=b"a", content_length="2"), stream(done=True)], 1),
        ([first(content_length="2", done=True)], 0),
    ],
)
def test_an_answer_that_is_not_as_long_as_it_said_breaks_off(messages: list[bytes], broken_at: int) -> None:
    """Lesson: a tunnel that died in the middle looked like a complete body."""
    session = asked()
    events = [session.receive(raw, NOW) for raw in messages]
    assert isinstance(events[broken_at], Reset)
    assert events[broken_at + 1 :] == [None] * (len(messages) - broken_at - 1)
    assert session._answers == {}
    assert session._unwanted == 0


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_answers_without_a_body(method: bytes, status: int) -> None:
    head = RequestHead(method, b"/", [])
    event = asked(head).receive(stream(done=True, status=status, headers={"Content-Length": "5"}), NOW)
    assert isinstance(event, Answered)
    assert (event.end, event.head.body_length) == (True, 5)
    broken = asked(head).receive(stream(payload=b"a", status=status, headers={}), NOW)
    assert isinstance(broken, Reset)


@pytest.mark.parametrize(
    ("code", "before", "raw"),
    [
        ("bad_stream", [], stream(2, status=200, headers={})),
        ("bad_stream", [], frame({"type": "stream", "id": "01", "done": False, "status": 200})),
        ("bad_stream", [], frame({"type": "stream", "id": "²", "done": False, "status": 200})),
        ("bad_stream", [], frame({"type": "stream", "id": "", "done": True})),
        ("malformed", [], frame({"type": "stream", "id": 1, "done": True})),
        ("malformed", [], frame({"type": "stream", "done": True})),
        ("malformed", [], frame({"type": "stream", "id": "1" * 101, "done": True})),
        ("bad_stream", [], stream()),
        ("bad_stream", [], stream(done=True)),
        ("malformed", [], stream(headers={})),
        ("bad_stream", [first()], first()),
        ("bad_stream", [first()], stream(status=200)),
        ("bad_stream", [first()], stream(headers={})),
        ("too_large", [first()], stream(payload=b"a" * (MAX_CHUNK + 1))),
        ("malformed", [first()], stream(payload=b"a", done=True)),
        ("malformed", [first()], frame({"type": "stream", "id": "1", "done": 1})),
        ("unknown_type", [], frame({"type": "pong"})),
        ("unknown_type", [], frame({"type": "request"})),
        ("unknown_type", [], frame({})),
        ("malformed", [], b"\0\0\0\2[]"),
        ("malformed", [], b"\0\0\0\x05{}"),
        ("too_large", [], b"\xff\xff\xff\xfc{}"),
        ("too_large", [], frame({"type": "ping", "a": "b" * 32_768})),
    ],
)
def test_rules_that_an_agent_breaks(code: str, before: list[bytes], raw: bytes) -> None:
    session = asked()
    for message in before:
        session.receive(message, NOW)
    refused(code, session.receive, raw, NOW)


def test_an_answer_before_its_request_was_sent() -> None:
    session = ServerSession1(NOW)
    session.open(RequestHead(b"POST", b"/", [], None), b"a")
    refused("bad_stream", session.receive, first(), NOW)


def test_pings_are_answered() -> None:
    session = ServerSession1(NOW)
    assert session.receive(frame({"type": "ping"}), NOW) is None
    assert said(session) == [({"type": "pong"}, b"")]


def test_an_agent_that_does_not_read() -> None:
    session = ServerSession1(NOW)
    for _ in range(FLOOD + 1):
        session.receive(frame({"type": "ping"}), NOW)
    refused("flood", session.receive, frame({"type": "ping"}), NOW)


def test_what_older_agents_say_of_their_machine() -> None:
    session = ServerSession1(NOW)
    said_of_it = {"hostname": "laptop", "cpus": 8, "load": 0.5, "list": [], "none": None}
    told = session.receive_text(json.dumps({"type": "agent_info", "data": said_of_it}))
    assert told == Told({"hostname": "laptop", "cpus": "8", "load": "0.5"})
    many = session.receive_text(json.dumps({"type": "agent_info", "data": {str(n): "x" for n in range(100)}}))
    assert isinstance(many, Told)
    assert len(many.info) == 20


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"type":"ping"}', '{"type":"agent_info"}', '{"type":"agent_info","data":[]}', "\ud800"],
)
def test_other_text_is_an_error(text: str) -> None:
    refused("malformed", ServerSession1(NOW).receive_text, text)


def test_what_nobody_wants_any_more_is_dropped_and_does_not_count() -> None:
    """An older agent cannot be told; a tab that was closed is not to cost a place for ever."""
    session = ServerSession1(NOW)
    for number in range(1, 3 * MOST_STREAMS):
        session.open(GET, end=True)
        session.receive(first(number), NOW)
        session.reset(number, "cancelled", "", NOW)
        session.release(number)
    assert session.can_open
    said(session)
    assert session.receive(stream(5, b"abc"), NOW) is None
    assert session.receive(stream(5, done=True), NOW) is None
    refused("bad_stream", session.receive, stream(5, done=True), NOW)
    session.tick(NOW + 1)


def test_too_many_that_nobody_wants_end_the_tunnel() -> None:
    session = ServerSession1(NOW)
    for number in range(1, MOST_UNWANTED + 2):
        session.tick(NOW)
        session.open(GET, end=True)
        session.reset(number, "cancelled", "", NOW)
    refused("too_many_streams", session.tick, NOW)


def test_answers_that_are_wanted_are_bounded() -> None:
    session = ServerSession1(NOW)
    for _ in range(MOST_STREAMS):
        session.open(GET, end=True)
    assert not session.can_open
    with pytest.raises(LocalProtocolError):
        session.open(GET, end=True)
    session.receive(first(1, done=True), NOW)
    assert session.can_open


def test_a_request_that_is_given_up_before_it_was_sent() -> None:
    session = ServerSession1(NOW)
    number = session.open(RequestHead(b"POST", b"/", [], None), b"a")
    assert session.reset(number, "cancelled", "", NOW)
    session.send(number, b"", end=True)
    assert said(session) == []
    refused("bad_stream", session.receive, first(number), NOW)


# The agent's end


def test_an_answer_as_the_contract_has_it() -> None:
    session = AgentSession1(NOW)
    raw = request("abc", b"body", method="POST", path="/x?y", headers={"Accept": "*/*"})
    assert session.receive(raw, NOW) == Opened(
        1, RequestHead(b"POST", b"/x?y", [(b"accept", b"*/*")], 4), b"body", True
    )
    head = ResponseHead(200, b"OK", [(b"content-type", b"text/plain"), (b"x", b"1"), (b"x", b"2")], None)
    session.answer(1, ResponseHead(103, b"", []))
    session.answer(1, head, b"a" * (MAX_CHUNK + 1))
    session.send(1, b"b", end=True)
    members = {"status": 200, "headers": {"Content-Type": "text/plain", "X": "1, 2"}}
    assert said(session) == [
        ({"type": "stream", "id": "abc", **members, "done": False}, b""),
        ({"type": "stream", "id": "abc", "done": False}, b"a" * MAX_CHUNK),
        ({"type": "stream", "id": "abc", "done": False}, b"a"),
        ({"type": "stream", "id": "abc", "done": False}, b"b"),
        ({"type": "stream", "id": "abc", "done": True}, b""),
    ]
    assert isinstance(session.receive(request("abc"), NOW), Opened)  # the name is free again


def test_an_empty_answer_is_one_message() -> None:
    session = AgentSession1(NOW)
    session.receive(request(), NOW)
    session.answer(1, ResponseHead(200, b"", [], 0), end=True)
    assert said(session) == [
        ({"type": "stream", "id": "r", "status": 200, "headers": {"Content-Length": "0"}, "done": True}, b"")
    ]


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("bad_stream", request("open")),
        ("malformed", request("x" * 101)),
        ("malformed", frame({"type": "request", "id": 5, "method": "GET", "path": "/"})),
        ("malformed", request(path="@evil/")),
        ("malformed", request(method="TRACE")),
        ("malformed", request(name="\ud800")),
        ("unknown_type", frame({"type": "ping"})),
        ("unknown_type", frame({"type": None})),
        ("too_large", request(payload=b"a" * MAX_MESSAGE_V1)),
        ("too_large", b"\x7f\xff\xff\xff{}"),
        ("malformed", b""),
    ],
)
def test_rules_that_a_server_breaks(code: str, raw: bytes) -> None:
    session = AgentSession1(NOW)
    session.receive(request("open"), NOW)
    assert session.receive(frame({"type": "pong"}), NOW) is None
    refused(code, session.receive, raw, NOW)
    refused("malformed", session.receive_text, "{}")


def test_a_failure_before_the_head_is_a_502() -> None:
    session = AgentSession1(NOW)
    session.receive(request(), NOW)
    assert session.reset(1, "unreachable", "nobody listens", NOW)
    (head, nothing), (more, body), (last, _) = said(session)
    assert (head["status"], head["done"], nothing) == (502, False, b"")
    assert head["headers"]["Content-Length"] == str(len(body))
    assert (b"nobody listens" in body, more["done"], last["done"]) == (True, False, True)


def test_a_failure_in_a_body_of_known_length_stops_short_of_it() -> None:
    pair = Pair(1)
    flow = pair.open(GET, end=True)
    pair.pump()
    there = pair.agent.flows[1]
    pair.agent.answer(there, ResponseHead(200, b"", [], 100_000), b"a" * 50_000)
    assert pair.agent.reset(there, "broken", pair.now)
    pair.pump()
    assert (flow.broken, flow.ended) == ("broken", False)


def test_a_failure_in_a_body_of_unknown_length_ends_the_tunnel() -> None:
    session = AgentSession1(NOW)
    session.receive(request(), NOW)
    session.answer(1, ResponseHead(200, b"", [], None), b"abc")
    assert not session.reset(1, "broken", "", NOW)


@pytest.mark.parametrize(
    "head",
    [
        ResponseHead(999, b"", []),
        ResponseHead(200, b"", [], MOST_LENGTH + 1),
        ResponseHead(200, b"", [(b"a", b"b" * MAX_MESSAGE_V1)]),
    ],
)
def test_an_answer_that_cannot_be_said_is_a_502(head: ResponseHead) -> None:
    session = AgentSession1(NOW)
    session.receive(request(), NOW)
    with pytest.raises(AnswerUnfit):
        session.answer(1, head)
    assert said(session) == []
    assert session.reset(1, "refused", "too large", NOW)
    assert said(session)[0][0]["status"] == 502


def test_a_server_that_does_not_read() -> None:
    """The fault leaves where it was made: in reading, never in answering."""
    session = AgentSession1(NOW)
    for number in range(FLOOD + 1):
        session.receive(request(str(number)), NOW)
        session.answer(number + 1, ResponseHead(204, b"", [], None), end=True)
    with pytest.raises(RemoteProtocolError, match="does not read"):
        session.receive(request("one more"), NOW)


def test_pings_of_the_websocket_keep_it_alive() -> None:
    for session in (ServerSession1(NOW), AgentSession1(NOW)):
        due = [second for second in range(1, 65) if session.wants_websocket_ping(NOW + second)]
        assert due == [20, 40, 60]


def test_a_planned_end() -> None:
    session = ServerSession1(NOW)
    session.shut_down("soon")
    assert not session.can_open
    session.close("shutdown", "now")
    assert session.messages(1000) == []
