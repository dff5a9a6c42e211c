"""Reading requests: every sample whole, byte by byte, and with something behind it; only BadRequest leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.gateway.reading import BadRequest, Head, RequestReader
from daemon.wire.limits import MAX_HEAD
from tests.gateway.hostile import CASES, Case
from tests.gateway.strategies import CUTS, INPUT, Valid, split, valid
from tests.gateway.wire import GOOD, chunks, get, head, post

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Reading:
    """What was read: whole requests, whether one is under way, and how it went wrong."""

    requests: list[tuple[Head, bytes]] = field(default_factory=list)
    open_head: Head | None = None
    open_body: bytes = b""
    error: tuple[int, str] | None = None


def one_by_one(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


class Drive:
    """Uses a reader as the gateway's Client does."""

    def __init__(self) -> None:
        self.reader = RequestReader()
        self.found = Reading()

    def feed(self, data: bytes) -> None:
        self.reader.feed(data)
        while self.found.error is None and self._step():
            pass

    def _step(self) -> bool:
        found, reader = self.found, self.reader
        try:
            if found.open_head is None:
                found.open_head, found.open_body = reader.next_head(), b""
                return found.open_head is not None
            piece = reader.next_body()
        except BadRequest as error:
            found.error = (error.status, error.code)
            return False
        if piece is None:
            return False
        found.open_body += piece
        declared = found.open_head.body_length
        assert declared is None or len(found.open_body) <= declared
        if not piece:
            assert declared is None or len(found.open_body) == declared
            assert reader.body_done
            found.requests.append((found.open_head, found.open_body))
            found.open_head, found.open_body = None, b""
        return True


def read(pieces: Iterable[bytes]) -> Reading:
    drive = Drive()
    for piece in pieces:
        drive.feed(piece)
    if drive.found.error is not None:
        drive.found.open_body = b""  # how much of a refused body was delivered before the refusal may differ
    return drive.found


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_samples_are_read_alike_however_they_are_split(case: Case) -> None:
    whole = read([case.data])
    if len(case.data) <= 40_000:
        assert read(one_by_one(case.data)) == whole
    assert read(split(case.data, [1, 7, len(case.data) // 2, len(case.data) - 1])) == whole


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_samples_are_read_alike_with_something_behind(case: Case) -> None:
    alone = read([case.data])
    for behind in (b"\0", b"GET", GOOD, b"\r\n" + GOOD, b"\xff" * 100):
        together = read([case.data + behind])
        assert together.requests[: len(alone.requests)] == alone.requests
        if alone.error is not None:
            assert together.error == alone.error


@pytest.mark.parametrize("case", [case for case in CASES if not case.eof], ids=lambda case: case.name)
def test_what_is_refused_is_refused_without_waiting_for_more(case: Case) -> None:
    """But for what may follow a good last answer: then the connection was ended by the request itself."""
    if case.statuses[-1] >= 400:
        error = read([case.data]).error
        assert error is not None
        assert error[0] == case.statuses[-1]


@given(INPUT, CUTS)
@example(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", [2])
@example(b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", [1])
@settings(max_examples=800, deadline=None)
def test_only_bad_request_leaves_the_reader_and_the_split_does_not_matter(data: bytes, cuts: list[int]) -> None:
    whole = read([data])
    assert read(one_by_one(data)) == whole
    assert read(split(data, cuts)) == whole


@given(st.lists(valid(), min_size=1, max_size=3), CUTS)
@settings(max_examples=300, deadline=None)
def test_valid_requests_are_read_as_they_were_meant(requests: list[Valid], cuts: list[int]) -> None:
    found = read(split(b"".join(request.data for request in requests), cuts))
    assert found.error is None
    assert found.open_head is None
    assert len(found.requests) == len(requests)
    for request, (parsed, body) in zip(requests, found.requests, strict=True):
        assert (parsed.method, parsed.target, body) == (request.method, request.target, request.body)
        ours = {b"host", b"content-length", b"transfer-encoding"}
        assert sorted(pair for pair in parsed.headers if pair[0] not in ours) == list(request.headers)


@pytest.mark.parametrize("over", [-1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("pieces", [1, 2, 40_000])
def test_the_largest_head_is_the_same_however_it_is_split(over: int, pieces: int) -> None:
    """The size without the empty line at its end must not be over the limit."""
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
    data = start + b"a" * (MAX_HEAD + over - len(start)) + b"\r\n\r\n"
    step = max(1, len(data) // pieces)
    found = read(data[index : index + step] for index in range(0, len(data), step))
    assert found.error == ((431, "head_too_large") if over > 0 else None)


def only(data: bytes) -> Head:
    found = read([data])
    assert found.error is None, found.error
    parsed = found.requests[0][0] if found.requests else found.open_head
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (get(), True),
        (get(b"Connection: keep-alive"), True),
        (get(b"Connection: close"), False),
        (get(b"Connection: CLOSE"), False),
        (get(b"Connection: x, close"), False),
        (get(b"Connection: x", b"Connection: close"), False),
        (get(b"Connection: closed"), True),
        (head(b"GET / HTTP/1.0", b"Host: x"), False),
        (head(b"GET / HTTP/1.0", b"Host: x", b"Connection: Keep-Alive"), True),
        (head(b"GET / HTTP/1.0", b"Host: x", b"Connection: x, keep-alive"), True),
    ],
)
def test_keep_alive(data: bytes, keep_alive: bool) -> None:
    assert only(data).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("data", "upgrade"),
    [
        (get(b"Connection: upgrade", b"Upgrade: websocket"), b"websocket"),
        (get(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"), b"WebSocket"),
        (get(b"Upgrade: websocket"), None),
        (get(b"Connection: upgrade"), None),
        (get(b"Connection: upgraded", b"Upgrade: websocket"), None),
        (head(b"GET / HTTP/1.0", b"Host: x", b"Connection: upgrade", b"Upgrade: websocket"), None),
        (post(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 1", body=b"a"), None),
        (post(b"Connection: upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), None),
        (post(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 0"), b"x"),
    ],
)
def test_upgrade(data: bytes, upgrade: bytes | None) -> None:
    assert only(data).upgrade == upgrade


@pytest.mark.parametrize(
    ("data", "expects"),
    [
        (post(b"Expect: 100-continue", b"Content-Length: 5"), True),
        (post(b"Expect: 100-Continue", b"Content-Length: 5"), True),
        (post(b"Expect: 100-continue", b"Transfer-Encoding: chunked"), True),
        (post(b"Expect: 100-continue", b"Content-Length: 0"), False),
        (post(b"Expect: 100-continue"), False),
        (post(b"Content-Length: 5"), False),
        (head(b"POST / HTTP/1.0", b"Host: x", b"Expect: 100-continue", b"Content-Length: 5"), False),
    ],
)
def test_expectation(data: bytes, expects: bool) -> None:
    assert only(data).expects_continue is expects


def test_repeated_headers_stay_repeated_and_in_order() -> None:
    """Lesson: only the first value of a repeated header survived."""
    parsed = only(get(b"X: 1", b"Cookie: a=b", b"x: 2", b"Cookie: c=d", b"X: 1"))
    assert parsed.headers == [
        (b"host", b"x"),
        (b"x", b"1"),
        (b"cookie", b"a=b"),
        (b"x", b"2"),
        (b"cookie", b"c=d"),
        (b"x", b"1"),
    ]


def test_what_is_behind_an_upgrade_belongs_to_the_other_protocol() -> None:
    reader = RequestReader()
    reader.feed(get(b"Connection: upgrade", b"Upgrade: websocket") + b"\x81\x80")
    parsed = reader.next_head()
    assert parsed is not None
    assert parsed.upgrade == b"websocket"
    assert reader.take_rest() == b"\x81\x80"
    assert reader.take_rest() == b""


def test_a_body_that_is_moved_past_the_reader() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 1000", body=b"abc"))
    reader.next_head()
    assert reader.remaining == 997
    assert reader.next_body() == b"abc"
    assert reader.next_body() is None
    reader.skip(996)
    assert (reader.remaining, reader.body_done) == (1, False)
    reader.skip(1)
    assert (reader.remaining, reader.body_done) == (0, True)
    reader.feed(GOOD)
    assert reader.next_body() == b""
    found = reader.next_head()
    assert found is not None
    assert found.target == b"/good"


def test_tiny_chunks_are_joined() -> None:
    """A sender of one-byte chunks must not cost the upstream's side one send for each."""
    reader = RequestReader()
    reader.feed(chunks(b"1\r\na\r\n" * 5000 + b"0\r\n\r\n"))
    reader.next_head()
    assert reader.next_body() == b"a" * 5000
    assert reader.next_body() == b""
