"""Heads of requests and responses as JSON: written and read, for both versions (SPEC.md, sections 3 and 4.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import AnswerUnfit, RemoteProtocolError
from protocol.frames import flag, number, optional_number
from protocol.headers import end_to_end
from protocol.messages import RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.frames import JSON
    from protocol.headers import Headers

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(r"(?:/[!-~]*|\*)")
_UNSAFE: Final = re.compile(r"[\r\n]")
MOST_LENGTH: Final = 2**53 - 1  # what every JSON reader keeps exact; 16 digits
MAX_TARGET: Final = 16_384  # the gateway's limit
BODILESS: Final = frozenset({204, 304})
SWITCHING: Final = 101


def _bad(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("malformed", what)


@lru_cache(maxsize=1024)  # the same few names come with every message
def _name(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise _bad("a header name is not a token in lower case")
    return name.encode("ascii")


def _values(values: list[str]) -> list[bytes]:
    """All header values at once: one look for what must not be in any of them."""
    try:
        joined = "\0".join(values)
        if _UNSAFE.search(joined) or joined.count("\0") != max(0, len(values) - 1):
            raise _bad("a header value contains CR, LF or NUL")
        return [value.encode("latin-1") for value in values]
    except (TypeError, UnicodeEncodeError):
        raise _bad("a header value must be a string of characters up to U+00FF") from None


def _text(value: object, what: str, pattern: re.Pattern[str]) -> bytes:
    if not isinstance(value, str) or not pattern.fullmatch(value) or not value.isascii():
        raise _bad(f"{what} is malformed")
    return value.encode("ascii")


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def check_answer(head: ResponseHead) -> None:
    """What a local server may say and the wire cannot. Raises :class:`AnswerUnfit`."""
    if not 100 <= head.status <= 599:
        raise AnswerUnfit(f"the answer has status {head.status}")
    if (head.body_length or 0) > MOST_LENGTH:
        raise AnswerUnfit(f"the answer has a length of more than {MOST_LENGTH} bytes")


# Version 2


def _listed(header: JSON) -> Headers:
    listed = header.get("headers")
    if not isinstance(listed, list):
        raise _bad("headers must be a list")
    names: list[str] = []
    values: list[str] = []
    for pair in listed:
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str:
            raise _bad("a header must be a list of name and value")
        names.append(pair[0])
        values.append(pair[1])
    return list(zip(map(_name, names), _values(values), strict=True))


def _one_value(header: JSON, name: str) -> bytes | None:
    return _values([header[name]])[0] if name in header else None


def write_open(stream: int, head: RequestHead, *, end: bool) -> dict[str, Any]:
    """The JSON of ``open``."""
    out: dict[str, Any] = {
        "type": "open",
        "id": stream,
        "method": head.method.decode("ascii"),
        "path": head.target.decode("ascii"),
        "headers": _pairs(head.headers),
    }
    if head.upgrade is not None:
        out["upgrade"] = head.upgrade.decode("latin-1")
    elif head.body_length:
        out["length"] = head.body_length
    if end:
        out["end"] = True
    return out


def read_open(header: JSON) -> tuple[RequestHead, bool]:
    """The head, and whether the request is complete with it. Raises :class:`RemoteProtocolError`."""
    method = _text(header.get("method"), "method", _TOKEN)
    if method in (b"CONNECT", b"TRACE"):
        raise _bad(f"method {method.decode()} is not carried")
    target = _text(header.get("path"), "path", _TARGET)
    if len(target) > MAX_TARGET:
        raise RemoteProtocolError("too_large", f"path is longer than {MAX_TARGET} characters")
    end = flag(header, "end")
    length = optional_number(header, "length", 0, MOST_LENGTH)
    upgrade = _one_value(header, "upgrade")
    if upgrade is not None and (end or length is not None):
        raise _bad("what may switch protocols has no body and no end")
    return RequestHead(method, target, end_to_end(_listed(header)), 0 if upgrade is not None else length, upgrade), end


def write_head(stream: int, head: ResponseHead, *, end: bool) -> dict[str, Any]:
    """The JSON of ``head``."""
    out: dict[str, Any] = {"type": "head", "id": stream, "status": head.status}
    if head.reason:
        out["reason"] = head.reason.decode("latin-1")
    out["headers"] = _pairs(head.headers)
    if head.upgrade is not None:
        out["upgrade"] = head.upgrade.decode("latin-1")
    elif head.body_length is not None and head.status >= 200:
        out["length"] = head.body_length
    if end:
        out["end"] = True
    return out


def read_head(header: JSON) -> tuple[ResponseHead, bool]:
    """The head, and whether the answer is complete with it. Raises :class:`RemoteProtocolError`."""
    status = number(header, "status", 100, 599)
    end = flag(header, "end")
    upgrade = _one_value(header, "upgrade")
    length = optional_number(header, "length", 0, MOST_LENGTH)
    if (upgrade is not None) != (status == SWITCHING):
        raise _bad("upgrade belongs to status 101, and 101 to upgrade")
    if status < 200 and (end or length is not None):
        raise _bad("an interim answer has no body and is no end")
    reason = _one_value(header, "reason") or b""
    return ResponseHead(status, reason, end_to_end(_listed(header)), 0 if status < 200 else length, upgrade), end


# Version 1


def _mapped(header: JSON) -> Headers:
    mapped = header.get("headers", {})
    if not isinstance(mapped, dict):
        raise _bad("headers must be an object")
    names = [_name(name.lower()) for name in mapped]
    return list(zip(names, _values(list(mapped.values())), strict=True))


@lru_cache(maxsize=1024)
def _written(name: bytes) -> str:
    """``Content-Type``: as in the examples of version 1, because simple peers look for just that."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))


def single(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers of which each may stand once only. Of ``Set-Cookie``, which cannot be joined, the last stays."""
    out: dict[str, str] = {}
    for name, value in headers:
        key, text = _written(name), value.decode("latin-1")
        if key in out and name != b"set-cookie":
            text = out[key] + ("; " if name == b"cookie" else ", ") + text
        out[key] = text
    return out


def read_request_v1(header: JSON, body: bytes) -> RequestHead:
    """The head of a version 1 request. Raises :class:`RemoteProtocolError`."""
    method = _text(header.get("method"), "method", _TOKEN)
    if method in (b"CONNECT", b"TRACE"):
        raise _bad(f"method {method.decode()} is not carried")
    target = _text(header.get("path"), "path", _TARGET)
    return RequestHead(method, target, end_to_end(_mapped(header)), len(body))


def read_stream_v1(header: JSON) -> ResponseHead:
    """The head in the first message of a version 1 answer. ``body_length`` is what its ``Content-Length`` says."""
    status = number(header, "status", 200, 599)
    headers = _mapped(header)
    length: int | None = None
    for name, value in headers:
        if name == b"content-length":
            text = value.strip()
            if not text.isdigit() or len(text) > 16:
                raise _bad("Content-Length is not a number")
            length = int(text)
    return ResponseHead(status, b"", end_to_end(headers), length)
