"""How much of a stream its receiver takes (SPEC.md, section 4.3). One :class:`Window` per stream and direction."""

from __future__ import annotations

from typing import Final

from protocol.errors import RemoteProtocolError

FIRST_WINDOW: Final = 65_536  # four chunks: enough for nearly every answer, and 256 of them are 16 MiB
LARGEST_WINDOW: Final = 4 * 1024 * 1024  # 40 MB/s at a round trip of 100 ms
MOST_GROWTH: Final = 16 * 1024 * 1024  # of all windows of a session in one direction: four that are as large as can be
# Credit is given for a quarter of the window, but for so much at the latest: what is owed keeps a long line from being
# full, and a message for eight chunks costs nothing.
MOST_OWED: Final = 131_072
MOST_CREDIT: Final = 2**31 - 1
_ROUND_TRIPS: Final = 2  # half a window within so many: its sender may wait for credit
_SAMPLES: Final = 4  # pings whose greatest counts: one a second while data flows


class RoundTrip:
    """The round trip as the last few pings measured it, queues included. Seconds; 0: not measured yet."""

    __slots__ = ("_samples", "seconds")

    def __init__(self) -> None:
        self._samples: list[float] = []
        self.seconds = 0.0

    def measured(self, seconds: float) -> None:
        """A ping was answered."""
        self._samples = [*self._samples[1 - _SAMPLES :], seconds]
        self.seconds = max(self._samples)


class Growth:
    """What all windows of a session in one direction may still grow by, bytes."""

    __slots__ = ("left",)

    def __init__(self, left: int = MOST_GROWTH) -> None:
        self.left = left


class Window:
    """The receiving side of one direction of a stream: bytes arrive, a reader takes them, credit is given for those."""

    __slots__ = ("_begun", "_first", "_growth", "_half", "_owed", "credit", "size")

    def __init__(self, growth: Growth, first: int = FIRST_WINDOW) -> None:
        self._growth = growth
        self._first = first
        self.size = first
        self.credit = first  # what the peer may still send
        self._owed = 0  # taken, and not given credit for yet
        self._half = 0  # taken since ``_begun``
        self._begun = 0.0

    def arrived(self, count: int) -> None:
        """Bytes came. Raises :class:`RemoteProtocolError` if they were more than the peer had credit for."""
        if count > self.credit:
            raise RemoteProtocolError("no_credit", f"{count} bytes were sent with credit for {self.credit}")
        self.credit -= count

    def taken(self, count: int, now: float, round_trip: float) -> int:
        """A reader took bytes. How much credit to give now; 0: none yet."""
        self._owed += count
        self._half += count
        if self._half * 2 >= self.size:
            self._grow(now, round_trip)
            self._half, self._begun = 0, now
        if self._owed < min(self.size // 4, MOST_OWED):
            return 0
        given, self._owed = self._owed, 0
        self.credit += given
        return given

    def _grow(self, now: float, round_trip: float) -> None:
        if now - self._begun >= _ROUND_TRIPS * round_trip:
            return  # also while the round trip is not known
        more = min(self.size, LARGEST_WINDOW - self.size, self._growth.left)
        self._growth.left -= more
        self.size += more
        self._owed += more

    def close(self) -> None:
        """The direction has ended; what it has grown by is free for others."""
        self._growth.left += self.size - self._first
        self.size = self._first
