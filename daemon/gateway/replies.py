"""How heads are written to the client, and the gateway's own answers."""

from __future__ import annotations

import json
import re
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.browser_headers import missing
from daemon.gateway.exchange import Reply

if TYPE_CHECKING:
    from daemon.gateway.reading import BadRequest
    from protocol.headers import Headers
    from protocol.messages import ResponseHead

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# RFC 9110, section 5.5: invalid in a head. Some readers refuse the whole answer for one of them.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def reason(status: int) -> bytes:
    """The standard phrase of a status; empty for one without."""
    return _REASONS.get(status, b"")


def head_bytes(status: int, phrase: bytes, headers: Headers, *extra: bytes) -> bytes:
    """A response head. ``extra`` are whole lines without line ends.

    Whatever a sandbox or an agent said, and however it came here, it stays within its own line: a line break in one is
    a bug of ours and a :class:`ValueError`; other control characters become question marks.
    """
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, phrase)]
    lines += [b"%s: %s\r\n" % pair for pair in headers]
    lines += [b"%s\r\n" % line for line in extra]
    lines.append(b"\r\n")
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        raise ValueError("there is a line break within a line of the head")
    return _CONTROL.sub(b"?", head) if _CONTROL.search(head) else head


def informational_bytes(head: ResponseHead) -> bytes:
    """A 1xx head."""
    return head_bytes(head.status, head.reason, head.headers)


def protected(headers: Headers, *, https: bool) -> Headers:
    """The headers of an answer of our own, with those by which browsers keep it apart (daemon.browser_headers)."""
    more = missing({name.decode("latin-1") for name, _ in headers}, https=https)
    return headers + [(name.encode(), value.encode()) for name, value in more]


def reply_bytes(reply: Reply, *, head_only: bool, close: bool, http10: bool = False, https: bool = False) -> bytes:
    """A whole answer of our own. A client of HTTP/1.0 is told even that the connection stays."""
    extra = [b"date: " + formatdate(usegmt=True).encode()]
    if reply.status not in (204, 304):
        extra.append(b"content-length: %d" % len(reply.body))
    if close or http10:
        extra.append(b"connection: close" if close else b"connection: keep-alive")
    head = head_bytes(reply.status, reason(reply.status), protected(reply.headers, https=https), *extra)
    return head if head_only else head + reply.body


def problem(status: int, code: str, detail: str, headers: Headers | None = None) -> Reply:
    """An RFC 9457 problem."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    fixed = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    return Reply(status, fixed + (headers or []), json.dumps(body).encode())


def refusal(error: BadRequest) -> Reply:
    """The answer to a request that we do not take."""
    return problem(error.status, error.code, error.detail)
