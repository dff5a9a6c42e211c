"""What a version 2 session knows of each of its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.credit import Window


class Stream:
    """A stream on the wire. ``length``: bytes of the incoming body that are still to come, if that is known."""

    __slots__ = (
        "answered",
        "bodiless",
        "enough",
        "got_end",
        "interim",
        "length",
        "released",
        "reset_at",
        "sent_end",
        "window",
    )

    def __init__(self, window: Window) -> None:
        self.window = window
        self.length: int | None = None
        self.got_end = False  # the peer's direction has ended
        self.sent_end = False  # ours has, and that was sent
        self.reset_at: float | None = None  # we reset it; in time that counts
        self.enough: str | None = None  # it is to be reset when our end was sent
        self.released = False  # its owner reads nothing of it any more
        self.answered = False  # the final head was sent (agent) or has come (server)
        self.bodiless = False  # the answer to HEAD
        self.interim = 0  # 1xx heads

    @property
    def closed(self) -> bool:
        """Whether nothing more may come."""
        return self.got_end and (self.sent_end or self.reset_at is not None)
