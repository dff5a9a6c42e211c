"""The layout that both versions share (SPEC.md, section 2): four bytes of length, a JSON object, the payload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    JSON = Mapping[str, Any]

# SPEC.md, section 2, says why.
MAX_CHUNK: Final = 16_384
MAX_HEADER: Final = 81_920
MAX_MESSAGE: Final = 4 + MAX_HEADER + MAX_CHUNK
MAX_MESSAGE_V1: Final = 32_768
_LENGTH: Final = 4
_LEAST_HEADER: Final = 2  # "{}"


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def dump(header: JSON, errors: str = "replace") -> bytes:
    """A JSON header. What is no Unicode is replaced: it can only be in texts for people."""
    return _ENCODER.encode(header).encode("utf-8", errors)


def join(header: bytes, payload: bytes = b"") -> bytes:
    """A whole message."""
    return b"".join((len(header).to_bytes(_LENGTH, "big"), header, payload))


def split(message: bytes, most_header: int = MAX_HEADER) -> tuple[bytes, bytes]:
    """JSON header and payload of a message. Raises :class:`RemoteProtocolError`, as everything here that reads."""
    if len(message) < _LENGTH:
        raise RemoteProtocolError("malformed", f"a message of {len(message)} bytes has no length")
    size = int.from_bytes(message[:_LENGTH], "big")
    if size > most_header:
        raise RemoteProtocolError("too_large", f"a JSON header of {size} bytes; at most {most_header} are taken")
    if not _LEAST_HEADER <= size <= len(message) - _LENGTH:
        raise RemoteProtocolError("malformed", f"a header length of {size} in a message of {len(message)} bytes")
    end = _LENGTH + size
    return message[_LENGTH:end], message[end:]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def parse(header: bytes) -> dict[str, Any]:
    """The JSON object of a header."""
    try:
        value = _DECODER.decode(header.decode("utf-8"))
        if b"\\u" in header:
            dump(value, errors="strict")  # half a surrogate pair is no Unicode, and whoever prints it fails
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("malformed", f"the header is not JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise RemoteProtocolError("malformed", "the header is not a JSON object")
    return value


# Members


def number(header: JSON, name: str, least: int, most: int, *, code: str = "malformed") -> int:
    """A whole number within bounds."""
    value = header.get(name)
    if type(value) is not int or not least <= value <= most:
        raise RemoteProtocolError(code, f"{name} must be a whole number from {least} to {most}")
    return value


def optional_number(header: JSON, name: str, least: int, most: int) -> int | None:
    """The same, or nothing."""
    return number(header, name, least, most) if name in header else None


def text(header: JSON, name: str, most: int, *, code: str = "malformed") -> str:
    """A string of up to ``most`` characters."""
    value = header.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise RemoteProtocolError(code, f"{name} must be a string of at most {most} characters")
    return value


def note(header: JSON, name: str, most: int) -> str:
    """A text for logs: may be absent, and is cut."""
    value = header.get(name, "")
    if not isinstance(value, str):
        raise RemoteProtocolError("malformed", f"{name} must be a string")
    return value[:most]


def flag(header: JSON, name: str) -> bool:
    """True or false; absent is false."""
    value = header.get(name, False)
    if not isinstance(value, bool):
        raise RemoteProtocolError("malformed", f"{name} must be true or false")
    return value
