"""Hypothesis strategies: valid requests, the same after an accident, and plain noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

# What readers of HTTP have tripped over.
NASTY = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"f",
    b"-",
    b"+",
    b"0x",
    b"_",
    b"%00",
    b"*",
    b"/",
    b"@",
    b"http://x/",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"Host: x\r\n",
    b"Host: evil\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: host\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01",
]
TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=20).map(lambda data: bytes(byte for byte in data if byte >= 0x20 and byte != 0x7F).strip())
FRAMING = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"}
FIELD = st.tuples(TOKEN.filter(lambda name: name.lower() not in FRAMING), VALUE)
TARGET = st.text("/?&=%.~azAZ09-_+:@!$'()*,;#\\\"<>[]^`{|}", max_size=30).map(lambda text: b"/" + text.encode())


@dataclass(frozen=True)
class Valid:
    """A valid request: its bytes, and what must be read from them."""

    data: bytes
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]  # without framing and Host
    body: bytes


@st.composite
def valid(draw: st.DrawFn) -> Valid:
    """A valid request with a body by length, by chunks, or none."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"frob"]))
    target = draw(TARGET)
    fields = draw(st.lists(FIELD, max_size=5))
    lines = [b"%b:%b%b%b" % (name, draw(SPACE), value, draw(SPACE)) for name, value in fields]
    framing, body, wire = draw(bodies())
    lines = [*lines, b"Host: x", *framing]
    lines = draw(st.permutations(lines))
    data = b"%b %b HTTP/1.1\r\n" % (method, target) + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + wire
    headers = sorted((name.lower(), value) for name, value in fields)
    return Valid(data, method, target, tuple(headers), body)


SPACE = st.sampled_from([b"", b" ", b"\t", b"  "])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes, bytes]:
    """Framing lines, the body, and the body on the wire."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return [], b"", b""
    if kind == "length":
        body = draw(st.binary(max_size=60))
        return [b"Content-Length: %d" % len(body)], body, body
    pieces = draw(st.lists(st.binary(min_size=1, max_size=30), max_size=5))
    extension = draw(st.sampled_from([b"", b";a", b';a="b;c"']))
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    trailers = draw(st.sampled_from([b"", b"X-Trailer: a\r\n", b"Content-Length: 3\r\nHost: evil\r\n"]))
    return [b"Transfer-Encoding: chunked"], b"".join(pieces), wire + b"0\r\n" + trailers + b"\r\n"


@st.composite
def accidents(draw: st.DrawFn) -> bytes:
    """Some valid requests in which something was lost, doubled, put in or changed."""
    data = bytearray(b"".join(request.data for request in draw(st.lists(valid(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 12))
        piece = draw(st.sampled_from(NASTY) | st.binary(max_size=4))
        kind = draw(st.sampled_from(["insert", "insert", "delete", "double", "replace"]))
        if kind == "insert":
            data[start:start] = piece
        elif kind == "delete":
            del data[start : start + size]
        elif kind == "double":
            data[start:start] = data[start : start + size]
        else:
            data[start : start + len(piece)] = piece
    return bytes(data)


NOISE = st.binary(max_size=200) | st.lists(st.sampled_from(NASTY), max_size=20).map(b"".join)
INPUT = accidents() | accidents() | NOISE


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """``data`` in pieces, cut at these places (modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 1000), max_size=8)
