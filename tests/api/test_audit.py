"""Whatever changes something leaves an entry in the audit log, in the same transaction; who may not, leaves none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from daemon.store.audit import ACTIONS
from tests.api.crew import NOWHERE, Crew, make_crew
from tests.api.support import PASSWORD
from tests.api.test_openapi import operations

if TYPE_CHECKING:
    from quart import Response

    from tests.api.support import Bench, Client

PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
WRONG = "wrong password " + "x"
IP = "198.51.100.7"

# Routes that change something and leave nothing in the log, each with the reason why.
SILENT: dict[tuple[str, str], str] = {
    ("POST", "/api/auth/oidc/{provider}/start"): "somebody goes to a provider; what comes of it has its entry",
    ("POST", "/api/invitations/look"): "it only reads; the secret is in a body because addresses are logged",
}


@dataclass(frozen=True)
class Act:
    """A request that succeeds, who sends it, and what it leaves, in its order: actions with their targets' names."""

    method: str
    path: str
    who: str | None
    leaves: tuple[tuple[str, str], ...]
    body: dict[str, Any] = field(default_factory=dict)
    status: str = "running"  # the sandbox's before it


BOX, MEMBERS, ONE = (
    "/api/sandboxes/{sandboxId}",
    "/api/workspaces/{workspaceId}/members",
    "/api/workspaces/{workspaceId}",
)
ACTS = (
    Act("POST", "/api/auth/register", None, (("user.registered", "new"), ("workspace.created", "new's workspace")),
        {"username": "new", "password": PASSWORD}),
    Act("POST", "/api/auth/login", None, (("session.created", "guest"),), {"username": "guest", "password": PASSWORD}),
    Act("POST", "/api/auth/logout", "guest", (("session.ended", "guest"),)),
    Act("DELETE", "/api/auth/sessions/{sessionId}", "guest", (("session.revoked", "guest"),)),
    Act("DELETE", "/api/auth/identities/{identityId}", "guest", (("identity.removed", "guest"),)),
    Act("POST", "/api/auth/tokens", "guest", (("token.created", "guest"),), {"name": "script", "scopes": ["read"]}),
    Act("DELETE", "/api/auth/tokens/{tokenId}", "guest", (("token.revoked", "guest"),)),
    Act("POST", ONE + "/invitations", "maintainer", (("invitation.created", "work"),), {"role": "guest"}),
    Act("DELETE", ONE + "/invitations/{invitationId}", "maintainer", (("invitation.revoked", "work"),)),
    Act("POST", "/api/invitations/accept", "stranger",
        (("member.added", "stranger"), ("invitation.accepted", "work")), {"token": "{invitation}"}),
    Act("POST", "/api/workspaces", "stranger", (("workspace.created", "mine"),), {"name": "mine"}),
    Act("PATCH", ONE, "maintainer", (("workspace.renamed", "play"),), {"name": "play"}),
    Act("DELETE", ONE, "owner", (("workspace.deleted", "work"), ("sandbox.deleted", "box"))),
    Act("POST", MEMBERS, "maintainer", (("member.added", "stranger"),), {"username": "Stranger", "role": "guest"}),
    Act("PUT", MEMBERS + "/{userId}", "owner", (("member.changed", "guest"),), {"role": "developer"}),
    Act("DELETE", MEMBERS + "/{userId}", "owner", (("member.removed", "guest"),)),
    Act("POST", ONE + "/sandboxes", "developer", (("sandbox.created", "made"),), {"name": "made"}),
    Act("PATCH", BOX, "developer", (("sandbox.renamed", "named"), ("sandbox.timeout_changed", "named")),
        {"name": "named", "idleTimeout": "1h"}),
    Act("DELETE", BOX, "developer", (("sandbox.deleted", "box"),)),
    Act("POST", BOX + "/pause", "developer", (("sandbox.paused", "box"),)),
    Act("POST", BOX + "/resume", "developer", (("sandbox.resumed", "box"),), status="paused"),
    Act("POST", ONE + "/agent-code", "developer", (("agent_code.created", "work"),)),
    Act("POST", "/api/agent/register", None, (("machine.joined", "laptop"),), {"code": "{code}", "name": "laptop"}),
    Act("PATCH", "/api/admin/users/{userId}", "owner",
        (("user.admin_granted", "guest"), ("user.disabled", "guest")), {"isAdmin": True, "disabled": True}),
)  # fmt: skip


def _name(act: Act) -> str:
    return f"{act.method} {act.path}"


EACH = pytest.mark.parametrize("act", ACTS, ids=_name)


@dataclass
class Scene:
    """A crew, and what the addresses and bodies of an act stand for."""

    crew: Crew
    names: dict[str, str]

    async def do(self, act: Act, client: Client) -> Response:
        """Send the act's request."""
        path = act.path.format(**self.names)
        body = {
            name: value.format(**self.names) if isinstance(value, str) else value for name, value in act.body.items()
        }
        client.ip = IP
        return await client.request(act.method, path, body or None)

    def by(self, act: Act) -> Client:
        """Who sends it."""
        return self.crew.bench.client() if act.who is None else self.crew[act.who]


async def _identity(crew: Crew) -> str:
    """The guest's."""
    query = "INSERT INTO identities (id, user_id, provider, issuer, subject) VALUES (%s, %s, 'oidc', 'i', 's')"
    await crew.bench.execute(query, NOWHERE, crew.id_of("guest"))
    return NOWHERE


async def scene(bench: Bench, status: str = "running") -> Scene:
    """Everything that is needed, with an empty log."""
    crew = await make_crew(bench)
    code = await (await crew["developer"].post(f"{crew.path}/agent-code")).get_json()
    await bench.client().login("guest")
    token = await crew["guest"].post("/api/auth/tokens", {"name": "other", "scopes": ["read"]})
    invitation = await (await crew["owner"].post(f"{crew.path}/invitations", {"role": "guest"})).get_json()
    own = await crew["guest"].get("/api/auth/sessions")
    other = next(session["id"] for session in await own.get_json() if not session["current"])
    names = {
        "workspaceId": crew.workspace_id,
        "sandboxId": await crew.box(status),
        "userId": crew.id_of("guest"),
        "sessionId": other,
        "code": code["code"],
        "identityId": await _identity(crew),
        "tokenId": (await token.get_json())["id"],
        "invitationId": invitation["id"],
        "invitation": invitation["url"].partition("#")[2],
    }
    await bench.execute("DELETE FROM audit")
    return Scene(crew, names)


async def entries(crew: Crew, query: str = "") -> list[dict[str, Any]]:
    """The log as an admin sees it, the oldest first."""
    response = await crew["owner"].get(f"/api/admin/audit{query}")
    assert response.status_code == 200
    found: list[dict[str, Any]] = (await response.get_json())["entries"]
    return found[::-1]


async def test_no_route_is_forgotten(bench: Bench) -> None:
    """A new one that changes something needs an act above, or a line among the silent, with the reason."""
    changing = {
        (method.upper(), path) for method, path, _ in operations(bench.contract.document) if method not in ("get",)
    }
    acts = {(act.method, act.path) for act in ACTS}
    assert len(acts) == len(ACTS)
    assert not acts & set(SILENT)
    assert acts | set(SILENT) == changing


@EACH
async def test_every_act_leaves_an_entry(bench: Bench, act: Act) -> None:
    found = await scene(bench, act.status)
    response = await found.do(act, found.by(act))
    assert response.status_code < 300, await response.get_data(as_text=True)
    left = await entries(found.crew)
    assert [(entry["action"], entry["target"]["name"]) for entry in left] == list(act.leaves)
    for entry in left:
        assert entry["ip"] == IP
        assert entry["action"] in ACTIONS
        # Who comes in or joins by a code is somebody, though nobody was signed in.
        joins = {"/api/agent/register": "developer", "/api/auth/register": "new", "/api/auth/login": "guest"}
        assert entry["actor"]["username"] == (act.who or joins[act.path])
        inside = entry["action"].partition(".")[0] in (
            "workspace", "member", "sandbox", "agent_code", "machine", "invitation",
        )  # fmt: skip
        assert (entry["workspaceId"] is not None) == inside
        if inside and act.path not in ("/api/auth/register", "/api/workspaces"):
            assert entry["workspaceId"] == found.crew.workspace_id


_STATE = (
    "SELECT id, is_admin, disabled_at FROM users ORDER BY id",
    "SELECT id FROM sessions ORDER BY id",
    "SELECT id FROM identities ORDER BY id",
    "SELECT id, name, deleted_at FROM workspaces ORDER BY id",
    "SELECT workspace_id, user_id, role FROM members ORDER BY 1, 2",
    "SELECT id, name, status, idle_timeout FROM sandboxes ORDER BY id",
    "SELECT code_hash FROM agent_codes ORDER BY code_hash",
    "SELECT id, uses_left FROM invitations ORDER BY id",
)


async def state(bench: Bench) -> list[list[tuple[Any, ...]]]:
    return [await bench.execute(query) for query in _STATE]


@EACH
async def test_without_its_entry_nothing_is_changed(bench: Bench, act: Act) -> None:
    """One transaction: where the log cannot be written, nobody acts unseen."""
    found = await scene(bench, act.status)
    await bench.execute("ALTER TABLE audit ADD CHECK (action = '') NOT VALID")
    before = await state(bench)
    response = await found.do(act, found.by(act))
    assert response.status_code == 500
    assert await state(bench) == before


@pytest.mark.parametrize("act", [act for act in ACTS if act.who and "{" in act.path], ids=_name)
async def test_who_may_not_leaves_nothing(bench: Bench, act: Act) -> None:
    found = await scene(bench, act.status)
    before = await state(bench)
    response = await found.do(act, found.crew["stranger"])
    assert response.status_code in (403, 404)
    assert await state(bench) == before
    assert await entries(found.crew, "?outcome=done") == []


async def test_what_changes_nothing_leaves_nothing(bench: Bench) -> None:
    found = await scene(bench)
    crew, box = found.crew, found.names["sandboxId"]
    assert (await crew["owner"].patch(crew.path, {"name": "work"})).status_code == 200
    assert (await crew["owner"].patch(f"/api/sandboxes/{box}", {"name": "box", "idleTimeout": None})).status_code == 200
    member = f"{crew.path}/members/{crew.id_of('guest')}"
    assert (await crew["owner"].put(member, {"role": "guest"})).status_code == 200
    user = f"/api/admin/users/{crew.id_of('guest')}"
    for body in ({}, {"isAdmin": False, "disabled": False}, {"isAdmin": None}):
        assert (await crew["owner"].patch(user, body)).status_code == 200
    assert (await crew["owner"].post(f"/api/sandboxes/{box}/resume")).status_code == 409
    assert (await crew["owner"].delete(f"/api/auth/sessions/{NOWHERE}")).status_code == 404
    assert await entries(crew) == []
    for _ in range(2):
        assert (await crew["owner"].delete(f"/api/sandboxes/{box}")).status_code == 204
    assert [entry["action"] for entry in await entries(crew)] == ["sandbox.deleted"]


async def test_what_an_entry_says(bench: Bench) -> None:
    found = await scene(bench)
    crew = found.crew
    await crew["owner"].put(f"{crew.path}/members/{crew.id_of('guest')}", {"role": "developer"})
    await crew["guest"].delete(f"{crew.path}/members/{crew.id_of('guest')}")
    changed, left = await entries(crew)
    assert changed["actor"] == {"id": crew.id_of("owner"), "username": "owner"}
    assert changed["target"] == {"kind": "user", "id": crew.id_of("guest"), "name": "guest"}
    assert changed["detail"] == {"before": "guest", "role": "developer"}
    assert (left["action"], left["actor"]["username"], left["detail"]) == (
        "member.left",
        "guest",
        {"role": "developer"},
    )


async def test_a_browser_that_signs_in_anew_ends_what_it_had(bench: Bench) -> None:
    crew = (await scene(bench)).crew
    before = await crew.session_of("stranger")
    await crew["stranger"].login("owner")
    ended, created = (entry for entry in await entries(crew) if entry["ip"] == "192.0.2.1")
    assert (ended["action"], ended["actor"]["username"]) == ("session.ended", "owner")
    assert (ended["target"]["name"], ended["detail"]["session"]) == ("stranger", before)
    assert (created["action"], created["detail"]["browser"]) == ("session.created", "test")


async def test_refused_sign_ins(bench: Bench) -> None:
    """Never a password, and no name that nobody has: people type their password into the wrong field."""
    crew = (await scene(bench)).crew
    await crew["owner"].patch(f"/api/admin/users/{crew.id_of('stranger')}", {"disabled": True})
    visitor = bench.client("203.0.113.5")
    for username, password in (("Guest", WRONG), ("hunter2hunter2", WRONG), ("stranger", PASSWORD), ("x" * 99, WRONG)):
        assert (await visitor.login(username, password)).status_code in (401, 403)
    refused = await entries(crew, "?action=session.refused")
    assert [(entry["target"] and entry["target"]["name"], entry["detail"]["reason"]) for entry in refused] == [
        ("guest", "wrong password"),
        (None, "no such user"),
        ("stranger", "disabled"),
        (None, "no such user"),
    ]
    assert all(entry["actor"] is None and entry["ip"] == "203.0.113.5" for entry in refused)
    rows = str(await bench.execute("SELECT * FROM audit"))
    for secret in (PASSWORD, WRONG, "hunter2hunter2", "xxx"):
        assert secret not in rows


async def test_attempts_that_are_slowed_down_leave_nothing(bench: Bench) -> None:
    """So the throttle bounds what an attacker makes us keep."""
    crew = (await scene(bench)).crew
    visitor = bench.client("203.0.113.5")
    statuses = [(await visitor.login("guest", WRONG)).status_code for _ in range(12)]
    assert 429 in statuses
    assert len(await entries(crew, "?action=session")) == statuses.count(401)


async def test_opening_a_sandbox(bench: Bench) -> None:
    """Once an hour for each session, whatever is opened of it; not if it was refused."""
    found = await scene(bench)
    crew, box = found.crew, found.names["sandboxId"]
    path = f"/api/sandboxes/{box}/open"
    for _ in range(2):
        assert (await crew["developer"].get(path, headers=dict(PAGE))).status_code == 302
    port = f"{path}?next=http://8000-{box}.localhost:8080/"
    assert (await crew["developer"].get(port, headers=dict(PAGE))).status_code == 302
    assert (await crew["guest"].get(path)).status_code == 403
    assert (await crew["stranger"].get(path)).status_code == 404
    again = bench.client()
    await again.login("developer")
    assert (await again.get(path, headers=dict(PAGE))).status_code == 302
    first, second = await entries(crew, "?action=sandbox")
    assert [first["action"], first["target"]["name"], first["actor"]["username"]] == [
        "sandbox.opened",
        "box",
        "developer",
    ]
    assert first["workspaceId"] == crew.workspace_id
    assert first["detail"]["session"] != second["detail"]["session"]


# The route


async def test_pages(bench: Bench) -> None:
    crew = (await scene(bench)).crew
    for number in range(5):
        await crew["stranger"].post("/api/workspaces", {"name": f"w{number}"})
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = await (await crew["owner"].get(f"/api/admin/audit{query}")).get_json()
        assert len(page["entries"]) <= 2
        seen += [entry["target"]["name"] for entry in page["entries"]]
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
    assert seen == ["w4", "w3", "w2", "w1", "w0"]
    five = await (await crew["owner"].get("/api/admin/audit?limit=5&actor=stranger&action=workspace")).get_json()
    assert (len(five["entries"]), five["next"]) == (5, None)
    assert await entries(crew, "?actor=owner") == []
    assert await entries(crew, "?actor=%00&action=%00") == []
    assert await entries(crew, "?outcome=%00") == await entries(crew, "?outcome=refused") == []


async def test_owners_see_what_belongs_to_their_workspace(bench: Bench) -> None:
    """And nobody else: the log says from where people work."""
    found = await scene(bench)
    crew, path = found.crew, f"{found.crew.path}/audit"
    await crew["maintainer"].patch(crew.path, {"name": "play"})
    await crew["stranger"].post("/api/workspaces", {"name": "mine"})
    await bench.client().login("guest")
    await crew["guest"].post(f"/api/sandboxes/{found.names['sandboxId']}/pause")
    page = await (await crew["owner"].get(path)).get_json()
    listed = [(entry["action"], entry["actor"]["username"], entry["outcome"]) for entry in page["entries"]]
    assert listed == [("access.refused", "guest", "refused"), ("workspace.renamed", "maintainer", "done")]
    assert {entry["workspaceId"] for entry in page["entries"]} == {crew.workspace_id}
    assert all(entry["ip"] for entry in page["entries"])
    first = await (await crew["owner"].get(f"{path}?limit=1")).get_json()
    rest = await (await crew["owner"].get(f"{path}?before={first['next']}")).get_json()
    assert first["entries"] + rest["entries"] == page["entries"]
    for query in ("?actor=guest", "?outcome=refused", "?action=access"):
        some = await (await crew["owner"].get(path + query)).get_json()
        assert [entry["action"] for entry in some["entries"]] == ["access.refused"]
    for role in ("maintainer", "developer", "guest"):
        assert (await crew[role].get(path)).status_code == 403
    assert (await crew["stranger"].get(path)).status_code == 404
    assert (await crew["owner"].get(f"{path}?limit=0")).status_code == 422
    assert (await bench.client().get(path)).status_code == 401


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=-1", "limit=", "limit=x", "limit=1.5", "limit=%C2%B2", "before=0", "before=x",
     f"before={2**63}", f"before={'9' * 5000}"],
)  # fmt: skip
async def test_wrong_numbers(bench: Bench, query: str) -> None:
    ada = await bench.person("ada")
    response = await ada.get(f"/api/admin/audit?{query}")
    assert response.status_code == 422
    assert (await ada.get(f"/api/admin/audit?limit=200&before={2**63 - 1}")).status_code == 200
