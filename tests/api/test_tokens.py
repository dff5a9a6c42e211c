"""API tokens: made and revoked by people, used by programs, and worth no more than their scopes and their user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.auth.allowance import Allowance
from daemon.store import api_tokens
from tests.api.crew import NOWHERE, Crew, make_crew
from tests.api.support import PASSWORD, Client, Given

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quart import Response

    from tests.api.support import Bench

TOKENS = "/api/auth/tokens"
ALL = ("read", "write", "open", "admin")


async def make(who: Client, *scopes: str, **more: Any) -> dict[str, Any]:
    """A new token of somebody's."""
    response = await who.post(TOKENS, {"name": "script", "scopes": list(scopes)} | more)
    assert response.status_code == 201, await response.get_data(as_text=True)
    found: dict[str, Any] = await response.get_json()
    return found


class Program(Client):
    """Sends a token, and nothing that a browser would."""

    async def request(
        self,
        method: str,
        path: str,
        json_body: object = None,
        *,
        headers: Given | None = None,
        data: bytes | None = None,
    ) -> Response:
        own: Given = {"Origin": None, "Authorization": f"Bearer {self.user['token']}"}
        return await super().request(method, path, json_body, headers=own | (headers or {}), data=data)


async def program(bench: Bench, who: Client, *scopes: str, **more: Any) -> Program:
    """A program that acts for somebody."""
    made = await make(who, *scopes, **more)
    return Program(bench.app, bench.contract, "198.51.100.9", user=made)


async def code(response: Any) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["code"]


# Making, listing, revoking


async def test_it_is_shown_once(bench: Bench) -> None:
    ada = await bench.person("ada")
    made = await make(ada, "write", "read", "write", expiresIn="12h")
    assert made["token"].startswith("clis_")
    assert len(made["token"]) == 48
    assert (made["name"], made["scopes"], made["lastUsedAt"]) == ("script", ["read", "write"], None)
    response = await ada.get(TOKENS)
    assert await response.get_json() == [{name: value for name, value in made.items() if name != "token"}]
    secret = made["token"].removeprefix("clis_")
    for table in ("sessions", "audit"):
        assert secret not in str(await bench.execute(f"SELECT * FROM {table}"))
    ((seconds,),) = await bench.execute(
        "SELECT extract(epoch FROM expires_at - created_at)::float FROM sessions WHERE name IS NOT NULL"
    )
    assert seconds == 12 * 3600


async def test_ninety_days_unless_said(bench: Bench) -> None:
    ada = await bench.person("ada")
    await make(ada, "read")
    query = "SELECT expires_at - created_at = interval '90 days' FROM sessions WHERE name IS NOT NULL"
    assert await bench.execute(query) == [(True,)]
    for good in ("366d", "1s", 3600):
        await make(ada, "read", expiresIn=good)


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": None}, {"name": "x\ny"}, {"scopes": []}, {"scopes": ["king"]}, {"scopes": "read"},
     {"scopes": ["read"] * 5}, {"expiresIn": "0"}, {"expiresIn": 0}, {"expiresIn": "367d"}, {"expiresIn": "x"},
     {"expiresIn": "0s"}, {"expiresIn": None}],
)  # fmt: skip
async def test_malformed(bench: Bench, wrong: dict[str, object]) -> None:
    ada = await bench.person("ada")
    response = await ada.post(TOKENS, {"name": "script", "scopes": ["read"]} | wrong)
    assert await code(response) == (422, "validation_failed")
    assert await (await ada.get(TOKENS)).get_json() == []


async def test_tokens_are_no_sessions_and_sessions_no_tokens(bench: Bench) -> None:
    ada = await bench.person("ada")
    made = await make(ada, "read")
    (session,) = await (await ada.get("/api/auth/sessions")).get_json()
    assert session["current"]
    assert (await ada.delete(f"/api/auth/sessions/{made['id']}")).status_code == 404
    assert await code(await ada.delete(f"{TOKENS}/{session['id']}")) == (404, "token_not_found")
    assert len(await (await ada.get(TOKENS)).get_json()) == 1
    # Neither is taken where the other belongs.
    cookie: Given = {"Cookie": f"cli_server_session={made['token']}"}
    assert (await ada.get("/api/auth/me", headers=cookie)).status_code == 401
    bearer: Given = {"Cookie": None, "Authorization": f"Bearer {ada.cookies['cli_server_session']}"}
    assert await code(await ada.get("/api/auth/me", headers=bearer)) == (401, "invalid_token")
    # A browser that signs in ends the session that it brought, and no token that stood in its place.
    await bench.client().post("/api/auth/login", {"username": "ada", "password": PASSWORD}, headers=cookie)
    assert len(await (await ada.get(TOKENS)).get_json()) == 1


async def test_revoking(bench: Bench) -> None:
    ada, bob = await bench.person("ada"), await bench.person("bob")
    script = await program(bench, ada, "read")
    assert (await script.get("/api/auth/me")).status_code == 200
    path = f"{TOKENS}/{script.user['id']}"
    for who, what in ((bob, path), (ada, f"{TOKENS}/{NOWHERE}"), (ada, f"{TOKENS}/x")):
        assert await code(await who.delete(what)) == (404, "token_not_found")
    assert (await ada.delete(path)).status_code == 204
    assert await code(await script.get("/api/auth/me")) == (401, "invalid_token")
    assert (await ada.delete(path)).status_code == 404
    assert await (await ada.get(TOKENS)).get_json() == []


async def test_not_more_than_somebody_looks_after(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_tokens.MOST == 50
    monkeypatch.setattr(api_tokens, "MOST", 2)
    ada, bob = await bench.person("ada"), await bench.person("bob")
    first = await make(ada, "read")
    await make(ada, "read")
    response = await ada.post(TOKENS, {"name": "third", "scopes": ["read"]})
    assert await code(response) == (409, "too_many_tokens")
    await make(bob, "read")
    await ada.delete(f"{TOKENS}/{first['id']}")
    await make(ada, "read")


async def test_the_last_use(bench: Bench) -> None:
    ada = await bench.person("ada")
    script = await program(bench, ada, "read")
    before = await bench.execute("SELECT last_seen_at FROM users")

    async def used() -> Any:
        (found,) = await (await ada.get(TOKENS)).get_json()
        return found["lastUsedAt"]

    assert await used() is None
    expires = "SELECT expires_at FROM sessions WHERE name IS NOT NULL"
    end = await bench.execute(expires)
    await script.get("/api/auth/me")
    first = await used()
    assert first is not None
    await script.get("/api/auth/me")
    assert await used() == first, "exact to the minute"
    await bench.execute("UPDATE sessions SET last_seen_at = now() - interval '61 s' WHERE name IS NOT NULL")
    response = await script.get("/api/auth/me")
    assert await used() > first
    assert await bench.execute(expires) == end, "use does not prolong it"
    assert await bench.execute("SELECT last_seen_at FROM users") == before, "a script is not its user"
    assert "Set-Cookie" not in response.headers


# Who a token is


async def test_it_stands_for_its_user(bench: Bench) -> None:
    crew = await make_crew(bench)
    script = await program(bench, crew["guest"], *ALL[:3])
    me = await (await script.get("/api/auth/me")).get_json()
    assert me["username"] == "guest"
    (own, other) = await (await script.get("/api/workspaces")).get_json()
    assert {own["role"], other["role"]} == {"guest", "owner"}
    # Scopes give nothing that the user may not.
    assert await code(await script.patch(crew.path, {"name": "x"})) == (403, "not_allowed")
    assert (await script.get(f"/api/sandboxes/{await crew.box()}/open")).status_code == 403


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER  "])
async def test_the_scheme(bench: Bench, scheme: str) -> None:
    ada = await bench.person("ada")
    made = await make(ada, "read")
    headers: Given = {"Authorization": f"{scheme} {made['token']}"}
    assert (await bench.client().get("/api/auth/me", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "token", ["", "x", "clis_", "clis_" + "a" * 43, "clis_" + "a" * 5000, "clis_é", "' OR 1=1", "clis_" + "%" * 43]
)
async def test_what_is_no_token(bench: Bench, token: str) -> None:
    response = await bench.client().get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert await code(response) == (401, "invalid_token")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_who_sends_nothing_is_asked_for_a_token(bench: Bench) -> None:
    """RFC 9110, 11.6.1: a 401 says how. Browsers ask nobody for a bearer token."""
    response = await bench.client().get("/api/auth/me")
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_what_a_proxy_in_front_adds_is_not_ours(bench: Bench) -> None:
    """A password in front of the whole site goes along with every request of a browser."""
    ada = await bench.person("ada")
    assert (await ada.get("/api/auth/me", headers={"Authorization": "Basic dTpw"})).status_code == 200


async def test_two_credentials(bench: Bench) -> None:
    """Which one was meant? Somebody may have planted one of them."""
    ada, bob = await bench.person("ada"), await bench.person("bob")
    token = (await make(bob, *ALL[:3]))["token"]
    one: Given = {"Authorization": f"Bearer {token}"}
    for path in ("/api/auth/me", "/api/workspaces", f"/api/sandboxes/{NOWHERE}/open"):
        assert await code(await ada.get(path, headers=one)) == (400, "two_credentials")
    dead = one | {"Cookie": "cli_server_session=x; cli_server_session=y"}
    assert await code(await ada.get("/api/auth/me", headers=dead)) == (400, "two_credentials")
    two: Given = {"Authorization": [f"Bearer {token}", f"Bearer {token}"]}
    assert await code(await bench.client().get("/api/auth/me", headers=two)) == (400, "two_credentials")


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://oc-abcdefghij012345.localhost:8080"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_it_changes_nothing_about_foreign_pages(bench: Bench, headers: Given) -> None:
    script = await program(bench, await bench.person("ada"), *ALL[:3])
    response = await script.post("/api/workspaces", {"name": "x"}, headers=headers)
    assert await code(response) == (403, "foreign_origin")
    text: Given = {"Content-Type": "text/plain"}
    assert (await script.post("/api/workspaces", {"name": "x"}, headers=text)).status_code == 415
    bad = headers | {"Authorization": "Bearer x"}
    assert await code(await script.post("/api/workspaces", {"name": "x"}, headers=bad)) == (403, "foreign_origin")


# What a token is good for


async def routes(crew: Crew) -> list[tuple[str, str, str, object]]:
    box = await crew.box()
    return [
        ("read", "GET", "/api/auth/me", None),
        ("read", "GET", crew.path, None),
        ("read", "GET", f"{crew.path}/invitations", None),
        ("read", "GET", f"/api/sandboxes/{box}", None),
        ("write", "PATCH", crew.path, {"name": "x"}),
        ("write", "POST", f"{crew.path}/agent-code", None),
        ("write", "POST", f"/api/sandboxes/{box}/pause", None),
        ("open", "GET", f"/api/sandboxes/{box}/open", None),
        ("admin", "GET", "/api/admin/users", None),
        ("admin", "PATCH", f"/api/admin/users/{crew.id_of('guest')}", {"disabled": False}),
    ]


@pytest.mark.parametrize("scopes", [("read",), ("write",), ("open",), ("admin",), ("read", "write"), ALL])
async def test_scopes(bench: Bench, scopes: Sequence[str]) -> None:
    crew = await make_crew(bench)  # the owner is the first user, and so an admin
    script = await program(bench, crew["owner"], *scopes)
    for scope, method, path, body in await routes(crew):
        response = await script.request(method, path, body)
        if scope in scopes:
            assert response.status_code < 400, (method, path, await response.get_data(as_text=True))
        else:
            assert await code(response) == (403, "scope_missing"), (method, path)
            assert response.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


async def test_what_only_people_do(bench: Bench) -> None:
    """Who got hold of a token must not be able to make another one, or another way in."""
    crew = await make_crew(bench)
    script = await program(bench, crew["owner"], *ALL)
    (session,) = await (await crew["owner"].get("/api/auth/sessions")).get_json()
    for method, path, body in (
        ("POST", "/api/auth/logout", None),
        ("GET", "/api/auth/sessions", None),
        ("DELETE", f"/api/auth/sessions/{session['id']}", None),
        ("GET", TOKENS, None),
        ("POST", TOKENS, {"name": "another", "scopes": ["read"]}),
        ("DELETE", f"{TOKENS}/{script.user['id']}", None),
        ("POST", f"{crew.path}/invitations", {"role": "owner"}),
        ("POST", "/api/invitations/accept", {"token": "x"}),
    ):
        assert await code(await script.request(method, path, body)) == (403, "session_required"), path
    assert (await crew["owner"].get("/api/auth/me")).status_code == 200
    assert len(await (await crew["owner"].get(TOKENS)).get_json()) == 1


async def test_the_scope_admin_makes_nobody_an_admin(bench: Bench) -> None:
    crew = await make_crew(bench)
    guest = crew["guest"]
    response = await guest.post(TOKENS, {"name": "script", "scopes": ["admin"]})
    assert await code(response) == (403, "not_admin")
    await bench.execute("UPDATE users SET is_admin = true WHERE username = 'guest'")
    script = await program(bench, guest, "admin")
    assert (await script.get("/api/admin/users")).status_code == 200
    path = f"/api/admin/users/{crew.id_of('guest')}"
    assert (await crew["owner"].patch(path, {"isAdmin": False})).status_code == 200
    for method, what, body in (("GET", "/api/admin/users", None), ("PATCH", path, {"isAdmin": True})):
        assert await code(await script.request(method, what, body)) == (403, "not_admin")


async def test_a_ticket_lives_by_the_token(bench: Bench) -> None:
    crew = await make_crew(bench)
    box = await crew.box()
    script = await program(bench, crew["developer"], "open")
    response = await script.get(f"/api/sandboxes/{box}/open")
    assert response.status_code == 302
    assert script.user["token"] not in response.headers["Location"]
    assert await bench.execute("SELECT session_id FROM tickets") == [(script.user["id"],)]
    await crew["developer"].delete(f"{TOKENS}/{script.user['id']}")
    assert await bench.execute("SELECT session_id FROM tickets") == []


# Ends


@pytest.mark.parametrize("way", ["revoked", "expired", "disabled"])
async def test_it_ends(bench: Bench, way: str) -> None:
    crew = await make_crew(bench)
    script = await program(bench, crew["developer"], "read")
    assert (await script.get(crew.path)).status_code == 200
    user = f"/api/admin/users/{crew.id_of('developer')}"
    if way == "revoked":
        await crew["developer"].delete(f"{TOKENS}/{script.user['id']}")
    elif way == "expired":
        await bench.execute("UPDATE sessions SET expires_at = now() WHERE name IS NOT NULL")
    else:
        await crew["owner"].patch(user, {"disabled": True})
        await crew["owner"].patch(user, {"disabled": False})  # it does not come back to life with the account
    assert await code(await script.get(crew.path)) == (401, "invalid_token")


async def test_signing_out_leaves_tokens_alone(bench: Bench) -> None:
    ada = await bench.person("ada")
    script = await program(bench, ada, "read")
    await ada.post("/api/auth/logout")
    assert (await script.get("/api/auth/me")).status_code == 200


# The audit log


async def test_what_the_log_says(bench: Bench) -> None:
    crew = await make_crew(bench)
    await bench.execute("DELETE FROM audit")
    script = await program(bench, crew["owner"], "read", "write")
    await script.patch(crew.path, {"name": "renamed"})
    await crew["owner"].delete(f"{TOKENS}/{script.user['id']}")
    page = await (await crew["owner"].get("/api/admin/audit")).get_json()
    made, renamed, revoked = reversed(page["entries"])
    assert (made["action"], revoked["action"]) == ("token.created", "token.revoked")
    assert made["detail"] | {"until": ""} == {
        "id": script.user["id"], "name": "script", "scopes": "read write", "until": "",
    }  # fmt: skip
    assert revoked["detail"] == {"id": script.user["id"], "name": "script"}
    assert (renamed["actor"]["username"], renamed["ip"]) == ("owner", "198.51.100.9")
    assert renamed["detail"] == {"before": "work", "token": script.user["id"]}


async def test_making_many_counts_as_changing_much(make_bench: Callable[..., Bench]) -> None:
    """Revoking, as signing out, is always possible."""
    bench = make_bench(parts={"changes": Allowance(burst=2, per_second=0.001)})
    ada = await bench.person("ada")
    made = [await make(ada, "read") for _ in range(2)]
    assert await code(await ada.post(TOKENS, {"name": "x", "scopes": ["read"]})) == (429, "too_many_changes")
    for token in made:
        assert (await ada.delete(f"{TOKENS}/{token['id']}")).status_code == 204
    assert (await ada.post("/api/auth/logout")).status_code == 204
