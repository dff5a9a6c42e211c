"""What admins see and do, who is one, and what becomes of somebody who is disabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from daemon.store import admin
from daemon.store.admin import LastAdmin, NotAdmin
from daemon.store.audit import Actor
from tests.api.crew import NOWHERE, Crew, make_crew
from tests.api.support import PASSWORD

if TYPE_CHECKING:
    from quart import Response

    from daemon.db.database import Connection
    from tests.api.support import Bench, Client

ROUTES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "/api/admin/users", None),
    ("PATCH", "/api/admin/users/{target}", {"disabled": True}),
    ("PATCH", "/api/admin/users/{target}", {}),
    ("PATCH", f"/api/admin/users/{NOWHERE}", {"disabled": True}),
    ("GET", "/api/admin/workspaces", None),
    ("GET", "/api/admin/sandboxes", None),
    ("GET", "/api/admin/audit", None),
)
# Everybody who is nobody here, and what they are told.
NOBODIES = {
    "nobody": (401, "not_signed_in"),
    "plain": (403, "not_admin"),
    "owner of a workspace": (403, "not_admin"),
    "former admin": (403, "not_admin"),
    "disabled admin": (401, "not_signed_in"),
}


@pytest.fixture
async def crew(bench: Bench) -> Crew:
    """The first user, the crew's owner, is the admin."""
    return await make_crew(bench)


async def code(response: Response) -> str:
    return str((await response.get_json())["code"])


async def people(crew: Crew) -> dict[str, Client]:
    """One of each; the crew's owner is a plain user's equal but for being an admin."""
    found = {
        "nobody": crew.bench.client(),
        "plain": crew["stranger"],
        "owner of a workspace": crew["maintainer"],
        "former admin": await crew.bench.person("former"),
        "disabled admin": await crew.bench.person("disabled"),
    }
    await found["owner of a workspace"].post("/api/workspaces", {"name": "mine"})
    for name in ("former admin", "disabled admin"):
        await change(crew, found[name].user["id"], isAdmin=True)
        assert (await found[name].get("/api/admin/users")).status_code == 200
    await change(crew, found["former admin"].user["id"], isAdmin=False)
    await change(crew, found["disabled admin"].user["id"], disabled=True)
    return found


async def change(crew: Crew, user_id: str, **body: bool) -> dict[str, Any]:
    """By the admin; it must succeed."""
    response = await crew["owner"].patch(f"/api/admin/users/{user_id}", body)
    assert response.status_code == 200, await response.get_data(as_text=True)
    found: dict[str, Any] = await response.get_json()
    return found


async def users(crew: Crew) -> dict[str, dict[str, Any]]:
    """As the admin sees them, by name."""
    response = await crew["owner"].get("/api/admin/users")
    return {user["username"]: user for user in await response.get_json()}


# Who may


async def test_who_may(crew: Crew) -> None:
    everybody = await people(crew)
    assert set(everybody) == set(NOBODIES)
    before = await users(crew)
    for name, client in everybody.items():
        for method, path, body in ROUTES:
            response = await client.request(method, path.format(target=crew.id_of("guest")), body)
            assert (response.status_code, await code(response)) == NOBODIES[name], (name, method, path)
    assert await users(crew) == before
    for method, path, body in ROUTES:
        response = await crew["owner"].request(method, path.format(target=crew.id_of("guest")), body)
        assert response.status_code == (404 if NOWHERE in path else 200)


async def test_no_admin_route_is_left_out(bench: Bench) -> None:
    documented = {
        (method.upper(), path.replace("{userId}", "{target}"))
        for path, item in bench.contract.document["paths"].items()
        if path.startswith("/api/admin/")
        for method in item
    }
    assert documented == {(method, path) for method, path, _ in ROUTES if NOWHERE not in path}


async def test_rights_are_asked_of_the_database(crew: Crew) -> None:
    """In the transaction itself: whoever loses them between the door and the deed does nothing."""
    everybody = await people(crew)
    for name in ("plain", "former admin", "disabled admin"):
        actor = Actor(everybody[name].user["id"], "192.0.2.1")
        with pytest.raises(NotAdmin):
            await crew.bench.db.run(admin.change_user, actor, crew.id_of("guest"), disabled=True)
        for read in (admin.list_users, admin.list_workspaces, admin.list_sandboxes):
            with pytest.raises(NotAdmin):
                await crew.bench.db.run(read, actor.user_id)
        with pytest.raises(NotAdmin):
            await crew.bench.db.run(admin.list_audit, actor.user_id, before=None, most=1, action=None, actor=None)
    assert (await users(crew))["guest"]["disabledAt"] is None


# Lists


async def test_users(crew: Crew) -> None:
    found = await users(crew)
    assert list(found) == ["owner", "maintainer", "developer", "guest", "stranger"]
    owner = found["owner"]
    assert owner.keys() == {
        "id", "username", "email", "isAdmin", "disabledAt", "createdAt", "lastSeenAt", "workspaces",
    }  # fmt: skip
    assert [owner["id"], owner["email"], owner["isAdmin"], owner["disabledAt"]] == [
        crew.id_of("owner"),
        None,
        True,
        None,
    ]
    assert {name: user["workspaces"] for name, user in found.items()} == {
        "owner": 2, "maintainer": 2, "developer": 2, "guest": 2, "stranger": 1,
    }  # fmt: skip
    await crew["owner"].delete(crew.path)
    assert (await users(crew))["guest"]["workspaces"] == 1, "one that is being deleted is none"


async def test_when_somebody_was_last_here(crew: Crew) -> None:
    """It stays when their sessions are gone, and moves on with their use."""
    await crew.bench.execute("UPDATE users SET last_seen_at = NULL")
    assert (await users(crew))["guest"]["lastSeenAt"] is None
    await crew.bench.execute("UPDATE sessions SET last_seen_at = now() - interval '2 hours'")
    await crew["guest"].get("/api/auth/me")
    by_use = (await users(crew))["guest"]["lastSeenAt"]
    assert by_use is not None
    await crew["guest"].post("/api/auth/logout")
    assert (await users(crew))["guest"]["lastSeenAt"] == by_use
    await crew.bench.client().login("guest")
    assert (await users(crew))["guest"]["lastSeenAt"] > by_use


async def test_workspaces_and_sandboxes(crew: Crew) -> None:
    """Of everybody, whether the admin is a member or not."""
    theirs = (await (await crew["stranger"].get("/api/workspaces")).get_json())[0]["id"]
    own, foreign = await crew.box("paused"), await crew.box("running", workspace_id=theirs)
    await crew["owner"].put(f"{crew.path}/members/{crew.id_of('maintainer')}", {"role": "owner"})
    listed = {row["id"]: row for row in await (await crew["owner"].get("/api/admin/workspaces")).get_json()}
    assert len(listed) == 6
    work = listed[crew.workspace_id]
    assert work.pop("createdAt").endswith("Z")
    assert work == {
        "id": crew.workspace_id, "name": "work", "owners": ["owner", "maintainer"], "members": 4, "sandboxes": 1,
        "running": 0,
    }  # fmt: skip
    assert (listed[theirs]["owners"], listed[theirs]["running"]) == (["stranger"], 1)
    boxes = await (await crew["owner"].get("/api/admin/sandboxes")).get_json()
    assert [(box["id"], box["workspaceName"]) for box in boxes] == [(own, "work"), (foreign, "stranger's workspace")]
    shown = await (await crew["owner"].get(f"/api/sandboxes/{own}")).get_json()
    assert boxes[0] == shown | {"workspaceName": "work"}
    # To see that it is there is not to be let in.
    for path in (f"/api/sandboxes/{foreign}", f"/api/workspaces/{theirs}"):
        assert (await crew["owner"].get(path)).status_code == 404
    await crew["stranger"].delete(f"/api/workspaces/{theirs}")
    listed = {row["id"]: row for row in await (await crew["owner"].get("/api/admin/workspaces")).get_json()}
    assert theirs not in listed


# Changes


async def test_somebody_becomes_an_admin_and_is_one_no_more(crew: Crew) -> None:
    guest = crew["guest"]
    assert (await change(crew, crew.id_of("guest"), isAdmin=True))["isAdmin"] is True
    assert (await (await guest.get("/api/auth/me")).get_json())["isAdmin"] is True
    assert (await guest.get("/api/admin/users")).status_code == 200
    assert (await change(crew, crew.id_of("guest"), isAdmin=False))["isAdmin"] is False
    assert (await (await guest.get("/api/auth/me")).get_json())["isAdmin"] is False
    assert (await guest.get("/api/admin/users")).status_code == 403


async def test_who_is_disabled_is_out_and_comes_back_whole(crew: Crew) -> None:
    guest, id_ = crew["guest"], crew.id_of("guest")
    elsewhere = crew.bench.client()
    await elsewhere.login("guest")
    await guest.post("/api/workspaces", {"name": "precious"})
    had = await (await guest.get("/api/workspaces")).get_json()
    assert (await change(crew, id_, disabled=True))["disabledAt"] is not None
    shown = (await users(crew))["guest"]
    assert shown["disabledAt"] is not None
    assert shown["workspaces"] == 3
    for client in (guest, elsewhere):
        assert (await client.get("/api/auth/me")).status_code == 401
    refused = await crew.bench.client().login("guest")
    assert (refused.status_code, await code(refused)) == (403, "account_disabled")
    assert (await change(crew, id_, disabled=True))["disabledAt"] == shown["disabledAt"], "the first time counts"
    assert (await change(crew, id_, disabled=False))["disabledAt"] is None
    # What somebody may have stolen does not come back to life.
    for client in (guest, elsewhere):
        assert (await client.get("/api/auth/me")).status_code == 401
    assert (await guest.login("guest", PASSWORD)).status_code == 200
    assert await (await guest.get("/api/workspaces")).get_json() == had


@pytest.mark.parametrize("body", [{"isAdmin": False}, {"isAdmin": True}, {"disabled": True}, {"disabled": False}])
@pytest.mark.parametrize("others", [False, True])
async def test_nobody_changes_themselves(crew: Crew, body: dict[str, bool], others: bool) -> None:
    if others:
        await change(crew, crew.id_of("guest"), isAdmin=True)
    response = await crew["owner"].patch(f"/api/admin/users/{crew.id_of('owner')}", body)
    assert (response.status_code, await code(response)) == (409, "own_account")
    assert (await users(crew))["owner"]["isAdmin"] is True


@pytest.mark.parametrize("body", [{"isAdmin": "yes"}, {"disabled": 1}, [], {"isAdmin": []}])
async def test_malformed_changes(crew: Crew, body: object) -> None:
    response = await crew["owner"].patch(f"/api/admin/users/{crew.id_of('guest')}", body)
    assert response.status_code == 422
    assert (await crew["owner"].patch(f"/api/admin/users/{NOWHERE}", {"disabled": True})).status_code == 404
    assert (await crew["owner"].patch("/api/admin/users/%00", {"disabled": True})).status_code == 404


async def test_an_admin_stays(crew: Crew) -> None:
    """Disabled ones do not count. No route gets so far, because who asks is one and may not mean themselves."""
    await change(crew, crew.id_of("guest"), isAdmin=True)
    await crew.bench.db.run(admin.keep_an_admin, crew.id_of("owner"))
    await change(crew, crew.id_of("guest"), disabled=True)
    with pytest.raises(LastAdmin):
        await crew.bench.db.run(admin.keep_an_admin, crew.id_of("owner"))
    await crew.bench.db.run(admin.keep_an_admin, crew.id_of("guest"))


@pytest.mark.parametrize("how", [{"isAdmin": False}, {"disabled": True}])
async def test_two_admins_who_demote_each_other(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, how: dict[str, bool]
) -> None:
    """Both have passed the door and are in their transactions at the same moment: one wins, one admin stays."""
    await change(crew, crew.id_of("guest"), isAdmin=True)
    require, arrived = admin.require_admin, trio.Event()
    token = trio.lowlevel.current_trio_token()
    calls: list[str] = []

    def together(conn: Connection, user_id: str) -> None:
        require(conn, user_id)
        calls.append(user_id)
        if len(calls) == 1:
            token.run_sync_soon(arrived.set)
            # Until the other waits for us in the database, or, if nothing made it wait, has asked as we did.
            trio.from_thread.run(_until_both, crew, calls, trio_token=token)

    monkeypatch.setattr(admin, "require_admin", together)
    outcomes: list[tuple[int, str | None]] = []

    async def demote(who: str, whom: str) -> None:
        response = await crew[who].patch(f"/api/admin/users/{crew.id_of(whom)}", how)
        outcomes.append((response.status_code, (await response.get_json()).get("code")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(demote, "owner", "guest")
        await arrived.wait()
        nursery.start_soon(demote, "guest", "owner")
    assert sorted(outcomes) == [(200, None), (403, "not_admin")]
    left = "SELECT username FROM users WHERE is_admin AND disabled_at IS NULL"
    assert await crew.bench.execute(left) == [("owner",)]


async def _until_both(crew: Crew, calls: list[str]) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with trio.fail_after(10):
        while len(calls) < 2 and await crew.bench.execute(waiting) == [(0,)]:  # noqa: ASYNC110 - PostgreSQL sets none
            await trio.sleep(0.005)
