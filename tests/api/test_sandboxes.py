"""Routes of sandboxes: shapes, every role, every status, and what may be asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon.ids import is_id
from daemon.sandboxes.status import STATUSES
from daemon.secret import token_hash
from tests.api.crew import NOWHERE, ROLES, Crew, make_crew

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from tests.api.support import Bench

MEMBERS = set(ROLES)
DEVELOPERS = MEMBERS - {"guest"}
FIELDS = {
    "id", "workspaceId", "name", "type", "status", "statusReason", "isLocal", "url", "createdAt", "lastActivityAt",
    "pausedAt", "lastHeartbeatAt", "idleTimeout", "cpu", "memory", "createdBy", "agentInfo",
}  # fmt: skip


@pytest.fixture
async def crew(bench: Bench) -> Crew:
    return await make_crew(bench)


async def body_of(response: Response) -> Any:
    return await response.get_json(force=True)


# Shapes


async def test_create_and_read(crew: Crew) -> None:
    response = await crew["developer"].post(f"{crew.path}/sandboxes", {})
    made = await body_of(response)
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/sandboxes/{made['id']}"
    assert set(made) == FIELDS
    assert is_id(made["id"])
    assert made | {"id": 0, "createdAt": 0, "lastActivityAt": 0} == {
        "id": 0,
        "workspaceId": crew.workspace_id,
        "name": f"sandbox-{made['id'][:4]}",
        "type": "cloud",
        "status": "creating",
        "statusReason": None,
        "isLocal": False,
        "url": f"http://oc-{made['id']}.localhost:8080/",
        "createdAt": 0,
        "lastActivityAt": 0,
        "pausedAt": None,
        "lastHeartbeatAt": None,
        "idleTimeout": "30m",
        "cpu": "2",
        "memory": "2Gi",
        "createdBy": {"id": crew.id_of("developer"), "username": "developer"},
        "agentInfo": None,
    }
    assert made["createdAt"].endswith("Z")
    assert await body_of(await crew["guest"].get(f"/api/sandboxes/{made['id']}")) == made
    assert await body_of(await crew["guest"].get(f"{crew.path}/sandboxes")) == [made]


async def test_what_is_asked_for_is_given_and_said(crew: Crew) -> None:
    wanted = {"name": "  My box ", "cpu": "500m", "memory": "512Mi", "idleTimeout": "45m"}
    made = await body_of(await crew["owner"].post(f"{crew.path}/sandboxes", wanted))
    assert {name: made[name] for name in wanted} == wanted | {"name": "My box"}


async def test_only_the_hash_of_the_proxy_token_is_kept(crew: Crew) -> None:
    """Lesson: secrets in clear in the database."""
    made = await body_of(await crew["owner"].post(f"{crew.path}/sandboxes", {}))
    rows = await crew.bench.execute("SELECT proxy_token_hash, secret_version FROM sandboxes WHERE id = %s", made["id"])
    assert rows == [(token_hash(crew.bench.parts.keyring.proxy_token(made["id"], 1)), 1)]


async def test_the_server_s_values_are_shown_in_its_own_words(make_bench: Callable[..., Bench]) -> None:
    crew = await make_crew(
        make_bench(agent_cpu_limit=0.5, agent_memory_limit=1536 << 20, idle_timeout=0.0, base_scheme="http")
    )
    made = await body_of(await crew["owner"].post(f"{crew.path}/sandboxes", {}))
    assert (made["cpu"], made["memory"], made["idleTimeout"]) == ("0.5", "1536Mi", "0")


async def test_the_list_is_in_order_and_of_one_workspace(crew: Crew) -> None:
    boxes = [await crew.box() for _ in range(3)]
    other = await body_of(await crew["owner"].post("/api/workspaces", {"name": "other"}))
    await crew.box(workspace_id=other["id"])
    assert [box["id"] for box in await body_of(await crew["owner"].get(f"{crew.path}/sandboxes"))] == boxes


async def test_the_latest_activity_is_what_this_process_saw(make_bench: Callable[..., Bench]) -> None:
    later = datetime.now(UTC) + timedelta(minutes=1)
    seen: dict[str, datetime] = {}
    crew = await make_crew(make_bench(parts={"last_activity": seen.get}))
    box = await crew.box()

    async def shown() -> datetime:
        text = (await body_of(await crew["guest"].get(f"/api/sandboxes/{box}")))["lastActivityAt"]
        return datetime.fromisoformat(text)

    written = await shown()
    seen[box] = later
    assert await shown() == later
    seen[box] = written - timedelta(minutes=1)
    assert await shown() == written


# Roles

CALLS: list[tuple[str, str, object, int, set[str]]] = [
    ("GET", "{workspace}/sandboxes", None, 200, MEMBERS),
    ("POST", "{workspace}/sandboxes", {}, 201, DEVELOPERS),
    ("GET", "{box}", None, 200, MEMBERS),
    ("HEAD", "{box}", None, 200, MEMBERS),
    ("PATCH", "{box}", {"name": "new"}, 200, DEVELOPERS),
    ("POST", "{box}/pause", None, 202, DEVELOPERS),
    ("POST", "{paused}/resume", None, 202, DEVELOPERS),
    ("GET", "{box}/open", None, 302, DEVELOPERS),
    ("HEAD", "{box}/logs", None, 200, DEVELOPERS),
    ("GET", "{box}/usage", None, 200, MEMBERS),
    ("GET", "{workspace}/usage", None, 200, MEMBERS),
    ("GET", "{workspace}/activity", None, 200, MEMBERS),
    ("DELETE", "{box}", None, 204, DEVELOPERS),
]


@pytest.mark.parametrize(("method", "path", "body", "good", "allowed"), CALLS)
async def test_who_may(crew: Crew, method: str, path: str, body: object, good: int, allowed: set[str]) -> None:
    """Lesson: guests could delete, pause, and fully use sandboxes."""
    for role in (*ROLES, "stranger", "nobody"):
        box, paused = await crew.box(), await crew.box("paused")
        client = crew.bench.client() if role == "nobody" else crew[role]
        places = {"workspace": crew.path, "box": f"/api/sandboxes/{box}", "paused": f"/api/sandboxes/{paused}"}
        response = await client.request(method, path.format_map(places), body)
        expected = good if role in allowed else {"nobody": 401, "stranger": 404}.get(role, 403)
        assert response.status_code == expected, role
        if role not in allowed:
            assert (await crew.status_of(box), await crew.status_of(paused)) == ("running", "paused")
            assert await crew.bench.execute("SELECT 1 FROM tickets WHERE sandbox_id = %s", box) == []


@pytest.mark.parametrize(("method", "path", "body"), [call[:3] for call in CALLS])
async def test_a_stranger_cannot_tell_what_exists(crew: Crew, method: str, path: str, body: object) -> None:
    box, paused = await crew.box(), await crew.box("paused")
    there = {"workspace": crew.path, "box": f"/api/sandboxes/{box}", "paused": f"/api/sandboxes/{paused}"}
    nowhere = f"/api/sandboxes/{NOWHERE}"
    missing = {"workspace": f"/api/workspaces/{NOWHERE}", "box": nowhere, "paused": nowhere}
    answers = [
        await crew["stranger"].request(method, path.format_map(places), body) for places in (there, missing, there)
    ]
    for response in answers:
        assert response.status_code == 404
        assert await response.get_data() == await answers[1].get_data()
        assert response.headers.to_wsgi_list() == answers[1].headers.to_wsgi_list()


@pytest.mark.parametrize(
    "name", ["x", "A" * 16, NOWHERE + "a", "a%00aaaaaaaaaaaaaa", "%c3%a4aaaaaaaaaaaaaaa", "a' OR 1=1"]
)
async def test_names_that_are_no_ids(crew: Crew, name: str) -> None:
    for suffix in ("", "/usage", "/logs", "/open"):
        assert (await crew["owner"].get(f"/api/sandboxes/{name}{suffix}")).status_code == 404
    assert (await crew["owner"].post(f"/api/sandboxes/{name}/pause")).status_code == 404
    assert (await crew["owner"].get(f"/api/workspaces/{name}/sandboxes")).status_code == 404


async def test_a_deleted_workspace_takes_its_sandboxes_out_of_sight(crew: Crew) -> None:
    box = await crew.box()
    assert (await crew["owner"].delete(crew.path)).status_code == 204
    assert await crew.status_of(box) == "deleting"
    for method, path in (("GET", ""), ("GET", "/open"), ("GET", "/logs"), ("POST", "/resume"), ("DELETE", "")):
        assert (await crew["owner"].request(method, f"/api/sandboxes/{box}{path}")).status_code == 404
    assert (await crew["owner"].get(f"{crew.path}/sandboxes")).status_code == 404
    assert (await crew["owner"].post(f"{crew.path}/sandboxes", {})).status_code == 404


async def test_unknown_methods(crew: Crew) -> None:
    box = await crew.box()
    for path, allowed in (
        (f"/api/sandboxes/{box}", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        (f"/api/sandboxes/{box}/pause", "OPTIONS, POST"),
        (f"{crew.path}/sandboxes", "GET, HEAD, OPTIONS, POST"),
        ("/api/events", "GET, HEAD, OPTIONS"),
    ):
        response = await crew["owner"].put(path, {})
        assert (response.status_code, response.headers["allow"]) == (405, allowed)


# Statuses


@pytest.mark.parametrize("status", sorted(STATUSES - {"offline"}))  # which local ones only are
async def test_what_each_status_allows(crew: Crew, status: str) -> None:
    """Lesson: a status was written without compare-and-set. Contract: 409 in a state that does not allow it."""
    for verb, allowed, after in (
        ("pause", {"running"}, "pausing"),
        ("resume", {"paused", "failed"}, "resuming"),
    ):
        box = await crew.box(status)
        response = await crew["developer"].post(f"/api/sandboxes/{box}/{verb}")
        answer = await body_of(response)
        if status in allowed:
            assert (response.status_code, answer["id"], answer["status"]) == (202, box, after)
            assert await crew.status_of(box) == after
        else:
            assert (response.status_code, answer["code"]) == (409, "wrong_status")
            assert status in answer["detail"]
            assert await crew.status_of(box) == status
    box = await crew.box(status)
    assert (await crew["developer"].delete(f"/api/sandboxes/{box}")).status_code == 204
    assert (await crew["developer"].delete(f"/api/sandboxes/{box}")).status_code == 204
    assert await crew.status_of(box) == "deleting"
    await crew.bench.execute("DELETE FROM sandboxes WHERE id = %s", box)
    assert (await crew["developer"].delete(f"/api/sandboxes/{box}")).status_code == 404
    assert (await crew["developer"].get(f"/api/sandboxes/{box}")).status_code == 404


@pytest.mark.parametrize("status", ["running", "offline"])
async def test_local_sandboxes(crew: Crew, status: str) -> None:
    box = await crew.box(status, "local")
    shown = await body_of(await crew["guest"].get(f"/api/sandboxes/{box}"))
    assert (shown["type"], shown["isLocal"], shown["status"]) == ("local", True, status)
    for method, path in (("POST", "pause"), ("POST", "resume"), ("GET", "logs")):
        response = await crew["owner"].request(method, f"/api/sandboxes/{box}/{path}")
        assert (response.status_code, (await body_of(response))["code"]) == (409, "local_sandbox")
        assert (await crew["guest"].request(method, f"/api/sandboxes/{box}/{path}")).status_code == 403
    assert (await crew["owner"].delete(f"/api/sandboxes/{box}")).status_code == 204
    assert await crew.status_of(box) == "deleting"


async def test_a_local_sandbox_has_no_limits_and_no_idle_timeout(crew: Crew) -> None:
    """Nobody keeps them for a machine, so nobody may say or set them."""
    box = await crew.box("running", "local")
    path = f"/api/sandboxes/{box}"
    shown = await body_of(await crew["guest"].get(path))
    assert (shown["cpu"], shown["memory"], shown["idleTimeout"]) == (None, None, None)
    response = await crew["owner"].patch(path, {"name": "new", "idleTimeout": "45m"})
    assert (response.status_code, (await body_of(response))["code"]) == (409, "local_sandbox")
    assert await body_of(await crew["guest"].get(path)) == shown
    renamed = await body_of(await crew["owner"].patch(path, {"name": "new", "idleTimeout": None}))
    assert renamed == shown | {"name": "new"}


async def test_who_made_it(crew: Crew) -> None:
    """Every answer and every list says it, after the maker has left too; when the user is gone, nobody."""
    made = await body_of(await crew["developer"].post(f"{crew.path}/sandboxes", {}))
    maker = {"id": crew.id_of("developer"), "username": "developer"}
    path = f"/api/sandboxes/{made['id']}"
    await crew.bench.execute("UPDATE sandboxes SET status = 'running'")
    answers = [
        await crew["owner"].patch(path, {"name": "new"}),
        await crew["owner"].post(f"{path}/pause"),
        await crew["guest"].get(path),
    ]
    await crew.remove("developer")
    answers.append(await crew["guest"].get(path))
    assert [(await body_of(response))["createdBy"] for response in answers] == [maker] * 4
    assert [box["createdBy"] for box in await body_of(await crew["guest"].get(f"{crew.path}/sandboxes"))] == [maker]
    await crew.bench.execute("DELETE FROM users WHERE id = %s", maker["id"])
    assert (await body_of(await crew["guest"].get(path)))["createdBy"] is None


# Changes


async def test_change(crew: Crew) -> None:
    box = await crew.box()
    path = f"/api/sandboxes/{box}"
    for change, expected in (
        ({}, {"name": "box", "idleTimeout": "30m"}),
        ({"idleTimeout": "45m"}, {"name": "box", "idleTimeout": "45m"}),
        ({"name": " new "}, {"name": "new", "idleTimeout": "45m"}),
        ({"idleTimeout": 2700}, {"idleTimeout": "2700s"}),
        ({"idleTimeout": "90"}, {"idleTimeout": "90s"}),
        ({"idleTimeout": "1h30m"}, {"idleTimeout": "1h30m"}),
        ({"idleTimeout": 0}, {"idleTimeout": "0"}),
        ({"idleTimeout": "0"}, {"idleTimeout": "0"}),
        ({"idleTimeout": None, "name": "again"}, {"name": "again", "idleTimeout": "30m"}),
        ({"status": "paused", "cpu": "1"}, {"status": "running", "cpu": "2"}),  # not members of a change
    ):
        response = await crew["developer"].patch(path, change)
        changed = await body_of(response)
        assert response.status_code == 200
        assert set(changed) == FIELDS
        assert {name: changed[name] for name in expected} == expected
        assert await body_of(await crew["developer"].get(path)) == changed


DURATIONS: list[Any] = [
    "",
    "soon",
    "-5m",
    "5 m",
    "5M",
    "m",
    "1.5",
    "367d",
    "9" * 40,
    "٣",
    -1,
    1.5,
    True,
    [],
    {},
    10**400,
    "NaN",
]
CPUS: list[Any] = ["", "two", "0", "-1", "2.1", "2100m", "1e0", "0.001", 3, 0, True, [], 10**400, "9" * 30 + "m"]
SIZES: list[Any] = ["", "big", "127Mi", "1024", "3Gi", "-1", "1 Gi", "2GB", 5, True, [], "9" * 15 + "Ti"]
BAD = {"idleTimeout": DURATIONS, "cpu": CPUS, "memory": SIZES}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD.items() for value in values],
)
async def test_bad_quantities(bench: Bench, field: str, value: object) -> None:
    owner = await bench.person("owner")
    ((workspace_id,),) = await bench.execute("SELECT id FROM workspaces")
    response = await owner.post(f"/api/workspaces/{workspace_id}/sandboxes", {field: value})
    answer = await body_of(response)
    assert (response.status_code, answer["code"]) == (422, "validation_failed")
    assert [error["field"] for error in answer["errors"]] == [field]
    assert await bench.execute("SELECT count(*) FROM sandboxes") == [(0,)]
    if isinstance(value, str) and len(value) <= 32:
        assert {"idleTimeout": "30m", "cpu": "up to 2", "memory": "from 128Mi to 2Gi"}[field] in answer["detail"]


@pytest.mark.parametrize("change", [{"name": None}, {"name": ""}, {"name": "a\nb"}, {"idleTimeout": "soon"}])
async def test_bad_changes(crew: Crew, change: dict[str, Any]) -> None:
    box = await crew.box()
    response = await crew["developer"].patch(f"/api/sandboxes/{box}", change)
    answer = await body_of(response)
    assert response.status_code == 422
    assert [error["field"] for error in answer["errors"]] == list(change)
    shown = await body_of(await crew["developer"].get(f"/api/sandboxes/{box}"))
    assert (shown["name"], shown["idleTimeout"]) == ("box", "30m")


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"cpu": 2, "memory": "128Mi"}, {"cpu": "2", "memory": "128Mi"}),
        ({"cpu": 0.5, "memory": 2 << 30}, {"cpu": "0.5", "memory": str(2 << 30)}),
        ({"cpu": "10m", "idleTimeout": "366d"}, {"cpu": "10m", "idleTimeout": "366d"}),
        ({"cpu": None, "memory": None, "idleTimeout": None, "name": None}, {"cpu": "2", "memory": "2Gi"}),
    ],
)
async def test_good_quantities(crew: Crew, wanted: dict[str, Any], shown: dict[str, str]) -> None:
    response = await crew["developer"].post(f"{crew.path}/sandboxes", wanted)
    assert response.status_code == 201
    made = await body_of(response)
    assert {name: made[name] for name in shown} == shown
