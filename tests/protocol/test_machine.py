"""Two peers that do what they may, over a link that delays and splits: every byte arrives, and nothing is left over.

The direction of a link keeps its order; how far each has come is Hypothesis's to choose. No end may find fault with the
other, and none may find fault with itself.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.credit import FIRST_WINDOW, LARGEST_WINDOW, MOST_GROWTH
from protocol.lanes import QUEUE
from protocol.messages import RequestHead, ResponseHead
from protocol.version2 import MOST_INTERIM, AgentSession, ServerSession
from tests.protocol.peers import End, Flow, Pair, content

MOST_PUSH: Final = 40_000
SIZE = st.sampled_from([0, 1, 2, 100, 1000, 16_383, 16_384, 16_385, MOST_PUSH])
PICK = st.integers(0, 5)
SIDE = st.booleans()
SELDOM = st.integers(0, 5).map(lambda number: number == 5)
SETTINGS = settings(
    max_examples=120, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


class Peers(RuleBasedStateMachine):
    """What is alike in both versions."""

    version = 2

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.version)
        self.server, self.agent = self.pair.ends

    def side(self, agent: bool) -> End:
        return self.agent if agent else self.server

    def pick(self, end: End, number: int, **wanted: bool) -> Flow | None:
        """One of the flows of an end that are as wanted, if there is one."""
        found = [
            flow
            for flow in end.flows.values()
            if not flow.released and all(getattr(flow, name) == value for name, value in wanted.items())
        ]
        return found[number % len(found)] if found else None

    def more(self, end: End, flow: Flow, size: int) -> bytes:
        """The next bytes of a direction."""
        return content(2 * flow.name + (end is self.agent), len(flow.said), size)

    # The link

    @rule(agent=SIDE, budget=st.sampled_from([1, 1000, 20_000, 65_536, 10**6]))
    def flush(self, agent: bool, budget: int) -> None:
        end = self.side(agent)
        end.flush(self.pair.other(end), budget)

    @rule(agent=SIDE, count=st.sampled_from([1, 2, 5, 100, 3000, 16_500, 65_536, 10**6]))
    def deliver(self, agent: bool, count: int) -> None:
        self.side(agent).deliver(count, self.pair.now)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.02, 0.09]))
    def wait(self, seconds: float) -> None:
        self.pair.tick(seconds)

    @rule()
    def everything_moves(self) -> None:
        self.pair.pump()

    # What both owners do

    @rule(agent=SIDE, number=PICK, count=SIZE)
    def read(self, agent: bool, number: int, count: int) -> None:
        end = self.side(agent)
        flow = self.pick(end, number)
        if flow is not None:
            end.read(flow, count, self.pair.now)

    @rule(agent=SIDE, number=PICK, early=SELDOM)
    def leave(self, agent: bool, number: int, early: bool) -> None:
        end = self.side(agent)
        flow = self.pick(end, number)
        if flow is None or not (early or (not flow.writable and (flow.ended or flow.broken))):
            return
        self.leave_flow(end, flow)

    def leave_flow(self, end: End, flow: Flow) -> None:
        end.release(flow, self.pair.now)

    # What must hold at any time

    @invariant()
    def bytes_are_those_that_were_sent(self) -> None:
        for end in self.pair.ends:
            for flow in end.flows.values():
                other = self.pair.twin(end, flow)
                if other is None:
                    assert not flow.came
                    continue
                assert other.said.startswith(flow.came)
                if flow.ended:
                    self.ended(end, flow, other)

    def ended(self, end: End, flow: Flow, other: Flow) -> None:
        """A direction that has ended is whole."""
        assert flow.came == other.said
        assert other.said_end

    @invariant()
    def queues_are_bounded(self) -> None:
        for end in self.pair.ends:
            assert all(end.session.lanes.queued(number) < QUEUE + MOST_PUSH for number in end.flows)

    def teardown(self) -> None:
        """Everybody reads, nobody has anything to add: it all comes to its end."""
        pair = self.pair
        pair.pump(read=True)
        self.bytes_are_those_that_were_sent()
        for end in (self.agent, self.server):
            for flow in end.flows.values():
                if not flow.released:
                    self.leave_flow(end, flow)
            pair.pump(read=True)
        self.bytes_are_those_that_were_sent()
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        for end in self.pair.ends:
            assert end.session.lanes.empty
            assert not end.session.has_messages
            assert not end.wire


class Peers2(Peers):
    """Version 2."""

    # The server's owner

    def can_open(self) -> bool:
        assert isinstance(self.server.session, ServerSession)
        return self.server.session.can_open and len(self.server.session.streams) < 6

    @initialize(hellos=st.booleans())
    def begin(self, hellos: bool) -> None:
        if hellos:
            self.pair.pump()

    @precondition(can_open)
    @rule(size=SIZE, end=st.booleans(), counted=st.booleans())
    def ask(self, size: int, end: bool, counted: bool) -> None:
        data = content(2 * self.pair.next_number, 0, size)
        length = size if end and counted else None
        self.pair.open(RequestHead(b"POST", b"/", [(b"a", b"b")], length), data, end=end)

    @precondition(can_open)
    @rule()
    def ask_to_switch(self) -> None:
        self.pair.open(RequestHead(b"GET", b"/", [], 0, b"websocket"))

    @rule(number=PICK, size=SIZE, end=st.booleans())
    def upload(self, number: int, size: int, end: bool) -> None:
        flow = self.pick(self.server, number, writable=True)
        if flow is None or not (self.server.session.has_room(flow.number)):
            return
        self.server.send(flow, self.more(self.server, flow, size), end=end)

    @rule(agent=SIDE, number=PICK, seldom=SELDOM)
    def break_off(self, agent: bool, number: int, seldom: bool) -> None:
        end = self.side(agent)
        flow = self.pick(end, number, gave_up=False)
        if flow is not None and seldom:
            end.reset(flow, "broken" if agent else "cancelled", self.pair.now)

    # The agent's owner

    @rule(number=PICK)
    def hint(self, number: int) -> None:
        flow = self.pick(self.agent, number, answered=False, writable=True)
        if flow is None:
            return
        self.agent.answer(flow, ResponseHead(103, b"Early Hints", [(b"link", b"x")]))

    @rule(number=PICK, size=SIZE, end=st.booleans(), counted=st.booleans())
    def answer(self, number: int, size: int, end: bool, counted: bool) -> None:
        flow = self.pick(self.agent, number, answered=False, writable=True)
        if flow is None:
            return
        assert flow.request is not None
        data = self.more(self.agent, flow, size)
        head = ResponseHead(200, b"OK", [(b"a", b"b")], size if end and counted else None)
        if flow.request.upgrade is not None and not counted:
            head, end = ResponseHead(101, b"", [], 0, b"websocket"), False
        self.agent.answer(flow, head, data, end=end)

    @rule(number=PICK, size=SIZE, end=st.booleans())
    def download(self, number: int, size: int, end: bool) -> None:
        flow = self.pick(self.agent, number, answered=True, writable=True)
        if flow is None or not (self.agent.session.has_room(flow.number)):
            return
        self.agent.send(flow, self.more(self.agent, flow, size), end=end)

    @rule(number=PICK)
    def answer_is_enough(self, number: int) -> None:
        """The agent has said all and wants no more of the request; the answer has to arrive whole."""
        flow = self.pick(self.agent, number, said_end=True, gave_up=False, ended=False)
        if flow is None:
            return
        self.agent.reset(flow, "enough", self.pair.now)

    # What must hold at any time

    @invariant()
    def what_is_unread_is_bounded(self) -> None:
        for end in self.pair.ends:
            session = end.session
            assert isinstance(session, ServerSession | AgentSession)
            grown = 0
            for number, stream in session.streams.items():
                flow = end.flows[number]
                grown += stream.window.size - FIRST_WINDOW
                assert stream.window.credit >= 0
                assert stream.window.size <= LARGEST_WINDOW
                if not flow.released:
                    assert flow.unread + stream.window.credit <= stream.window.size or stream.closed
                    assert flow.unread <= stream.window.size
            assert 0 <= session._growth.left == MOST_GROWTH - grown

    @invariant()
    def interim_answers_are_bounded(self) -> None:
        for flow in self.server.flows.values():
            assert sum(head.status < 200 and head.status != 101 for head in flow.heads) <= MOST_INTERIM

    def nothing_is_left(self) -> None:
        super().nothing_is_left()
        for end in self.pair.ends:
            session: Any = end.session
            assert session.streams == {}
            assert session._growth.left == MOST_GROWTH
        for flow in self.agent.flows.values():
            other = self.server.flows[flow.number]
            untouched = not (other.gave_up or flow.broken)
            if untouched and flow.said_end and (not flow.gave_up or other.broken == "enough"):
                assert other.ended, "the answer is whole"
                assert other.came == flow.said


class Peers1(Peers):
    """Version 1: requests are whole, nothing can be cancelled, and what cannot be said ends the tunnel."""

    version = 1

    def __init__(self) -> None:
        super().__init__()
        self.failed: set[int] = set()  # answered by a 502

    def unanswered(self, flow: Flow) -> None:
        """The local server did not answer; the agent says so in its place."""
        self.failed.add(flow.name)
        flow.said += b"The local server did not answer: a test\n"
        flow.said_end = True

    def can_open(self) -> bool:
        return len(self.server.flows) < 12

    @precondition(can_open)
    @rule(size=st.sampled_from([0, 1, 16_384, 16_385, 32_000]), end=st.booleans())
    def ask(self, size: int, end: bool) -> None:
        data = content(2 * self.pair.next_number, 0, size)
        self.pair.open(RequestHead(b"POST", b"/", [(b"a", b"b")], size if end else None), data, end=end)

    @rule(number=PICK, size=st.sampled_from([0, 1, 100]), end=st.booleans())
    def upload(self, number: int, size: int, end: bool) -> None:
        flow = self.pick(self.server, number, writable=True)
        if flow is None:
            return
        self.server.send(flow, self.more(self.server, flow, size), end=end)

    @rule(number=PICK, size=SIZE, counted=st.booleans(), end=st.booleans())
    def answer(self, number: int, size: int, counted: bool, end: bool) -> None:
        """``counted``: in all it is 1000 bytes more than this, or no more if it ends."""
        flow = self.pick(self.agent, number, answered=False, writable=True)
        if flow is None:
            return
        length = size + (0 if end else 1000)
        head = ResponseHead(200, b"", [(b"a", b"b")], length if counted else None)
        self.agent.answer(flow, head, self.more(self.agent, flow, size), end=end)
        flow.request = RequestHead(b"GET", b"/", [], 1000 if counted and not end else None)

    @rule(number=PICK, size=SIZE)
    def download(self, number: int, size: int) -> None:
        flow = self.pick(self.agent, number, answered=True, writable=True)
        if flow is None:
            return
        assert flow.request is not None
        if not self.agent.session.has_room(flow.number):
            return
        if flow.request.body_length == 1000:
            self.agent.send(flow, self.more(self.agent, flow, 1000), end=True)
        else:
            self.agent.send(flow, self.more(self.agent, flow, size), end=size % 2 == 0)

    @rule(number=PICK)
    def local_server_fails(self, number: int) -> None:
        """Before the head it becomes a 502, in a body of known length a body that is too short."""
        flow = self.pick(self.agent, number, gave_up=False, said_end=False)
        if flow is None:
            return
        assert flow.request is not None
        counted = flow.request.body_length == 1000
        if flow.answered and not counted:
            return  # it would end the tunnel; see test_version1.py
        if not flow.answered:
            self.unanswered(flow)
        assert self.agent.reset(flow, "broken", self.pair.now)

    def leave_flow(self, end: End, flow: Flow) -> None:
        if end is self.agent and not flow.said_end and not flow.gave_up:
            if flow.answered:
                assert flow.request is not None
                counted = flow.request.body_length == 1000
                self.agent.send(flow, self.more(end, flow, 1000 if counted else 0), end=True)
            else:
                self.unanswered(flow)
                end.reset(flow, "broken", self.pair.now)
        flow.said_end = True
        super().leave_flow(end, flow)

    def nothing_is_left(self) -> None:
        super().nothing_is_left()
        server: Any = self.server.session
        agent: Any = self.agent.session
        assert (server._answers, server._requests, server._unwanted) == ({}, {}, 0)
        assert (agent._names, agent._counted) == ({}, {})
        for flow in self.server.flows.values():
            if flow.heads:
                assert (flow.heads[-1].status == 502) == (flow.name in self.failed)
            wanted = not (flow.gave_up or flow.broken) and flow.said_end
            if wanted:
                assert flow.ended, "only who leaves, or is told of a break, gets less than all"


TestVersion2 = Peers2.TestCase
TestVersion2.settings = SETTINGS
TestVersion1 = Peers1.TestCase
TestVersion1.settings = SETTINGS
