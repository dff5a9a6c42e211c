"""What both ends of a version 2 session do alike: hello, bodies, credit, resets, pings, the end (SPEC.md, section 4).

A session takes whole messages and gives events, and takes what its owner wants to say and gives whole messages. It
never waits and has no clock: times are passed in. What the peer does wrong leaves as :class:`RemoteProtocolError`, and
as nothing else; then the owner calls :meth:`Session.close` with its code and sends what :meth:`Session.messages` gives.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

from protocol import frames
from protocol.credit import FIRST_WINDOW, MOST_CREDIT, Growth, RoundTrip, Window
from protocol.errors import RemoteProtocolError
from protocol.events import Arrived, Event, GoneAway, Greeted, Hello, Reset
from protocol.frames import MAX_CHUNK
from protocol.heads import MOST_LENGTH
from protocol.lanes import QUEUE, Lanes
from protocol.liveness import SILENCE_SECONDS, Liveness

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.frames import JSON
    from protocol.stream import Stream

MOST_ID: Final = 2**31 - 1
MOST_STREAMS: Final = 256  # a team's browsers on one laptop; with FIRST_WINDOW each it is 16 MiB
HELLO_SECONDS: Final = 10.0  # a round trip and a busy machine
RESET_SECONDS: Final = 60.0  # an end that answers no reset for so long does not know the rule
FLOOD: Final = 4096  # messages that wait to be sent, without data
_TEXT: Final = 500  # characters of a message for logs
_SOFTWARE: Final = 100
_CODE: Final = 100  # characters of one that we do not know
_INFO_ITEMS: Final = 20
_KEPT_HEADERS: Final = 512  # of "data", read once: two a stream, for all streams there may be
_PINGS: Final = 8  # unanswered ones whose times are kept


def local_hello(software: str, info: dict[str, str] | None = None) -> Hello:
    """Our own hello."""
    return Hello(software[:_SOFTWARE], FIRST_WINDOW, MAX_CHUNK, MOST_STREAMS, info or {})


class Session:
    """One end. Its owner calls :meth:`receive` and :meth:`tick`, and sends what :meth:`messages` gives."""

    version: ClassVar[int] = 2

    def __init__(self, hello: Hello, now: float) -> None:
        self.hello: Hello | None = None  # the peer's
        self.last_id = 0  # of the last stream that was opened
        self.closed = False
        self.draining = False  # either end said that it shuts down
        self.lanes = Lanes()
        self.streams: dict[int, Stream] = {}
        self._mine = hello
        self._begun = now
        self._now = now
        self._liveness = Liveness(now)
        self._growth = Growth()
        self._round_trip = RoundTrip()
        self._pings: dict[int, float] = {}
        self._ping = 0
        self._soon: deque[bytes] = deque()  # everything but data
        self._kept: dict[bytes, tuple[int, bool]] = {}
        self._readers: dict[str, Callable[[JSON, bytes, float], Event | None]] = {
            "data": self._on_data,
            "credit": self._on_credit,
            "reset": self._on_reset,
            "ping": self._on_ping,
            "pong": self._on_pong,
            "go_away": self._on_go_away,
        }
        self._say(
            {
                "type": "hello",
                "version": 2,
                "software": hello.software,
                "window": hello.window,
                "maxChunk": hello.max_chunk,
                "maxStreams": hello.max_streams,
                "info": dict(hello.info),
            }
        )

    # Reading

    def heard(self, now: float, count: int) -> None:
        """Bytes came, whatever they are. A flow that begins is measured now, and not at the next tick: windows wait."""
        self._liveness.heard(now, count)
        if self.hello is not None and self._liveness.ping_due(now):
            self._send_ping(now)

    def receive(self, message: bytes, now: float) -> Event | None:
        """Read one message. Raises :class:`RemoteProtocolError`."""
        self._now = now
        header, payload = frames.split(message)
        most = self._mine.max_chunk
        if len(payload) > most:
            raise RemoteProtocolError("too_large", f"a payload of {len(payload)} bytes; at most {most} are taken")
        known = self._kept.get(header)
        if known is not None:
            return self._arrived(known[0], payload, known[1])
        parsed = frames.parse(header)
        kind = parsed.get("type")
        if self.hello is None:
            return self._on_hello(parsed, kind, now)
        reader = self._readers.get(kind) if isinstance(kind, str) else None
        if kind == "hello":
            raise RemoteProtocolError("bad_hello", "there is one hello, and it was said")
        if reader is None:
            raise RemoteProtocolError("unknown_type", "a message of a type that is not known here")
        if kind == "data" and len(header) < 64:
            self._keep(header, parsed)
        event = reader(parsed, payload, now)
        if len(self._soon) > FLOOD:
            raise RemoteProtocolError("flood", f"more than {FLOOD} messages wait that the peer does not read")
        return event

    def receive_text(self, text: str) -> Event | None:
        """Version 2 has no text messages."""
        raise RemoteProtocolError("malformed", "a text message; only binary ones are taken")

    def _keep(self, header: bytes, parsed: JSON) -> None:
        """Heads of data look all alike: each is parsed once."""
        if len(self._kept) >= _KEPT_HEADERS:
            self._kept.clear()
        self._kept[header] = (frames.number(parsed, "id", 1, MOST_ID), frames.flag(parsed, "end"))

    def _on_hello(self, header: JSON, kind: object, now: float) -> Event:
        if kind != "hello":
            raise RemoteProtocolError("bad_hello", "the first message must be a hello")
        bad = "bad_hello"
        frames.number(header, "version", 2, 2, code=bad)
        info = header.get("info", {})
        if not isinstance(info, dict) or not all(isinstance(value, str) for value in info.values()):
            raise RemoteProtocolError(bad, "info must be an object of strings")
        self.hello = Hello(
            frames.text(header, "software", _SOFTWARE, code=bad),
            frames.number(header, "window", MAX_CHUNK, 1024 * 1024, code=bad),
            min(MAX_CHUNK, frames.number(header, "maxChunk", 1024, MOST_LENGTH, code=bad)),
            frames.number(header, "maxStreams", 1, 65_535, code=bad),
            dict(list(info.items())[:_INFO_ITEMS]),
        )
        self.lanes.most_chunk = self.hello.max_chunk
        self._send_ping(now)
        return Greeted(self.hello)

    def _stream(self, header: JSON) -> tuple[int, Stream]:
        """The stream of a message that must be open in the peer's direction."""
        number = frames.number(header, "id", 1, MOST_ID)
        return number, self._open_stream(number)

    def _new_window(self) -> Window:
        return Window(self._growth, self._mine.window)

    def _open_stream(self, number: int) -> Stream:
        stream = self.streams.get(number)
        if stream is None or stream.got_end:
            raise RemoteProtocolError("bad_stream", f"stream {number} is not open")
        return stream

    def _on_data(self, header: JSON, payload: bytes, now: float) -> Event | None:
        return self._arrived(frames.number(header, "id", 1, MOST_ID), payload, frames.flag(header, "end"))

    def _arrived(self, number: int, payload: bytes, end: bool) -> Event | None:
        stream = self._open_stream(number)
        self._check_arrival(stream)
        self._count(stream, payload, end)
        if stream.reset_at is not None or stream.released:  # nobody waits for it any more
            self._settle(number, stream)
            return None
        return Arrived(number, payload, end)

    def _check_arrival(self, stream: Stream) -> None:
        """Whether a body may come now. The ends differ."""

    def _count(self, stream: Stream, payload: bytes, end: bool) -> None:
        """Bytes of a body, or its beginning, have come."""
        size = len(payload)
        stream.window.arrived(size)
        if stream.length is not None:
            stream.length -= size
            if stream.length < 0 or (end and stream.length):
                raise RemoteProtocolError("bad_length", "a body is not as long as its head said")
        if end:
            stream.got_end = True

    def _on_credit(self, header: JSON, payload: bytes, now: float) -> None:
        number = frames.number(header, "id", 1, MOST_ID)
        if number > self.last_id:
            raise RemoteProtocolError("bad_stream", f"stream {number} was never opened")
        self.lanes.give(number, frames.number(header, "bytes", 1, MOST_CREDIT))

    def _on_reset(self, header: JSON, payload: bytes, now: float) -> Event | None:
        number = frames.number(header, "id", 1, MOST_ID)
        if number > self.last_id:
            raise RemoteProtocolError("bad_stream", f"stream {number} was never opened")
        code, message = frames.text(header, "code", _CODE), frames.note(header, "message", _TEXT)
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            return None  # it crossed the end
        ours = stream.reset_at is not None
        if not ours and not stream.sent_end:
            self._say({"type": "reset", "id": number, "code": "closed"})
        stream.got_end = stream.sent_end = True
        self.lanes.drop(number)
        self._settle(number, stream)
        return None if ours else Reset(number, code, message)

    def _on_ping(self, header: JSON, payload: bytes, now: float) -> None:
        self._say({"type": "pong", "token": frames.number(header, "token", 0, MOST_LENGTH)})

    def _on_pong(self, header: JSON, payload: bytes, now: float) -> None:
        sent = self._pings.pop(frames.number(header, "token", 0, MOST_LENGTH), None)
        if sent is not None:
            self._round_trip.measured(now - sent)

    def _on_go_away(self, header: JSON, payload: bytes, now: float) -> Event:
        code, message = frames.text(header, "code", _CODE), frames.note(header, "message", _TEXT)
        self.draining = True
        return GoneAway(code, message)

    # Saying

    def _say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self._soon.append(frames.join(frames.dump(header), payload))

    def _goes_along(self, data: bytes) -> bool:
        """Whether the beginning of a body goes with its head: one chunk, which every window has room for."""
        return len(data) <= self.lanes.most_chunk

    def _say_head(self, number: int, header: bytes, data: bytes, *, end: bool) -> None:
        along = self._goes_along(data)
        self._soon.append(frames.join(header, data if along else b""))
        if not along:
            self.lanes.push(number, data, end=end)
            return
        self.lanes.spend(number, len(data))
        if end:
            self.lanes.drop(number)
            self._sent_end(number)

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Queue a piece of a body, or raw bytes after 101. Nothing happens if the stream was reset meanwhile."""
        stream = self.streams.get(number)
        if stream is None or stream.reset_at is not None or stream.sent_end:
            return
        self.lanes.push(number, data, end=end)

    def has_room(self, number: int) -> bool:
        """Whether more may be queued now; else wait until the stream's number is in ``lanes.lowered``."""
        return self.lanes.queued(number) < QUEUE

    def consumed(self, number: int, count: int, now: float) -> None:
        """The stream's reader took ``count`` bytes of what had arrived."""
        stream = self.streams.get(number)
        if stream is None or stream.got_end or stream.reset_at is not None:
            return  # nothing more comes that credit would be for
        credit = stream.window.taken(count, now, self._round_trip.seconds)
        if credit:
            self._say({"type": "credit", "id": number, "bytes": credit})

    def reset(self, number: int, code: str, message: str, now: float) -> bool:
        """Break a stream off; nothing happens if it is over already. Always true: the wire can say it.

        ``enough`` waits until our own end was sent, if that is queued: the answer is to arrive whole.
        """
        stream = self.streams.get(number)
        if stream is None or stream.closed or stream.reset_at is not None:
            return True
        if code == "enough" and self.lanes.ending(number):
            stream.enough = message
            return True
        self.lanes.drop(number)
        stream.reset_at = self._liveness.counted(now)
        self._say({"type": "reset", "id": number, "code": code, "message": message[:_TEXT]})
        self._settle(number, stream)
        return True

    def release(self, number: int) -> None:
        """The stream's owner is done with it: neither reads nor writes."""
        stream = self.streams.get(number)
        if stream is not None and not stream.released:
            stream.released = True
            self._settle(number, stream)

    def _settle(self, number: int, stream: Stream) -> None:
        """Forget a stream that is closed on the wire and that nobody reads; what it has grown by is for others then."""
        if stream.closed and stream.released:
            stream.window.close()
            self.streams.pop(number, None)

    def shut_down(self, message: str) -> None:
        """Planned end: what is open goes on. The owner calls :meth:`close` later."""
        if not self.draining and not self.closed:
            self.draining = True
            self._say({"type": "go_away", "code": "shutdown", "message": message[:_TEXT]})

    def close(self, code: str, message: str) -> None:
        """End the session; nothing but what is queued beside data goes out any more."""
        announced = code == "shutdown" and self.draining
        if not self.closed and not announced:
            self._say({"type": "go_away", "code": code, "message": message[:_TEXT]})
        self.closed = True

    # Sending

    def messages(self, budget: int) -> list[bytes]:
        """The next messages, ``budget`` bytes or a little more; empty if there is nothing to send now."""
        out: list[bytes] = []
        size = 0
        soon = self._soon
        while soon and size < budget:
            out.append(soon.popleft())
            size += len(out[-1])
        if soon or self.closed:
            return out
        for number, piece, end in self.lanes.next():
            header = b'{"type":"data","id":%d,"end":true}' % number if end else b'{"type":"data","id":%d}' % number
            out.append(frames.join(header, piece))
            if end:
                self._sent_end(number)
            size += len(piece) + len(header)
            if size >= budget:
                break
        return out

    def _sent_end(self, number: int) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            stream.sent_end = True
            if stream.enough is not None:
                self.reset(number, "enough", stream.enough, self._now)
            self._settle(number, stream)

    @property
    def has_messages(self) -> bool:
        """Whether :meth:`messages` has something to give."""
        return bool(self._soon) or (bool(self.lanes) and not self.closed)

    # Time

    def tick(self, now: float) -> None:
        """To be called every second. Raises :class:`RemoteProtocolError` when the peer's time is over."""
        self._now = now
        if self._liveness.tick(now):
            self._judge(now)
        if self.hello is not None and self._liveness.ping_due(now):
            self._send_ping(now)

    def _judge(self, now: float) -> None:
        if self._liveness.silent(now):
            raise RemoteProtocolError("timeout", f"nothing came for {SILENCE_SECONDS:g} s")
        counted = self._liveness.counted(now)
        if self.hello is None and counted - self._begun >= HELLO_SECONDS:
            raise RemoteProtocolError("bad_hello", f"no hello within {HELLO_SECONDS:g} s")
        for number, stream in self.streams.items():
            if stream.reset_at is not None and not stream.got_end and counted - stream.reset_at >= RESET_SECONDS:
                raise RemoteProtocolError("unanswered", f"the reset of stream {number} is not answered")

    def _send_ping(self, now: float) -> None:
        self._ping += 1
        self._pings[self._ping] = now
        self._pings.pop(self._ping - _PINGS, None)
        self._say({"type": "ping", "token": self._ping})

    def wants_websocket_ping(self, now: float) -> bool:
        """Version 2 has pings of its own."""
        return False
