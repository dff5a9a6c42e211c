"""Tickets, grants, what open streams live by, and the clean-up of what has run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from daemon.auth.roles import Action
from daemon.store import access

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from daemon.store.access import Hold

SETUP = """
INSERT INTO users (id, username) VALUES ('u', 'User'), ('v', 'Other');
INSERT INTO sessions (id, token_hash, user_id, expires_at) VALUES
    ('s', 's', 'u', now() + interval '1 hour'), ('t', 't', 'v', now() + interval '1 hour'),
    ('old', 'old', 'u', now() - interval '1 second');
INSERT INTO workspaces (id, name) VALUES ('w', 'Work'), ('x', 'Other');
INSERT INTO members (workspace_id, user_id, role) VALUES ('w', 'u', 'developer'), ('w', 'v', 'guest');
INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES ('b', 'w', 'Box', 'cloud', 'running');
"""


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SETUP.encode())
        yield connection


def ids(conn: psycopg.Connection[TupleRow], query: str) -> list[object]:
    return sorted(row[0] for row in conn.execute(query.encode()))


def test_what_has_run_out_goes_and_nothing_else(conn: psycopg.Connection[TupleRow]) -> None:
    conn.execute(
        "INSERT INTO tickets (token_hash, session_id, sandbox_id, host, expires_at) VALUES"
        " ('live', 's', 'b', 'oc-b', now() + interval '1 minute'), ('over', 's', 'b', 'oc-b', now())"
    )
    conn.execute(
        "INSERT INTO sandbox_cookies (token_hash, session_id, sandbox_id, host) VALUES"
        " ('live', 's', 'b', 'oc-b'), ('over', 'old', 'b', 'oc-b')"
    )
    conn.execute(
        "INSERT INTO login_failures (bucket, failures, blocked_until, updated_at) VALUES"
        " ('new', 1, NULL, now()), ('forgotten', 9, NULL, now() - interval '25 hours'),"
        " ('over', 9, now() - interval '1 hour', now() - interval '25 hours'),"
        " ('blocked', 9, now() + interval '1 hour', now() - interval '25 hours')"
    )
    conn.execute(
        "INSERT INTO agent_codes (code_hash, workspace_id, created_by, expires_at) VALUES"
        " ('live', 'w', 'u', now() + interval '1 minute'), ('over', 'w', 'u', now())"
    )
    conn.execute(
        "INSERT INTO invitations (id, token_hash, workspace_id, role, created_by, expires_at, uses_left)"
        " SELECT name, name::bytea, 'w', 'guest', 'u', now() + seconds, uses FROM (VALUES"
        " ('live', interval '1 minute', 1), ('over', interval '0', 1), ('used', interval '1 minute', 0))"
        " AS rows (name, seconds, uses)"
    )
    conn.execute(
        "INSERT INTO usage_hourly SELECT now() - make_interval(hours => hours), 'w', 'b', 1"
        " FROM unnest(ARRAY[0, 47, 49, 60, 70, 80]) AS hours"
    )
    conn.execute("DELETE FROM events")
    conn.execute(
        "INSERT INTO events (kind, workspace_id, at) SELECT 'k', 'w', now() - make_interval(hours => hours)"
        " FROM unnest(ARRAY[30, 23, 26, 23, 0]) AS hours"
    )
    first = ids(conn, "SELECT id FROM events")[0]
    assert isinstance(first, int)
    assert access.purge_expired(conn) == 1 + 1 + 1 + 2 + 2 + 3 + 4
    assert ids(conn, "SELECT token_hash FROM tickets") == [b"live"]
    assert ids(conn, "SELECT id FROM sessions") == ["s", "t"]
    assert ids(conn, "SELECT code_hash FROM agent_codes") == [b"live"]
    assert ids(conn, "SELECT id FROM invitations") == ["live"]
    assert ids(conn, "SELECT token_hash FROM sandbox_cookies") == [b"live"]
    assert ids(conn, "SELECT bucket FROM login_failures") == ["blocked", "new"]
    assert ids(conn, "SELECT count(*) FROM usage_hourly WHERE hour >= now() - interval '48 hours'") == [2]
    # The oldest, without a gap: one that is younger but stands before an old one would leave it unreachable.
    assert ids(conn, "SELECT id FROM events") == [first + 3, first + 4]
    assert access.purge_expired(conn) == 0


def test_the_newest_event_stays(conn: psycopg.Connection[TupleRow]) -> None:
    """It tells a client that comes back after a quiet week that it missed nothing."""
    newest = ids(conn, "SELECT id FROM events")[-1]
    conn.execute("UPDATE events SET at = now() - interval '7 days'")
    access.purge_expired(conn)
    assert ids(conn, "SELECT id FROM events") == [newest]


def test_what_open_streams_live_by(conn: psycopg.Connection[TupleRow]) -> None:
    everything: list[Hold] = [
        (session, workspace) for session in ("s", "t", "old", "gone") for workspace in (None, "w", "x", "gone")
    ]

    def held() -> set[Hold]:
        return access.still_held(conn, everything, Action.READ_LOGS)

    assert held() == {("s", None), ("t", None), ("s", "w")}  # a guest may not read logs
    conn.execute("UPDATE workspaces SET deleted_at = now()")
    assert held() == {("s", None), ("t", None)}
    conn.execute("UPDATE users SET disabled_at = now() WHERE id = 'v'")
    assert held() == {("s", None)}


def test_a_grant_ends_with_its_workspace(conn: psycopg.Connection[TupleRow]) -> None:
    """Its sandboxes are invisible at once, though they take a while to go."""
    assert access.create_ticket(conn, b"ticket", "s", "b", "oc-b")
    assert access.redeem_ticket(conn, b"ticket", "oc-b", b"cookie") == "b"
    grant = access.find_grant(conn, b"cookie", "oc-b")
    assert grant is not None
    assert grant.role == "developer"
    conn.execute("UPDATE workspaces SET deleted_at = now()")
    assert access.find_grant(conn, b"cookie", "oc-b") is None


def test_a_ticket_for_what_is_gone(conn: psycopg.Connection[TupleRow]) -> None:
    with conn.transaction():
        assert not access.create_ticket(conn, b"1", "gone", "b", "oc-b")
        assert not access.create_ticket(conn, b"2", "s", "gone", "oc-b")
        assert access.create_ticket(conn, b"3", "s", "b", "oc-b")
    assert ids(conn, "SELECT token_hash FROM tickets") == [b"3"]
