"""A tunnel's session over its WebSocket, with streams that tasks can wait on. Both ends use it.

Whoever owns the socket feeds what it reads and sends what :meth:`Link.outgoing` gives; the two never wait for each
other. Streams are read and written by their own tasks, and none of those touches the socket: one that is cancelled
leaves nothing half sent.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from daemon.wire.streams import LinkBroken, LinkStream
from protocol import websocket
from protocol.errors import AnswerUnfit, RemoteProtocolError, RequestTooLarge
from protocol.events import Answered, Arrived, GoneAway, Greeted, Opened, Reset, Told
from protocol.frames import MAX_MESSAGE, MAX_MESSAGE_V1
from protocol.session import local_hello
from protocol.version1 import AgentSession1, ServerSession1
from protocol.version2 import AgentSession, ServerSession
from protocol.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protocol.events import Event
    from protocol.messages import RequestHead, ResponseHead

    AnySession = ServerSession | AgentSession | ServerSession1 | AgentSession1

# Bytes of one write: several chunks, so that system calls are few; what is handed over cannot be overtaken any more.
WRITE_SIZE: Final = 65_536
# Version 1 knows no credit (SPEC.md, section 3). So much of one answer is kept for a slow reader before its tunnel is
# read no further, and so long it may stop the others.
HELD_V1: Final = 4 * 1024 * 1024
HELD_SECONDS_V1: Final = 10.0
ALL_HELD_V1: Final = 32 * 1024 * 1024  # of all answers together: what version 2 holds at the most
# A peer may fill a read with frames of six bytes, and each costs some 10 µs. Everybody else gets a turn behind so many
# frames, and behind a read that took so long.
FRAMES_AT_ONCE: Final = 256
_LONG_SECONDS: Final = 0.001
_PEACEFUL: Final = frozenset({"shutdown", "replaced", "removed"})


class Link:
    """One tunnel, from its 101 to its end. Made by :class:`ServerLink` and :class:`AgentLink`."""

    def __init__(self, session: AnySession, *, client: bool) -> None:
        self._session = session
        self._codec = WebSocket(client=client, most=MAX_MESSAGE if session.version == 2 else MAX_MESSAGE_V1)
        self.version = session.version
        self.streams: dict[int, LinkStream] = {}
        self.greeted = trio.Event()  # the other end can be talked to
        self.idle = trio.Event()  # no stream is open, and all of them was sent; only kept up to date while draining
        self.over = trio.Event()
        self.parted = trio.Event()  # both ends have said so, or there is nobody who could
        self.failure = LinkBroken("lost", "the tunnel has ended")  # why it is over
        self.on_over: Callable[[], None] | None = None  # called once
        self._farewell: LinkBroken | None = None  # the other end shuts down by plan
        self.on_farewell: Callable[[], None] | None = None  # called when it says so
        self.info: Mapping[str, str] = {}  # what the other end said of itself
        self._pings: list[bytes] = []
        self._wake = trio.Event()
        self._relief: trio.Event | None = None
        self._last_word = False  # the closing frame was given out
        if session.version == 1:
            self.greeted.set()

    # Reading the socket

    async def receive(self, data: bytes) -> None:
        """Take what came, with turns for others in between. Everything that it means has happened when this returns."""
        began = trio.current_time()
        self.feed(data, FRAMES_AT_ONCE)
        while self._codec.behind:
            await trio.lowlevel.checkpoint()
            self.feed(b"", FRAMES_AT_ONCE)
        if trio.current_time() - began >= _LONG_SECONDS:
            await trio.lowlevel.checkpoint()

    def feed(self, data: bytes, most_frames: int = sys.maxsize) -> None:
        """Take what came at once, or so many frames of it."""
        if self.over.is_set():
            self._part(data, most_frames)
            return
        now = trio.current_time()
        self._session.heard(now, len(data))
        try:
            for received in self._codec.feed(data, most_frames):
                self._take(received, now)
                if self.over.is_set():
                    break
        except RemoteProtocolError as error:
            self.end(error.code, str(error))
        self._check_idle()
        self._stir()

    def _part(self, data: bytes = b"", most_frames: int = 0) -> None:
        """Nothing counts any more but the other end's closing frame."""
        if most_frames:
            with suppress(RemoteProtocolError):
                self._codec.feed(data, most_frames)
        if self._codec.closed:
            self.parted.set()

    def _take(self, received: websocket.Received, now: float) -> None:
        if isinstance(received, bytes):
            event = self._session.receive(received, now)
        elif isinstance(received, str):
            event = self._session.receive_text(received)
        else:
            self._finish(LinkBroken("lost", f"the other end closed it: {received.code} {received.reason}".rstrip()))
            return
        if event is not None:
            self._happened(event)

    def _happened(self, event: Event) -> None:
        if isinstance(event, Arrived | Answered | Reset):
            stream = self.streams.get(event.stream)
            if stream is not None:
                self._stream_event(stream, event)
        elif isinstance(event, Opened):
            self._opened(event)
        elif isinstance(event, GoneAway):
            if event.code == "shutdown":
                self._farewell = LinkBroken(event.code, event.message or "the other end shuts down")
                if self.on_farewell is not None:
                    self.on_farewell()
            else:
                self._finish(LinkBroken(event.code, event.message or event.code))
        elif isinstance(event, Greeted):
            self.info = event.hello.info
            self.greeted.set()
        elif isinstance(event, Told):
            self.info = event.info

    @staticmethod
    def _stream_event(stream: LinkStream, event: Arrived | Answered | Reset) -> None:
        if isinstance(event, Answered):
            stream.head_arrived(event.head, event.payload, end=event.end)
        elif isinstance(event, Arrived):
            stream.arrived(event.payload, end=event.end)
        elif event.code == "enough" and stream.ended:
            stream.refuse(LinkBroken(event.code, event.message))
        else:
            stream.fail(LinkBroken(event.code, event.message or event.code))

    def _opened(self, event: Opened) -> None:
        raise NotImplementedError

    # Writing the socket

    def _stir(self) -> None:
        """Wake whoever writes, if there is something to write."""
        if self._pings or self._codec.owed or self._session.has_messages or self.over.is_set():
            self._wake.set()

    async def outgoing(self) -> bytes:
        """The next bytes for the socket; empty when the tunnel is over and its last word was given."""
        while True:
            data = self._collect()
            if data or self.over.is_set():
                return data
            self._wake = trio.Event()
            await self._wake.wait()

    def _collect(self) -> bytes:
        codec = self._codec
        if self._last_word:
            return b""
        out = codec.owed + self._pings
        codec.owed, self._pings = [], []
        if codec.open:
            most = sys.maxsize if self.over.is_set() else WRITE_SIZE  # the last word is heard whole
            out += map(codec.message, self._session.messages(most))
            self._make_room()
            self._check_idle()
        if self.over.is_set():
            self._last_word = True
            out.append(self._closing_frame())
            self._part()
        return b"".join(out)

    def _make_room(self) -> None:
        lowered = self._session.lanes.lowered
        for number in lowered:
            stream = self.streams.get(number)
            if stream is not None:
                stream.room()
        lowered.clear()

    def _closing_frame(self) -> bytes:
        code = self.failure.code
        number = websocket.TOO_LARGE if code == "too_large" else websocket.BROKE_RULE
        return self._codec.close(websocket.NORMAL if code in _PEACEFUL else number, f"{code}: {self.failure}")

    # The end

    def shut_down(self, message: str) -> None:
        """A planned end: no further streams; those that are open go on until :meth:`end`."""
        self._session.shut_down(message)
        self._check_idle()
        self._stir()

    @property
    def draining(self) -> bool:
        """Whether either end said that it shuts down."""
        return self._session.draining

    def end(self, code: str, message: str) -> None:
        """End it now and say why; open streams are broken off."""
        if not self.over.is_set():
            self._session.close(code, message)
            self._finish(LinkBroken(code, message))

    def lost(self, reason: str) -> None:
        """The connection broke; nobody hears a last word."""
        self._last_word = True
        self.parted.set()
        self._finish(LinkBroken("lost", reason))

    def _finish(self, failure: LinkBroken) -> None:
        if self.over.is_set():
            return
        if failure.code == "lost" and self._farewell is not None:
            failure = self._farewell
        self.failure = failure
        self._codec.parting = True
        self.over.set()
        for stream in self.streams.values():
            stream.fail(failure)
        if self._relief is not None:
            self._relief.set()
        self._wake.set()
        if self.on_over is not None:
            self.on_over()

    def _check_idle(self) -> None:
        if self._session.draining and not self.streams and self._session.lanes.empty:
            self.idle.set()

    def tick(self) -> None:
        """To be called every ``TICK_SECONDS``: pings and deadlines."""
        if self.over.is_set():
            return
        now = trio.current_time()
        try:
            self._session.tick(now)
        except RemoteProtocolError as error:
            self.end(error.code, str(error))
        if self._session.wants_websocket_ping(now) and self._codec.open:
            self._pings.append(self._codec.ping())
        self._stir()

    # What streams do (see Carrier)

    def has_room(self, number: int) -> bool:
        """See :class:`~daemon.wire.streams.Carrier`."""
        return self._session.has_room(number)

    def send(self, stream: LinkStream, data: bytes, *, end: bool) -> None:
        """See :class:`~daemon.wire.streams.Carrier`. Raises :class:`LinkBroken`."""
        try:
            self._session.send(stream.number, data, end=end)
        except RequestTooLarge as error:
            stream.fail(LinkBroken("request_too_large", str(error)))
            stream.check()
        self._stir()

    def consumed(self, stream: LinkStream, count: int) -> None:
        """See :class:`~daemon.wire.streams.Carrier`."""
        self._session.consumed(stream.number, count, trio.current_time())
        if self._relief is not None:
            self._relief.set()
        self._stir()

    def reset(self, stream: LinkStream, code: str, message: str) -> None:
        """See :class:`~daemon.wire.streams.Carrier`. Where the wire cannot say it, the whole tunnel ends."""
        if not self._session.reset(stream.number, code, message, trio.current_time()):
            self.end("broken", message)
        stream.fail(LinkBroken(code, message))
        self._stir()

    def release(self, stream: LinkStream) -> None:
        """See :class:`~daemon.wire.streams.Carrier`."""
        self._session.release(stream.number)
        self.streams.pop(stream.number, None)
        if self._relief is not None:
            self._relief.set()
        self._check_idle()
        self._stir()


class ServerLink(Link):
    """The server's end: it opens streams."""

    def __init__(self, version: int, software: str) -> None:
        now = trio.current_time()
        self.session: ServerSession | ServerSession1 = (
            ServerSession(local_hello(software), now) if version == 2 else ServerSession1(now)
        )
        super().__init__(self.session, client=False)

    @property
    def can_open(self) -> bool:
        """Whether another stream can be opened now."""
        return self.session.can_open

    def open(self, head: RequestHead, data: bytes = b"", *, end: bool = False) -> LinkStream:
        """Send a request. Raises :class:`LinkBroken` (``request_too_large``: the agent cannot take it)."""
        if self.over.is_set():
            raise self.failure
        try:
            number = self.session.open(head, data, end=end)
        except RequestTooLarge as error:
            raise LinkBroken("request_too_large", str(error)) from error
        stream = self.streams[number] = LinkStream(self, number)
        stream.said_end = end
        self._stir()
        return stream

    @property
    def crowded(self) -> bool:
        """Version 1: whether readers are so far behind that the tunnel should not be read on."""
        if self.version != 1:
            return False
        held = [stream.held for stream in self.streams.values()]
        return max(held, default=0) > HELD_V1 or sum(held) > ALL_HELD_V1

    async def relieve(self) -> None:
        """Wait until no reader is far behind; those that still are after the deadline are broken off."""
        with trio.move_on_after(HELD_SECONDS_V1):
            while self.crowded and not self.over.is_set():
                self._relief = trio.Event()
                await self._relief.wait()
        self._relief = None
        while self.crowded and not self.over.is_set():
            slowest = max(self.streams.values(), key=lambda stream: stream.held)
            slowest.lose_inbox()
            self.reset(slowest, "broken", f"it was not read for {HELD_SECONDS_V1:g} s")


class AgentLink(Link):
    """The agent's end. ``on_open`` is given every request that comes."""

    def __init__(
        self, version: int, software: str, info: dict[str, str], on_open: Callable[[LinkStream, RequestHead], None]
    ) -> None:
        now = trio.current_time()
        self.session: AgentSession | AgentSession1 = (
            AgentSession(local_hello(software, info), now) if version == 2 else AgentSession1(now)
        )
        self._on_open = on_open
        super().__init__(self.session, client=True)

    def _opened(self, event: Opened) -> None:
        stream = self.streams[event.stream] = LinkStream(self, event.stream)
        stream.arrived(event.payload, end=event.end)
        self._on_open(stream, event.head)

    def answer(self, stream: LinkStream, head: ResponseHead, data: bytes = b"", *, end: bool = False) -> None:
        """Send a response head, with what is there of the body. Raises :class:`LinkBroken`."""
        stream.check()
        try:
            self.session.answer(stream.number, head, data, end=end)
        except AnswerUnfit as error:
            self.reset(stream, "refused", str(error))
            stream.check()
        stream.said_end = end
        self._stir()
