"""Heads as JSON, both directions and versions: what is written is read, and every member that is wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import frames
from protocol.errors import AnswerUnfit
from protocol.headers import HOP_BY_HOP, Headers
from protocol.heads import (
    MAX_TARGET,
    MOST_LENGTH,
    check_answer,
    read_head,
    read_open,
    read_request_v1,
    read_stream_v1,
    single,
    write_head,
    write_open,
)
from protocol.messages import RequestHead, ResponseHead
from tests.protocol.refusing import refused

NAME = st.from_regex(rb"[a-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True).filter(lambda name: name not in HOP_BY_HOP)
VALUE = st.binary(max_size=30).map(lambda value: value.translate(None, b"\0\r\n"))
HEADERS = st.lists(st.tuples(NAME, VALUE), max_size=8)
TARGET = st.from_regex(rb"/[!-~]{0,40}", fullmatch=True)
TOKEN = st.sampled_from([b"GET", b"HEAD", b"POST", b"M-SEARCH", b"get"])

OPEN: dict[str, Any] = {"id": 1, "method": "GET", "path": "/", "headers": [["host", "a"]]}
HEAD: dict[str, Any] = {"id": 1, "status": 200, "headers": [["a", "b"]]}


def through(header: dict[str, Any]) -> dict[str, Any]:
    """As it arrives."""
    return frames.parse(frames.dump(header))


@given(method=TOKEN, target=TARGET, headers=HEADERS, length=st.none() | st.integers(1, MOST_LENGTH), end=st.booleans())
def test_requests(method: bytes, target: bytes, headers: Headers, length: int | None, end: bool) -> None:
    head = RequestHead(method, target, headers, length)
    assert read_open(through(write_open(7, head, end=end))) == (head, end)


@given(headers=HEADERS, upgrade=VALUE)
def test_requests_that_want_to_switch(headers: Headers, upgrade: bytes) -> None:
    """They have no body: the agent is to write no framing for one."""
    head = RequestHead(b"GET", b"/", headers, 0, upgrade)
    assert read_open(through(write_open(7, head, end=False))) == (head, False)


@given(
    status=st.integers(200, 599),
    reason=VALUE,
    headers=HEADERS,
    length=st.none() | st.integers(0, MOST_LENGTH),
    end=st.booleans(),
)
def test_answers(status: int, reason: bytes, headers: Headers, length: int | None, end: bool) -> None:
    head = ResponseHead(status, reason, headers, length)
    assert read_head(through(write_head(7, head, end=end))) == (head, end)


@given(status=st.integers(100, 199), reason=VALUE, headers=HEADERS)
def test_interim_answers(status: int, reason: bytes, headers: Headers) -> None:
    head = ResponseHead(status, reason, headers, 0, b"websocket" if status == 101 else None)
    assert read_head(through(write_head(7, head, end=False))) == (head, False)


def test_headers_of_one_hop_do_not_pass() -> None:
    headers = [[name.decode(), "x"] for name in sorted(HOP_BY_HOP)]
    named = [*headers, ["connection", "x-a"], ["x-a", "1"], ["x-b", "2"], ["x-b", "3"]]
    left = [(b"x-b", b"2"), (b"x-b", b"3")]
    assert read_open({**OPEN, "headers": named})[0].headers == left
    assert read_head({**HEAD, "headers": named})[0].headers == left
    assert read_request_v1({**OPEN, "headers": {"Connection": "X-A", "X-A": "1", "X-B": "2"}}, b"").headers == left[:1]
    assert read_stream_v1({"status": 200, "headers": {"Connection": "X-A", "X-A": "1", "X-B": "2"}}).headers == left[:1]


BAD_HEADERS: list[Any] = [
    None,
    {},
    "host",
    [1],
    ["ab"],
    [None],
    [{}],
    [[]],
    [["a"]],
    [["a", "b", "c"]],
    [["a", None]],
    [["a", 1]],
    [["a", ["b"]]],
    [[1, "b"]],
    [[None, "b"]],
    [["", "b"]],
    [["A", "b"]],
    [["a b", "c"]],
    [["a:", "c"]],
    [["é", "c"]],
    [["a\n", "c"]],
    [["a", "b\r"]],
    [["a", "b\nc"]],
    [["a", "\0"]],
    [["a", "b"], ["a", "\0"], ["c", "d"]],
    [["a", "Ā"]],
    [["a", "\U0001f600"]],
]


@pytest.mark.parametrize("headers", BAD_HEADERS)
def test_malformed_headers(headers: Any) -> None:
    refused("malformed", read_open, {**OPEN, "headers": headers})
    refused("malformed", read_head, {**HEAD, "headers": headers})


def test_headers_are_not_optional_in_version_2() -> None:
    for read, header in ((read_open, OPEN), (read_head, HEAD)):
        refused("malformed", read, {name: value for name, value in header.items() if name != "headers"})


BAD_FLAGS: list[Any] = [None, 0, 1, "true", []]
BAD_LENGTHS: list[Any] = [None, -1, True, 1.0, "1", MOST_LENGTH + 1]
BAD_TEXTS: list[Any] = [None, 1, [], "a\rb", "a\nb", "a\0b", "Ā"]
BAD_METHODS: list[Any] = [None, 1, "", "GET ", "GE T", "GÉT", "GET\n", "G\0", "CONNECT", "TRACE"]
BAD_PATHS: list[Any] = [
    None,
    1,
    "",
    "a",
    "http://a/",
    "//é",
    "/a b",
    "/\n",
    "/a\r\n",
    "/\0",
    "/\x7f",
    "**",
    "*a",
    "@evil/",
    "/é",
]


@pytest.mark.parametrize(
    "member",
    [
        *[{"method": value} for value in BAD_METHODS],
        *[{"path": value} for value in BAD_PATHS],
        *[{"end": value} for value in BAD_FLAGS],
        *[{"length": value} for value in BAD_LENGTHS],
        *[{"upgrade": value} for value in BAD_TEXTS],
        {"upgrade": "websocket", "end": True},
        {"upgrade": "websocket", "length": 0},
    ],
)
def test_malformed_requests(member: dict[str, Any]) -> None:
    refused("malformed", read_open, {**OPEN, **member})


def test_targets() -> None:
    for path in ("/", "*", "/?a=b#c", "//evil/", "/" + "a" * (MAX_TARGET - 1)):
        assert read_open({**OPEN, "path": path})[0].target == path.encode()
    refused("too_large", read_open, {**OPEN, "path": "/" + "a" * MAX_TARGET})


@pytest.mark.parametrize(
    "member",
    [
        *[{"status": value} for value in (None, "200", 200.0, True, 99, 600, -200)],
        *[{"end": value} for value in BAD_FLAGS],
        *[{"length": value} for value in BAD_LENGTHS],
        *[{"reason": value} for value in BAD_TEXTS],
        *[{"upgrade": value} for value in BAD_TEXTS],
        {"upgrade": "websocket"},
        {"status": 101},
        {"status": 101, "upgrade": "websocket", "end": True},
        {"status": 101, "upgrade": "websocket", "length": 0},
        {"status": 103, "end": True},
        {"status": 103, "length": 0},
        {"status": 103, "upgrade": "websocket"},
    ],
)
def test_malformed_answers(member: dict[str, Any]) -> None:
    refused("malformed", read_head, {**HEAD, **member})


@pytest.mark.parametrize(
    ("head", "fit"),
    [
        (ResponseHead(100, b"", []), True),
        (ResponseHead(599, b"", [], MOST_LENGTH), True),
        (ResponseHead(200, b"", [], None), True),
        (ResponseHead(99, b"", []), False),
        (ResponseHead(600, b"", []), False),
        (ResponseHead(999, b"", []), False),
        (ResponseHead(200, b"", [], MOST_LENGTH + 1), False),
    ],
)
def test_answers_that_cannot_be_said(head: ResponseHead, fit: bool) -> None:
    """A local server may say them; the tunnel is not to end over that."""
    if fit:
        check_answer(head)
    else:
        with pytest.raises(AnswerUnfit):
            check_answer(head)


# Version 1

BAD_MAPS: list[Any] = [None, [], "a", [["a", "b"]]]
BAD_VALUES: list[Any] = [None, 1, ["b"], "b\r", "b\n", "\0", "Ā"]


def test_requests_of_version_1() -> None:
    header = {"method": "POST", "path": "/a?b", "headers": {"Accept": "*/*", "Content-Length": "3"}}
    assert read_request_v1(header, b"abc") == RequestHead(b"POST", b"/a?b", [(b"accept", b"*/*")], 3)
    assert read_request_v1({"method": "GET", "path": "/"}, b"") == RequestHead(b"GET", b"/", [], 0)


@pytest.mark.parametrize(
    "member",
    [
        *[{"method": value} for value in BAD_METHODS],
        *[{"path": value} for value in BAD_PATHS],
        *[{"headers": value} for value in BAD_MAPS],
        *[{"headers": {name: "x"}} for name in ("", "a b", "é", "a:", "a\n", "\u0130")],
        *[{"headers": {"a": value}} for value in BAD_VALUES],
    ],
)
def test_malformed_requests_of_version_1(member: dict[str, Any]) -> None:
    refused("malformed", read_request_v1, {"method": "GET", "path": "/", "headers": {}, **member}, b"")


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, None),
        ({"Content-Length": "0"}, 0),
        ({"content-length": " 12 "}, 12),
        ({"Content-Length": "9" * 16}, 10**16 - 1),
    ],
)
def test_answers_of_version_1(headers: dict[str, str], length: int | None) -> None:
    assert read_stream_v1({"status": 404, "headers": headers}) == ResponseHead(404, b"", [], length)


@pytest.mark.parametrize(
    "member",
    [
        *[{"status": value} for value in (None, "200", 200.0, True, 101, 199, 600)],
        *[{"headers": value} for value in BAD_MAPS],
        *[{"headers": {"Content-Length": value}} for value in ("", "-1", "+1", "1.0", "a", "1, 1", "\xb2", "9" * 17)],
    ],
)
def test_malformed_answers_of_version_1(member: dict[str, Any]) -> None:
    refused("malformed", read_stream_v1, {"status": 200, "headers": {}, **member})


def test_repeated_headers_are_joined_for_version_1() -> None:
    headers = [
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"accept", b"x"),
        (b"accept", b"y"),
        (b"set-cookie", b"c=1"),
        (b"set-cookie", b"d=2"),
        (b"x", b"\xff"),
    ]
    assert single(headers) == {"Cookie": "a=1; b=2", "Accept": "x, y", "Set-Cookie": "d=2", "X": "ÿ"}
    assert single([]) == {}
