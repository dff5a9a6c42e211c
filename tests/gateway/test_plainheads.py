"""The short way through plain heads and the long way through h11 come to the same result."""

from __future__ import annotations

from unittest.mock import patch

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.gateway import reading
from daemon.gateway.reading import BadRequest, Head, RequestReader
from protocol.plainheads import plain_request, plain_response

NAMES = st.sampled_from(
    [
        b"Host",
        b"Accept",
        b"Content-Length",
        b"Cookie",
        b"X-A",
        b"x-a",
        b"Connection",
        b"Upgrade",
        b"TE",
        b"X A",
        b"",
        b"\xe9",
    ]
)
VALUES = st.sampled_from(
    [
        b"a",
        b"",
        b"localhost:80",
        b"5",
        b"5, 5",
        b"+5",
        b" 5 ",
        b"a b\tc",
        b"keep-alive",
        b"close",
        b"\xe9",
        b"a\x01",
        b"a\rb",
    ]
)
LINES = st.builds(lambda n, v, s: n + s + v, NAMES, VALUES, st.sampled_from([b": ", b":", b" : ", b":\t", b""]))
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b=c HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"CONNECT /x HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET http://localhost/ HTTP/1.1",
    ]
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n "])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    lines = [draw(STARTS), b"Host: localhost", *draw(st.lists(LINES, max_size=4))]
    return b"".join(line + draw(ENDS) for line in lines) + b"\r\n"


def without_keep_alive(head: Head | None) -> Head | None:
    """The short way drops this header at once; it says what is the default anyway."""
    if head is not None:
        head.headers = [pair for pair in head.headers if pair != (b"connection", b"keep-alive")]
    return head


def outcome(raw: bytes, *, short: bool) -> Head | int | None:
    reader = RequestReader()
    reader.feed(raw)
    try:
        if short:
            return without_keep_alive(reader.next_head())
        with patch.object(reading, "plain_request", return_value=None):
            return without_keep_alive(reader.next_head())
    except BadRequest as error:
        return error.status


@settings(max_examples=1000)
@given(heads())
def test_both_ways_agree_about_a_request(raw: bytes) -> None:
    assert outcome(raw, short=True) == outcome(raw, short=False)


def test_a_plain_request_takes_the_short_way() -> None:
    """Otherwise the test above compares the long way with itself."""
    raw = b"POST /a?b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nContent-Length: 3\r\n\r\nabc"
    plain = plain_request(raw)
    assert plain is not None
    assert (plain.first, plain.second, plain.length, plain.size) == (b"POST", b"/a?b", 3, len(raw) - 3)


RESPONSES = st.builds(
    lambda start, lines: start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n",
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 ", b"HTTP/1.1 204 No Content", b"HTTP/1.1 600 X", b"HTTP/1.0 200 OK"]
    ),
    st.lists(LINES, max_size=4),
)


@given(RESPONSES)
def test_what_the_short_way_takes_of_a_response_h11_reads_alike(raw: bytes) -> None:
    plain = plain_response(raw)
    if plain is None:
        return
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(raw)
    event = reader.next_event()
    assert isinstance(event, h11.Response)
    assert (int(plain.first), plain.second) == (event.status_code, event.reason)
    long_way = [(name, value) for name, value in event.headers if name != b"connection"]
    assert plain.headers == long_way


def test_a_plain_response_takes_the_short_way() -> None:
    plain = plain_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nhi")
    assert plain is not None
    assert plain.length == 2
    assert [value for name, value in plain.headers if name == b"set-cookie"] == [b"a=b", b"c=d"]
