"""Invitations: links by which somebody joins a workspace, and registers where nobody else may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.store import invitations as store
from tests.api.crew import NOWHERE, Crew, make_crew
from tests.api.support import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench, Client

LOOK, ACCEPT, REGISTER = "/api/invitations/look", "/api/invitations/accept", "/api/auth/register"
LINK = "http://localhost:8080/invite#"


async def code(response: Any) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["code"]


async def invite(crew: Crew, role: str = "developer", by: str = "owner", **more: Any) -> dict[str, Any]:
    """A new invitation, with its secret as ``token``."""
    response = await crew[by].post(f"{crew.path}/invitations", {"role": role} | more)
    assert response.status_code == 201, await response.get_data(as_text=True)
    found: dict[str, Any] = await response.get_json()
    return found | {"token": found["url"].removeprefix(LINK)}


async def accept(who: Client, invitation: dict[str, Any]) -> Any:
    return await who.post(ACCEPT, {"token": invitation["token"]})


async def listed(crew: Crew) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await (await crew["owner"].get(f"{crew.path}/invitations")).get_json()
    return found


async def roles(crew: Crew) -> dict[str, str]:
    members = await (await crew["owner"].get(f"{crew.path}/members")).get_json()
    return {member["username"]: member["role"] for member in members}


# Making, listing, revoking


async def test_it_is_shown_once(bench: Bench) -> None:
    crew = await make_crew(bench)
    made = await invite(crew, uses=3)
    assert made["url"].startswith(LINK)
    assert len(made["token"]) == 49
    assert (made["role"], made["usesLeft"]) == ("developer", 3)
    assert made["createdBy"] == {"id": crew.id_of("owner"), "username": "owner"}
    assert await listed(crew) == [{name: value for name, value in made.items() if name not in ("url", "token")}]
    for table in ("invitations", "audit"):
        assert made["token"][6:] not in str(await bench.execute(f"SELECT * FROM {table}"))
    query = "SELECT expires_at - created_at = interval '7 days' FROM invitations"
    assert await bench.execute(query) == [(True,)]


@pytest.mark.parametrize(
    "wrong",
    [{"role": "king"}, {"role": None}, {"uses": 0}, {"uses": 101}, {"uses": -1}, {"uses": 1.5}, {"uses": "1"},
     {"uses": True}, {"uses": None}, {"expiresIn": "9m"}, {"expiresIn": "31d"}, {"expiresIn": 0}, {"expiresIn": "x"}],
)  # fmt: skip
async def test_malformed(bench: Bench, wrong: dict[str, object]) -> None:
    crew = await make_crew(bench)
    response = await crew["owner"].post(f"{crew.path}/invitations", {"role": "guest"} | wrong)
    assert await code(response) == (422, "validation_failed")
    assert await listed(crew) == []


@pytest.mark.parametrize("good", [{"uses": 1}, {"uses": 100}, {"expiresIn": "10m"}, {"expiresIn": "30d"}])
async def test_bounds(bench: Bench, good: dict[str, Any]) -> None:
    await invite(await make_crew(bench), **good)


MAY = {"owner": {"owner", "maintainer", "developer", "guest"}, "maintainer": {"developer", "guest"}}


@pytest.mark.parametrize("who", ["owner", "maintainer", "developer", "guest", "stranger"])
async def test_who_may(bench: Bench, who: str) -> None:
    """As adding members: maintainers for roles below their own."""
    crew = await make_crew(bench)
    path = f"{crew.path}/invitations"
    for role in ("owner", "maintainer", "developer", "guest"):
        response = await crew[who].post(path, {"role": role})
        made = await invite(crew, role)
        removed = await crew[who].delete(f"{path}/{made['id']}")
        if who == "stranger":
            assert (response.status_code, removed.status_code) == (404, 404)
        elif role in MAY.get(who, ()):
            assert (response.status_code, removed.status_code) == (201, 204)
        else:
            assert (await code(response), await code(removed)) == ((403, "not_allowed"), (403, "not_allowed"))
    status = (await crew[who].get(path)).status_code
    assert status == (404 if who == "stranger" else 200 if who in MAY else 403)
    assert (await bench.client().post(path, {"role": "guest"})).status_code == 401


async def test_revoking(bench: Bench) -> None:
    crew = await make_crew(bench)
    made = await invite(crew)
    path = f"{crew.path}/invitations"
    own = await (await crew["stranger"].get("/api/workspaces")).get_json()
    elsewhere = f"/api/workspaces/{own[0]['id']}/invitations/{made['id']}"
    assert await code(await crew["stranger"].delete(elsewhere)) == (404, "invitation_not_found")
    for name in (NOWHERE, "x"):
        assert await code(await crew["owner"].delete(f"{path}/{name}")) == (404, "invitation_not_found")
    assert (await crew["owner"].delete(f"{path}/{made['id']}")).status_code == 204
    assert (await crew["owner"].delete(f"{path}/{made['id']}")).status_code == 404
    assert await code(await accept(crew["stranger"], made)) == (404, "invitation_not_found")


async def test_not_more_than_anybody_remembers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.MOST_OPEN == 100
    monkeypatch.setattr(store, "MOST_OPEN", 2)
    crew = await make_crew(bench)
    first = await invite(crew)
    await invite(crew)
    response = await crew["owner"].post(f"{crew.path}/invitations", {"role": "guest"})
    assert await code(response) == (409, "too_many_invitations")
    assert (await accept(crew["stranger"], first)).status_code == 200  # used up, it is open no more
    await invite(crew)


# Looking and joining


async def test_looking(bench: Bench) -> None:
    crew = await make_crew(bench)
    made = await invite(crew, "guest", by="maintainer")
    response = await bench.client().post(LOOK, {"token": made["token"]})
    assert await response.get_json() == {
        "workspaceName": "work", "role": "guest", "invitedBy": "maintainer", "expiresAt": made["expiresAt"],
    }  # fmt: skip
    assert "Set-Cookie" not in response.headers
    assert (await listed(crew))[0]["usesLeft"] == 1


async def test_joining(bench: Bench) -> None:
    crew = await make_crew(bench)
    made = await invite(crew, "maintainer")
    response = await accept(crew["stranger"], made)
    assert response.status_code == 200
    joined = await response.get_json()
    assert (joined["id"], joined["name"], joined["role"]) == (crew.workspace_id, "work", "maintainer")
    assert (await roles(crew))["stranger"] == "maintainer"
    assert await listed(crew) == []
    another = await bench.person("another")
    assert await code(await accept(another, made)) == (404, "invitation_not_found")
    assert (await bench.client().post(ACCEPT, {"token": made["token"]})).status_code == 401


async def test_several_uses(bench: Bench) -> None:
    crew = await make_crew(bench)
    made = await invite(crew, uses=2)
    people = [await bench.person(name) for name in ("ann", "ben", "cid")]
    assert [(await accept(who, made)).status_code for who in people] == [200, 200, 404]


@pytest.mark.parametrize("role", ["owner", "guest"])
async def test_members_stay_what_they_are(bench: Bench, role: str) -> None:
    """Whichever is higher: an invitation changes no role, and is not spent."""
    crew = await make_crew(bench)
    made = await invite(crew, role)
    before = await roles(crew)
    for who in ("owner", "maintainer", "developer", "guest"):
        assert await code(await accept(crew[who], made)) == (409, "already_member")
    assert await roles(crew) == before
    assert (await listed(crew))[0]["usesLeft"] == 1


GONE = {
    "expired": "UPDATE invitations SET expires_at = now()",
    "used up": "UPDATE invitations SET uses_left = 0",
    "workspace deleted": "UPDATE workspaces SET deleted_at = now() WHERE name = 'work'",
    "inviter demoted": "UPDATE members SET role = 'developer' WHERE role = 'maintainer'",
    "inviter removed": "DELETE FROM members WHERE role = 'maintainer'",
    "inviter disabled": "UPDATE users SET disabled_at = now() WHERE username = 'maintainer'",
    "inviter gone": "DELETE FROM users WHERE username = 'maintainer'",
    "role above the inviter's": "UPDATE invitations SET role = 'maintainer'",
}


@pytest.mark.parametrize("way", GONE)
async def test_an_invitation_that_is_not_good(make_bench: Callable[..., Bench], way: str) -> None:
    """All look alike to whoever has the link. Who lost the right takes the invitation along."""
    bench = make_bench(registration="closed")
    crew = await make_crew(make_bench())
    made = await invite(crew, by="maintainer")
    await bench.execute(GONE[way])
    stranger = crew["stranger"]
    wrong = await stranger.post(LOOK, {"token": made["token"][:-1]})
    for response in (
        await stranger.post(LOOK, {"token": made["token"]}),
        await accept(stranger, made),
        await bench.client().post(REGISTER, {"username": "new", "password": PASSWORD, "invitation": made["token"]}),
    ):
        assert await response.get_json() == await wrong.get_json()
        assert response.status_code == 404
    if way != "workspace deleted":
        assert await listed(crew) == []
    assert (await bench.execute("SELECT count(*) FROM users WHERE username = 'new'"))[0][0] == 0


@pytest.mark.parametrize("token", ["", "x", "é", "\x00", "clisi_" + "a" * 43, "a" * 100])
async def test_what_is_no_invitation(bench: Bench, token: str) -> None:
    ada = await bench.person("ada")
    for path in (LOOK, ACCEPT):
        assert await code(await ada.post(path, {"token": token})) == (404, "invitation_not_found")


async def test_what_is_malformed(bench: Bench) -> None:
    ada = await bench.person("ada")
    for path in (LOOK, ACCEPT):
        for body in ({}, {"token": None}, {"token": 1}, {"token": "a" * 101}):
            assert (await ada.post(path, body)).status_code == 422


async def test_guessing_is_slowed_down(bench: Bench) -> None:
    """For the guesser's address, and for nobody else's; links that are right do not count."""
    crew = await make_crew(bench)
    made = await invite(crew, uses=100)
    guesser = bench.client("203.0.113.5")
    for _ in range(25):
        assert (await guesser.post(LOOK, {"token": made["token"]})).status_code == 200
    body = {"username": "new", "password": PASSWORD, "invitation": "x"}
    for path, what in [(LOOK, {"token": "x"}), (REGISTER, body)] * 10:
        assert (await guesser.post(path, what)).status_code == 404
    # The block begins with a second; longer, so that a slow machine meets it, too.
    longer = "UPDATE login_failures SET blocked_until = blocked_until + interval '1 hour'"
    await bench.execute(f"{longer} WHERE bucket LIKE 'invitation:%'")
    response = await guesser.post(LOOK, {"token": made["token"]})
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert (await bench.client().post(LOOK, {"token": made["token"]})).status_code == 200


# Registering


@pytest.mark.parametrize("policy", ["closed", "first-user", "open"])
async def test_registering_by_invitation(make_bench: Callable[..., Bench], policy: str) -> None:
    crew = await make_crew(make_bench())
    made = await invite(crew, "guest")
    bench = make_bench(registration=policy)
    new = bench.client()
    body = {"username": "new", "password": PASSWORD, "invitation": made["token"]}
    assert (await new.post(REGISTER, body)).status_code == 201
    workspaces = await (await new.get("/api/workspaces")).get_json()
    assert {(one["name"], one["role"]) for one in workspaces} == {("new's workspace", "owner"), ("work", "guest")}
    assert not (await (await new.get("/api/auth/me")).get_json())["isAdmin"]
    assert await listed(crew) == []
    again = await bench.client().post(REGISTER, body | {"username": "newer"})
    assert await code(again) == (404, "invitation_not_found")
    page = await (await crew["owner"].get("/api/admin/audit?actor=new")).get_json()
    left = {entry["action"]: entry for entry in page["entries"]}
    assert left["user.registered"]["detail"]["invitation"] == made["id"]
    assert left["invitation.accepted"]["target"]["name"] == "work"
    assert left["member.added"]["detail"]["invited_by"] == "owner"


async def test_without_one_it_stays_closed(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(registration="closed")
    for body in ({}, {"invitation": None}):
        response = await bench.client().post(REGISTER, {"username": "new", "password": PASSWORD} | body)
        assert await code(response) == (403, "registration_closed")
    assert bench.hasher.hashings == 0


async def test_a_name_that_is_taken_spends_nothing(bench: Bench) -> None:
    crew = await make_crew(bench)
    made = await invite(crew)
    body = {"username": "Guest", "password": PASSWORD, "invitation": made["token"]}
    assert await code(await bench.client().post(REGISTER, body)) == (409, "username_taken")
    assert (await listed(crew))[0]["usesLeft"] == 1


async def test_a_wrong_one_costs_no_hashing(bench: Bench) -> None:
    body = {"username": "new", "password": PASSWORD, "invitation": "x"}
    assert await code(await bench.client().post(REGISTER, body)) == (404, "invitation_not_found")
    assert bench.hasher.hashings == 0


# The audit log


async def test_what_the_log_says(bench: Bench) -> None:
    crew = await make_crew(bench)
    await bench.execute("DELETE FROM audit")
    made = await invite(crew, by="maintainer", uses=2)
    await accept(crew["stranger"], made)
    await crew["owner"].delete(f"{crew.path}/invitations/{made['id']}")
    page = await (await crew["owner"].get("/api/admin/audit")).get_json()
    created, added, accepted, revoked = reversed(page["entries"])
    about = {"invitation": made["id"], "role": "developer"}
    for entry in (created, accepted, revoked):
        assert entry["target"] == {"kind": "workspace", "id": crew.workspace_id, "name": "work"}
        assert entry["workspaceId"] == crew.workspace_id
        assert about.items() <= entry["detail"].items()
    assert [entry["actor"]["username"] for entry in (created, added, accepted, revoked)] == [
        "maintainer", "stranger", "stranger", "owner",
    ]  # fmt: skip
    assert created["detail"]["uses"] == "2"
    assert (added["action"], added["target"]["name"], added["detail"]) == (
        "member.added", "stranger", about | {"invited_by": "maintainer"},
    )  # fmt: skip
    assert revoked["detail"]["made_by"] == "maintainer"
