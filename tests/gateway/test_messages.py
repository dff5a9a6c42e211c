"""What a request says about itself, and how heads and answers are written."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from daemon.gateway.exchange import Reply, Request
from daemon.gateway.reading import BadRequest
from daemon.gateway.replies import head_bytes, informational_bytes, problem, protected, reason, refusal, reply_bytes
from protocol.messages import ResponseHead

if TYPE_CHECKING:
    from protocol.headers import Headers


def ask(method: bytes = b"GET", target: bytes = b"/", headers: Headers | None = None) -> Request:
    return Request(method, target, headers or [], "x", 0, "127.0.0.1", "http")


HTML = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.mark.parametrize(
    ("method", "headers", "page_load"),
    [
        (b"GET", [(b"sec-fetch-mode", b"navigate")], True),
        (b"HEAD", [(b"sec-fetch-mode", b"navigate")], True),
        (b"POST", [(b"sec-fetch-mode", b"navigate"), HTML], False),
        (b"GET", [(b"sec-fetch-mode", b"cors"), HTML], False),
        (b"GET", [(b"sec-fetch-mode", b"no-cors"), HTML], False),
        (b"GET", [(b"sec-fetch-mode", b"websocket")], False),
        (b"GET", [(b"sec-fetch-mode", b"")], False),
        (b"GET", [HTML], True),
        (b"GET", [(b"accept", b"application/json")], False),
        (b"GET", [(b"accept", b"*/*")], False),
        (b"GET", [], False),
        (b"POST", [HTML], False),
    ],
)
def test_a_page_load_is_told_from_a_program(method: bytes, headers: Headers, page_load: bool) -> None:
    """A request that is not a page load gets 401 or 403 as a problem and not a redirect."""
    assert ask(method, headers=headers).page_load is page_load


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a?", b"/a", b""),
        (b"/a?b=c", b"/a", b"b=c"),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"//a", b"//a", b""),
        (b"*", b"*", b""),
    ],
)
def test_path_and_query(target: bytes, path: bytes, query: bytes) -> None:
    assert (ask(target=target).path, ask(target=target).query) == (path, query)


def test_headers_by_name() -> None:
    request = ask(headers=[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (request.get(b"a"), request.get(b"c")) == (b"1", None)
    assert (request.get_all(b"a"), request.get_all(b"c")) == ([b"1", b"3"], [])


def test_heads_are_written() -> None:
    assert head_bytes(200, b"OK", [(b"a", b"1"), (b"a", b"2")], b"b: 3") == (
        b"HTTP/1.1 200 OK\r\na: 1\r\na: 2\r\nb: 3\r\n\r\n"
    )
    assert head_bytes(299, b"", []) == b"HTTP/1.1 299 \r\n\r\n"
    early = ResponseHead(103, b"Early Hints", [(b"link", b"</a>")])
    assert informational_bytes(early) == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


@pytest.mark.parametrize("text", [b"a\r\nx: b", b"a\nb", b"a\rb"])
def test_nothing_leaves_its_line(text: bytes) -> None:
    """Whoever let a line break through: no answer is better than two."""
    for phrase, headers in ((text, []), (b"OK", [(b"x", text)]), (b"OK", [(text, b"x")])):
        with pytest.raises(ValueError, match="line break"):
            head_bytes(200, phrase, headers)
    assert head_bytes(200, b"O\x00K", [(b"x", b"a\x1bb\t")]) == b"HTTP/1.1 200 O?K\r\nx: a?b\t\r\n\r\n"


def test_reasons() -> None:
    assert (reason(404), reason(299)) == (b"Not Found", b"")


def lines(reply: Reply, **how: bool) -> tuple[set[bytes], bytes]:
    """The lines of an answer but its date and what each of ours has, and its body."""
    head, _, body = reply_bytes(reply, **({"head_only": False, "close": False} | how)).partition(b"\r\n\r\n")
    theirs = {b"%s: %s" % pair for pair in protected([], https=False)}
    return {line for line in head.split(b"\r\n") if not line.startswith(b"date: ")} - theirs, body


def test_answers_are_written() -> None:
    reply = Reply(200, [(b"a", b"1")], b"body")
    first = b"HTTP/1.1 200 OK"
    assert lines(reply) == ({first, b"a: 1", b"content-length: 4"}, b"body")
    assert lines(reply, head_only=True) == ({first, b"a: 1", b"content-length: 4"}, b"")
    assert lines(reply, close=True)[0] - lines(reply)[0] == {b"connection: close"}
    assert lines(reply, http10=True)[0] - lines(reply)[0] == {b"connection: keep-alive"}
    assert lines(reply, http10=True, close=True)[0] - lines(reply)[0] == {b"connection: close"}
    assert lines(Reply(204, [])) == ({b"HTTP/1.1 204 No Content"}, b"")


@pytest.mark.parametrize("status", [400, 408, 413, 414, 417, 421, 431, 501, 502, 503, 505])
def test_problems(status: int) -> None:
    reply = refusal(BadRequest(status, "some_code", 'What "happened".'))
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": 'What "happened".',
        "code": "some_code",
    }
    assert reply.headers[:2] == [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]


def test_problems_with_more_headers() -> None:
    assert problem(503, "c", "d", [(b"retry-after", b"5")]).headers[-1] == (b"retry-after", b"5")
