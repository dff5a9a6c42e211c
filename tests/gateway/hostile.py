"""Wrong and hostile input, as a table: what is sent on one connection, and how it must end.

``statuses`` are all final answers of the connection, in order; ``seen`` is what reached the upstream: method, target,
body. Every row ends with the gateway closing the connection, unless the row ends its own side (``eof``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.gateway import limits
from daemon.wire.limits import MAX_HEAD
from tests.gateway import hostile_framing as framing
from tests.gateway import hostile_heads as heads
from tests.gateway.wire import CHUNKED, GOOD, HOST, chunks, get, head, host, post

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = tuple[bytes, bytes, bytes]
END = b"Connection: close"


@dataclass(frozen=True)
class Case:
    """One row."""

    name: str
    data: bytes
    statuses: tuple[int, ...]
    seen: tuple[Seen, ...] = ()
    eof: bool = False


def refused(status: int, rows: dict[str, bytes]) -> list[Case]:
    """Rows that get one answer and reach nobody. The refusal must not need the end of the input."""
    return [Case(name, data, (status,)) for name, data in rows.items()]


def cut_off(status: int, rows: dict[str, bytes]) -> list[Case]:
    """Rows whose sender ends its side in the middle."""
    return [Case(name, data, (status,), eof=True) for name, data in rows.items()]


def taken(rows: dict[str, tuple[bytes, Seen]]) -> list[Case]:
    """Odd, but right: one request reaches the upstream, and the answer ends the connection."""
    return [Case(name, data, (200,), (seen,), eof=True) for name, (data, seen) in rows.items()]


CONTROLS = [0x00, 0x01, 0x07, 0x08, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x1B, 0x1F, 0x7F]


def _controls() -> list[Case]:
    places: dict[str, Callable[[bytes], bytes]] = {
        "the method": lambda c: head(b"G" + c + b"ET / HTTP/1.1", HOST),
        "the target": lambda c: head(b"GET /a" + c + b"b HTTP/1.1", HOST),
        "the version": lambda c: head(b"GET / HTTP/1" + c + b".1", HOST),
        "a name": lambda c: get(b"X" + c + b"Y: a"),
        "a value": lambda c: get(b"X: a" + c + b"b"),
        "a value's start": lambda c: get(b"X: " + c + b"b"),
        "a value's end": lambda c: get(b"X: b" + c),
        "the host": lambda c: host(b"x" + c + b"y"),
    }
    return [
        Case(f"0x{code:02x} in {place}", build(bytes([code])), (400,))
        for code in CONTROLS
        for place, build in places.items()
    ]


KEEP = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
FIRST: Seen = (b"GET", b"/1", b"")
SENT = b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
SECOND: Seen = (b"POST", b"/2", b"hello")
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
HIDDEN_SEEN: Seen = (b"GET", b"/hidden", b"")
UPGRADE = get(b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")
PLAIN: Seen = (b"GET", b"/", b"")
MIXED = [
    Case("good, bad", KEEP + b"GET\r\n\r\n", (200, 400), (FIRST,)),
    Case("good, bad, good", KEEP + b"GET\r\n\r\n" + GOOD, (200, 400), (FIRST,)),
    Case("good with a body, bad", SENT + b"\0", (200, 400), (SECOND,)),
    Case(
        "chunked, bad",
        chunks(b"5\r\nhello\r\n0\r\n\r\n") + b"GET\r\n\r\n",
        (200, 400),
        ((b"POST", b"/", b"hello"),),
    ),
    Case("bad, good", b"GET\r\n\r\n" + GOOD, (400,)),
    Case("bad length, good", post(b"Content-Length: x", body=GOOD), (400,)),
    Case("bad chunk, good", chunks(b"x\r\n") + GOOD, (400,)),
    Case("good, good, half", KEEP + SENT + b"GET /", (200, 200, 400), (FIRST, SECOND), eof=True),
    Case("five good ones", KEEP * 5, (200,) * 5, (FIRST,) * 5, eof=True),
    Case(
        "a body that looks like a request",
        post(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        (200,),
        ((b"POST", b"/", HIDDEN),),
        eof=True,
    ),
    Case(
        "a chunk that looks like a request",
        chunks(b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
        (200,),
        ((b"POST", b"/", HIDDEN),),
        eof=True,
    ),
    Case(
        "a GET whose body looks like a request",
        get(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        (200,),
        ((b"GET", b"/", HIDDEN),),
        eof=True,
    ),
    Case(
        "a request behind a body",
        post(b"Content-Length: 5", body=b"hello") + HIDDEN,
        (200, 200),
        ((b"POST", b"/", b"hello"), HIDDEN_SEEN),
        eof=True,
    ),
    Case(
        "a request behind chunks",
        chunks(b"5\r\nhello\r\n0\r\n\r\n") + HIDDEN,
        (200, 200),
        ((b"POST", b"/", b"hello"), HIDDEN_SEEN),
        eof=True,
    ),
    Case(
        "a trailer that looks like a request",
        chunks(b"0\r\nX: a\r\nGET: / HTTP/1.1\r\n\r\n") + HIDDEN,
        (200, 200),
        ((b"POST", b"/", b""), HIDDEN_SEEN),
        eof=True,
    ),
    Case(
        "Transfer_Encoding",
        post(b"Transfer_Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
        (200, 400),
        ((b"POST", b"/", b""),),
    ),
    Case("an unframed body", post(body=b"hello=world\r\n"), (200, 400), ((b"POST", b"/", b""),)),
    Case("an upgrade and one more byte", UPGRADE + b"\x81", (200, 400), (PLAIN,)),
    Case("an upgrade and a request", UPGRADE + HIDDEN, (200, 200), (PLAIN, HIDDEN_SEEN), eof=True),
    Case("an upgrade and half a request", UPGRADE + b"GET", (200, 400), (PLAIN,), eof=True),
    Case("a close with a request behind", get(END) + HIDDEN, (200,), (PLAIN,)),
    Case("HTTP/1.0 with a request behind", head(b"GET / HTTP/1.0", HOST) + HIDDEN, (200,), (PLAIN,)),
    Case(
        "HTTP/1.0 kept, with a request behind",
        head(b"GET / HTTP/1.0", HOST, b"Connection: keep-alive") + HIDDEN,
        (200, 200),
        (PLAIN, HIDDEN_SEEN),
        eof=True,
    ),
]


TAKEN: dict[str, tuple[bytes, Seen]] = {
    "one empty line before": (b"\r\n" + get(), (b"GET", b"/", b"")),
    "an empty line behind": (get() + b"\r\n", (b"GET", b"/", b"")),
    "leading zeros": (post(b"Content-Length: 0005", body=b"hello"), (b"POST", b"/", b"hello")),
    "eighteen digits": (post(b"Content-Length: 000000000000000005", body=b"hello"), (b"POST", b"/", b"hello")),
    "length without space": (post(b"Content-Length:5", body=b"hello"), (b"POST", b"/", b"hello")),
    "length between tabs": (post(b"Content-Length:\t5\t ", body=b"hello"), (b"POST", b"/", b"hello")),
    "length in lower case": (post(b"content-length: 5", body=b"hello"), (b"POST", b"/", b"hello")),
    "length named hop-by-hop": (
        post(b"Connection: content-length", b"Content-Length: 5", body=b"hello"),
        (b"POST", b"/", b"hello"),
    ),
    "a header that begins like length": (post(b"Content-Length-Hint: 5"), (b"POST", b"/", b"")),
    "a header that begins like length, and length": (
        post(b"Content-Lengthy: 9", b"Content-Length: 5", body=b"hello"),
        (b"POST", b"/", b"hello"),
    ),
    "a header that begins like coding": (post(b"Transfer-Encoding-Hint: gzip"), (b"POST", b"/", b"")),
    "a header that begins like coding, and length": (
        post(b"Transfer-Encodings: gzip", b"Content-Length: 5", body=b"hello"),
        (b"POST", b"/", b"hello"),
    ),
    "TE": (get(b"TE: trailers, chunked"), (b"GET", b"/", b"")),
    "chunked in upper case": (
        post(b"TRANSFER-ENCODING: CHUNKED", body=b"5\r\nhello\r\n0\r\n\r\n"),
        (b"POST", b"/", b"hello"),
    ),
    "chunked without space": (
        post(b"transfer-encoding:chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
        (b"POST", b"/", b"hello"),
    ),
    "chunked between tabs": (
        post(b"Transfer-Encoding:\tchunked\t", body=b"5\r\nhello\r\n0\r\n\r\n"),
        (b"POST", b"/", b"hello"),
    ),
    "chunked, named hop-by-hop": (
        post(b"Connection: transfer-encoding", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
        (b"POST", b"/", b"hello"),
    ),
    "chunked GET": (get(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), (b"GET", b"/", b"hello")),
    "chunks with zeros": (chunks(b"00005\r\nhello\r\n00000\r\n\r\n"), (b"POST", b"/", b"hello")),
    "chunks in upper and lower case": (
        chunks(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
        (b"POST", b"/", b"0123456789" * 2),
    ),
    "chunk extensions": (
        chunks(b'5;a\r\nhello\r\n5;a=b;c="d;e"\r\nhello\r\n0;f\r\n\r\n'),
        (b"POST", b"/", b"hellohello"),
    ),
    "trailers": (
        chunks(b"5\r\nhello\r\n0\r\nX: a\r\nContent-Length: 9\r\nHost: evil\r\n\r\n"),
        (b"POST", b"/", b"hello"),
    ),
    "HTTP/1.0 with a body": (
        head(b"POST / HTTP/1.0", HOST, b"Content-Length: 5", body=b"hello"),
        (b"POST", b"/", b"hello"),
    ),
    "an unknown method": (head(b"FROB / HTTP/1.1", HOST), (b"FROB", b"/", b"")),
    "a method in lower case": (head(b"get / HTTP/1.1", HOST), (b"get", b"/", b"")),
    "a method of token characters": (head(b"!#$%&'*+-.^_`|~9 / HTTP/1.1", HOST), (b"!#$%&'*+-.^_`|~9", b"/", b"")),
    "a method of a thousand letters": (head(b"A" * 1000 + b" / HTTP/1.1", HOST), (b"A" * 1000, b"/", b"")),
    "absolute form": (head(b"GET http://x/a?b HTTP/1.1", HOST), (b"GET", b"/a?b", b"")),
    "absolute form, upper case": (head(b"GET HTTP://X/a HTTP/1.1", HOST), (b"GET", b"/a", b"")),
    "absolute form without a path": (head(b"GET http://x HTTP/1.1", HOST), (b"GET", b"/", b"")),
    "absolute form with only a query": (head(b"GET http://x?a=b HTTP/1.1", HOST), (b"GET", b"/?a=b", b"")),
    "absolute form with a port": (head(b"GET http://x:80/a HTTP/1.1", b"Host: x:80"), (b"GET", b"/a", b"")),
    "absolute form with two slashes": (head(b"GET http://x//evil HTTP/1.1", HOST), (b"GET", b"//evil", b"")),
    "asterisk": (head(b"OPTIONS * HTTP/1.1", HOST), (b"OPTIONS", b"*", b"")),
    "two slashes": (head(b"GET //evil/ HTTP/1.1", HOST), (b"GET", b"//evil/", b"")),
    "dots": (head(b"GET /../../etc/passwd HTTP/1.1", HOST), (b"GET", b"/../../etc/passwd", b"")),
    "escapes": (head(b"GET /%00%0d%0a%2e%2e/ HTTP/1.1", HOST), (b"GET", b"/%00%0d%0a%2e%2e/", b"")),
    "a target of the greatest length": (
        head(b"GET " + heads.LONG_TARGET[:-1] + b" HTTP/1.1", HOST),
        (b"GET", heads.LONG_TARGET[:-1], b""),
    ),
    "as many headers as may be": (get(*[b"X: a"] * (limits.MAX_HEADERS - 1)), (b"GET", b"/", b"")),
    "a large head": (get(b"X: " + b"a" * (MAX_HEAD - 100)), (b"GET", b"/", b"")),
    "values beyond ASCII": (get(b"X: \xe9\xff\x80"), (b"GET", b"/", b"")),
    "a tab in a value": (get(b"X: a\tb"), (b"GET", b"/", b"")),
    "an empty value": (get(b"X:"), (b"GET", b"/", b"")),
    "colons in a value": (get(b"X: a:b::c"), (b"GET", b"/", b"")),
    "an upgrade without Connection": (get(b"Upgrade: websocket"), (b"GET", b"/", b"")),
    "Connection: upgrade without Upgrade": (get(b"Connection: upgrade"), (b"GET", b"/", b"")),
    "an upgrade in HTTP/1.0": (
        head(b"GET / HTTP/1.0", HOST, b"Connection: upgrade", b"Upgrade: websocket"),
        (b"GET", b"/", b""),
    ),
    "an upgrade with a body": (
        post(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 5", body=b"hello"),
        (b"POST", b"/", b"hello"),
    ),
    "Connection that names Host": (get(b"Connection: host, x-a", b"X-A: b"), (b"GET", b"/", b"")),
    "Connection of commas": (get(b"Connection: ,,, ,"), (b"GET", b"/", b"")),
    "Expect in HTTP/1.0": (
        head(b"POST / HTTP/1.0", HOST, b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        (b"POST", b"/", b"hello"),
    ),
    "Expect without a body": (get(b"Expect: 100-continue"), (b"GET", b"/", b"")),
    "Host with a final dot": (host(b"x."), (b"GET", b"/", b"")),
    "Host in brackets": (host(b"[::1]:80"), (b"GET", b"/", b"")),
    "Host with port 0": (host(b"x:0"), (b"GET", b"/", b"")),
}

GROUPS: dict[str, list[Case]] = {
    "length": refused(400, framing.LENGTHS),
    "length and coding": refused(400, framing.BOTH),
    "coding": refused(501, framing.CODINGS),
    "coding's line": refused(400, framing.CODING_SHAPES),
    "chunks": refused(400, framing.CHUNKS),
    "lines": refused(400, heads.LINES),
    "request line": refused(400, heads.REQUEST_LINES),
    "target": refused(400, heads.TARGETS),
    "host": refused(400, heads.HOSTS),
    "another protocol": refused(400, heads.FOREIGN),
    "version": refused(505, heads.VERSIONS),
    "method": refused(501, heads.METHODS),
    "expectation": refused(417, heads.EXPECTATIONS),
    "too long": refused(414, heads.TOO_LONG),
    "too large": refused(431, heads.TOO_LARGE),
    "unfinished": cut_off(400, framing.UNFINISHED),
    "control character": _controls(),
    "mixed": MIXED,
    "taken": taken(TAKEN),
}
CASES = [
    Case(f"{group}: {case.name}", case.data, case.statuses, case.seen, case.eof)
    for group, cases in GROUPS.items()
    for case in cases
]
