"""Heads of requests and responses, as every kind of upstream takes and gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.headers import Headers


@dataclass(slots=True)
class RequestHead:
    """A request towards an upstream. Headers are end-to-end ones; framing is in ``body_length`` and ``upgrade``."""

    method: bytes
    target: bytes
    headers: Headers
    body_length: int | None = 0  # bytes; None: not known beforehand
    upgrade: bytes | None = None  # value of the Upgrade header, if the connection may switch


@dataclass(slots=True)
class ResponseHead:
    """A response head from an upstream: 1xx or final. ``body_length`` as in :class:`RequestHead`."""

    status: int
    reason: bytes
    headers: Headers
    body_length: int | None = 0
    upgrade: bytes | None = None  # with status 101
