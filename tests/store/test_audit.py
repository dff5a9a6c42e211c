"""The audit log itself: what an entry keeps, that none is changed, and what bounds their number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from daemon.store import access, audit
from daemon.store import sandboxes as store
from daemon.store.audit import Actor, Target
from tests.conftest import ROOT
from tests.sandboxes.fakes import add, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from daemon.db.database import Connection, Database

    Conn = psycopg.Connection[TupleRow]

U, W, BOX = "u" * 16, "w" * 16, "b" * 16
ADA = Actor(U, "192.0.2.1")
TARGET = Target("sandbox", BOX, "box")


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, username) VALUES (%s, 'Ada')", (U,))
        for session in ("s", "t"):
            connection.execute(
                "INSERT INTO sessions (id, token_hash, user_id, expires_at) VALUES (%s, %s, %s, 'infinity')",
                (session, session.encode(), U),
            )
        yield connection


def add_old(conn: Conn, action: str, ages: list[str], **columns: object) -> None:
    """Entries of so long ago."""
    names = "".join(f", {name}" for name in columns)
    marks = ", %s" * len(columns)
    for age in ages:
        conn.execute(
            f"INSERT INTO audit (at, action{names}) VALUES (now() - %s::interval, %s{marks})".encode(),
            (age, action, *columns.values()),
        )


def entries(conn: Conn, **wanted: Any) -> list[audit.EntryRow]:
    return audit.list_entries(conn, **({"before": None, "most": 1000} | wanted))


def actions(conn: Conn, **wanted: Any) -> list[str]:
    return [entry.action for entry in entries(conn, **wanted)]


def test_an_entry_outlives_what_it_tells_of(conn: Conn) -> None:
    """Names are as they were then, and stay when the user is gone."""
    audit.record(conn, ADA, "sandbox.renamed", TARGET, workspace_id=W, before="old")
    conn.execute("UPDATE users SET username = 'Eve'")
    audit.record(conn, ADA, "sandbox.deleted", TARGET, workspace_id=W)
    conn.execute("DELETE FROM users")
    deleted, renamed = entries(conn)
    assert (renamed.actor_id, renamed.actor_name, renamed.ip) == (U, "Ada", "192.0.2.1")
    assert (renamed.target_kind, renamed.target_id, renamed.target_name) == ("sandbox", BOX, "box")
    assert (renamed.workspace_id, renamed.detail) == (W, {"before": "old"})
    assert (deleted.actor_name, deleted.detail) == ("Eve", {})


def test_without_an_actor(conn: Conn) -> None:
    audit.record(conn, None, "sandbox.failed", TARGET, workspace_id=W, reason="x" * 1000)
    audit.record(conn, None, "session.refused", ip="192.0.2.9")
    refused, failed = entries(conn)
    assert (failed.actor_id, failed.actor_name, failed.ip, failed.detail) == (None, None, "", {"reason": "x" * 500})
    assert (refused.target_kind, refused.target_id, refused.ip) == (None, None, "192.0.2.9")
    assert (refused.outcome, failed.outcome) == ("refused", "failed")


def test_an_entry_is_never_changed(conn: Conn) -> None:
    audit.record(conn, ADA, "sandbox.paused", TARGET)
    for statement in ("UPDATE audit SET actor_name = 'Eve'", "UPDATE audit SET action = action WHERE false"):
        with pytest.raises(psycopg.errors.RaiseException, match="not changed"):
            conn.execute(statement.encode())
    assert entries(conn)[0].actor_name == "Ada"


def test_outcomes(conn: Conn) -> None:
    """What an action's own word says, unless somebody says otherwise."""
    audit.record(conn, ADA, "sandbox.paused", TARGET)
    audit.record(conn, ADA, "sandbox.deleted", TARGET, outcome="failed")
    for action in audit.ACTIONS:
        if action.endswith(".refused"):
            assert audit.record_refused(conn, None, action, ip="192.0.2.9")  # type: ignore[arg-type]
    found = {entry.action: entry.outcome for entry in entries(conn)}
    assert found.pop("sandbox.paused") == "done"
    assert found.pop("sandbox.deleted") == "failed"
    assert set(found.values()) == {"refused"}
    refused = {"session", "access", "agent_code", "ticket", "token", "tunnel"}
    assert {f"{kind}.refused" for kind in refused} <= set(found)
    assert set(actions(conn, outcome="refused")) == set(found)
    assert actions(conn, outcome="done") == ["sandbox.paused"]
    for nothing in ("", "\0", "refuse"):
        assert actions(conn, outcome=nothing) == []


def test_of_one_workspace(conn: Conn) -> None:
    audit.record(conn, ADA, "sandbox.paused", TARGET, workspace_id=W)
    audit.record(conn, ADA, "sandbox.resumed", TARGET, workspace_id="v" * 16)
    audit.record(conn, ADA, "session.created")
    assert actions(conn, workspace_id=W) == ["sandbox.paused"]


def test_they_are_kept_as_long_as_wanted(conn: Conn) -> None:
    add_old(conn, "sandbox.paused", ["366 days", "365 days 1 second"])
    add_old(conn, "sandbox.resumed", ["364 days", "0"])
    access.purge_expired(conn)
    assert audit.forget_old(conn, 0) == 0
    assert len(entries(conn)) == 4
    assert audit.forget_old(conn, 365 * 86400) == 2
    assert actions(conn) == ["sandbox.resumed"] * 2
    assert audit.forget_old(conn, 86400) == 1


def test_pages_and_filters(conn: Conn) -> None:
    audit.record(conn, ADA, "sandbox.paused", TARGET)
    audit.record(conn, None, "sandbox.failed", TARGET)
    audit.record(conn, Actor("v" * 16, ""), "workspace.created")
    audit.record(conn, ADA, "workspace.renamed")
    everything = actions(conn)
    assert everything == ["workspace.renamed", "workspace.created", "sandbox.failed", "sandbox.paused"]
    ids = [entry.id for entry in entries(conn)]
    assert [entry.id for entry in entries(conn, most=2)] == ids[:2]
    assert [entry.id for entry in entries(conn, before=ids[1])] == ids[2:]
    assert entries(conn, before=ids[3]) == []
    assert actions(conn, action="sandbox.failed") == ["sandbox.failed"]
    assert actions(conn, action="sandbox") == ["sandbox.failed", "sandbox.paused"]
    assert actions(conn, actor=U) == actions(conn, actor="aDA") == ["workspace.renamed", "sandbox.paused"]
    assert actions(conn, actor="ada", action="workspace") == ["workspace.renamed"]
    for nothing in ("", "sandbox.", "sand", "\0", "sandbox.exploded", "%"):
        assert actions(conn, action=nothing) == []
    for nobody in ("", "\0", "nobody", "%", "ada' OR true --"):
        assert actions(conn, actor=nobody) == []


def test_every_action_is_explained() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    documented = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", text.partition("## Audit log")[2].partition("\n## ")[0]))
    assert {word for word in documented if not word.startswith("detail.")} == set(audit.ACTIONS)


# What bounds them


def test_refusals_do_not_fill_the_disk(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    """From however many addresses. The last one says that there may be more."""
    assert audit.MOST_REFUSALS == 1000
    monkeypatch.setattr(audit, "MOST_REFUSALS", 5)
    add_old(conn, "session.refused", ["61 minutes"] * 9 + ["59 minutes"], outcome="refused")
    for number in range(9):
        audit.record_refusal(conn, f"192.0.2.{number}", None, "no such user")
    listed = entries(conn)
    assert [entry.ip for entry in listed[:5]] == ["192.0.2.3", "192.0.2.2", "192.0.2.1", "192.0.2.0", ""]
    assert listed[0].detail == {"reason": "no such user", "further": "not listed for up to an hour"}
    assert listed[1].detail == {"reason": "no such user"}
    assert not audit.record_refused(conn, ADA, "access.refused"), "one bound for all kinds together"


def test_opening_is_noted_once_an_hour(conn: Conn) -> None:
    """For each session and sandbox; a day of tabs is a day's worth of hours, not of clicks."""
    other = Target("sandbox", "o" * 16, "other")
    add_old(
        conn,
        "sandbox.opened",
        ["61 minutes"],
        target_kind="sandbox",
        target_id=BOX,
        target_name="box",
        detail='{"session": "s"}',
    )
    for session, target in (("s", TARGET), ("s", TARGET), ("t", TARGET), ("s", other), ("t", TARGET), ("s", other)):
        audit.record_opening(conn, ADA, session, target, W)
    found = [(entry.target_id, entry.detail["session"]) for entry in entries(conn)]
    assert found == [(other.id, "s"), (BOX, "t"), (BOX, "s"), (BOX, "s")]


# What nobody did


async def told(db: Database) -> list[tuple[str, str | None, str]]:
    rows = await db.run(audit.list_entries, before=None, most=100)
    return [(row.action, row.target_id, row.detail["reason"]) for row in rows]


async def test_failures_are_noted(db: Database) -> None:
    """Of a start, and of what should run; not that everything ended with the former daemon."""
    start, runs, restart = await add(db, "creating"), await add(db, "running"), await add(db, "running")
    seen = await row_of(db, start)
    assert await db.run(store.change_status, start, "failed", generation=seen.generation, reason="no disk")
    assert await db.run(store.change_status, start, "failed", generation=seen.generation, reason="again") is None
    assert await db.run(store.record_failure, await row_of(db, runs), "killed", 60)
    assert await db.run(store.record_failure, await row_of(db, restart), "gone", 60, counted=False)
    assert await told(db) == [("sandbox.failed", runs, "killed"), ("sandbox.failed", start, "no disk")]


async def test_an_entry_comes_and_goes_with_its_transaction(db: Database) -> None:
    def fail(conn: Connection) -> None:
        audit.record(conn, ADA, "sandbox.paused", TARGET)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await db.run(fail)
    assert await told(db) == []
