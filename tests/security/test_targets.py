"""Path tricks, host tricks and requests forged by way of us (SSRF): a request reaches the sandbox that its host names,
byte for byte, or nobody. Tunnels and agents: tests/tunnel/test_through.py has the paths, here is the other end."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.gateway.peer import PATIENCE
from tests.security.raw import Raw, raw_sandbox, saying
from tests.support.visitor import PAGE
from tests.tunnel import hostile
from tests.tunnel.harness import Outside, eventually
from tests.tunnel.test_hostile import hostile_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.strict import Message
    from tests.tunnel.harness import Joined

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """The daemon, and a sandbox that remembers what it was asked."""
    with raw_sandbox(tmp_path_factory.mktemp("targets")) as made:
        yield made


@contextmanager
def trap() -> Iterator[socket.socket]:
    """A server on this machine that nobody may be led to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


async def ask(raw: Raw, data: bytes) -> Message:
    """One request, one answer."""
    async with raw.client() as client:
        await client.send(data)
        return await client.response()


# Each is a path, whatever it looks like: it goes to the one server that the host names, as it is.
PATHS: Final = [
    "//evil/", "///evil", "/@evil/", "/\\evil", "/\\\\evil\\", "/..//evil/", "/./../../etc/passwd", "/%2e%2e/%2e%2e/",
    "/..%2f..%2f", "/%2e%2e%5c", "/..;/", "/%c0%ae%c0%ae/", "/%252e%252e/", "/%00", "/%0d%0aHost:%20evil",
    "/%0d%0a%0d%0aGET%20/%20HTTP/1.1", "/http://evil/", "/https:/evil/", "/:80/", "/:@evil", "/#@evil/", "/?@evil/",
    "/?url=http://169.254.169.254/", "/a?b#c?d", "/;evil", "/*", "/[::1]/", "/~root", "/proxy/anthropic/v1/messages",
    "/api/auth/me", "/api/tunnel/abcdefghij234567", "/healthz", "/.well-known/", "/__cli-server/", "/__cli-server/x",
    "/%5f_cli-server/ticket", "/__cli-server//ticket",
]  # fmt: skip


async def test_a_path_is_a_path(raw: Raw) -> None:
    with trap() as server:
        port = server.getsockname()[1]
        more = [f"//127.0.0.1:{port}/", f"/@127.0.0.1:{port}/", f"/http://127.0.0.1:{port}/", f"/\\127.0.0.1:{port}"]
        for target in (*PATHS, *more):
            assert (await ask(raw, raw.get(target))).status == 200
        assert [one["target"] for one in raw.seen()] == [*PATHS, *more]


async def test_absolute_form_leads_to_the_host_or_nowhere(raw: Raw) -> None:
    host = raw.host
    with trap() as server:
        port = server.getsockname()[1]
        for target, status in {
            f"http://{host}/mine": 200,
            f"HTTP://{host.upper()}/mine": 200,
            f"http://127.0.0.1:{port}/": 400,
            f"http://{host}@127.0.0.1:{port}/": 400,
            f"http://127.0.0.1:{port}@{host}/": 400,
            f"http://{raw.main_host}/api/auth/me": 400,
            f"http://127.0.0.1:{port}#@{host}/": 400,
            f"http://{host}.evil/": 400,
            f"http://{host}\\@127.0.0.1:{port}/": 400,
            f"127.0.0.1:{port}": 400,
            f"@127.0.0.1:{port}/": 400,
            "file:///etc/passwd": 400,
            "gopher://127.0.0.1/": 400,
        }.items():
            assert (await ask(raw, raw.get(target))).status == status, target
    assert {one["target"] for one in raw.seen()} == {"/mine"}


def hosts(sandbox: str) -> dict[str, int]:
    """Hosts, and how a program without cookies is answered there: 401 is a sandbox's host, 421 is nobody's."""
    return {
        f"oc-{sandbox}.localhost": 401,
        f"OC-{sandbox.upper()}.LOCALHOST": 401,
        f"oc-{sandbox}.localhost.": 401,
        f"1024-{sandbox}.localhost": 401,
        f"65535-{sandbox}.localhost": 401,
        f"22-{sandbox}.localhost": 421,
        f"80-{sandbox}.localhost": 421,
        f"443-{sandbox}.localhost": 421,
        f"1023-{sandbox}.localhost": 421,
        f"0-{sandbox}.localhost": 421,
        f"65536-{sandbox}.localhost": 421,
        f"66560-{sandbox}.localhost": 421,
        f"99999-{sandbox}.localhost": 421,
        f"68719-{sandbox}.localhost": 421,
        f"4294968320-{sandbox}.localhost": 421,
        f"03000-{sandbox}.localhost": 421,
        f"003000-{sandbox}.localhost": 421,
        f"-3000-{sandbox}.localhost": 421,
        f"3000--{sandbox}.localhost": 421,
        f"3000-3000-{sandbox}.localhost": 421,
        f"0xbb8-{sandbox}.localhost": 421,
        f"3e3-{sandbox}.localhost": 421,
        f"3_000-{sandbox}.localhost": 421,
        f"3000.{sandbox}.localhost": 421,
        f"{sandbox}.localhost": 421,
        f"oc-{sandbox[:-1]}.localhost": 421,
        f"oc-{sandbox}a.localhost": 421,
        f"oc-1{sandbox[1:]}.localhost": 421,
        f"x.oc-{sandbox}.localhost": 421,
        f"oc-{sandbox}.x.localhost": 421,
        f"oc-{sandbox}.localhost.evil": 421,
        f"oc-{sandbox}.evil": 421,
        f"oc-{sandbox}": 421,
        f"oc-{sandbox}..localhost": 421,
        f"oc-{sandbox}.localhost..": 421,
        f".oc-{sandbox}.localhost": 421,
        "localhost.evil": 421,
        "evil.localhost": 421,
        "notlocalhost": 421,
        "127.0.0.2": 421,
        "169.254.169.254": 421,
        "[::1]": 421,
        "0.0.0.0": 421,
        f"oc-{sandbox}.localhost@evil": 400,
        f"evil@oc-{sandbox}.localhost": 400,
        f"oc-{sandbox}.localhost/evil": 400,
        f"evil#oc-{sandbox}.localhost": 400,
        f"oc-{sandbox}.localhost, evil": 400,
        f"oc-{sandbox}.localhost:22:80": 400,
        f"oc-{sandbox}.localhost:99999": 400,
        f"oc-{sandbox}%2elocalhost": 400,
        f"oc-{sandbox}\u3002localhost": 400,
    }


async def test_which_host_is_whose(raw: Raw) -> None:
    wrong = {}
    for host, status in hosts(raw.sandbox).items():
        answer = await ask(raw, b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
        if answer.status != status:
            wrong[host] = answer.status
    assert wrong == {}
    assert raw.seen() == []


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL"])
async def test_no_other_header_says_which_host_or_path(raw: Raw, name: str) -> None:
    value = "host=evil" if name == "Forwarded" else "/api/auth/me" if "URL" in name else "evil"
    assert (await ask(raw, raw.get("/mine", f"{name}: {value}"))).body == b"ok"
    (seen,) = raw.seen()
    assert seen["target"] == "/mine"
    assert f"host: {raw.host}" in seen["head"].lower()


def test_a_port_leads_to_what_the_sandbox_itself_listens_on(raw: Raw) -> None:
    """Not to what else listens on this machine: a database, the daemon itself, another sandbox."""
    with trap() as server:
        for port in (server.getsockname()[1], raw.port):
            host = raw.visitor.open(raw.sandbox, f"{port}-{raw.sandbox}")
            answer = raw.visitor.request("GET", host, "/")
            assert (answer.status, answer.json()["code"]) == (502, "port_not_listening")
        other = raw.visitor.running(raw.workspace)
        host = raw.visitor.open(other)
        found = [port["port"] for port in raw.visitor.api("GET", f"/api/sandboxes/{other}/ports")["ports"]]
        assert found == [], "opencode's own port is not given out"
        assert raw.visitor.request("GET", host, "/mine").status == 200


async def test_redirects_are_the_browsers_to_follow(raw: Raw) -> None:
    with trap() as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        for status in (301, 302, 303, 307, 308):
            said = f"HTTP/1.1 {status} Moved\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"
            answer = await ask(raw, raw.get(saying(said.encode())))
            assert (answer.status, answer.all("location")) == (status, [url.encode()])


@pytest.mark.parametrize("target", ["//evil.example/", "/\\evil.example/", "///evil.example", "//evil.example/..//"])
def test_our_own_pages_lead_nowhere_else(raw: Raw, target: str) -> None:
    """The address that was asked for stands in links and redirects of ours; it may look like another host's."""
    paused = raw.visitor.running(raw.workspace)
    host = raw.visitor.open(paused)
    raw.visitor.api("POST", f"/api/sandboxes/{paused}/pause")
    raw.visitor.wait_for(paused, "paused")
    frame = {**PAGE, "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}  # which resumes nothing
    page = raw.visitor.request("GET", host, target, headers=frame)
    assert page.status == 503
    assert b'href="/' not in page.body.replace(b'href="/"', b"").replace(b'href="/?', b"")
    assert b'href="\\' not in page.body
    pressed = raw.visitor.request("GET", host, target + "?__cli-server=resume", headers=PAGE)
    assert (pressed.status, pressed.header("location")) == (303, "/")
    signed_out = raw.running.visitor().request("GET", host, target, headers=PAGE)
    assert signed_out.header("location").startswith(f"http://localhost:{raw.port}/api/sandboxes/{paused}/open?next=")


# A hostile agent: it answers what it was not asked, for whomever it likes.


async def test_an_agent_answers_for_nobody_else(raw: Raw) -> None:
    """Streams are numbered in each session by itself: an answer with a number that was not asked for is a broken rule,
    and the end of the one session in which it was said."""
    outside = Outside(raw.visitor, raw.workspace, raw.running)
    good, bad = await outside.join("good"), await outside.join("bad")
    async with hostile_agent(outside, good) as honest, trio.open_nursery() as nursery:
        await honest.send(hostile.frame(hostile.hello(), client=True))
        await outside.until(good.sandbox_id, "running")
        browser = await outside.browser(good.sandbox_id)
        bodies: list[bytes] = []

        async def browse() -> None:
            bodies.append((await browser.get("/")).body)

        nursery.start_soon(browse)
        with trio.fail_after(PATIENCE):
            opened = await honest.until(type="open")
        assert opened is not None
        for number in (0, opened["id"], opened["id"] + 1, 100, 2**31 - 1):
            for kind in ("head", "data", "reset", "credit"):
                await unasked(outside, bad, kind, number)
        answer = hostile.message(b"honest", type="head", id=opened["id"], status=200, headers=[], end=True)
        await honest.send(hostile.frame(answer, client=True))
        with trio.fail_after(PATIENCE):
            await eventually(lambda: bool(bodies))
        assert bodies == [b"honest"]
    assert "Traceback" not in raw.running.log


async def unasked(outside: Outside, joined: Joined, kind: str, number: int) -> None:
    """Say something about a stream that was never opened: the session ends, with a reason."""
    members: dict[str, dict[str, Any]] = {
        "head": {"status": 200, "headers": []},
        "reset": {"code": "broken"},
        "credit": {"bytes": 1},
    }
    more = members.get(kind, {})
    said = hostile.message(b"forged" if kind in ("head", "data") else b"", type=kind, id=number, **more)
    async with hostile_agent(outside, joined) as socket:
        await socket.send(hostile.frame(hostile.hello(), client=True) + hostile.frame(said, client=True))
        with trio.fail_after(PATIENCE):
            gone = await socket.until(type="go_away")
        assert gone is not None, f"{kind} {number}"


async def test_what_an_agent_gets_to_know(raw: Raw) -> None:
    """Neither cookies of ours nor the browser's credentials nor the account's token: it is somebody's laptop."""
    outside = Outside(raw.visitor, raw.workspace, raw.running)
    joined = await outside.join("curious")
    async with hostile_agent(outside, joined) as socket, trio.open_nursery() as nursery:
        await socket.send(hostile.frame(hostile.hello(), client=True))
        await outside.until(joined.sandbox_id, "running")
        browser = await outside.browser(joined.sandbox_id)
        more = [("Authorization", "Basic dHlwZWQ="), ("Proxy-Authorization", "Basic dHlwZWQ="), ("X-Own", "passes")]
        nursery.start_soon(browser.get, "/?auth_token=dHlwZWQ&a=b", more)
        with trio.fail_after(PATIENCE):
            opened = await socket.until(type="open")
        assert opened is not None
        nursery.cancel_scope.cancel()
    text = json.dumps([opened["path"], opened["headers"]])
    assert opened["path"] == "/?a=b"
    assert ["x-own", "passes"] in opened["headers"]
    for jar in raw.visitor.cookies.values():
        for value in jar.values():
            assert value not in text
    assert "dHlwZWQ" not in text
    assert "cli_server" not in text
