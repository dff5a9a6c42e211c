"""What was refused is in the log, once, and a flood of it neither fills the log nor takes the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from daemon.db.database import DatabaseUnavailable
from daemon.refusals import Refusals
from daemon.store import audit
from daemon.store.audit import Actor
from daemon.store.refusals import Refusal
from tests.api.test_audit import ACTS, IP, PAGE, _name, entries, scene, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench, Client
    from tests.api.test_audit import Act

FOREIGN = {"Origin": "http://oc-aaaaaaaaaaaaaaaa.localhost:8080"}
ON_WORKSPACES = [act for act in ACTS if act.who and act.path.startswith(("/api/workspaces/", "/api/sandboxes/"))]


@pytest.mark.parametrize("act", ON_WORKSPACES, ids=_name)
async def test_what_a_role_does_not_allow(bench: Bench, act: Act) -> None:
    found = await scene(bench, act.status)
    before = await state(bench)
    response = await found.do(act, found.crew["guest"])
    if act.path.endswith("/members/{userId}") and act.method == "DELETE":
        assert response.status_code == 204  # everybody may leave
        return
    assert response.status_code == 403
    assert await state(bench) == before
    (entry,) = await entries(found.crew)
    assert (entry["action"], entry["outcome"], entry["actor"]["username"], entry["ip"]) == (
        "access.refused", "refused", "guest", IP,
    )  # fmt: skip
    kind = "sandbox" if act.path.startswith("/api/sandboxes/") else "workspace"
    assert (entry["target"]["kind"], entry["target"]["id"]) == (kind, found.names[f"{kind}Id"])
    assert entry["workspaceId"] == found.crew.workspace_id
    assert entry["detail"] == {"reason": "the role does not allow it", "request": f"{act.method} {act.path}"}


@pytest.mark.parametrize("headers", [{}, PAGE])
async def test_opening_without_the_right(bench: Bench, headers: dict[str, Any]) -> None:
    """As a program, which gets a problem, and as a person, who gets a page."""
    found = await scene(bench)
    path = f"/api/sandboxes/{found.names['sandboxId']}/open"
    cookie = "; ".join(f"{name}={value}" for name, value in found.crew["guest"].cookies.items())
    response = await bench.app.test_client(use_cookies=False).get(path, headers={"Cookie": cookie, **headers})
    assert (response.status_code, response.mimetype) == (403, "text/html" if headers else "application/problem+json")
    (entry,) = await entries(found.crew)
    assert (entry["action"], entry["target"]["name"]) == ("access.refused", "box")
    assert entry["detail"]["request"] == "GET /api/sandboxes/{sandboxId}/open"


async def test_reading_without_the_right_is_no_act(bench: Bench) -> None:
    found = await scene(bench)
    assert (await found.crew["guest"].get(f"/api/sandboxes/{found.names['sandboxId']}/logs")).status_code == 403
    assert (await found.crew["stranger"].delete(found.crew.path)).status_code == 404
    assert await entries(found.crew) == []


async def test_who_is_no_admin(bench: Bench) -> None:
    crew = (await scene(bench)).crew
    for path in ("/api/admin/users", "/api/admin/audit", "/api/admin/users"):
        assert (await crew["guest"].get(path)).status_code == 403
    listed = await entries(crew)
    assert [entry["detail"]["request"] for entry in listed] == ["GET /api/admin/users", "GET /api/admin/audit"]
    assert {(entry["actor"]["username"], entry["target"], entry["workspaceId"]) for entry in listed} == {
        ("guest", None, None)
    }


async def test_pages_of_other_sites(bench: Bench) -> None:
    """Only of somebody who is signed in. Not in the log of a workspace, whose owner may have made the page."""
    found = await scene(bench)
    crew, box = found.crew, f"/api/sandboxes/{found.names['sandboxId']}"
    for who in (crew["stranger"], crew["owner"], bench.client()):
        assert (await who.delete(box, headers=dict(FOREIGN))).status_code == 403
    fetched = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert (await crew["stranger"].get(f"{box}/open", headers=dict(fetched))).status_code == 403
    assert (await crew["stranger"].post("/api/nowhere", headers=dict(FOREIGN))).status_code == 403
    listed = await entries(crew)
    assert [(entry["actor"]["username"], entry["detail"]["request"]) for entry in listed] == [
        ("stranger", "DELETE /api/sandboxes/{sandboxId}"),
        ("owner", "DELETE /api/sandboxes/{sandboxId}"),
        ("stranger", "GET /api/sandboxes/{sandboxId}/open"),
    ]
    assert {entry["detail"]["reason"] for entry in listed} == {"a page of another site sent it"}
    assert {(entry["target"], entry["workspaceId"]) for entry in listed} == {(None, None)}


async def test_codes_that_are_no_good(bench: Bench) -> None:
    """Not which code it was: it may be one with a letter that was mistyped."""
    crew = (await scene(bench)).crew
    for code in ("AAAA-AAAA-AAAA", "AAAA-AAAA-AAAB"):
        assert (await bench.client(IP).post("/api/agent/register", {"code": code})).status_code == 401
    (entry,) = await entries(crew)
    assert (entry["action"], entry["outcome"], entry["actor"], entry["ip"]) == (
        "agent_code.refused", "refused", None, IP,
    )  # fmt: skip
    assert "AAAA" not in str(await bench.execute("SELECT * FROM audit"))


async def test_an_api_token_that_is_none(bench: Bench) -> None:
    crew = (await scene(bench)).crew
    client = bench.app.test_client(use_cookies=False)
    for _ in range(2):
        response = await client.get("/api/auth/me", headers={"Authorization": f"Bearer clis_{'A' * 43}"})
        assert (response.status_code, (await response.get_json())["code"]) == (401, "invalid_token")
    (entry,) = await entries(crew)
    assert (entry["action"], entry["outcome"], entry["actor"]) == ("token.refused", "refused", None)
    assert entry["detail"] == {"reason": "wrong, revoked or expired", "request": "GET /api/auth/me"}
    assert "AAAA" not in str(await bench.execute("SELECT * FROM audit"))


async def test_a_flood_is_one_entry(bench: Bench) -> None:
    found = await scene(bench)
    box = f"/api/sandboxes/{found.names['sandboxId']}"
    for _ in range(30):
        assert (await found.crew["guest"].delete(box)).status_code == 403
    assert len(await entries(found.crew)) == 1


async def test_a_refusal_stands_though_it_cannot_be_written(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench({"refusals": Refusals(_Away())})  # type: ignore[arg-type]
    found = await scene(bench)
    guest: Client = found.crew["guest"]
    assert (await guest.delete(found.crew.path)).status_code == 403


# The keeper by itself


class _Away:
    """A database that does not answer, and counts who asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def run(self, op: object, *args: object) -> bool:
        self.asked += 1
        raise DatabaseUnavailable("away")


class _Counting:
    """A database in which a refusal is written when it is let go on, or finds no room."""

    def __init__(self, *, room: bool = True) -> None:
        self.room = room
        self.written: list[Refusal] = []
        self.gate = trio.Event()
        self.at_once = 0
        self.most = 0

    async def run(self, op: object, refusal: Refusal) -> bool:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        self.written.append(refusal)
        return self.room


def by(number: int, **more: Any) -> Refusal:
    """One of many, each from another network."""
    return Refusal("tunnel.refused", "wrong tunnel token", ip=f"2001:db8:{number:x}::1", **more)


async def test_the_same_is_noted_once_an_hour() -> None:
    now, db = [0.0], _Counting()
    db.gate.set()
    kept = Refusals(db, lambda: now[0])  # type: ignore[arg-type]
    others = [
        by(1, sandbox_id="b" * 16), by(2), by(1, tried="GET /"), Refusal("ticket.refused", "used", ip="2001:db8:1::1"),
        Refusal("tunnel.refused", "wrong tunnel token", Actor("u" * 16, "2001:db8:1::1")),
    ]  # fmt: skip
    for _ in range(3):
        for refusal in (by(1), *others):
            await kept.note(refusal)
        now[0] += 1000
    await kept.note(Refusal("tunnel.refused", "wrong tunnel token", ip="2001:db8:1::ffff"))  # the same network
    assert db.written == [by(1), *others]
    now[0] = 3601
    await kept.note(by(1))
    assert db.written[-1] == by(1)
    assert len(db.written) == 7


async def test_one_writes_at_a_time_and_few_wait() -> None:
    """However many are refused at once, they take one connection of the database, and most get their answer at once."""
    db = _Counting()
    kept = Refusals(db)  # type: ignore[arg-type]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(kept.note, by(number))
            await trio.testing.wait_all_tasks_blocked()
            assert db.at_once == 1
            db.gate.set()
    assert db.most == 1
    assert 1 < len(db.written) <= 40


async def test_a_full_log_is_not_asked_again_and_again() -> None:
    now, db = [0.0], _Counting(room=False)
    db.gate.set()
    kept = Refusals(db, lambda: now[0])  # type: ignore[arg-type]
    for number in range(100):
        await kept.note(by(number))
    assert len(db.written) == 1
    now[0] = 61
    await kept.note(by(200))
    assert len(db.written) == 2


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.refusals._MOST_KEPT", 3)
    db = _Counting()
    db.gate.set()
    kept = Refusals(db, lambda: 0.0)  # type: ignore[arg-type]
    for number in (1, 2, 3, 4, 4, 3, 2, 1):
        await kept.note(by(number))
    assert [refusal.ip for refusal in db.written] == [by(number).ip for number in (1, 2, 3, 4, 1)]
    assert len(kept._noted) == 3


async def test_the_bound_of_the_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All kinds together, and all replicas: each has its own keeper."""
    monkeypatch.setattr(audit, "MOST_REFUSALS", 3)
    crew = (await scene(bench)).crew
    for number in range(5):
        await Refusals(bench.db).note(by(number))
    assert (await bench.client().login("guest", "wrong password x")).status_code == 401
    listed = await entries(crew)
    assert [entry["action"] for entry in listed] == ["tunnel.refused"] * 3
    assert listed[-1]["detail"]["further"] == "not listed for up to an hour"
