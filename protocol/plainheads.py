"""A short way for plain heads.

Nearly every head is plain: well-formed lines, a known length or no body, nothing to negotiate. One regular expression
recognises such a head, at a third of what h11 needs. Whatever is not plain beyond doubt is *not refused here*: it takes
the long way through h11, which decides. A test holds that both ways agree (tests/gateway/test_plainheads.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.headers import Headers

# RFC 9110, section 5: a token, a colon at once, and a value of visible characters, spaces and tabs. No backtracking.
_FIELD = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n"
_REQUEST = re.compile(rb"([A-Z]{1,20}) (/[\x21-\x7e]*) HTTP/1\.1\r\n((?:" + _FIELD + rb")*)\r\n")
_RESPONSE = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)\r\n((?:" + _FIELD + rb")*)\r\n")
_NUMBER = re.compile(rb"[0-9]{1,18}")
# These change how a message is framed or what may follow it; h11 and reading.py know how.
_NOT_PLAIN = frozenset({b"transfer-encoding", b"expect", b"connection", b"upgrade", b"trailer", b"te"})


@dataclass(slots=True)
class PlainHead:
    """A recognised head: method and target, or status and reason; ``length`` is the declared one."""

    first: bytes
    second: bytes
    headers: Headers
    length: int | None
    size: int


def _fields(block: bytes) -> tuple[Headers, int | None] | None:
    headers: Headers = []
    length: int | None = None
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            continue  # the empty piece behind the last line
        name = name.lower()
        value = value.strip(b" \t")
        if name in _NOT_PLAIN:
            if name == b"connection" and value.lower() == b"keep-alive":
                continue
            return None
        if name == b"content-length":
            if length is not None or not _NUMBER.fullmatch(value):
                return None
            length = int(value)
        headers.append((name, value))
    return headers, length


def _recognise(pattern: re.Pattern[bytes], data: bytes) -> PlainHead | None:
    match = pattern.match(data)
    if match is None:
        return None
    first, second, block = match.groups()
    fields = _fields(block)
    if fields is None:
        return None
    return PlainHead(first, second, fields[0], fields[1], match.end())


def plain_request(head: bytes) -> PlainHead | None:
    """The request head at the start of ``head`` if it is plain; ``None``: ask h11."""
    return _recognise(_REQUEST, head)


def plain_response(data: bytes) -> PlainHead | None:
    """The final response head at the start of ``data`` if it is there whole and plain; ``None``: ask h11."""
    return _recognise(_RESPONSE, data)
