"""How a machine joins: who gets a code, what a code is worth, and what a joined machine's sandbox is to the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from daemon.api.agents import FREE_CODES
from daemon.auth.codes import code_hash, new_code
from daemon.auth.throttle import WAITING
from daemon.ids import is_id
from daemon.secret import token_hash
from daemon.store import tunnels
from tests.api.crew import ROLES, Crew, make_crew

if TYPE_CHECKING:
    from quart import Response

    from tests.api.support import Bench, Client

REGISTER = "/api/agent/register"
CODE = re.compile(r"([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}")


@pytest.fixture
async def crew(bench: Bench) -> Crew:
    return await make_crew(bench)


async def body_of(response: Response) -> Any:
    return await response.get_json(force=True)


async def code_of(crew: Crew, role: str = "developer") -> str:
    response = await crew[role].post(f"{crew.path}/agent-code")
    assert response.status_code == 201
    return str((await body_of(response))["code"])


def machine(crew: Crew, ip: str = "198.51.100.9") -> Client:
    """A program: it says neither from which page it comes nor who it is."""
    return crew.bench.client(ip)


async def join(crew: Crew, code: object, **more: object) -> Response:
    return await machine(crew).post(REGISTER, {"code": code} | more, headers={"Origin": None})


# Codes, pure


def test_codes_can_be_typed() -> None:
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100
    assert all(CODE.fullmatch(code) for code in codes)


@given(st.data())
def test_a_code_is_the_same_however_it_is_typed(data: st.DataObject) -> None:
    code = data.draw(st.from_regex(CODE, fullmatch=True))
    looks = {"0": "0oO", "1": "1iIlL", "-": ["", "-", " ", " - ", "–"]}
    typed = "".join(data.draw(st.sampled_from(looks.get(char, char + char.lower()))) for char in code)
    assert code_hash(f" {typed}\n") == code_hash(code)
    place = data.draw(st.sampled_from([index for index, char in enumerate(code) if char != "-"]))
    other = data.draw(st.sampled_from([char for char in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" if char != code[place]]))
    assert code_hash(code[:place] + other + code[place + 1 :]) != code_hash(code)


# Getting one


async def test_who_gets_a_code(crew: Crew) -> None:
    for role, expected in [(role, 201) for role in ROLES[:3]] + [("guest", 403), ("stranger", 404)]:
        assert (await crew[role].post(f"{crew.path}/agent-code")).status_code == expected, role
    assert (await crew.bench.client().post(f"{crew.path}/agent-code")).status_code == 401
    assert await crew.bench.execute("SELECT count(*) FROM agent_codes") == [(3,)]
    for name in ("x", "a" * 16):
        assert (await crew["owner"].post(f"/api/workspaces/{name}/agent-code")).status_code == 404


async def test_a_code_is_told_once_and_kept_as_a_hash(crew: Crew) -> None:
    """Lesson: secrets in clear in the database."""
    response = await crew["developer"].post(f"{crew.path}/agent-code", {})
    made = await body_of(response)
    assert response.headers["cache-control"] == "no-store"
    assert set(made) == {"code", "expiresAt"}
    lifetime = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
    assert made["expiresAt"].endswith("Z")
    assert 590 < lifetime.total_seconds() <= 600
    rows = await crew.bench.execute("SELECT code_hash, created_by FROM agent_codes")
    assert rows == [(code_hash(made["code"]), crew.id_of("developer"))]
    assert (await crew["owner"].request("GET", f"{crew.path}/agent-code")).status_code == 405


async def test_a_page_of_another_site_gets_none(crew: Crew) -> None:
    response = await crew["owner"].post(f"{crew.path}/agent-code", headers={"Origin": "http://oc-x.localhost:8080"})
    assert response.status_code == 403
    assert await crew.bench.execute("SELECT 1 FROM agent_codes") == []


# Joining


async def test_join(crew: Crew) -> None:
    code = await code_of(crew)
    response = await join(crew, code.lower().replace("-", " "), name="  ada's laptop ")
    joined = await body_of(response)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    assert set(joined) == {"sandboxId", "tunnelToken", "workspaceId", "name"}
    assert (joined["workspaceId"], joined["name"]) == (crew.workspace_id, "ada's laptop")
    assert is_id(joined["sandboxId"])
    assert len(joined["tunnelToken"]) == 43
    query = "SELECT tunnel_token_hash, created_by FROM sandboxes WHERE id = %s"
    rows = await crew.bench.execute(query, joined["sandboxId"])
    assert rows == [(token_hash(joined["tunnelToken"]), crew.id_of("developer"))]
    shown = await body_of(await crew["guest"].get(f"/api/sandboxes/{joined['sandboxId']}"))
    assert (shown["type"], shown["isLocal"], shown["status"]) == ("local", True, "offline")
    assert (shown["name"], shown["agentInfo"], shown["lastHeartbeatAt"]) == ("ada's laptop", None, None)
    assert shown["createdBy"]["username"] == "developer"
    assert joined["tunnelToken"] not in str(shown)


async def test_a_machine_that_gives_no_name_gets_one(crew: Crew) -> None:
    for more in ({}, {"name": None}):
        joined = await body_of(await join(crew, await code_of(crew), **more))
        assert joined["name"] == f"machine-{joined['sandboxId'][:4]}"


async def refused(response: Response) -> bool:
    answer = await body_of(response)
    assert response.status_code == 401
    assert answer["code"] == "invalid_code"
    assert "Get a new code" in answer["detail"]
    return True


async def test_wrong_used_and_expired_codes_are_all_the_same(crew: Crew) -> None:
    used, expired = await code_of(crew), await code_of(crew)
    assert (await join(crew, used)).status_code == 201
    await crew.bench.execute("UPDATE agent_codes SET expires_at = now()")
    for code in (used, expired, new_code(), "", "nonsense", "ÄÖÜ", "\0", "' OR 1=1"):
        assert await refused(await join(crew, code))
    assert await crew.bench.execute("SELECT count(*) FROM sandboxes") == [(1,)]


@pytest.mark.parametrize(
    "revocation",
    [
        "UPDATE members SET role = 'guest'",
        "DELETE FROM members",
        "UPDATE users SET disabled_at = now()",
        "UPDATE workspaces SET deleted_at = now()",
    ],
)
async def test_a_code_ends_with_the_right_to_make_it(crew: Crew, revocation: str) -> None:
    code = await code_of(crew)
    await crew.bench.execute(revocation)
    assert await refused(await join(crew, code))


MALFORMED: list[tuple[object, str]] = [
    ({}, "code"),
    ({"code": None}, "code"),
    ({"code": 123456}, "code"),
    ({"code": ["x"]}, "code"),
    ({"code": "x" * 101}, "code"),
    ({"code": "x", "name": ""}, "name"),
    ({"code": "x", "name": "x" * 101}, "name"),
    ({"code": "x", "name": "a\nb"}, "name"),
    ({"code": "x", "name": 1}, "name"),
    ([], ""),
]


@pytest.mark.parametrize(("body", "field"), MALFORMED)
async def test_malformed(crew: Crew, body: object, field: str) -> None:
    response = await machine(crew).post(REGISTER, body)
    answer = await body_of(response)
    assert (response.status_code, answer["code"]) == (422, "validation_failed")
    assert [error["field"] for error in answer["errors"]] == [field]


async def test_a_name_that_is_no_good_leaves_the_code_good(crew: Crew) -> None:
    code = await code_of(crew)
    assert (await join(crew, code, name="")).status_code == 422
    assert (await join(crew, code)).status_code == 201


async def test_of_many_at_once_one_joins(crew: Crew) -> None:
    """From as many addresses, so that nobody waits for the others before the database is asked."""
    code, statuses = await code_of(crew), []

    async def one(number: int) -> None:
        client = machine(crew, f"198.51.100.{number}")
        statuses.append((await client.post(REGISTER, {"code": code})).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, number)
    assert sorted(statuses) == [201] + [401] * 7
    assert await crew.bench.execute("SELECT count(*) FROM sandboxes") == [(1,)]


# Trying


@pytest.mark.usefixtures("long_blocks")
async def test_whoever_tries_codes_is_slowed_down(crew: Crew) -> None:
    """Lesson: no rate limits."""
    code = await code_of(crew)
    for _ in range(FREE_CODES):
        assert (await join(crew, new_code())).status_code == 401
    response = await join(crew, code)
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert (await body_of(response))["code"] == "too_many_attempts"
    assert (await machine(crew, "203.0.113.1").post(REGISTER, {"code": code})).status_code == 201


@pytest.mark.usefixtures("long_blocks")
async def test_codes_that_are_right_are_not_counted(crew: Crew) -> None:
    """Many machines are set up from one office."""
    for _ in range(FREE_CODES - 1):
        await join(crew, new_code())
    for _ in range(3):
        assert (await join(crew, await code_of(crew))).status_code == 201
    assert (await join(crew, new_code())).status_code == 401
    assert (await join(crew, new_code())).status_code == 429


async def test_a_burst_waits_for_its_turn_or_is_told_so(crew: Crew) -> None:
    codes = [await code_of(crew) for _ in range(WAITING + 4)]
    statuses: list[int] = []

    async def one(code: str) -> None:
        statuses.append((await join(crew, code)).status_code)

    async with trio.open_nursery() as nursery:
        for code in codes:
            nursery.start_soon(one, code)
    assert set(statuses) <= {201, 429}
    assert statuses.count(201) >= WAITING


# What joined


async def test_what_the_machine_says_is_shown(crew: Crew) -> None:
    joined = await body_of(await join(crew, await code_of(crew)))
    info = {"host": "laptop", "system": "Linux"}
    assert await crew.bench.db.run(tunnels.tunnel_up, joined["sandboxId"], "c", info)
    for path in (f"/api/sandboxes/{joined['sandboxId']}", f"{crew.path}/sandboxes"):
        shown = await body_of(await crew["guest"].get(path))
        shown = shown[0] if isinstance(shown, list) else shown
        assert (shown["status"], shown["agentInfo"]) == ("running", info)
        assert shown["lastHeartbeatAt"] is not None


async def test_it_is_a_sandbox_like_any_other(crew: Crew) -> None:
    joined = await body_of(await join(crew, await code_of(crew)))
    path = f"/api/sandboxes/{joined['sandboxId']}"
    renamed = await body_of(await crew["developer"].patch(path, {"name": "tower"}))
    assert renamed["name"] == "tower"
    opened = await crew["developer"].get(f"{path}/open?next=/session")
    assert opened.status_code == 302
    assert opened.headers["location"].startswith(f"http://oc-{joined['sandboxId']}.localhost:8080/")
    assert (await crew["guest"].get(f"{path}/open")).status_code == 403
    assert (await crew["developer"].delete(path)).status_code == 204
    assert await crew.status_of(joined["sandboxId"]) == "deleting"


@pytest.mark.parametrize("status", ["running", "offline"])
async def test_a_deleted_workspace_takes_its_machines_along(crew: Crew, status: str) -> None:
    box = await crew.box(status, "local")
    await code_of(crew)
    assert (await crew["owner"].delete(crew.path)).status_code == 204
    assert await crew.status_of(box) == "deleting"
    assert not await crew.bench.db.run(tunnels.tunnel_up, box, "c")
    await crew.bench.execute("DELETE FROM sandboxes")
    await crew.bench.execute("DELETE FROM workspaces WHERE id = %s", crew.workspace_id)
    assert await crew.bench.execute("SELECT 1 FROM agent_codes") == []


async def test_the_tunnel_itself_is_not_the_apis(crew: Crew) -> None:
    """The gateway answers it before; should it come here, it is a problem and not the web page."""
    box = await crew.box("offline", "local")
    response = await crew["owner"].get(f"/api/tunnel/{box}")
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")
