"""Two ends of a session over a fake link. The link keeps the order of each direction; all else is the test's to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocol.events import Answered, Arrived, Event, GoneAway, Greeted, Opened, Reset, Told
from protocol.frames import MAX_MESSAGE, MAX_MESSAGE_V1
from protocol.session import local_hello
from protocol.version1 import AgentSession1, ServerSession1
from protocol.version2 import AgentSession, ServerSession
from protocol.websocket import Closed, WebSocket

if TYPE_CHECKING:
    from protocol.messages import RequestHead, ResponseHead
    from protocol.stream import Stream

AnySession = ServerSession | AgentSession | ServerSession1 | AgentSession1

_BLOCK: Final = bytes(place * place % 251 for place in range(250_000))


def content(seed: int, offset: int, size: int) -> bytes:
    """Bytes that tell streams, directions and places apart."""
    begin = (seed * 7919 + offset) % (len(_BLOCK) - 50_000)
    assert size <= 50_000
    return _BLOCK[begin : begin + size]


@dataclass
class Flow:
    """A stream, as the owner of one end sees it."""

    number: int
    request: RequestHead | None = None
    heads: list[ResponseHead] = field(default_factory=list)
    came: bytearray = field(default_factory=bytearray)
    unread: int = 0
    ended: bool = False  # nothing more comes
    broken: str = ""  # the code of the reset that came
    said: bytearray = field(default_factory=bytearray)
    said_end: bool = False
    gave_up: bool = False  # we reset it
    answered: bool = False
    released: bool = False
    name: int = 0  # the number that the server has for it

    @property
    def writable(self) -> bool:
        return not (self.said_end or self.gave_up or self.broken)


class End:
    """One end: session, WebSocket, what is on its way to it, and a record of what it was told."""

    def __init__(self, session: AnySession, *, client: bool) -> None:
        self.session = session
        self.codec = WebSocket(client=client, most=MAX_MESSAGE if session.version == 2 else MAX_MESSAGE_V1)
        self.wire = bytearray()  # on its way to this end
        self.flows: dict[int, Flow] = {}
        self.events: list[Event] = []
        self.messages: list[bytes] = []  # what came
        self.closed: Closed | None = None

    def flush(self, other: End, budget: int = 65_536) -> int:
        """Put the next messages onto the wire; how many bytes."""
        out, self.codec.owed = self.codec.owed, []
        out += [self.codec.message(message) for message in self.session.messages(budget)]
        self.session.lanes.lowered.clear()
        data = b"".join(out)
        other.wire += data
        return len(data)

    def deliver(self, count: int, now: float) -> int:
        """Let bytes arrive; how many there were."""
        data = bytes(self.wire[:count])
        del self.wire[:count]
        if data:
            self.session.heard(now, len(data))
        for received in self.codec.feed(data):
            if isinstance(received, Closed):
                self.closed = received
                continue
            if isinstance(received, bytes):
                self.messages.append(received)
                event = self.session.receive(received, now)
            else:
                event = self.session.receive_text(received)
            if event is not None:
                self._happened(event)
        return len(data)

    def _happened(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Greeted | GoneAway | Told):
            return
        if isinstance(event, Opened):
            assert event.stream not in self.flows
            name = int(self.session._names[event.stream]) if isinstance(self.session, AgentSession1) else event.stream
            self.flows[event.stream] = Flow(event.stream, event.head, name=name)
        flow = self.flows[event.stream]
        assert not flow.released, "nobody waits for that"
        if isinstance(event, Reset):
            flow.broken = event.code
            return
        assert not flow.ended
        assert not flow.broken
        if isinstance(event, Answered):
            flow.heads.append(event.head)
        assert isinstance(event, Opened | Answered | Arrived)
        flow.came += event.payload
        flow.unread += len(event.payload)
        flow.ended = event.end

    @property
    def streams(self) -> dict[int, Stream]:
        """What a version 2 session knows of its streams."""
        assert isinstance(self.session, ServerSession | AgentSession)
        return self.session.streams

    # What owners do

    def send(self, flow: Flow, data: bytes, *, end: bool = False) -> None:
        self.session.send(flow.number, data, end=end)
        flow.said += data
        flow.said_end = end

    def answer(self, flow: Flow, head: ResponseHead, data: bytes = b"", *, end: bool = False) -> None:
        assert isinstance(self.session, AgentSession | AgentSession1)
        self.session.answer(flow.number, head, data, end=end)
        flow.said += data
        flow.said_end = end
        flow.answered = head.status >= 200 or head.status == 101

    def read(self, flow: Flow, count: int, now: float) -> None:
        """As a reader takes bytes."""
        count = min(count, flow.unread)
        flow.unread -= count
        if count:
            self.session.consumed(flow.number, count, now)

    def reset(self, flow: Flow, code: str, now: float) -> bool:
        flow.gave_up = True
        return self.session.reset(flow.number, code, "a test", now)

    def release(self, flow: Flow, now: float) -> None:
        """As an owner leaves: what is not over is broken off."""
        if not (flow.broken or flow.gave_up or (flow.ended and flow.said_end)):
            self.reset(flow, "cancelled", now)
        flow.unread = 0
        flow.released = True
        self.session.release(flow.number)


class Pair:
    """Server and agent."""

    def __init__(self, version: int = 2, now: float = 1000.0) -> None:
        self.now = now
        self.version = version
        if version == 2:
            self.server = End(ServerSession(local_hello("server"), now), client=False)
            self.agent = End(AgentSession(local_hello("agent", {"os": "test"}), now), client=True)
        else:
            self.server = End(ServerSession1(now), client=False)
            self.agent = End(AgentSession1(now), client=True)

    @property
    def ends(self) -> tuple[End, End]:
        return self.server, self.agent

    def other(self, end: End) -> End:
        return self.agent if end is self.server else self.server

    @property
    def next_number(self) -> int:
        """Of the stream that is opened next."""
        assert isinstance(self.server.session, ServerSession | ServerSession1)
        return self.server.session.last_id + 1

    def twin(self, end: End, flow: Flow) -> Flow | None:
        """The same stream at the other end."""
        return next((other for other in self.other(end).flows.values() if other.name == flow.name), None)

    def open(self, head: RequestHead, data: bytes = b"", *, end: bool = False) -> Flow:
        assert isinstance(self.server.session, ServerSession | ServerSession1)
        number = self.server.session.open(head, data, end=end)
        flow = self.server.flows[number] = Flow(number, head, said=bytearray(data), said_end=end, name=number)
        return flow

    def pump(self, *, read: bool = False) -> None:
        """Deliver everything, and what follows from it. ``read``: readers take all that comes."""
        moved = True
        while moved:
            moved = False
            for end in self.ends:
                moved |= bool(end.flush(self.other(end)))
                moved |= bool(self.other(end).deliver(1 << 30, self.now))
                if read:
                    for flow in end.flows.values():
                        moved |= bool(flow.unread)
                        end.read(flow, flow.unread, self.now)

    def tick(self, seconds: float) -> None:
        """Time passes for both."""
        self.now += seconds
        for end in self.ends:
            end.session.tick(self.now)


def greeted() -> Pair:
    """A version 2 pair behind its hellos and first pings."""
    pair = Pair()
    pair.pump()
    assert all(isinstance(end.session, ServerSession | AgentSession) and end.session.hello for end in pair.ends)
    return pair
