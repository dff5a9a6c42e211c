"""Every change that others must hear of is told by the database itself, whoever makes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.db.tools import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
INSERT INTO users (id, username) VALUES ('u', 'User'), ('v', 'Other');
INSERT INTO sessions (id, token_hash, user_id, expires_at) VALUES ('s', 'x', 'u', now());
INSERT INTO workspaces (id, name) VALUES ('w', 'Work');
INSERT INTO members (workspace_id, user_id, role) VALUES ('w', 'u', 'owner');
INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES ('b', 'w', 'Box', 'cloud', 'creating');
"""
NEW_BOX = "INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES ('c', 'w', 'C', 'cloud', 'creating')"

# Statement, events that it adds (kind, workspace, sandbox, user), notifications besides those of the events.
CASES: list[tuple[str, list[tuple[str | None, ...]], list[str]]] = [
    ("INSERT INTO workspaces (id, name) VALUES ('x', 'X')", [("workspace.created", "x", None, None)], ["workspace x"]),
    ("UPDATE workspaces SET name = 'Y'", [("workspace.updated", "w", None, None)], ["workspace w"]),
    ("UPDATE workspaces SET deleted_at = now()", [("workspace.deleted", "w", None, None)], ["workspace w"]),
    (
        "DELETE FROM sandboxes; DELETE FROM workspaces",
        [("sandbox.deleted", "w", "b", None), ("member.deleted", "w", None, "u")],
        ["sandbox b", "workspace w", "member w u"],
    ),
    (
        "INSERT INTO members (workspace_id, user_id, role) VALUES ('w', 'v', 'guest')",
        [("member.created", "w", None, "v")],
        ["member w v"],
    ),
    ("UPDATE members SET role = 'guest'", [("member.updated", "w", None, "u")], ["member w u"]),
    ("DELETE FROM members", [("member.deleted", "w", None, "u")], ["member w u"]),
    (NEW_BOX, [("sandbox.created", "w", "c", None)], ["sandbox c"]),
    ("DELETE FROM sandboxes", [("sandbox.deleted", "w", "b", None)], ["sandbox b"]),
    # Written every few seconds; nobody wants to hear of it.
    ("UPDATE sandboxes SET last_activity_at = now(), lease_until = now(), lease_owner = 'me'", [], []),
    ("UPDATE sandboxes SET last_heartbeat_at = now(), tunnel_token_hash = 'x'", [], []),
    # For replicas only, which look where a machine's tunnel is now.
    ("UPDATE sandboxes SET tunnel_connection = 'c'", [], ["tunnel b"]),
    ("UPDATE sandboxes SET name = name", [], []),
    ("DELETE FROM sessions", [], ["session s"]),
    ("UPDATE sessions SET last_seen_at = now()", [], []),
    ("UPDATE sessions SET expires_at = now() + interval '59 minutes'", [], ["expiry s"]),
    ("UPDATE sessions SET expires_at = now() + interval '30 days'", [], []),
    (
        "UPDATE users SET disabled_at = now()",
        [("user.updated", None, None, "u"), ("user.updated", None, None, "v")],
        ["user u", "user v"],
    ),
    ("UPDATE users SET is_admin = true WHERE id = 'v'", [("user.updated", None, None, "v")], ["admin v"]),
    ("INSERT INTO users (id, username) VALUES ('x', 'X')", [("user.created", None, None, "x")], []),
    ("UPDATE users SET email = 'x@example.org', last_seen_at = now(), is_admin = is_admin", [], []),
    ("DELETE FROM members; DELETE FROM users", [("member.deleted", "w", None, "u")], ["member w u", "session s"]),
]
CASES += [
    (f"UPDATE sandboxes SET {change}", [("sandbox.updated", "w", "b", None)], ["sandbox b"])
    for change in (
        "name = 'N'",
        "status = 'failed'",
        "status_reason = 'why'",
        "generation = generation + 1",
        "idle_timeout = '1h'",
        "cpu = '2'",
        "memory = '1Gi'",
        """agent_info = '{"host": "laptop"}'""",
    )
]


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SETUP.encode())
        connection.execute("DELETE FROM events")
        yield connection


@pytest.mark.parametrize(("statement", "events", "notifications"), CASES)
def test_change_is_told(
    conn: psycopg.Connection[tuple[object, ...]],
    statement: str,
    events: list[tuple[str | None, ...]],
    notifications: list[str],
) -> None:
    conn.execute("LISTEN cli_server")
    with conn.transaction():
        conn.execute(statement.encode())
    rows = conn.execute("SELECT id, kind, workspace_id, sandbox_id, user_id FROM events ORDER BY id").fetchall()
    heard = [note.payload for note in conn.notifies(timeout=0)]
    assert [row[1:] for row in rows] == events
    assert sorted(heard) == sorted([*notifications, *(f"event {row[0]}" for row in rows)])


def test_what_is_rolled_back_is_not_told(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    conn.execute("LISTEN cli_server")
    with conn.transaction(force_rollback=True):
        conn.execute("DELETE FROM sandboxes")
    assert list(conn.notifies(timeout=0)) == []
    assert conn.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_events_become_visible_in_the_order_of_their_ids(database_url: str) -> None:
    """A reader that goes on after the last id it saw misses none, though transactions overlap."""
    writers, each = 6, 25

    def write(number: int) -> None:
        with psycopg.connect(database_url) as conn:
            for count in range(each):
                conn.execute("INSERT INTO workspaces (id, name) VALUES (%s, 'W')", (f"{number}-{count}",))
                conn.commit()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    with psycopg.connect(database_url, autocommit=True) as reader:
        while True:
            writing = any(thread.is_alive() for thread in threads)
            after = seen[-1] if seen else 0
            seen += [row[0] for row in reader.execute("SELECT id FROM events WHERE id > %s ORDER BY id", (after,))]
            if not writing:
                break
    assert len(seen) == writers * each
    assert [(number,) for number in seen] == fetch(database_url, "SELECT id FROM events ORDER BY id")
