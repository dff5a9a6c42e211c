"""Version 1 sessions (SPEC.md, section 3), with the face of version 2: no credit, no cancel, no error end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

from protocol import frames
from protocol.errors import AnswerUnfit, LocalProtocolError, RemoteProtocolError, RequestTooLarge
from protocol.events import Answered, Arrived, Event, Opened, Reset, Told
from protocol.frames import MAX_CHUNK, MAX_MESSAGE_V1
from protocol.heads import BODILESS, check_answer, read_request_v1, read_stream_v1, single
from protocol.lanes import QUEUE, Lanes
from protocol.liveness import PING_SECONDS, SILENCE_SECONDS, Liveness
from protocol.messages import ResponseHead
from protocol.session import FLOOD, MOST_STREAMS

if TYPE_CHECKING:
    from protocol.messages import RequestHead

_MOST_HEADER: Final = MAX_MESSAGE_V1 - 4
_MOST_ID: Final = 100  # characters of an id that a server chose
_INFO_ITEMS: Final = 20
# Answers that nobody waits for and that an older agent goes on with: it cannot be told. Each may cost it a connection,
# so that some day a new session is better, which ends them all.
MOST_UNWANTED: Final = 1024


class _Version1:
    """What both ends do alike."""

    version: ClassVar[int] = 1

    def __init__(self, now: float) -> None:
        self.closed = False
        self.draining = False
        self.lanes = Lanes()
        self._soon: deque[bytes] = deque()
        self._liveness = Liveness(now)

    def heard(self, now: float, count: int) -> None:
        """Bytes came, WebSocket pongs too."""
        self._liveness.heard(now, count)

    def has_room(self, number: int) -> bool:
        """Whether more of a body may be queued now."""
        return self.lanes.queued(number) < QUEUE

    def consumed(self, number: int, count: int, now: float) -> None:
        """There is no credit to give."""

    def _say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self._soon.append(frames.join(frames.dump(header), payload))

    def _parsed(self, message: bytes) -> tuple[dict[str, Any], bytes]:
        if len(self._soon) > FLOOD:
            raise RemoteProtocolError("flood", f"more than {FLOOD} messages wait that the peer does not read")
        if len(message) > MAX_MESSAGE_V1:
            raise RemoteProtocolError("too_large", f"a message is larger than {MAX_MESSAGE_V1} bytes")
        header, payload = frames.split(message, _MOST_HEADER)
        return frames.parse(header), payload

    def shut_down(self, message: str) -> None:
        """Planned end: no new requests. The peer cannot be told."""
        self.draining = True

    def close(self, code: str, message: str) -> None:
        """The reason stands in the closing frame."""
        self.closed = True

    def messages(self, budget: int) -> list[bytes]:
        """The next messages, ``budget`` bytes or a little more."""
        out: list[bytes] = []
        size = 0
        while self._soon and size < budget:
            out.append(self._soon.popleft())
            size += len(out[-1])
        if self._soon or self.closed:
            return out
        for number, piece, end in self.lanes.next():
            out += self._pieces(number, piece, end)
            size += len(piece)
            if size >= budget:
                break
        return out

    def _pieces(self, number: int, piece: bytes, end: bool) -> list[bytes]:
        raise NotImplementedError

    @property
    def has_messages(self) -> bool:
        """Whether :meth:`messages` has something to give."""
        return bool(self._soon) or (bool(self.lanes) and not self.closed)

    def tick(self, now: float) -> None:
        """To be called every second. Raises :class:`RemoteProtocolError` when the peer's time is over."""
        if self._liveness.tick(now) and self._liveness.silent(now):
            raise RemoteProtocolError("timeout", f"nothing came for {SILENCE_SECONDS:g} s")


class _Answer:
    """An answer that is coming in."""

    __slots__ = ("begun", "bodiless", "dropped", "left")

    def __init__(self, *, bodiless: bool) -> None:
        self.begun = False
        self.bodiless = bodiless
        self.dropped = False  # nobody waits for it any more
        self.left: int | None = None


class ServerSession1(_Version1):
    """The server's end. A request is sent when its body is complete."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.last_id = 0
        self._answers: dict[int, _Answer] = {}
        self._requests: dict[int, tuple[bytes, bytearray]] = {}  # JSON header and body of those not sent yet
        self._unwanted = 0  # answers that are dropped
        self._pinged = now

    @property
    def can_open(self) -> bool:
        """Whether another request may be made."""
        return not self.draining and not self.closed and len(self._answers) - self._unwanted < MOST_STREAMS

    def open(self, head: RequestHead, data: bytes = b"", *, end: bool = False) -> int:
        """Begin a request. Raises :class:`RequestTooLarge` if it cannot fit; then nothing has begun."""
        if not self.can_open:
            raise LocalProtocolError("no request can be made now")
        number = self.last_id + 1
        header = frames.dump(
            {
                "type": "request",
                "id": str(number),
                "method": head.method.decode("ascii"),
                "path": head.target.decode("ascii"),
                "headers": single(head.headers),
            }
        )
        self._check_size(header, max(len(data), head.body_length or 0))
        self.last_id = number
        self._answers[number] = _Answer(bodiless=head.method == b"HEAD")
        self._requests[number] = (header, bytearray())
        self.send(number, data, end=end)
        return number

    @staticmethod
    def _check_size(header: bytes, body: int) -> None:
        if 4 + len(header) + body > MAX_MESSAGE_V1:
            raise RequestTooLarge(f"the request does not fit into {MAX_MESSAGE_V1} bytes")

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Add to a request's body. Raises :class:`RequestTooLarge`; then the request is over and was never sent."""
        request = self._requests.get(number)
        if request is None:
            return
        header, body = request
        body += data
        try:
            self._check_size(header, len(body))
        except RequestTooLarge:
            del self._requests[number], self._answers[number]
            raise
        if end:
            del self._requests[number]
            self._soon.append(frames.join(header, bytes(body)))

    def receive(self, message: bytes, now: float) -> Event | None:
        """Read one message. Raises :class:`RemoteProtocolError`."""
        header, payload = self._parsed(message)
        kind = header.get("type")
        if kind == "ping":
            self._say({"type": "pong"})
            return None
        if kind != "stream":
            raise RemoteProtocolError("unknown_type", "a message of a type that version 1 does not have")
        return self._on_stream(header, payload)

    def _on_stream(self, header: dict[str, Any], payload: bytes) -> Event | None:
        name = frames.text(header, "id", _MOST_ID)
        number = int(name) if name.isascii() and name.isdigit() and len(name) <= 16 else 0
        answer = self._answers.get(number)
        if answer is None or number in self._requests or str(number) != name:
            raise RemoteProtocolError("bad_stream", "an answer to a request that is not open")
        done = frames.flag(header, "done")
        if len(payload) > MAX_CHUNK:
            raise RemoteProtocolError("too_large", f"a payload of {len(payload)} bytes; at most {MAX_CHUNK} are taken")
        if done and payload:
            raise RemoteProtocolError("malformed", "the last message of an answer has no payload")
        if answer.begun == ("status" in header or "headers" in header):
            raise RemoteProtocolError("bad_stream", "status and headers belong to the first message of an answer")
        head = None if answer.begun else read_stream_v1(header)
        if head is not None:
            self._begin(answer, head, done=done)
        if answer.left is not None:
            answer.left -= len(payload)
            if answer.left < 0 or (done and answer.left):
                answer.left = None
                return self._broken(number, answer, done=done)
        if done:
            self._forget(number)
        if answer.dropped:
            return None
        return Arrived(number, payload, done) if head is None else Answered(number, head, payload, done)

    @staticmethod
    def _begin(answer: _Answer, head: ResponseHead, *, done: bool) -> None:
        answer.begun = True
        if answer.bodiless or head.status in BODILESS:
            answer.left = 0
        elif done and head.body_length is None:
            head.body_length = 0
        else:
            answer.left = head.body_length

    def _broken(self, number: int, answer: _Answer, *, done: bool) -> Event | None:
        """A body that is not as long as it said: only this answer is spoilt."""
        told = answer.dropped
        self._drop(answer)
        if done:
            self._forget(number)
        return None if told else Reset(number, "broken", "the body is not as long as Content-Length said")

    def _drop(self, answer: _Answer) -> None:
        if not answer.dropped:
            answer.dropped = True
            self._unwanted += 1

    def _forget(self, number: int) -> None:
        self._unwanted -= self._answers.pop(number).dropped

    def receive_text(self, text: str) -> Event | None:
        """``agent_info``. Raises :class:`RemoteProtocolError` for everything else."""
        header = frames.parse(text.encode("utf-8", "replace"))
        data = header.get("data")
        if header.get("type") != "agent_info" or not isinstance(data, dict):
            raise RemoteProtocolError("malformed", "a text message that is no agent_info")
        items = [(key, value) for key, value in data.items() if isinstance(value, str | int | float)]
        return Told({key: str(value) for key, value in items[:_INFO_ITEMS]})

    def reset(self, number: int, code: str, message: str, now: float) -> bool:
        """Lose interest: what still comes of the answer is dropped."""
        if self._requests.pop(number, None) is not None:
            self._answers.pop(number, None)
        answer = self._answers.get(number)
        if answer is not None:
            self._drop(answer)
        return True

    def tick(self, now: float) -> None:
        """See :class:`_Version1`."""
        super().tick(now)
        if self._unwanted > MOST_UNWANTED:
            raise RemoteProtocolError("too_many_streams", f"more than {MOST_UNWANTED} answers come that nobody wants")

    def release(self, number: int) -> None:
        """The answer's owner is done with it."""
        self.reset(number, "", "", 0.0)

    def wants_websocket_ping(self, now: float) -> bool:
        """Older agents answer WebSocket pings, and know no others."""
        if now - self._pinged < PING_SECONDS:
            return False
        self._pinged = now
        return True


class AgentSession1(_Version1):
    """The agent's end, for servers that are older than this agent."""

    can_open = False

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self._names: dict[int, str] = {}
        self._counted: dict[int, bool] = {}  # those that were answered: whether the length of the body was told
        self._last = 0
        self._pinged = now

    def receive(self, message: bytes, now: float) -> Event | None:
        """Read one message. Raises :class:`RemoteProtocolError`."""
        header, payload = self._parsed(message)
        kind = header.get("type")
        if kind == "pong":
            return None
        if kind != "request":
            raise RemoteProtocolError("unknown_type", "a message of a type that version 1 does not have")
        name = frames.text(header, "id", _MOST_ID)
        if name in self._names.values():
            raise RemoteProtocolError("bad_stream", "a request with the id of one that is open")
        if len(self._names) >= MOST_UNWANTED:  # tabs that were closed, too: the server cannot tell us
            raise RemoteProtocolError("too_many_streams", f"more than {MOST_UNWANTED} requests are open")
        head = read_request_v1(header, payload)
        self._last += 1
        self._names[self._last] = name
        self.lanes.add(self._last)
        return Opened(self._last, head, payload, True)

    def receive_text(self, text: str) -> Event | None:
        """Servers send no text."""
        raise RemoteProtocolError("malformed", "a text message; only binary ones are taken")

    def answer(self, number: int, head: ResponseHead, data: bytes = b"", *, end: bool = False) -> None:
        """Send the final response head; interim ones cannot be told. Raises :class:`AnswerUnfit`; nothing was sent."""
        name = self._names.get(number)
        if name is None or head.status < 200:
            return
        check_answer(head)
        headers = single(head.headers)
        if head.body_length is not None:
            headers["Content-Length"] = str(head.body_length)
        done = end and not data
        header = frames.dump(
            {"type": "stream", "id": name, "status": head.status, "headers": headers, "done": done},
        )
        if len(header) > _MOST_HEADER:
            raise AnswerUnfit("the head of the answer is larger than version 1 of the tunnel can say")
        self._soon.append(frames.join(header))
        self._counted[number] = head.body_length is not None
        if done:
            self._forget(number)
        elif data or end:
            self.lanes.push(number, data, end=end)

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Queue a piece of a body."""
        if number in self._names:
            self.lanes.push(number, data, end=end)

    def _pieces(self, number: int, piece: bytes, end: bool) -> list[bytes]:
        name = self._names[number]
        out = []
        if piece:
            out.append(frames.join(frames.dump({"type": "stream", "id": name, "done": False}), piece))
        if end:
            out.append(frames.join(frames.dump({"type": "stream", "id": name, "done": True})))
            self._forget(number)
        return out

    def _forget(self, number: int) -> None:
        self._names.pop(number, None)
        self._counted.pop(number, None)
        self.lanes.drop(number)

    def reset(self, number: int, code: str, message: str, now: float) -> bool:
        """Give up. There is no error end, so: before the head 502; a body of known length stops short of it.

        False: an answer whose length nobody knows would look whole; the session has to end.
        """
        counted = self._counted.get(number)
        if counted is None:
            text = f"The local server did not answer: {message}\n".encode()
            head = ResponseHead(502, b"", [(b"content-type", b"text/plain; charset=utf-8")], len(text))
            self.answer(number, head, text, end=True)
        elif counted:
            self.lanes.drop(number)
            self.lanes.add(number)
            self.lanes.push(number, b"", end=True)
        return bool(counted) or counted is None

    def release(self, number: int) -> None:
        """The request's owner is done with it; what it has queued still goes out."""

    def wants_websocket_ping(self, now: float) -> bool:
        """Keeps load balancers from cutting: an older server may not ping by itself."""
        if now - self._pinged < PING_SECONDS:
            return False
        self._pinged = now
        return True
