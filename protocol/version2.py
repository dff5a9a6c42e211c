"""The two ends of a version 2 session: the server opens streams, the agent answers them (SPEC.md, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol import frames
from protocol.errors import AnswerUnfit, LocalProtocolError, RemoteProtocolError, RequestTooLarge
from protocol.events import Answered, Event, Opened
from protocol.frames import MAX_HEADER
from protocol.heads import (
    BODILESS,
    MOST_LENGTH,
    SWITCHING,
    check_answer,
    read_head,
    read_open,
    write_head,
    write_open,
)
from protocol.session import MOST_ID, MOST_STREAMS, Session
from protocol.stream import Stream

if TYPE_CHECKING:
    from protocol.events import Hello
    from protocol.frames import JSON
    from protocol.messages import RequestHead, ResponseHead

MOST_INTERIM: Final = 16  # the gateway's limit of 1xx answers to one request


class ServerSession(Session):
    """The server's end."""

    def __init__(self, hello: Hello, now: float) -> None:
        super().__init__(hello, now)
        self._readers["head"] = self._on_head

    @property
    def can_open(self) -> bool:
        """Whether the agent takes another stream now."""
        return (
            self.hello is not None
            and not self.draining
            and not self.closed
            and len(self.streams) < min(self.hello.max_streams, MOST_STREAMS)  # an agent may say any number
            and self.last_id < MOST_ID
        )

    def open(self, head: RequestHead, data: bytes = b"", *, end: bool = False) -> int:
        """Open a stream with a request; its number. ``data``: the beginning of the body, all of it with ``end``.

        Raises :class:`RequestTooLarge` if the wire cannot say it; then nothing was opened.
        """
        if not self.can_open or self.hello is None:
            raise LocalProtocolError("no stream can be opened now")
        number = self.last_id + 1
        header = frames.dump(write_open(number, head, end=end and self._goes_along(data)))
        if len(header) > MAX_HEADER or (head.body_length or 0) > MOST_LENGTH:
            raise RequestTooLarge("the request is larger than the tunnel can say")
        self.last_id = number
        stream = self.streams[number] = Stream(self._new_window())
        stream.bodiless = head.method == b"HEAD"
        self.lanes.add(number, self.hello.window)
        self._say_head(number, header, data, end=end)
        return number

    def _on_head(self, header: JSON, payload: bytes, now: float) -> Event | None:
        number, stream = self._stream(header)
        head, end = read_head(header)
        if stream.answered:
            raise RemoteProtocolError("bad_stream", f"stream {number} was answered already")
        self._expect(stream, head, payload, end)
        self._count(stream, payload, end)
        bodiless = stream.bodiless or head.status in BODILESS
        if head.status >= 200 and head.body_length is None and end and not bodiless:
            head.body_length = len(payload)
        if stream.reset_at is not None or stream.released:
            self._settle(number, stream)
            return None
        return Answered(number, head, payload, end)

    @staticmethod
    def _expect(stream: Stream, head: ResponseHead, payload: bytes, end: bool) -> None:
        """What may come with and after a head."""
        if head.status < 200 and head.status != SWITCHING:
            stream.interim += 1
            if payload or stream.interim > MOST_INTERIM:
                raise RemoteProtocolError("bad_stream", "an interim answer has no payload, and there are not many")
            return
        stream.answered = True
        if head.status == SWITCHING:
            return  # whatever the method was: HEAD may ask for another protocol, too
        if stream.bodiless or head.status in BODILESS:
            if payload or not end:
                raise RemoteProtocolError("bad_length", "an answer without a body has one")
        else:
            stream.length = head.body_length

    def _check_arrival(self, stream: Stream) -> None:
        if not stream.answered:
            raise RemoteProtocolError("bad_stream", "a body came before its head")

    def _judge(self, now: float) -> None:
        super()._judge(now)
        if self.last_id >= MOST_ID:
            raise RemoteProtocolError("ids_used_up", f"{MOST_ID} streams were opened; a new session begins anew")


class AgentSession(Session):
    """The agent's end."""

    def __init__(self, hello: Hello, now: float) -> None:
        super().__init__(hello, now)
        self._readers["open"] = self._on_open

    can_open = False

    def _on_open(self, header: JSON, payload: bytes, now: float) -> Event:
        number = frames.number(header, "id", 1, MOST_ID)
        head, end = read_open(header)
        if number != self.last_id + 1:
            raise RemoteProtocolError("bad_stream", f"stream {number} is not the next one")
        if sum(not stream.closed for stream in self.streams.values()) >= self._mine.max_streams:
            raise RemoteProtocolError("too_many_streams", f"more than {self._mine.max_streams} streams are open")
        self.last_id = number
        stream = self.streams[number] = Stream(self._new_window())
        if end and head.body_length is None:
            head.body_length = len(payload)
        if head.upgrade is None:
            stream.length = head.body_length
        assert self.hello is not None  # nothing else is read before
        self.lanes.add(number, self.hello.window)
        self._count(stream, payload, end)
        return Opened(number, head, payload, end)

    def answer(self, number: int, head: ResponseHead, data: bytes = b"", *, end: bool = False) -> None:
        """Send a response head. ``data``: the beginning of the body, all of it with ``end``.

        Nothing happens if the stream was reset meanwhile. Raises :class:`AnswerUnfit`; then nothing was sent.
        """
        stream = self.streams.get(number)
        if stream is None or stream.reset_at is not None or stream.sent_end:
            return
        if stream.answered:
            raise LocalProtocolError(f"stream {number} was answered already")
        check_answer(head)
        header = frames.dump(write_head(number, head, end=end and self._goes_along(data)))
        if len(header) > MAX_HEADER:
            raise AnswerUnfit("the head of the answer is larger than the tunnel can say")
        if head.status >= 200 or head.status == SWITCHING:
            stream.answered = True
        else:
            stream.interim += 1
            if stream.interim > MOST_INTERIM:
                return  # they are hints, and the server takes no more
        self._say_head(number, header, data, end=end)
