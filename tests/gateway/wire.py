"""Requests as bytes, well-formed or not."""

from __future__ import annotations

HOST = b"Host: x"
CHUNKED = b"Transfer-Encoding: chunked"
GOOD = b"GET /good HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*lines: bytes, body: bytes = b"") -> bytes:
    """Lines, an empty line, a body."""
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def get(*headers: bytes, target: bytes = b"/", body: bytes = b"") -> bytes:
    """A GET with these headers beside Host."""
    return head(b"GET " + target + b" HTTP/1.1", HOST, *headers, body=body)


def post(*headers: bytes, body: bytes = b"") -> bytes:
    """A POST with these headers beside Host."""
    return head(b"POST / HTTP/1.1", HOST, *headers, body=body)


def chunks(data: bytes) -> bytes:
    """A chunked POST with this body."""
    return post(CHUNKED, body=data)


def host(value: bytes) -> bytes:
    """A GET with this Host."""
    return head(b"GET / HTTP/1.1", b"Host: " + value)


def chunked(data: bytes, size: int = 100_000) -> bytes:
    """A body in chunks of this size."""
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def upload(length: int | None) -> bytes:
    """The head of a POST; ``None``: chunked."""
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n"


def response(length: int | None, *, close: bool = False) -> bytes:
    """The head of an answer; ``None``: chunked, ``close``: until the end of the connection."""
    framing = b"Content-Length: %d" % length if length is not None else b"Transfer-Encoding: chunked"
    return b"HTTP/1.1 200 OK\r\n" + (b"Connection: close" if close else framing) + b"\r\n\r\n"
