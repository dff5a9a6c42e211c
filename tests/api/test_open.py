"""The way to a sandbox host: who is sent there, where exactly, and what the ticket is good for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest

from daemon.secret import token_hash
from daemon.store import access
from tests.api.crew import NOWHERE, Crew, make_crew

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.db.database import Connection
    from tests.api.support import Bench, Client

PAGE = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
async def crew(bench: Bench) -> Crew:
    return await make_crew(bench)


async def opened(client: Client, sandbox_id: str, wanted: str | None = None) -> tuple[str, str, str]:
    """Origin, ticket and next of where one is sent."""
    query = "" if wanted is None else "?next=" + quote(wanted, safe="")
    response = await client.get(f"/api/sandboxes/{sandbox_id}/open{query}")
    assert response.status_code == 302
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"
    url = urlsplit(response.headers["location"])
    assert url.path == "/__cli-server/ticket"
    given = parse_qs(url.query, strict_parsing=True)
    assert set(given) == {"ticket", "next"}
    return f"{url.scheme}://{url.netloc}", given["ticket"][0], given["next"][0]


async def redeem(crew: Crew, ticket: str, label: str, cookie: bytes = b"cookie") -> str | None:
    return await crew.bench.db.run(access.redeem_ticket, token_hash(ticket), label, cookie)


@pytest.mark.parametrize(
    ("wanted", "host", "path"),
    [
        (None, "oc-{id}", "/"),
        ("", "oc-{id}", "/"),
        ("/", "oc-{id}", "/"),
        ("/x/y?a=b&c=%20d#e", "oc-{id}", "/x/y?a=b&c=%20d#e"),
        ("/?next=http://evil.example", "oc-{id}", "/?next=http://evil.example"),
        ("http://oc-{id}.localhost:8080/x", "oc-{id}", "/x"),
        ("http://oc-{id}.localhost:8080", "oc-{id}", "/"),
        ("http://3000-{id}.localhost:8080/x?y", "3000-{id}", "/x?y"),
        ("http://65535-{id}.localhost:8080?y", "65535-{id}", "/?y"),
    ],
)
async def test_where_it_leads(crew: Crew, wanted: str | None, host: str, path: str) -> None:
    box = await crew.box()
    origin, ticket, onward = await opened(crew["developer"], box, wanted and wanted.format(id=box))
    label = host.format(id=box)
    assert (origin, onward) == (f"http://{label}.localhost:8080", path)
    assert await redeem(crew, ticket, label) == box


@pytest.mark.parametrize(
    "wanted",
    [
        "x",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "http://evil.example/",
        "https://oc-{id}.localhost:8080/",
        "http://oc-{id}.localhost:8081/",
        "http://oc-{id}.localhost:80800/",
        "http://oc-{id}.localhost:8080@evil.example/",
        "http://oc-{id}.localhost:8080.evil.example/",
        "http://evil.example/http://oc-{id}.localhost:8080/",
        "http://x@oc-{id}.localhost:8080/",
        "http://localhost:8080/",
        "http://oc-" + NOWHERE + ".localhost:8080/",
        "http://80-{id}.localhost:8080/",
        "http://1023-{id}.localhost:8080/",
        "http://65536-{id}.localhost:8080/",
        "http://03000-{id}.localhost:8080/",
        "http://x-{id}.localhost:8080/",
        "javascript:alert(1)",
        " /x",
        "/x\r\nSet-Cookie: a=b",
        "/x\t",
        "/ä",
        "/" + "x" * 5000,
    ],
)
async def test_open_redirects(crew: Crew, wanted: str) -> None:
    """Lesson: open redirects through ``next``."""
    box = await crew.box()
    response = await crew["developer"].get(
        f"/api/sandboxes/{box}/open?next=" + quote(wanted.format(id=box), safe=""), headers=dict(PAGE)
    )
    assert response.status_code == 422
    assert (await response.get_json(force=True))["errors"][0]["field"] == "next"
    assert "location" not in response.headers
    assert await crew.bench.execute("SELECT 1 FROM tickets") == []


async def test_no_secret_of_the_session_is_in_it(crew: Crew) -> None:
    """Lesson: the account's session token was put into URLs and JSON."""
    box = await crew.box()
    response = await crew["developer"].get(f"/api/sandboxes/{box}/open")
    everything = str(response.headers) + await response.get_data(as_text=True)
    assert crew["developer"].cookies
    for secret in crew["developer"].cookies.values():
        assert secret not in everything
    assert await crew.session_of("developer") not in everything
    ((kept,),) = await crew.bench.execute("SELECT token_hash FROM tickets")
    ticket = parse_qs(urlsplit(response.headers["location"]).query)["ticket"][0]
    assert bytes(kept) == token_hash(ticket) != ticket.encode()


@pytest.mark.parametrize("status", ["creating", "running", "paused", "failed", "deleting"])
async def test_whatever_the_status(crew: Crew, status: str) -> None:
    """The sandbox host has a page for each."""
    box = await crew.box(status)
    assert (await opened(crew["developer"], box))[0] == f"http://oc-{box}.localhost:8080"


# Signing in


@pytest.mark.parametrize(
    "query", ["", "?next=%2Fx%3Fy%3D1", "?next=http%3A%2F%2F3000-{id}.localhost%3A8080%2F", "?next=/a?"]
)
async def test_a_person_signs_in_and_comes_back(crew: Crew, query: str) -> None:
    """What users ask for: the login that returns to where the user was going."""
    box = await crew.box()
    path = f"/api/sandboxes/{box}/open{query.format(id=box)}"
    for headers in (PAGE, {"Sec-Fetch-Mode": "navigate"}):
        response = await crew.bench.client().get(path, headers=dict(headers))
        assert response.status_code == 302
        start, _, following = response.headers["location"].partition("?")
        assert start == "/login"
        assert parse_qs(following, strict_parsing=True) == {"next": [path]}


async def test_a_program_is_told(crew: Crew) -> None:
    box = await crew.box()
    for headers in ({}, {"Accept": "*/*"}, PAGE | {"Sec-Fetch-Mode": "cors"}):
        response = await crew.bench.client().get(f"/api/sandboxes/{box}/open", headers=dict(headers))
        assert (response.status_code, response.mimetype) == (401, "application/problem+json")


async def test_what_exists_is_not_told_before_signing_in(crew: Crew) -> None:
    for sandbox_id in (NOWHERE, "x", "a%0d%0ab"):
        response = await crew.bench.client().get(f"/api/sandboxes/{sandbox_id}/open", headers=dict(PAGE))
        assert response.status_code == 302
        assert response.headers["location"].startswith("/login?next=%2Fapi%2Fsandboxes%2F")
        assert len(response.headers["location"].splitlines()) == 1


# The ticket


async def test_a_ticket_is_used_once(crew: Crew) -> None:
    box = await crew.box()
    _, ticket, _ = await opened(crew["developer"], box)
    assert await redeem(crew, ticket, f"oc-{box}", b"one") == box
    assert await redeem(crew, ticket, f"oc-{box}", b"two") is None
    grant = await crew.bench.db.run(access.find_grant, b"one", f"oc-{box}")
    assert grant is not None
    assert (grant.sandbox_id, grant.user_id, grant.role) == (box, crew.id_of("developer"), "developer")
    assert grant.session_id == await crew.session_of("developer")
    assert await crew.bench.db.run(access.find_grant, b"two", f"oc-{box}") is None
    assert await crew.bench.db.run(access.find_grant, b"one", f"3000-{box}") is None


async def test_a_ticket_is_for_one_host(crew: Crew) -> None:
    box, other = await crew.box(), await crew.box()
    _, ticket, _ = await opened(crew["developer"], box)
    for label in (f"oc-{other}", f"3000-{box}", "oc-", ""):
        assert await redeem(crew, ticket, label) is None
    assert await redeem(crew, ticket, f"oc-{box}") == box


async def test_a_ticket_runs_out(crew: Crew) -> None:
    box = await crew.box()
    _, ticket, _ = await opened(crew["developer"], box)
    ((left,),) = await crew.bench.execute("SELECT extract(epoch FROM expires_at - now())::float FROM tickets")
    assert 0 < left <= 60
    await crew.bench.execute("UPDATE tickets SET expires_at = now()")
    assert await redeem(crew, ticket, f"oc-{box}") is None


@pytest.mark.parametrize("ends", ["session", "expired", "user", "sandbox"])
async def test_a_ticket_ends_with_what_it_is_bound_to(crew: Crew, ends: str) -> None:
    """Lesson: logout left the tokens working."""
    box = await crew.box()
    user = crew.id_of("developer")
    _, ticket, _ = await opened(crew["developer"], box)
    await redeem(crew, (await opened(crew["developer"], box))[1], f"oc-{box}", b"earlier")
    if ends == "session":
        assert (await crew["developer"].post("/api/auth/logout")).status_code == 204
    elif ends == "expired":
        await crew.bench.execute("UPDATE sessions SET expires_at = now() WHERE user_id = %s", user)
    elif ends == "user":
        await crew["owner"].patch(f"/api/admin/users/{user}", {"disabled": True})
    else:
        await crew.bench.execute("DELETE FROM sandboxes WHERE id = %s", box)
    assert await redeem(crew, ticket, f"oc-{box}") is None
    assert await crew.bench.db.run(access.find_grant, b"earlier", f"oc-{box}") is None


async def test_signed_out_in_the_same_moment(crew: Crew, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    box = await crew.box()
    session = await crew.session_of("developer")
    create = access.create_ticket

    def late(conn: Connection, *args: Any) -> bool:
        with psycopg.connect(database_url) as other:
            other.execute("DELETE FROM sessions WHERE id = %s", (session,))
        return create(conn, *args)

    monkeypatch.setattr(access, "create_ticket", late)
    response = await crew["developer"].get(f"/api/sandboxes/{box}/open", headers=dict(PAGE))
    assert response.status_code == 302
    assert response.headers["location"].startswith("/login?next=")


async def test_on_https(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(base_scheme="https", base_domain="code.example.com", public_port=None)
    client = bench.client()
    headers = {"Host": "code.example.com", "Origin": "https://code.example.com", "X-Forwarded-Proto": "https"}
    body = {"username": "owner", "password": "a good long password"}
    await client.post("/api/auth/register", body, headers=dict(headers))
    ((workspace_id,),) = await bench.execute("SELECT id FROM workspaces")
    box = await Crew(bench, {}, workspace_id).box()
    response = await client.get(
        f"/api/sandboxes/{box}/open?next=https://8000-{box}.code.example.com/x", headers=dict(headers)
    )
    assert response.headers["location"].startswith(f"https://8000-{box}.code.example.com/__cli-server/ticket?ticket=")


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("same-site", "no-cors", "image", 403),
        ("same-site", "cors", "empty", 403),
        ("same-site", "navigate", "iframe", 403),
        ("cross-site", "no-cors", "script", 403),
        ("same-site", "navigate", "document", 302),
        ("cross-site", "navigate", "document", 302),
        ("same-origin", "cors", "empty", 302),
        ("none", "navigate", "document", 302),
    ],
)
async def test_pages_of_others_open_nothing_behind_somebodys_back(
    crew: Crew, site: str, mode: str, dest: str, status: int
) -> None:
    """Sandbox hosts are same-site: what they embed brings the session's cookie along. Links are a person's."""
    box = await crew.box()
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    response = await crew["developer"].get(f"/api/sandboxes/{box}/open", headers=headers)
    assert response.status_code == status
    entries = await crew.bench.execute("SELECT 1 FROM audit WHERE action = 'sandbox.opened' AND target_id = %s", box)
    assert len(entries) == (1 if status == 302 else 0)
