"""Workspaces and members: every route, every role, and the races."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
from psycopg.conninfo import make_conninfo

from daemon.db.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from tests.api.support import Bench, Client

ROLES = ("owner", "maintainer", "developer", "guest")
EVERYBODY = {"owner", "maintainer", "developer", "guest"}
MANAGERS = {"owner", "maintainer"}


class Team:
    """A workspace with one member of each role, and somebody who is none."""

    def __init__(self, bench: Bench, people: dict[str, Client], workspace: dict[str, Any]) -> None:
        self.bench = bench
        self.people = people
        self.workspace = workspace

    @property
    def path(self) -> str:
        """The workspace's address."""
        return f"/api/workspaces/{self.workspace['id']}"

    def id_of(self, role: str) -> str:
        """The user id of the member with a role."""
        found: str = self.people[role].user["id"]
        return found

    async def add(self, username: str, role: str) -> Client:
        """One more member."""
        client = await self.bench.person(username)
        response = await self.people["owner"].post(f"{self.path}/members", {"username": username, "role": role})
        assert response.status_code == 201
        return client

    async def roles(self) -> dict[str, str]:
        """The members' roles by name, read from the database."""
        rows = await self.bench.execute(
            "SELECT u.username, m.role FROM members m JOIN users u ON u.id = m.user_id WHERE workspace_id = %s",
            self.workspace["id"],
        )
        return dict(rows)

    async def state(self) -> list[tuple[Any, ...]]:
        """All there is to change: each member with the workspace."""
        return await self.bench.execute(
            "SELECT m.user_id, m.role, w.name, w.deleted_at FROM members m JOIN workspaces w ON w.id = m.workspace_id"
            " WHERE w.id = %s ORDER BY 1",
            self.workspace["id"],
        )

    async def restore(self, state: list[tuple[Any, ...]]) -> None:
        """Make it as it was."""
        wid = self.workspace["id"]
        await self.bench.execute("UPDATE workspaces SET name = %s, deleted_at = %s WHERE id = %s", *state[0][2:], wid)
        await self.bench.execute("DELETE FROM members WHERE workspace_id = %s", wid)
        ids, roles = [row[0] for row in state], [row[1] for row in state]
        await self.bench.execute(
            "INSERT INTO members SELECT %s, * FROM unnest(%s::text[], %s::text[])", wid, ids, roles
        )


@pytest.fixture
async def team(bench: Bench) -> Team:
    """A workspace "work" of people who are named like their roles, and a stranger."""
    people = {"owner": await bench.person("owner")}
    workspace = await (await people["owner"].post("/api/workspaces", {"name": "work"})).get_json()
    team = Team(bench, people, workspace)
    for role in ROLES[1:]:
        people[role] = await team.add(role, role)
    people["stranger"] = await bench.person("stranger")
    return team


async def body_of(response: Response) -> Any:
    """The JSON of an answer."""
    return await response.get_json(force=True)


# Good


async def test_create_and_read(bench: Bench) -> None:
    alice = await bench.person("alice")
    response = await alice.post("/api/workspaces", {"name": "  The Team  "})
    assert response.status_code == 201
    made = await body_of(response)
    assert set(made) == {"id", "name", "role", "createdAt", "updatedAt"}
    assert (made["name"], made["role"]) == ("The Team", "owner")
    assert made["createdAt"].endswith("Z")
    assert response.headers["location"] == f"/api/workspaces/{made['id']}"
    assert await body_of(await alice.get(f"/api/workspaces/{made['id']}")) == made
    assert [entry["name"] for entry in await body_of(await alice.get("/api/workspaces"))] == [
        "alice's workspace",
        "The Team",
    ]


async def test_times_are_utc_whatever_the_database_thinks(database_url: str, make_bench: Callable[..., Bench]) -> None:
    elsewhere = make_conninfo(database_url, options="-c timezone=Asia/Kolkata")
    async with Database.open(elsewhere) as database:
        alice = await make_bench(parts={"db": database}).person("alice")
        (workspace,) = await body_of(await alice.get("/api/workspaces"))
        assert workspace["createdAt"].endswith("Z")
        created = datetime.fromisoformat(workspace["createdAt"])
        assert abs(datetime.now(UTC) - created) < timedelta(minutes=10)


@pytest.mark.parametrize("name", ["x", "x" * 100, "  ünïcode ✓  ", "<script>", "' OR 1=1 --", "a\u200bb"])
async def test_good_names(bench: Bench, name: str) -> None:
    alice = await bench.person("alice")
    response = await alice.post("/api/workspaces", {"name": name})
    assert response.status_code == 201
    assert (await body_of(response))["name"] == name.strip()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "x" * 101,
        "a\nb",
        "a\x00b",
        "\x1b[31m",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\u202eb",
        "\u2066a",
        None,
        7,
        ["x"],
    ],
)
async def test_bad_names(team: Team, name: object) -> None:
    for response in (
        await team.people["owner"].post("/api/workspaces", {"name": name}),
        await team.people["owner"].patch(team.path, {"name": name}),
    ):
        assert response.status_code == 422
        assert [error["field"] for error in (await body_of(response))["errors"]] == ["name"]


async def test_rename(team: Team) -> None:
    response = await team.people["maintainer"].patch(team.path, {"name": " new "})
    renamed = await body_of(response)
    assert (renamed["name"], renamed["role"]) == ("new", "maintainer")
    assert renamed["updatedAt"] > renamed["createdAt"]
    assert (await body_of(await team.people["guest"].get(team.path)))["name"] == "new"


async def test_members_are_listed(team: Team) -> None:
    members = await body_of(await team.people["guest"].get(f"{team.path}/members"))
    assert members == [{"userId": team.id_of(role), "username": role, "role": role} for role in ROLES]


async def test_add_by_name_in_any_case(team: Team) -> None:
    response = await team.people["owner"].post(f"{team.path}/members", {"username": "STRANGER", "role": "guest"})
    assert response.status_code == 201
    assert await body_of(response) == {"userId": team.id_of("stranger"), "username": "stranger", "role": "guest"}
    assert (await team.people["stranger"].get(team.path)).status_code == 200


async def test_change_a_role(team: Team) -> None:
    path = f"{team.path}/members/{team.id_of('guest')}"
    response = await team.people["owner"].put(path, {"role": "maintainer"})
    assert await body_of(response) == {"userId": team.id_of("guest"), "username": "guest", "role": "maintainer"}
    assert (await team.people["guest"].patch(team.path, {"name": "y"})).status_code == 200


async def test_a_removed_member_is_out_at_once(team: Team) -> None:
    response = await team.people["owner"].delete(f"{team.path}/members/{team.id_of('developer')}")
    assert response.status_code == 204
    assert (await team.people["developer"].get(team.path)).status_code == 404


@pytest.mark.parametrize("role", ["maintainer", "developer", "guest"])
async def test_everybody_may_leave(team: Team, role: str) -> None:
    assert (await team.people[role].delete(f"{team.path}/members/{team.id_of(role)}")).status_code == 204
    assert role not in await team.roles()


async def test_delete_takes_the_sandboxes_along(team: Team) -> None:
    await team.bench.execute(
        "INSERT INTO sandboxes (id, workspace_id, name, type, status, generation)"
        " VALUES ('saaaaaaaaaaaaaaa', %s, 'a', 'cloud', 'running', 3),"
        " ('sbbbbbbbbbbbbbbb', %s, 'b', 'cloud', 'deleting', 5)",
        team.workspace["id"],
        team.workspace["id"],
    )
    assert (await team.people["owner"].delete(team.path)).status_code == 204
    rows = await team.bench.execute("SELECT id, status, generation FROM sandboxes ORDER BY id")
    assert rows == [("saaaaaaaaaaaaaaa", "deleting", 4), ("sbbbbbbbbbbbbbbb", "deleting", 5)]
    for role in ROLES:
        person = team.people[role]
        assert (await person.get(team.path)).status_code == 404
        assert (await person.get(f"{team.path}/members")).status_code == 404
        assert (await person.delete(team.path)).status_code == 404
        assert team.workspace["id"] not in [entry["id"] for entry in await body_of(await person.get("/api/workspaces"))]
    add = {"username": "stranger", "role": "guest"}
    assert (await team.people["owner"].post(f"{team.path}/members", add)).status_code == 404


# Who may what

TABLE: list[tuple[str, str, object, set[str], int]] = [
    ("GET", "", None, EVERYBODY, 200),
    ("PATCH", "", {"name": "new"}, MANAGERS, 200),
    ("DELETE", "", None, {"owner"}, 204),
    ("GET", "/members", None, EVERYBODY, 200),
    ("POST", "/members", {"username": "newcomer", "role": "owner"}, {"owner"}, 201),
    ("POST", "/members", {"username": "newcomer", "role": "maintainer"}, {"owner"}, 201),
    ("POST", "/members", {"username": "newcomer", "role": "developer"}, MANAGERS, 201),
    ("POST", "/members", {"username": "newcomer", "role": "guest"}, MANAGERS, 201),
    ("PUT", "/members/{guest2}", {"role": "owner"}, {"owner"}, 200),
    ("PUT", "/members/{guest2}", {"role": "developer"}, {"owner"}, 200),
    ("DELETE", "/members/{owner2}", None, {"owner"}, 204),
    ("DELETE", "/members/{maintainer2}", None, {"owner"}, 204),
    ("DELETE", "/members/{developer2}", None, MANAGERS, 204),
    ("DELETE", "/members/{guest2}", None, MANAGERS, 204),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed", "good"), TABLE)
async def test_roles_by_routes(team: Team, method: str, path: str, body: object, allowed: set[str], good: int) -> None:
    """Lesson: guests could change things, maintainers could add owners. Nothing changes where it is refused."""
    await team.bench.person("newcomer")
    seconds = {f"{each}2": (await team.add(f"{each}2", each)).user["id"] for each in ROLES}
    before = await team.state()
    for role in [*ROLES, "stranger", "nobody"]:
        who = team.people.get(role) or team.bench.client()
        response = await who.request(method, team.path + path.format(**seconds), body)
        expected = good if role in allowed else {"stranger": 404, "nobody": 401}.get(role, 403)
        assert response.status_code == expected, role
        if expected == 403:
            assert (await body_of(response))["code"] == "not_allowed"
        if expected >= 400:
            assert await team.state() == before
        await team.restore(before)


@pytest.mark.parametrize(("method", "path", "body", "allowed", "good"), TABLE)
async def test_a_stranger_cannot_tell_a_workspace_from_none(
    team: Team, method: str, path: str, body: object, allowed: set[str], good: int
) -> None:
    """The same 404 to the byte for a workspace of others, a deleted one, and none."""
    stranger = team.people["stranger"]
    mine = await body_of(await stranger.post("/api/workspaces", {"name": "gone"}))
    await stranger.delete(f"/api/workspaces/{mine['id']}")
    ids = {f"{each}2": team.id_of(each) for each in ROLES}
    answers = set()
    for workspace in (team.workspace["id"], mine["id"], "abcdefghij012345", "nonsense", "%00", "x' OR '1'='1"):
        response = await stranger.request(method, f"/api/workspaces/{workspace}{path.format(**ids)}", body)
        answers.add((response.status_code, await response.get_data(as_text=True), str(sorted(response.headers))))
    assert len(answers) == 1
    assert answers.pop()[0] == 404


# Bad


async def test_members_that_cannot_be_added(team: Team) -> None:
    owner, path = team.people["owner"], f"{team.path}/members"
    for username in ("nobody", "", "no name", "\x00", "stranger ", "%"):
        response = await owner.post(path, {"username": username, "role": "guest"})
        assert response.status_code == 404
        assert (await body_of(response))["code"] == "user_not_found"
    response = await owner.post(path, {"username": "Guest", "role": "owner"})
    assert response.status_code == 409
    assert (await body_of(response))["code"] == "already_member"
    for role in ("king", "Owner", "", None, 1):
        response = await owner.post(path, {"username": "stranger", "role": role})
        assert response.status_code == 422
    assert await team.roles() == {role: role for role in ROLES}


@pytest.mark.parametrize("member", ["stranger", "abcdefghij012345", "nonsense", "%00"])
async def test_members_that_are_none(team: Team, member: str) -> None:
    path = f"{team.path}/members/{team.people[member].user['id'] if member in team.people else member}"
    for response in (
        await team.people["owner"].put(path, {"role": "guest"}),
        await team.people["owner"].delete(path),
        await team.people["maintainer"].delete(path),
    ):
        assert response.status_code == 404
        assert (await body_of(response))["code"] == "member_not_found"
    assert (await team.people["guest"].delete(path)).status_code == 403


async def test_roles_are_no_free_text(team: Team) -> None:
    """Lesson: roles were free text."""
    path = f"{team.path}/members/{team.id_of('guest')}"
    for role in ("admin", "OWNER", "", None, {"x": 1}):
        assert (await team.people["owner"].put(path, {"role": role})).status_code == 422
    assert (await team.roles())["guest"] == "guest"


async def test_the_last_owner_stays(team: Team) -> None:
    """Lesson: the last owner could be removed."""
    owner, path = team.people["owner"], f"{team.path}/members/{team.id_of('owner')}"
    for response in (await owner.delete(path), await owner.put(path, {"role": "guest"})):
        assert response.status_code == 409
        assert (await body_of(response))["code"] == "last_owner"
    assert (await owner.put(path, {"role": "owner"})).status_code == 200
    await team.add("owner2", "owner")
    assert (await owner.put(path, {"role": "guest"})).status_code == 200
    assert (await team.roles())["owner2"] == "owner"


# Races


async def at_once(*calls: tuple[Client, str, str, object]) -> list[int]:
    """The statuses of requests that are sent at the same time."""
    statuses = []

    async def send(client: Client, method: str, path: str, body: object) -> None:
        statuses.append((await client.request(method, path, body)).status_code)

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(send, *call)
    return sorted(statuses)


async def test_two_owners_cannot_both_leave(team: Team) -> None:
    for turn in range(5):
        second = await team.add(f"second{turn}", "owner")
        owner = team.people["owner"]
        statuses = await at_once(
            (owner, "DELETE", f"{team.path}/members/{owner.user['id']}", None),
            (second, "DELETE", f"{team.path}/members/{second.user['id']}", None),
        )
        assert statuses == [204, 409]
        left = [name for name, role in (await team.roles()).items() if role == "owner"]
        assert len(left) == 1
        team.people["owner"] = second if left[0] == second.user["username"] else owner


async def test_two_owners_cannot_demote_each_other(team: Team) -> None:
    for turn in range(5):
        second = await team.add(f"second{turn}", "owner")
        owner = team.people["owner"]
        statuses = await at_once(
            (owner, "PUT", f"{team.path}/members/{second.user['id']}", {"role": "guest"}),
            (second, "PUT", f"{team.path}/members/{owner.user['id']}", {"role": "guest"}),
        )
        assert statuses == [200, 403]
        left = [name for name, role in (await team.roles()).items() if role == "owner"]
        assert len(left) == 1
        team.people["owner"] = second if left[0] == second.user["username"] else owner


async def test_adding_somebody_twice_at_once(team: Team) -> None:
    add = {"username": "stranger", "role": "guest"}
    calls = [(team.people[role], "POST", f"{team.path}/members", add) for role in ("owner", "maintainer")] * 2
    assert await at_once(*calls) == [201, 409, 409, 409]


async def test_deleting_twice_at_once(team: Team) -> None:
    calls = [(team.people["owner"], "DELETE", team.path, None)] * 3
    assert await at_once(*calls) == [204, 404, 404]
