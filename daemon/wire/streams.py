"""One stream of a tunnel, as its tasks see it: something to read, something to write, and how it ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import trio

from daemon.wire.exchange import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.messages import ResponseHead


# Bytes of the 1xx heads of one answer, each field with a hundred for its objects; what goes beyond them is left out, as
# a hint may be. There is no credit for heads, and their reader may wait for a client.
MOST_HINTS: Final = 65_536
_FIELD: Final = 100


class LinkBroken(UpstreamError):
    """The stream, or the whole tunnel, broke off.

    ``code`` is one of SPEC.md's, or ``"lost"``: the connection broke, or ``"request_too_large"``: it cannot be said.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Carrier(Protocol):
    """The link under a stream."""

    def has_room(self, number: int) -> bool:
        """Whether more may be queued now."""
        ...

    def send(self, stream: LinkStream, data: bytes, *, end: bool) -> None:
        """Queue a piece."""
        ...

    def consumed(self, stream: LinkStream, count: int) -> None:
        """Bytes were taken from the inbox."""
        ...

    def reset(self, stream: LinkStream, code: str, message: str) -> None:
        """Break the stream off."""
        ...

    def release(self, stream: LinkStream) -> None:
        """Nobody uses the stream any more."""
        ...


class LinkStream:
    """One stream. One task may read while another writes."""

    __slots__ = (
        "_failure",
        "_heads",
        "_hints",
        "_inbox",
        "_link",
        "_readable",
        "_refused",
        "_sendable",
        "ended",
        "held",
        "number",
        "on_failure",
        "said_end",
    )

    def __init__(self, link: Carrier, number: int) -> None:
        self._link = link
        self.number = number
        self._heads: deque[ResponseHead] = deque()
        self._hints = 0  # what came of MOST_HINTS
        self._inbox: deque[bytes] = deque()
        self._readable: trio.Event | None = None  # somebody waits for something to come
        self._sendable: trio.Event | None = None  # somebody waits for room
        self._failure: LinkBroken | None = None
        self._refused: LinkBroken | None = None  # the peer wants no more; what it says goes on
        self.said_end = False  # nothing more comes from us
        self.on_failure: Callable[[], None] | None = None  # whoever waits for something else can be told, too
        self.held = 0  # bytes that came and were not taken
        self.ended = False  # the peer's direction is complete; some of it may still be in the inbox

    # What the link tells

    def arrived(self, data: bytes, *, end: bool) -> None:
        """A piece came."""
        if data:
            self._inbox.append(data)
            self.held += len(data)
        self.ended |= end
        self._wake_reader()

    def head_arrived(self, head: ResponseHead, data: bytes, *, end: bool) -> None:
        """A head came, with the beginning of its body."""
        if head.status < 200 and head.upgrade is None:
            self._hints += sum(len(name) + len(value) + _FIELD for name, value in head.headers)
            if self._hints > MOST_HINTS:
                return
        self._heads.append(head)
        self.arrived(data, end=end)

    def fail(self, failure: LinkBroken) -> None:
        """Nothing more comes or goes. What came is still read, but for its end."""
        if self._failure is None:
            self._failure = failure
            self._wake_reader()
            self.room()
            if self.on_failure is not None:
                self.on_failure()

    def refuse(self, failure: LinkBroken) -> None:
        """The peer takes no more."""
        self._refused = failure
        self.room()

    def room(self) -> None:
        """More may be sent."""
        if self._sendable is not None:
            self._sendable.set()

    def drop_inbox(self) -> None:
        """What came is not wanted any more."""
        self._inbox.clear()
        self.held = 0

    def lose_inbox(self) -> None:
        """What came is gone; so is the end that may have come behind it."""
        self.drop_inbox()
        self.ended = False

    def _wake_reader(self) -> None:
        if self._readable is not None:
            self._readable.set()

    # Reading

    async def _wait(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._readable = trio.Event()
        try:
            await self._readable.wait()
        finally:
            self._readable = None

    async def receive_head(self) -> ResponseHead:
        """The next head. Raises :class:`LinkBroken`."""
        while not self._heads:
            await self._wait()
        return self._heads.popleft()

    def receive_nowait(self) -> bytes:
        """Everything that is here; empty if nothing is."""
        if not self._inbox:
            return b""
        data = self._inbox[0] if len(self._inbox) == 1 else b"".join(self._inbox)
        self.drop_inbox()
        self._link.consumed(self, len(data))
        return data

    async def receive(self) -> bytes:
        """What is here, at least a byte; empty at the end. Raises :class:`LinkBroken`."""
        while not self._inbox:
            if self.ended:
                return b""
            await self._wait()
        return self.receive_nowait()

    @property
    def drained(self) -> bool:
        """Whether all that will ever come was taken."""
        return self.ended and not self._inbox

    # Writing

    def check(self) -> None:
        """Raises :class:`LinkBroken` if nothing can be sent any more."""
        failure = self._failure or self._refused
        if failure is not None:
            raise failure

    async def send(self, data: bytes) -> None:
        """Queue a piece, when there is room. Raises :class:`LinkBroken`."""
        self.check()
        while not self._link.has_room(self.number):
            self._sendable = trio.Event()
            try:
                await self._sendable.wait()
            finally:
                self._sendable = None
            self.check()
        self._link.send(self, data, end=False)

    def send_end(self, data: bytes = b"") -> None:
        """The last piece. Raises :class:`LinkBroken`."""
        self.check()
        self.said_end = True
        self._link.send(self, data, end=True)

    def reset(self, code: str, message: str) -> None:
        """Break it off, if it is not over already."""
        if self._failure is None and not (self.ended and self.said_end):
            self._link.reset(self, code, message)

    def close(self) -> None:
        """We are done with it; what of it is not over is broken off."""
        self.reset("cancelled", "nobody waits for it any more")
        self.drop_inbox()
        self._link.release(self)
