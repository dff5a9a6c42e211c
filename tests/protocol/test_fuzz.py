"""Whatever comes, a session says one of the codes of SPEC.md or goes on, and delivers no byte that was not sent.

A real session of each version is recorded for each end: what came, and what its owner did between. Then it is played
again with one message changed. What each message says is read a second time here, by a few lines of their own, and the
bodies are compared with that.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.events import Answered, Arrived, Event, Opened, Reset
from protocol.messages import RequestHead, ResponseHead
from protocol.version1 import AgentSession1, ServerSession1
from protocol.version2 import AgentSession, ServerSession
from tests.protocol.peers import AnySession, End, Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEC: Final = Path(__file__).parents[2].joinpath("protocol", "SPEC.md").read_text()
CODES: Final = frozenset(re.findall(r"^\| `(\w+)` \|", SPEC.partition("| `code` of `go_away`")[2], re.MULTILINE))
NOW: Final = 1000.0
LENGTHS: Final = (0, 1, 0x7FFFFFFF, 0xFFFFFFFC, 0xFFFFFFFF)
ENDS = [(version, side) for version in (1, 2) for side in ("server", "agent")]


# Recording

Step = bytes | tuple[str, tuple[Any, ...], dict[str, Any]]  # what came, or what the owner did


class Recorded(End):
    """An end that notes what comes and what is done with its session."""

    def __init__(self, end: End, client: bool) -> None:
        self.steps: list[Step] = []
        session = end.session
        for name in ("open", "answer", "send", "consumed", "reset", "release"):
            if hasattr(session, name):
                setattr(session, name, self.noted(name, getattr(session, name)))
        receive = session.receive

        def received(message: bytes, now: float) -> Event | None:
            self.steps.append(message)
            return receive(message, now)

        session.receive = received  # type: ignore[method-assign]
        super().__init__(session, client=client)

    def noted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            self.steps.append((name, copy.deepcopy(given), copy.deepcopy(named)))
            return call(*given, **named)

        return called


def play(pair: Pair) -> None:
    """A small one of everything."""
    server, agent, version = pair.server, pair.agent, pair.version
    pair.pump()
    small = pair.open(RequestHead(b"GET", b"/a?b", [(b"accept", b"*/*"), (b"cookie", b"c=d")]), end=True)
    upload = pair.open(RequestHead(b"POST", b"/up", [], 9), b"abc")
    gone = pair.open(RequestHead(b"GET", b"/event", []), end=True)
    head = pair.open(RequestHead(b"HEAD", b"/", []), end=True)
    server.send(upload, b"defghi", end=True)
    failed = pair.open(RequestHead(b"GET", b"/failed", []), end=True)
    pair.pump()
    mine = {flow.name: flow for flow in agent.flows.values()}
    agent.answer(mine[small.number], ResponseHead(200, b"OK", [(b"x", b"y")], 5), b"hello", end=True)
    agent.answer(mine[upload.number], ResponseHead(103, b"", [(b"link", b"z")]))
    agent.answer(mine[upload.number], ResponseHead(404, b"No", [(b"set-cookie", b"e")], None), b"1234")
    agent.answer(mine[gone.number], ResponseHead(200, b"", [], None), b"data: x")
    agent.answer(mine[head.number], ResponseHead(200, b"", [], 77), end=True)
    pair.pump()
    agent.send(mine[upload.number], b"5678")
    pair.pump(read=True)
    agent.send(mine[upload.number], b"90", end=True)
    server.reset(gone, "cancelled", pair.now)
    agent.reset(mine[failed.number], "unreachable", pair.now)
    if version == 2:
        socket = pair.open(RequestHead(b"GET", b"/pty", [], 0, b"websocket"))
        pair.pump()
        there = agent.flows[socket.number]
        agent.answer(there, ResponseHead(101, b"Switching Protocols", [], 0, b"websocket"), b"early")
        for flow, data in ((socket, b"\x81\x01a"), (there, b"\x81\x01b")):
            (server if flow is socket else agent).send(flow, data)
            (server if flow is socket else agent).send(flow, b"", end=True)
        large = pair.open(RequestHead(b"POST", b"/large", [], None), b"x" * 20_000)
        pair.pump()
        server.read(large, 0, pair.now)
        agent.read(agent.flows[large.number], 20_000, pair.now)
        pair.pump()
        agent.answer(agent.flows[large.number], ResponseHead(200, b"", [], None), b"enough", end=True)
        agent.reset(agent.flows[large.number], "enough", pair.now)
    else:
        agent.send(mine[gone.number], b"", end=True)
    pair.pump(read=True)
    server.session.shut_down("soon")
    pair.pump()


@cache
def recording(version: int, side: str) -> list[Step]:
    pair = Pair(version)
    pair.server, pair.agent = Recorded(pair.server, client=False), Recorded(pair.agent, client=True)
    play(pair)
    end = getattr(pair, side)
    assert isinstance(end, Recorded)
    assert sum(isinstance(step, bytes) for step in end.steps) >= (5 if version == 1 else 15)
    return end.steps


def fresh(version: int, side: str) -> AnySession:
    return getattr(Pair(version, NOW), side).session  # type: ignore[no-any-return]


# A second reading


@dataclass
class Second:
    """What messages say, read again."""

    bodies: defaultdict[Any, bytes] = field(default_factory=lambda: defaultdict(bytes))
    lengths: dict[Any, int] = field(default_factory=dict)
    ended: set[Any] = field(default_factory=set)
    names: list[Any] = field(default_factory=list)  # version 1: of requests, in their order

    def read(self, message: bytes) -> None:
        size = int.from_bytes(message[:4], "big")
        header, payload = json.loads(message[4 : 4 + size]), message[4 + size :]
        kind, name = header["type"], header.get("id")
        if kind == "request":
            self.names.append(name)
            name = len(self.names)
            self.lengths[name], header["done"] = len(payload), True
        elif kind == "stream":
            name = int(name)
        if kind not in ("open", "head", "data", "request", "stream"):
            return
        if isinstance(header.get("length"), int):
            self.lengths[name] = header["length"]
        for field_name, value in (header.get("headers") or {}).items() if kind == "stream" else ():
            if field_name.lower() == "content-length":
                self.lengths[name] = int(value)
        self.bodies[name] += payload
        if header.get("end") or header.get("done"):
            self.ended.add(name)


@dataclass
class Played:
    bodies: defaultdict[int, bytes] = field(default_factory=lambda: defaultdict(bytes))
    ended: set[int] = field(default_factory=set)
    whole: set[int] = field(default_factory=set)  # with an end that was one
    bodiless: set[int] = field(default_factory=set)
    error: RemoteProtocolError | None = None

    def happened(self, event: Event | None) -> None:
        if isinstance(event, Opened | Answered | Arrived):
            assert event.stream not in self.ended, "something behind the end"
            self.bodies[event.stream] += event.payload
            if event.end:
                self.ended.add(event.stream)
                self.whole.add(event.stream)
        if isinstance(event, Answered) and event.end and not event.payload:
            self.bodiless.add(event.stream)
        if isinstance(event, Reset):
            self.ended.add(event.stream)  # nothing behind it


def replay(session: AnySession, steps: list[Step]) -> tuple[Played, Second]:
    """The owner does what it did, as long as it may. Every exception but the one is a defect."""
    played, second = Played(), Second()
    for step in steps:
        if isinstance(step, bytes):
            try:
                event = session.receive(step, NOW)
            except RemoteProtocolError as error:
                played.error = error
                break
            second.read(step)
            played.happened(event)
        elif step[0] != "open" or session.can_open:
            name, given, named = step
            getattr(session, name)(*given, **named)
        session.messages(1 << 20)
    assert played.error is None or played.error.code in CODES
    return played, second


def judge(version: int, side: str, steps: list[Step]) -> None:
    played, second = replay(fresh(version, side), steps)
    for stream, body in played.bodies.items():
        assert second.bodies[stream].startswith(body)
    for stream in played.whole - played.bodiless:
        assert stream in second.ended
        assert second.bodies[stream] == played.bodies[stream]
        assert len(played.bodies[stream]) == second.lengths.get(stream, len(played.bodies[stream]))


# Changing one message


def changed(version: int, side: str, change: Callable[[list[bytes], int], list[bytes]]) -> None:
    """Play it with each message changed in turn. ``change`` says what comes instead of it and the one behind it."""
    steps = recording(version, side)
    places = [place for place, step in enumerate(steps) if isinstance(step, bytes)]
    messages = [step for step in steps if isinstance(step, bytes)]
    for number, place in enumerate(places):
        instead: list[Step] = list(change(messages, number))
        judge(version, side, [*steps[:place], *instead, *steps[place + 1 :]])


@pytest.mark.parametrize(("version", "side"), ENDS)
def test_the_recording_itself(version: int, side: str) -> None:
    """Unchanged, nobody finds fault, and all bodies are as they were said."""
    played, second = replay(fresh(version, side), recording(version, side))
    assert played.error is None
    assert played.ended
    assert len(played.bodies) >= 4
    dropped = {3} if side == "server" else set()  # what came for it behind the reset, in version 1
    assert {stream: body for stream, body in second.bodies.items() if stream not in dropped} == {
        stream: body for stream, body in played.bodies.items() if stream not in dropped
    }


@pytest.mark.parametrize(("version", "side"), ENDS)
def test_cut_at_every_length(version: int, side: str) -> None:
    longest = max(len(step) for step in recording(version, side) if isinstance(step, bytes))
    for size in [*range(min(longest, 400)), longest - 1]:
        changed(version, side, lambda messages, number, size=size: [messages[number][:size]])  # type: ignore[misc]


def other_bytes(message: bytes, chance: random.Random, most: int) -> Iterator[bytes]:
    places = range(len(message)) if len(message) <= most else chance.sample(range(min(len(message), 500)), most)
    for place in places:
        for value in {chance.randrange(256), message[place] ^ 1 << chance.randrange(8), 0x22}:
            yield message[:place] + bytes([value]) + message[place + 1 :]


@pytest.mark.parametrize(("version", "side"), ENDS)
def test_every_byte_changed(version: int, side: str) -> None:
    chance = random.Random(11)
    steps = recording(version, side)
    for place, step in enumerate(steps):
        if isinstance(step, bytes):
            for message in other_bytes(step, chance, 120):
                judge(version, side, [*steps[:place], message, *steps[place + 1 :]])


@pytest.mark.parametrize(("version", "side"), ENDS)
def test_repeated(version: int, side: str) -> None:
    changed(version, side, lambda messages, number: [messages[number]] * 2)
    changed(version, side, lambda messages, number: [messages[number]] * 20)


@pytest.mark.parametrize(("version", "side"), ENDS)
def test_left_out(version: int, side: str) -> None:
    changed(version, side, lambda messages, number: [])


@pytest.mark.parametrize(("version", "side"), ENDS)
def test_in_another_order(version: int, side: str) -> None:
    """Each before the one that came before it, and each once more at every later place."""
    steps = recording(version, side)
    places = [place for place, step in enumerate(steps) if isinstance(step, bytes)]
    for first, second in pairwise(places):
        other = [*steps[:first], steps[second], *steps[first + 1 : second], steps[first], *steps[second + 1 :]]
        judge(version, side, other)
    for first in places:
        for second in places:
            judge(version, side, [*steps[:second], steps[first], *steps[second:]])


@pytest.mark.parametrize(("version", "side"), ENDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_other_lengths(version: int, side: str, length: int) -> None:
    """Lesson: a length of 0xFFFFFFFC overflowed a check of bounds, and ended the process."""
    steps = recording(version, side)
    for place, step in enumerate(steps):
        if isinstance(step, bytes):
            played, _ = replay(fresh(version, side), [*steps[:place], length.to_bytes(4, "big") + step[4:]])
            assert played.error is not None
            assert played.error.code == ("malformed" if length < 2 else "too_large")


# Members that are changed, and bytes that are anything

ANY: Final[st.SearchStrategy[Any]] = st.sampled_from(
    [None, True, False, 0, 1, 2, 3, 5, -1, 2**31 - 1, 2**31, 2**53, 1.5, "", "1", "a", "/", "GET", [], {}, [["a", "b"]]]
) | st.text(max_size=5)
TYPES: Final = st.sampled_from(
    ["hello", "open", "head", "data", "credit", "reset", "ping", "pong", "go_away", "request", "stream", "agent_info"]
)
HEADER: Final = st.fixed_dictionaries(
    {"type": TYPES | ANY},
    optional={
        "id": st.integers(0, 9) | st.sampled_from(["1", "2", "3"]) | ANY,
        "method": st.just("GET") | ANY,
        "path": st.just("/") | ANY,
        "headers": st.just([]) | st.just({}) | ANY,
        "status": st.sampled_from([200, 101, 103, 204]) | ANY,
        "length": ANY,
        "upgrade": ANY,
        "reason": ANY,
        "end": st.booleans() | ANY,
        "done": st.booleans() | ANY,
        "bytes": ANY,
        "code": st.just("broken") | ANY,
        "message": ANY,
        "token": ANY,
        "info": ANY,
    },
)


def framed(header: dict[str, Any], payload: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(4, "big") + raw + payload


MESSAGES: Final = st.builds(framed, HEADER, st.binary(max_size=9)) | st.binary(max_size=40)


@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize(("version", "side"), ENDS)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=5), known=st.integers(0, 60))
def test_anything(version: int, side: str, messages: list[bytes], known: int) -> None:
    """At any point of a session."""
    judge(version, side, [*recording(version, side)[:known], *messages])


@pytest.mark.parametrize("version", [1, 2])
@given(text=st.text(max_size=40) | st.builds(json.dumps, HEADER))
def test_any_text(version: int, text: str) -> None:
    for side in ("server", "agent"):
        session = fresh(version, side)
        assert isinstance(session, ServerSession | ServerSession1 | AgentSession | AgentSession1)
        try:
            session.receive_text(text)
        except RemoteProtocolError:
            continue


def test_the_codes_are_those_of_the_page() -> None:
    """The table is read right: what this file relies on."""
    assert {"malformed", "too_large", "bad_stream", "no_credit", "flood", "shutdown"} <= CODES
    assert len(CODES) >= 15
