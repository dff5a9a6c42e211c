"""Reading requests: bytes in, :class:`Head` and body pieces out; no clock, no socket.

h11 parses. What h11 tolerates and we do not is refused before it: bare LF, folded lines, several ``Content-Length``,
``Content-Length`` beside ``Transfer-Encoding``. The only exception that leaves this module is :class:`BadRequest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from daemon.gateway import limits
from daemon.gateway.router import parse_host
from daemon.wire.limits import MAX_HEAD
from protocol.headers import Headers, tokens
from protocol.plainheads import PlainHead, plain_request


class BadRequest(Exception):
    """The client's bytes are not a request that we take. ``status`` and ``code`` are for the answer."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Head:
    """A checked request head. ``body_length`` is ``None`` for chunked; ``keep_alive``: the client allows another."""

    method: bytes
    target: bytes
    headers: Headers
    host: str
    body_length: int | None
    http10: bool
    keep_alive: bool
    expects_continue: bool
    upgrade: bytes | None


_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)")
_FOLDED = re.compile(rb"\r\n[ \t]")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_TRANSFER = b"\r\ntransfer-encoding:"
_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIRST_BYTE = re.compile(_TOKEN + rb"|\r(?!.)|\r\n", re.DOTALL)  # the CR may be the first half of an empty line
_FIRST_LINE = re.compile(_TOKEN + rb"+ [\x21-\x7e]+ HTTP/[0-9]\.[0-9]\r\n")


def _check_beginning(buffer: bytearray, scanned: int) -> None:
    """Refuse at once what cannot become a request: TLS and the like would else wait for the deadline of the head."""
    most = MAX_HEAD + len(_END)  # what stands behind was never looked at if the bytes came one by one
    if buffer and not _FIRST_BYTE.match(buffer):
        raise BadRequest(400, "malformed_request", "This is not HTTP.")
    if _BARE_LF.search(buffer, max(0, scanned - 1), most):
        raise BadRequest(400, "malformed_request", "Lines must end with CR LF.")
    line = buffer.find(b"\r\n", 0, most)
    if line >= 0 and line + 2 > scanned and not _FIRST_LINE.match(buffer):
        raise BadRequest(400, "malformed_request", "The request line is not valid HTTP/1.1.")


def _too_large(buffer: bytearray) -> BadRequest:
    _check_beginning(buffer, 0)
    if b"\n" not in buffer[: limits.MAX_TARGET]:
        return BadRequest(414, "uri_too_long", f"The request line is longer than {limits.MAX_TARGET} bytes.")
    return BadRequest(431, "head_too_large", f"The request head is larger than {MAX_HEAD} bytes.")


def _body_length(head: bytes, http10: bool) -> int | None:
    """Length of the body; ``None`` for chunked. Ambiguous framing is how requests are smuggled, so it is refused."""
    lower = head.lower()
    count = lower.count(b"\r\ncontent-length:")
    if _TRANSFER in lower:
        if count:
            raise BadRequest(400, "ambiguous_length", "Both Content-Length and Transfer-Encoding are given; send one.")
        if http10:
            raise BadRequest(400, "ambiguous_length", "HTTP/1.0 knows no Transfer-Encoding; send Content-Length.")
        return None
    if not count:
        return 0
    match = _LENGTH.search(lower)
    if count > 1 or match is None:
        raise BadRequest(400, "bad_content_length", "Send one Content-Length with one decimal number.")
    return int(match[1])


def _parse(head: bytes) -> tuple[h11.Connection, h11.Request]:
    if _CONTROL.search(head):
        raise BadRequest(400, "malformed_request", "The request head contains a control character.")
    if _FOLDED.search(head):
        raise BadRequest(400, "malformed_request", "A header line is folded; put each header on one line.")
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
        if status == 501:
            raise BadRequest(501, "unknown_transfer_encoding", "Only the chunked transfer encoding is known.") from None
        raise BadRequest(400, "malformed_request", f"The request is not valid HTTP/1.1: {error}.") from None
    if not isinstance(event, h11.Request):
        raise BadRequest(400, "malformed_request", "The request is not valid HTTP/1.1.")
    return connection, event


def _origin_form(method: bytes, target: bytes, host: str) -> bytes:
    """The target in origin form. Absolute form is taken if it names the same host as ``Host`` does."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    if not target[:8].lower().startswith((b"http://", b"https://")):
        raise BadRequest(400, "malformed_request", "The request target must be a path.")
    try:
        parts = urlsplit(target.decode("ascii"))
        named = parse_host(parts.netloc)
    except ValueError:
        named = None
    if named is None or named[0] != host:
        raise BadRequest(400, "host_mismatch", "The host in the request target is not the one in Host.")
    path = parts.path or "/"
    return (f"{path}?{parts.query}" if parts.query else path).encode("ascii")


def _host(headers: Headers) -> str:
    values = [value for name, value in headers if name == b"host"]
    if len(values) != 1:
        raise BadRequest(400, "bad_host", "Send exactly one Host header.")
    parsed = parse_host(values[0].decode("latin-1"))
    if parsed is None:
        raise BadRequest(400, "bad_host", "The Host header is not a host name or address.")
    return parsed[0]


def _check(method: bytes, target: bytes, header_count: int) -> None:
    if header_count > limits.MAX_HEADERS:
        raise BadRequest(431, "too_many_headers", f"More than {limits.MAX_HEADERS} header lines.")
    if len(target) > limits.MAX_TARGET:
        raise BadRequest(414, "uri_too_long", f"The request target is longer than {limits.MAX_TARGET} bytes.")
    if method in (b"CONNECT", b"TRACE"):
        raise BadRequest(501, "method_not_supported", f"{method.decode()} is not supported.")


class RequestReader:
    """Reads the requests of one connection, one after the other.

    Feed bytes with :meth:`feed`; :meth:`next_head` and then :meth:`next_body` until it returns empty bytes.
    """

    __slots__ = ("_blank", "_buffer", "_chunks", "_recent", "_remaining", "_scanned", "body_done")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._blank = False  # an empty line before this head was dropped already
        self._scanned = 0
        self._recent = bytearray()  # what h11 was given last, see _check_end
        self._chunks: h11.Connection | None = None
        self._remaining = 0
        self.body_done = True

    def feed(self, data: bytes) -> None:
        """Add bytes from the client."""
        if self._chunks is not None:
            self._chunks.receive_data(data)
            self._recent += data
        else:
            self._buffer += data

    @property
    def started(self) -> bool:
        """Whether a part of a head is here."""
        return bool(self._buffer)

    @property
    def remaining(self) -> int:
        """Bytes of a body of known length that are neither delivered nor buffered: they may be moved past us."""
        return max(0, self._remaining - len(self._buffer)) if self._chunks is None else 0

    def skip(self, count: int) -> None:
        """``count`` bytes of the body were moved past us; what was buffered must have been taken before."""
        self._remaining -= count
        self.body_done = self._remaining == 0

    def next_head(self) -> Head | None:
        """The next request head, or ``None``: more bytes are needed. Raises :class:`BadRequest`."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n") and not self._blank:
            del buffer[:2]  # RFC 9112, section 2.2: an empty line before a request is ignored
            self._blank, self._scanned = True, 0
        end = buffer.find(_END, max(0, self._scanned - 3))
        if end < 0:
            _check_beginning(buffer, self._scanned)
            if len(buffer) >= MAX_HEAD + len(_END):
                raise _too_large(buffer)
            self._scanned = len(buffer)
            return None
        if end > MAX_HEAD:
            raise _too_large(buffer)
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        self._scanned = 0
        self._blank = False
        plain = plain_request(head)
        return self._accept(head) if plain is None or plain.size != len(head) else self._accept_plain(plain)

    def _accept_plain(self, plain: PlainHead) -> Head:
        method, target, headers, length = plain.first, plain.second, plain.headers, plain.length or 0
        host = _host(headers)
        _check(method, target, len(headers))
        self._chunks = None
        self._remaining = length
        self.body_done = length == 0
        return Head(
            method=method,
            target=target,
            headers=headers,
            host=host,
            body_length=length,
            http10=False,
            keep_alive=True,
            expects_continue=False,
            upgrade=None,
        )

    def _accept(self, raw: bytes) -> Head:
        if raw.count(b"\n") != raw.count(b"\r\n"):
            raise BadRequest(400, "malformed_request", "Lines must end with CR LF.")
        connection, request = _parse(raw)
        if request.http_version not in (b"1.1", b"1.0"):
            raise BadRequest(505, "http_version", "Use HTTP/1.1.")
        headers: Headers = [(name.lower(), value) for name, value in request.headers.raw_items()]
        host = _host(headers)
        _check(request.method, request.target, len(headers))
        http10 = request.http_version == b"1.0"
        length = _body_length(raw, http10)
        options: set[bytes] = set()
        expects = False
        upgrade = None
        for name, value in headers:
            if name == b"connection":
                options |= tokens((value,))
            elif name == b"expect":
                expects = self._expects(value, http10)
            elif name == b"upgrade":
                upgrade = value
        target = _origin_form(request.method, request.target, host)
        self._begin_body(connection, length)
        return Head(
            method=request.method,
            target=target,
            headers=headers,
            host=host,
            body_length=length,
            http10=http10,
            keep_alive=b"keep-alive" in options if http10 else b"close" not in options,
            expects_continue=expects and length != 0,
            # RFC 9110, section 7.8: Upgrade may be ignored. With a body it is: body and new protocol would mix.
            upgrade=upgrade if b"upgrade" in options and not http10 and length == 0 else None,
        )

    @staticmethod
    def _expects(value: bytes, http10: bool) -> bool:
        if value.lower() != b"100-continue":
            raise BadRequest(417, "unknown_expectation", "Only the expectation 100-continue is known.")
        return not http10

    def _begin_body(self, connection: h11.Connection, length: int | None) -> None:
        self._chunks = None
        self._remaining = length or 0
        self.body_done = length == 0
        if length is None:
            self._chunks = connection
            connection.receive_data(bytes(self._buffer)) if self._buffer else None
            self._recent, self._buffer = self._buffer, bytearray()

    def take_rest(self) -> bytes:
        """Everything that is buffered: after an upgrade it belongs to the other protocol."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def next_body(self) -> bytes | None:
        """The next piece of the body; empty at its end, ``None``: more bytes are needed. Raises :class:`BadRequest`."""
        if self.body_done:
            return b""
        if self._chunks is not None:
            return self._next_chunk(self._chunks)
        if not self._buffer:
            return None
        data = bytes(self._buffer[: self._remaining])
        del self._buffer[: len(data)]
        self.skip(len(data))
        return data

    def _next_chunk(self, chunks: h11.Connection) -> bytes | None:
        """All pieces that are here, joined: a sender of tiny chunks must not cost a send for each."""
        pieces: list[bytes] = []
        try:
            while isinstance(event := chunks.next_event(), h11.Data):
                pieces.append(event.data)
        except h11.RemoteProtocolError as error:
            raise BadRequest(400, "malformed_body", f"The chunked body is not valid: {error}.") from None
        if event is h11.NEED_DATA:
            del self._recent[:-3]
            return b"".join(pieces) or None
        assert isinstance(event, h11.EndOfMessage)
        self._end_chunks(chunks, event)
        return b"".join(pieces)

    def _end_chunks(self, chunks: h11.Connection, end: h11.EndOfMessage) -> None:
        """Where h11 is too kind: it takes trailers of any size if they come at once, and a bare LF for their end.

        Who reads in front of us may not take the LF, and see another end than we.
        """
        rest = chunks.trailing_data[0]
        if not self._recent.endswith(_END, 0, len(self._recent) - len(rest)):
            raise BadRequest(400, "malformed_body", "The chunked body does not end with CR LF CR LF.")
        if sum(len(name) + len(value) for name, value in end.headers) > MAX_HEAD:
            raise BadRequest(400, "malformed_body", f"The trailers are larger than {MAX_HEAD} bytes.")
        self.body_done = True
        self._buffer += rest
        self._recent.clear()
        self._chunks = None
