"""What streams have to send: each waits in a lane of its own, and lanes take turns, a chunk each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from protocol.credit import MOST_CREDIT
from protocol.errors import RemoteProtocolError
from protocol.frames import MAX_CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

# Above, a stream's source is not read. Two reads of a socket: one is sent while the next comes.
QUEUE: Final = 131_072
UNLIMITED: Final = -1


class _Lane:
    __slots__ = ("chunks", "credit", "ended", "offset", "queued", "waits")

    def __init__(self, credit: int) -> None:
        self.chunks: deque[bytes] = deque()
        self.offset = 0  # of the first chunk: what was sent of it
        self.queued = 0
        self.credit = credit
        self.ended = False
        self.waits = False  # for its turn

    def ready(self) -> bool:
        return (self.queued > 0 and self.credit != 0) or (self.ended and not self.queued)

    def cut(self, most: int) -> bytes:
        """The next piece, at most ``most`` bytes."""
        if not self.queued:
            return b""
        first = self.chunks[0]
        size = min(most, len(first) - self.offset)
        if self.credit != UNLIMITED:
            size = min(size, self.credit)
            self.credit -= size
        piece = first[self.offset : self.offset + size]
        self.offset += size
        self.queued -= size
        if self.offset == len(first):
            self.chunks.popleft()
            self.offset = 0
        return piece


class Lanes:
    """All streams of a session that may have something to send."""

    def __init__(self, most_chunk: int = MAX_CHUNK) -> None:
        self.most_chunk = most_chunk
        self._lanes: dict[int, _Lane] = {}
        self._turns: deque[int] = deque()
        self.lowered: list[int] = []  # streams whose queue has room again; whoever wakes their sources empties it

    def add(self, stream: int, credit: int = UNLIMITED) -> None:
        """A stream that may send ``credit`` bytes."""
        self._lanes[stream] = _Lane(credit)

    def spend(self, stream: int, count: int) -> None:
        """Credit for a payload that goes out beside the lanes, before anything was queued."""
        self._lanes[stream].credit -= count

    def push(self, stream: int, data: bytes, *, end: bool) -> None:
        """Queue bytes, and that nothing follows them."""
        lane = self._lanes[stream]
        if data:
            lane.chunks.append(data)
            lane.queued += len(data)
        lane.ended |= end
        self._line_up(stream, lane)

    def queued(self, stream: int) -> int:
        """Bytes that wait; 0 for a stream that is not known."""
        lane = self._lanes.get(stream)
        return 0 if lane is None else lane.queued

    def ending(self, stream: int) -> bool:
        """Whether all that the stream has to send is queued, with its end."""
        lane = self._lanes.get(stream)
        return lane is not None and lane.ended

    def give(self, stream: int, credit: int) -> None:
        """The receiver takes more. Raises :class:`RemoteProtocolError` if that is more than anybody may give."""
        lane = self._lanes.get(stream)
        if lane is None:
            return  # its direction has ended
        lane.credit += credit
        if lane.credit > MOST_CREDIT:
            raise RemoteProtocolError("no_credit", f"a stream has credit for more than {MOST_CREDIT} bytes")
        self._line_up(stream, lane)

    def drop(self, stream: int) -> None:
        """Forget a stream with all that waits of it."""
        self._lanes.pop(stream, None)

    def __bool__(self) -> bool:
        return bool(self._turns)

    @property
    def empty(self) -> bool:
        """Whether no stream has or may get anything to send."""
        return not self._lanes

    def _line_up(self, stream: int, lane: _Lane) -> None:
        if not lane.waits and lane.ready():
            lane.waits = True
            self._turns.append(stream)

    def next(self) -> Iterator[tuple[int, bytes, bool]]:
        """Stream, piece and whether it is the last; one after the other, as long as somebody may send."""
        while self._turns:
            stream = self._turns.popleft()
            lane = self._lanes.get(stream)
            if lane is None:  # dropped meanwhile
                continue
            lane.waits = False
            if not lane.ready():
                continue
            full = lane.queued >= QUEUE
            piece = lane.cut(self.most_chunk)
            end = lane.ended and not lane.queued
            if end:
                del self._lanes[stream]
            else:
                self._line_up(stream, lane)
            if end or (full and lane.queued < QUEUE):
                self.lowered.append(stream)
            yield stream, piece, end
