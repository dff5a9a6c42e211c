"""What a session tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.messages import RequestHead, ResponseHead


@dataclass(frozen=True, slots=True)
class Hello:
    """What an end says of itself at the beginning (SPEC.md, section 4.1). ``info`` is the agent's machine."""

    software: str
    window: int
    max_chunk: int
    max_streams: int
    info: Mapping[str, str]


@dataclass(slots=True)
class Greeted:
    """The peer's hello has come."""

    hello: Hello


@dataclass(slots=True)
class Opened:
    """A request has come (agent). ``payload`` is the beginning of its body, all of it with ``end``."""

    stream: int
    head: RequestHead
    payload: bytes
    end: bool


@dataclass(slots=True)
class Answered:
    """A response head has come (server), interim or final. ``payload`` and ``end`` as in :class:`Opened`."""

    stream: int
    head: ResponseHead
    payload: bytes
    end: bool


@dataclass(slots=True)
class Arrived:
    """A piece of a body, or raw bytes after 101. Whoever takes them calls ``consumed``."""

    stream: int
    payload: bytes
    end: bool


@dataclass(slots=True)
class Reset:
    """The peer broke the stream off; both directions are over."""

    stream: int
    code: str
    message: str


@dataclass(slots=True)
class GoneAway:
    """The peer ends the session. After ``shutdown`` open streams go on."""

    code: str
    message: str


@dataclass(slots=True)
class Told:
    """A version 1 agent told something of its machine."""

    info: Mapping[str, str]


Event = Greeted | Opened | Answered | Arrived | Reset | GoneAway | Told
