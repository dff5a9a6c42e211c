"""Version 1 of the tunnel's wire as its contract has it, for the stand-ins of both ends: bytes in, meaning out.

Written from the contract alone and sharing nothing with the product, so that the two can contradict each other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

MOST_MESSAGE: Final = 32768  # bytes of one message, in both directions
MOST_CHUNK: Final = 16384  # bytes of body in one frame of an answer
_LENGTH: Final = 4  # bytes of the header's length, big endian

_REQUEST: Final = {"type", "id", "method", "path", "headers"}
_FIRST: Final = {"type", "id", "status", "headers", "done"}
_LATER: Final = {"type", "id", "done"}


class Malformed(Exception):
    """A message is not what the contract says; the text says why."""


@dataclass(frozen=True)
class Frame:
    """One message: its JSON header, and the bytes behind it."""

    header: dict[str, Any]
    payload: bytes = b""

    @property
    def kind(self) -> str:
        """Its ``type``."""
        return str(self.header["type"])


def encode(header: dict[str, Any], payload: bytes | memoryview = b"") -> bytes:
    """The bytes of one message."""
    written = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((len(written).to_bytes(_LENGTH, "big"), written, payload))


def decode(message: str | bytes) -> Frame:
    """Read one message. Raises :class:`Malformed`."""
    if isinstance(message, str):
        raise Malformed("a text message where a binary one was due")
    if len(message) > MOST_MESSAGE:
        raise Malformed(f"a message of {len(message)} bytes, where {MOST_MESSAGE} is the most")
    if len(message) < _LENGTH:
        raise Malformed(f"a message of {len(message)} bytes has no header length")
    end = _LENGTH + int.from_bytes(message[:_LENGTH], "big")
    if end > len(message):
        raise Malformed(f"a header that would end at {end} in a message of {len(message)} bytes")
    try:
        header = json.loads(message[_LENGTH:end].decode())
    except ValueError as error:
        raise Malformed(f"a header that is no JSON: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise Malformed(f"a header that is no object with a type: {header!r}")
    return Frame(header, message[end:])


def check_request(frame: Frame) -> None:
    """What an agent may be sent beside a pong. Raises :class:`Malformed`."""
    _only(frame, _REQUEST)
    for name in ("id", "method", "path"):
        if not isinstance(frame.header[name], str) or not frame.header[name]:
            raise Malformed(f"{name} is {frame.header[name]!r}")
    if not frame.header["path"].startswith("/"):
        raise Malformed(f"path is {frame.header['path']!r}")
    _strings(frame)


def check_stream(frame: Frame, *, first: bool) -> None:
    """A frame of an answer, by itself. Raises :class:`Malformed`."""
    _only(frame, _FIRST if first else _LATER)
    if type(frame.header["done"]) is not bool:
        raise Malformed(f"done is {frame.header['done']!r}")
    if first:
        status = frame.header["status"]
        if type(status) is not int or not 200 <= status <= 599:
            raise Malformed(f"status is {status!r}")
        _strings(frame)
    if len(frame.payload) > MOST_CHUNK:
        raise Malformed(f"{len(frame.payload)} bytes of body in one frame, where {MOST_CHUNK} is the most")
    if frame.header["done"] and frame.payload:
        raise Malformed(f"{len(frame.payload)} bytes of body in the last frame")


def _only(frame: Frame, names: set[str]) -> None:
    if frame.header.keys() != names:
        raise Malformed(f"{frame.kind} has {sorted(frame.header)}, where {sorted(names)} is due")


def _strings(frame: Frame) -> None:
    headers = frame.header["headers"]
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise Malformed(f"headers are {headers!r}, where single strings are due")
