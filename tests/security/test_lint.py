"""Our own answers under a linter of HTTP (httplint, which is REDbot's): none of them breaks the protocol.

What it only warns of, and we do all the same, stands in a table with the reason."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from httplint import HttpRequestLinter, HttpResponseLinter, levels

from tests.gateway import hostile_framing as framing
from tests.gateway import hostile_heads as heads
from tests.gateway.strict import Message, parse_head
from tests.security.raw import Raw, raw_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.needs("postgres", "webui"), pytest.mark.timeout(120)]

# Warnings that are no errors, and why we live with them; by the name of the note.
ACCEPTED: Final = {
    "STORE_PUBLIC_UNNECESSARY": "caches that keep nothing of requests with cookies are told that files are everybody's",
}
# Notes that repeat what the status says: that the request was wrong, which it was.
OF_THE_REQUEST: Final = ("STATUS_BAD_REQUEST", "STATUS_URI_TOO_LONG", "STATUS_VERSION_NOT_SUPPORTED")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """The daemon with a sandbox that runs."""
    with raw_sandbox(tmp_path_factory.mktemp("lint")) as made:
        yield made


def head(method: str, target: str, *lines: str) -> bytes:
    """A request's first line and headers, without its host."""
    return f"{method} {target} HTTP/1.1\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode()


PAGE: Final = ("Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


def with_json(method: str, target: str, body: bytes, kind: str = "application/json") -> bytes:
    """A request with a body; ``{lines}`` is where the host goes."""
    return head(method, target, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + b"{lines}\r\n" + body


def asset(raw: Raw) -> str:
    """The address of a script of the page."""
    page = raw.visitor.request("GET", "localhost", "/").body.decode()
    return "/assets/" + page.partition("/assets/")[2].partition('"')[0]


def of_the_main_site(raw: Raw) -> dict[str, bytes]:
    """Requests of every kind; the host, and the cookie of somebody who is signed in, go in place of ``{lines}``."""
    file = asset(raw)
    tag = {path: raw.visitor.request("GET", "localhost", path).header("etag") for path in ("/", file)}
    given: dict[str, bytes] = {
        "the page": head("GET", "/"),
        "the page's head": head("HEAD", "/"),
        "the page, packed": head("GET", "/", "Accept-Encoding: br, gzip"),
        "the page, as it was": head("GET", "/", f"If-None-Match: {tag['/']}"),
        "the page, not as it was": head("GET", "/", 'If-None-Match: "x", W/"y"'),
        "a page below": head("GET", "/w/x/y", *PAGE),
        "the sign-in page": head("GET", "/login", *PAGE),
        "no page": head("GET", "/nowhere", *PAGE),
        "no file": head("GET", "/assets/none.js"),
        "a file": head("GET", file),
        "a file's head": head("HEAD", file),
        "a file, packed": head("GET", file, "Accept-Encoding: br"),
        "a file, gzip": head("GET", file, "Accept-Encoding: gzip;q=0.5"),
        "a file, as it was": head("GET", file, f"If-None-Match: {tag[file]}"),
        "a file, any": head("GET", file, "If-None-Match: *"),
        "a part of a file": head("GET", file, "Range: bytes=0-9"),
        "the end of a file": head("GET", file, "Range: bytes=-5"),
        "a part beyond a file": head("GET", file, "Range: bytes=99999999-"),
        "two parts of a file": head("GET", file, "Range: bytes=0-1,4-5"),
        "a part of what was": head("GET", file, "Range: bytes=0-9", f"If-Range: {tag[file]}"),
        "a part of another": head("GET", file, "Range: bytes=0-9", 'If-Range: "x"'),
        "the icon": head("GET", "/favicon.svg"),
        "a post to the page": head("POST", "/", "Content-Length: 0"),
        "the API's description": head("GET", "/api/openapi.json"),
        "me": head("GET", "/api/auth/me"),
        "my head": head("HEAD", "/api/auth/me"),
        "my workspaces": head("GET", "/api/workspaces"),
        "my sandboxes": head("GET", f"/api/workspaces/{raw.workspace}/sandboxes"),
        "my sandbox": head("GET", f"/api/sandboxes/{raw.sandbox}"),
        "its log": head("GET", f"/api/sandboxes/{raw.sandbox}/logs"),
        "its usage": head("GET", f"/api/sandboxes/{raw.sandbox}/usage"),
        "the way into it": head("GET", f"/api/sandboxes/{raw.sandbox}/open", *PAGE),
        "no sandbox": head("GET", "/api/sandboxes/abcdefghij234567"),
        "nothing": head("GET", "/api/nothing"),
        "a wrong method": head("DELETE", "/api/auth/me"),
        "what may be done": head("OPTIONS", "/api/workspaces"),
        "providers": head("GET", "/api/auth/oidc/providers"),
        "alive": head("GET", "/healthz"),
        "alive's head": head("HEAD", "/healthz"),
        "alive, wrong": head("POST", "/healthz", "Content-Length: 0"),
        "ready": head("GET", "/readyz"),
        "everything": head("OPTIONS", "*"),
        "anthropic, no token": head("GET", "/proxy/anthropic/v1/models"),
        "anthropic, nothing": head("GET", "/proxy/anthropic/v1/files"),
        "anthropic, a wrong method": head("GET", "/proxy/anthropic/v1/messages"),
        "a tunnel, no handshake": head("GET", f"/api/tunnel/{raw.sandbox}"),
        "an agent's file": head("GET", "/download/agent.pyz"),
    }
    bodies: dict[str, bytes] = {
        "a workspace": with_json("POST", "/api/workspaces", b'{"name":"lint"}'),
        "a wrong shape": with_json("POST", "/api/workspaces", b'{"name":1}'),
        "no JSON": with_json("POST", "/api/workspaces", b"{"),
        "a form": with_json("POST", "/api/workspaces", b"name=x", "application/x-www-form-urlencoded"),
        "too large": with_json("POST", "/api/workspaces", b" " * (1 << 20) + b"{}"),
        "a wrong password": with_json("POST", "/api/auth/login", b'{"username":"ada","password":"wrong password"}'),
        "a sign-in": with_json(
            "POST", "/api/auth/login", b'{"username":"ada","password":"correct horse battery staple"}'
        ),
        "a name that is taken": with_json(
            "POST", "/api/auth/register", b'{"username":"ada","password":"correct horse battery staple"}'
        ),
    }
    return {name: data + b"{lines}\r\n" for name, data in given.items()} | bodies


def of_sandbox_hosts(raw: Raw) -> dict[str, bytes]:
    """What the gateway itself says there. ``{lines}`` is the host of the running one, with nobody's cookie."""
    ticket = "/__cli-server/ticket?ticket=wrong&next=/"
    given = {
        "a person signed out": head("GET", "/x", *PAGE),
        "a person's head": head("HEAD", "/x", *PAGE),
        "a program signed out": head("GET", "/x"),
        "a bad ticket": head("GET", ticket, *PAGE),
        "a program's bad ticket": head("GET", ticket),
        "another site's page": head("POST", "/x", "Origin: http://evil.example", "Content-Length: 0"),
    }
    return {name: data + b"{lines}\r\n" for name, data in given.items()}


# What is refused before anybody is asked.
BROKEN: Final = {
    "no HTTP": heads.FOREIGN["SSH banner"],
    "two lengths": framing.LENGTHS["twice, different"],
    "a coding": framing.CODINGS["gzip"],
    "an expectation": heads.EXPECTATIONS["unknown"],
    "a version": heads.VERSIONS["HTTP/2.0"],
    "a method": heads.METHODS["TRACE"],
    "a target": heads.TOO_LONG["one byte too long"],
    "a head": heads.TOO_LARGE["a value too large"],
    "nobody's host": b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n",
    "half a body": framing.UNFINISHED["half a body"].replace(b"Host: x", b"Host: localhost"),
}


def lint(request: bytes, answer: Message) -> list[Any]:
    """Its notes about the answer."""
    first, *lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    asked = HttpRequestLinter()
    parts = first.split(b" ")
    if len(parts) == 3:
        asked.process_request_topline(*parts)
        pairs = [line.partition(b":") for line in lines]
        asked.process_headers([(name, value.strip()) for name, _, value in pairs])
    linter = HttpResponseLinter(_related=asked)
    linter.is_head_response = parts[0] == b"HEAD"
    linter.process_response_topline(b"HTTP/1.1", answer.first, answer.second)
    linter.process_headers(answer.headers)
    linter.feed_content(answer.body)
    linter.finish_content(True)
    return [*linter.notes]


def wrong(request: bytes, answer: Message) -> list[str]:
    """What is said against it, by name, without what is accepted."""
    found = []
    for note in lint(request, answer):
        name = type(note).__name__
        if name in OF_THE_REQUEST:
            continue
        if note.level == levels.BAD or (note.level == levels.WARN and name not in ACCEPTED):
            found.append(f"{note.level.value} {name}: {note.subject}: {note.summary}")
    return found


async def answered(raw: Raw, data: bytes) -> Message:
    """Send it; the answer."""
    if data.endswith(b"he"):
        return await refused_half(raw, data)
    async with raw.client() as client:
        await client.send(data)
        return await client.response(data.partition(b" ")[0])


async def refused_half(raw: Raw, data: bytes) -> Message:
    """What is said of a body that ends too soon; where the API began to answer before, that answer is cut instead."""
    for _ in range(20):
        async with raw.client() as client:
            await client.send(data)
            client.send_eof()
            with suppress(ConnectionResetError):
                return await client.response()
    raise AssertionError("the API is always quicker")


async def test_the_main_sites_answers(raw: Raw) -> None:
    said = {}
    signed_in = raw.main_lines()
    signed_out = signed_in.partition(b"\r\n")[0] + b"\r\n"
    statuses = set()
    for name, data in of_the_main_site(raw).items():
        # Who signs in anew loses the former session.
        for lines in (signed_out,) if name == "a sign-in" else (signed_out, signed_in):
            request = data.replace(b"{lines}", lines)
            answer = await answered(raw, request)
            statuses.add(answer.status)
            if found := wrong(request, answer):
                said[f"{name}, {answer.status}"] = found
    assert said == {}
    assert statuses >= {200, 201, 204, 302, 304, 400, 401, 404, 405, 413, 415, 422, 426}


async def test_the_gateways_answers_on_sandbox_hosts(raw: Raw) -> None:
    said = {}
    paused, offline = raw.visitor.running(raw.workspace), "abcdefghij234567"
    raw.visitor.open(paused)
    raw.visitor.api("POST", f"/api/sandboxes/{paused}/pause")
    raw.visitor.wait_for(paused, "paused")
    port = f"{raw.port}-{raw.sandbox}"
    raw.visitor.open(raw.sandbox, port)
    running = raw.lines().partition(b"\r\n")[0] + b"\r\n"
    requests = {name: data.replace(b"{lines}", running) for name, data in of_sandbox_hosts(raw).items()}
    for label in (f"oc-{paused}", f"oc-{offline}", port):
        jar = raw.visitor.cookies.get(f"{label}.localhost", {})
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items()) or "none=1"
        lines = (f"Host: {label}.localhost:{raw.port}", f"Cookie: {cookie}")
        requests[f"{label}, a program"] = head("POST", "/", "Content-Length: 0", *lines) + b"\r\n"
        requests[f"{label}, a frame"] = head("GET", "/", "Accept: text/html", "Sec-Fetch-Dest: empty", *lines) + b"\r\n"
        requests[f"{label}, a resume"] = head("GET", "/?__cli-server=resume", *PAGE, *lines) + b"\r\n"
    for name, request in (requests | BROKEN).items():
        answer = await answered(raw, request)
        if found := wrong(request, answer):
            said[f"{name}, {answer.status}"] = found
    assert said == {}


async def test_the_head_of_events(raw: Raw) -> None:
    async with raw.client() as client:
        request = head("GET", "/api/events", "Accept: text/event-stream") + raw.main_lines() + b"\r\n"
        await client.send(request)
        answer = parse_head(await client.head(), request=False)
        assert answer.status == 200
        assert wrong(request, answer) == []


def test_the_linter_finds_what_is_wrong() -> None:
    """A test that cannot fail protects nothing."""
    answer = Message(b"200", b"OK", [(b"content-length", b"3"), (b"date", b"yesterday")], b"ab")
    assert [one for one in wrong(head("GET", "/") + b"\r\n", answer) if one.startswith("bad")]
