"""What the proxy decides, without a network: refusals as tables, and what a forwarded call does on its way."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from daemon.anthropic.book import UsageBook
from daemon.anthropic.meter import Usage
from daemon.anthropic.policy import parse_base_url
from daemon.anthropic.site import AnthropicSite
from daemon.db.database import DatabaseUnavailable
from daemon.gateway.exchange import Forward, Reply, Request
from daemon.secret import token_hash
from daemon.wire.exchange import Exchange, UpstreamError
from protocol.messages import ResponseHead
from tests.standins.messages import Json, answer, event_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

TOKEN = "clis-of-a-sandbox"
KEY = "sk-of-the-operator"
LIMIT = 32 * 1024 * 1024
PROMPT: Json = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi there"}]}


@dataclass(frozen=True)
class Grant:
    sandbox_id: str
    workspace_id: str
    status: str


GRANT = Grant("sandbox000000001", "workspace0000001", "running")


class NoUpstream:
    @asynccontextmanager
    async def exchange(self) -> AsyncIterator[Exchange]:
        raise AssertionError("deciding must not connect")
        yield


class ListedBook(UsageBook):
    """A book that is never written."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, Usage]] = []

    def add(self, workspace_id: str, sandbox_id: str, usage: Usage) -> None:
        self.entries.append((workspace_id, sandbox_id, usage))


@dataclass
class Desk:
    """A site with what it was given."""

    grants: dict[bytes, Grant] = field(default_factory=lambda: {token_hash(TOKEN): GRANT})
    touched: list[str] = field(default_factory=list)
    book: ListedBook = field(default_factory=ListedBook)
    calls: list[tuple[str, int, Mapping[str, int]]] = field(default_factory=list)
    database_away: bool = False

    def site(self, base: str = "https://api.anthropic.com", api_key: str | None = KEY) -> AnthropicSite:
        return AnthropicSite(
            parse_base_url(base),
            api_key=api_key,
            auth_token=None,
            upstream=NoUpstream(),
            tokens=self.find,
            touch=self.touched.append,
            usage=self.book,
            on_call=lambda *call: self.calls.append(call),
        )

    async def find(self, hashed: bytes) -> Grant | None:
        if self.database_away:
            raise DatabaseUnavailable("cannot connect to the database: secret.internal")
        return self.grants.get(hashed)


def request(**changes: object) -> Request:
    """A good call, and what is different about it."""
    good = Request(
        method=b"POST",
        target=b"/proxy/anthropic/v1/messages",
        headers=[
            (b"host", b"localhost:8080"),
            (b"x-api-key", TOKEN.encode()),
            (b"content-type", b"application/json"),
            (b"anthropic-version", b"2023-06-01"),
            (b"content-length", b"100"),
        ],
        host="localhost",
        body_length=100,
        client_ip="127.0.0.1",
        client_scheme="http",
    )
    return replace(good, **changes)  # type: ignore[arg-type]


async def forward(desk: Desk, **changes: object) -> Forward:
    decision = await desk.site().decide(request(**changes))
    assert isinstance(decision, Forward)
    return decision


def refusal(decision: object) -> tuple[int, str, str]:
    """Status, type and message of a refusal, which must have Anthropic's shape."""
    assert isinstance(decision, Reply)
    assert (b"content-type", b"application/json") in decision.headers
    body = json.loads(decision.body)
    assert set(body) == {"type", "error"}
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    return decision.status, body["error"]["type"], body["error"]["message"]


REFUSALS: dict[str, tuple[dict[str, object], int, str]] = {
    "unknown path": ({"target": b"/proxy/anthropic/v1/files"}, 404, "not_found_error"),
    "root, as Claude Code asks for it": ({"target": b"/proxy/anthropic/", "method": b"HEAD"}, 404, "not_found_error"),
    "batches": ({"target": b"/proxy/anthropic/v1/messages/batches"}, 404, "not_found_error"),
    "dots": ({"target": b"/proxy/anthropic/v1/x/../messages"}, 404, "not_found_error"),
    "wrong method": ({"method": b"GET"}, 405, "invalid_request_error"),
    "options": ({"method": b"OPTIONS"}, 405, "invalid_request_error"),
    "delete a model": (
        {"method": b"DELETE", "target": b"/proxy/anthropic/v1/models/x"},
        405,
        "invalid_request_error",
    ),
    "no token": ({"headers": []}, 401, "authentication_error"),
    "wrong token": ({"headers": [(b"x-api-key", b"sk-ant-something")]}, 401, "authentication_error"),
    "token as basic": ({"headers": [(b"authorization", b"Basic " + TOKEN.encode())]}, 401, "authentication_error"),
    "two tokens": (
        {"headers": [(b"x-api-key", TOKEN.encode()), (b"authorization", b"Bearer other")]},
        401,
        "authentication_error",
    ),
    "token in the query": (
        {"headers": [], "target": b"/proxy/anthropic/v1/messages?x-api-key=" + TOKEN.encode()},
        401,
        "authentication_error",
    ),
    "strange bytes": ({"headers": [(b"x-api-key", b"\xff\xfe\x80")]}, 401, "authentication_error"),
    "large body": ({"body_length": LIMIT + 1}, 413, "request_too_large"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusals(name: str) -> None:
    changes, status, kind = REFUSALS[name]
    desk = Desk()
    assert refusal(await desk.site().decide(request(**changes)))[:2] == (status, kind)
    assert not desk.touched  # what is refused is no activity of the sandbox


async def test_a_wrong_method_names_the_right_one() -> None:
    decision = await Desk().site().decide(request(method=b"PUT"))
    assert isinstance(decision, Reply)
    assert (b"allow", b"POST") in decision.headers


@pytest.mark.parametrize("status", ["running", "creating", "resuming"])
async def test_a_sandbox_that_runs_or_is_being_started_may_call(status: str) -> None:
    await forward(Desk({token_hash(TOKEN): replace(GRANT, status=status)}))


@pytest.mark.parametrize("status", ["pausing", "paused", "failed", "deleting", "offline", "unheard-of"])
async def test_the_token_of_any_other_sandbox_is_refused(status: str) -> None:
    desk = Desk({token_hash(TOKEN): replace(GRANT, status=status)})
    found, kind, text = refusal(await desk.site().decide(request()))
    assert (found, kind) == (401, "authentication_error")
    assert status in text


async def test_a_database_that_is_away_is_not_a_wrong_token() -> None:
    """Lesson: database errors were shown as "not found". Nor does the answer tell where the database is."""
    desk = Desk(database_away=True)
    status, kind, text = refusal(await desk.site().decide(request()))
    assert (status, kind) == (503, "api_error")
    assert "internal" not in text


async def test_without_credentials_the_operator_is_told_what_to_set() -> None:
    status, kind, text = refusal(await Desk().site(api_key=None).decide(request()))
    assert (status, kind) == (503, "api_error")
    assert "ANTHROPIC_API_KEY" in text


async def test_only_who_has_a_token_learns_that_credentials_are_missing() -> None:
    assert refusal(await Desk().site(api_key=None).decide(request(headers=[])))[0] == 401


async def test_the_call_goes_out_with_the_operators_key_only() -> None:
    head = (await forward(Desk(), target=b"/proxy/anthropic/v1/messages?beta=true")).head
    assert (head.method, head.target, head.body_length) == (b"POST", b"/v1/messages?beta=true", 100)
    assert head.headers == [
        (b"host", b"api.anthropic.com"),
        (b"x-api-key", KEY.encode()),
        (b"accept-encoding", b"identity"),
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2023-06-01"),
    ]


async def test_an_upgrade_is_not_passed_on() -> None:
    forwarded = await forward(Desk(), upgrade=b"websocket", method=b"GET", target=b"/proxy/anthropic/v1/models")
    assert forwarded.head.upgrade is None


async def test_the_path_of_the_base_url_comes_first() -> None:
    decision = await Desk().site(base="http://gw.example:4000/anthropic").decide(request())
    assert isinstance(decision, Forward)
    assert decision.head.target == b"/anthropic/v1/messages"
    assert decision.head.headers[0] == (b"host", b"gw.example:4000")


async def test_bodies_of_unknown_length_are_limited_too() -> None:
    forwarded = await forward(Desk(), body_length=None)
    assert forwarded.head.body_length is None
    assert forwarded.body_limit == LIMIT


async def test_an_upstream_that_fails_is_a_502_that_tells_nothing_of_it() -> None:
    forwarded = await forward(Desk())
    with capture_logs() as logs:
        status, kind, text = refusal(forwarded.failed(UpstreamError("cannot connect: 10.1.2.3")))
    assert (status, kind) == (502, "api_error")
    assert "10.1.2.3" not in text
    assert logs[0]["reason"] == "cannot connect: 10.1.2.3"


EVENTS = [event_bytes(event) for event in answer(PROMPT, "one two three", set(), 1).events()]
SSE = (b"content-type", b"text/event-stream")


def pass_down(forwarded: Forward, data: bytes) -> None:
    """As the relay does it."""
    assert forwarded.on_down_bytes is not None
    forwarded.on_down_bytes(len(data))
    if forwarded.on_down_data is not None:
        forwarded.on_down_data(data)


async def end(forwarded: Forward) -> None:
    assert forwarded.on_end is not None
    await forwarded.on_end()


async def test_a_finished_stream_is_booked_once() -> None:
    desk = Desk()
    forwarded = await forward(desk)
    forwarded.rewrite(ResponseHead(200, b"OK", [SSE], None))
    for event in EVENTS:
        pass_down(forwarded, event)
    assert desk.book.entries == []
    await end(forwarded)
    assert desk.book.entries == [("workspace0000001", "sandbox000000001", Usage("claude-sonnet-4-5", 1, 5, 3, 0, 0))]
    assert desk.calls == [("claude-sonnet-4-5", 200, {"input": 5, "output": 3, "cache_read": 0, "cache_write": 0})]


async def test_a_cut_stream_is_booked() -> None:
    desk = Desk()
    forwarded = await forward(desk)
    forwarded.rewrite(ResponseHead(200, b"OK", [SSE], None))
    pass_down(forwarded, EVENTS[0])
    await end(forwarded)
    assert [entry[2] for entry in desk.book.entries] == [Usage("claude-sonnet-4-5", 1, 5, 1, 0, 0)]


async def test_a_call_without_an_answer_is_not_booked() -> None:
    desk = Desk()
    await end(await forward(desk))
    assert desk.book.entries == []
    assert desk.calls == [("unknown", 0, {})]


async def test_a_refused_call_is_not_booked() -> None:
    desk = Desk()
    forwarded = await forward(desk)
    forwarded.rewrite(ResponseHead(529, b"", [(b"content-type", b"application/json")], 2))
    pass_down(forwarded, b'{"usage":{"input_tokens":1}}')
    await end(forwarded)
    assert desk.book.entries == []
    assert desk.calls == [("unknown", 529, {})]


@pytest.mark.parametrize(
    ("method", "path"), [(b"POST", b"/v1/messages/count_tokens"), (b"GET", b"/v1/models"), (b"GET", b"/v1/models/x")]
)
async def test_other_calls_are_activity_but_no_usage(method: bytes, path: bytes) -> None:
    desk = Desk()
    forwarded = await forward(desk, method=method, target=b"/proxy/anthropic" + path)
    forwarded.rewrite(ResponseHead(200, b"OK", [(b"content-type", b"application/json")], 20))
    pass_down(forwarded, b'{"input_tokens": 20}')
    await end(forwarded)
    assert (desk.book.entries, desk.calls) == ([], [])
    assert desk.touched == [GRANT.sandbox_id] * 3  # the request, a piece of the answer, the end


async def test_every_piece_in_either_direction_is_activity() -> None:
    desk = Desk()
    forwarded = await forward(desk)
    assert desk.touched == [GRANT.sandbox_id]
    assert forwarded.on_up_bytes is not None
    forwarded.on_up_bytes(100)
    assert len(desk.touched) == 2
    pass_down(forwarded, EVENTS[0])
    pass_down(forwarded, EVENTS[1])
    assert len(desk.touched) == 4


async def test_the_answers_cookies_stay_here() -> None:
    forwarded = await forward(Desk())
    head = forwarded.rewrite(
        ResponseHead(200, b"OK", [SSE, (b"set-cookie", b"__cf_bm=1"), (b"request-id", b"r")], None)
    )
    assert head.headers == [SSE, (b"request-id", b"r")]


@pytest.mark.parametrize("status", [401, 403])
async def test_the_operator_learns_that_the_key_is_refused(status: int) -> None:
    forwarded = await forward(Desk())
    with capture_logs() as logs:
        forwarded.rewrite(ResponseHead(status, b"", [], 0))
    assert [entry["status"] for entry in logs] == [status]
    assert KEY not in str(logs)
