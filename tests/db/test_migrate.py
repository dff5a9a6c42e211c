"""The schema is brought up to date once, whole, and never backwards."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from daemon.db.connect import connect
from daemon.db.database import DatabaseUnavailable
from daemon.db.migrate import MigrationError, _migrate, available, installation_id, migrate
from daemon.ids import is_id
from tests.db.tools import fetch

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_numbered_without_gaps() -> None:
    names = list(available())
    assert all(re.fullmatch(r"\d{4}_[a-z_]+", name) for name in names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_applied_once(empty_database_url: str) -> None:
    assert migrate(empty_database_url) == list(available())
    with connect(empty_database_url) as conn:
        first = installation_id(conn)
    assert migrate(empty_database_url) == []
    with connect(empty_database_url) as conn:
        assert installation_id(conn) == first
    assert is_id(first)


def test_replicas_that_start_together(empty_database_url: str) -> None:
    """Lesson: two replicas that started together raced in the migration."""
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [empty_database_url] * 4))
    assert sorted(applied) == [[], [], [], list(available())]
    assert fetch(empty_database_url, "SELECT count(*) FROM installation") == [(1,)]


def test_a_newer_database_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("INSERT INTO schema_migrations (name) VALUES ('9999_from_the_future')")
    with pytest.raises(MigrationError, match=r"newer than this cli-server.*9999_from_the_future"):
        migrate(database_url)


def test_a_failed_migration_leaves_nothing(empty_database_url: str) -> None:
    good = available()["0001_initial"] + "CREATE TABLE good (x int)"
    files = {"0001_good": good, "0002_bad": "CREATE TABLE bad (x int); SELECT 1/0"}
    with connect(empty_database_url) as conn, pytest.raises(psycopg.errors.DivisionByZero):
        _migrate(conn, files)
    assert fetch(empty_database_url, "SELECT name FROM schema_migrations") == [("0001_good",)]
    assert fetch(empty_database_url, "SELECT to_regclass('good')::text, to_regclass('bad')::text") == [("good", None)]
    with connect(empty_database_url) as conn:
        assert _migrate(conn, files | {"0002_bad": "CREATE TABLE bad (x int)"}) == ["0002_bad"]


def test_unreachable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        migrate(f"host={tmp_path} user=u dbname=d")


def test_a_user_without_rights_is_told(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        # Rolled back with the role: roles belong to the whole server of the test session.
        conn.execute("BEGIN")
        conn.execute("CREATE ROLE poor")
        conn.execute("SET LOCAL ROLE poor")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _migrate(conn, available())


def test_without_migration_there_is_no_installation(database_url: str) -> None:
    with connect(database_url) as conn:
        conn.execute("DELETE FROM installation")
        with pytest.raises(MigrationError, match="cli-server migrate"):
            installation_id(conn)


def test_entries_of_the_audit_log_get_their_outcome(empty_database_url: str) -> None:
    """What was written before there was one; and nothing else of them is changed, then or later."""
    files = available()
    before = {name: text for name, text in files.items() if name < "0008"}
    with connect(empty_database_url) as conn:
        _migrate(conn, before)
        for action in ("session.refused", "sandbox.failed", "sandbox.paused"):
            conn.execute("INSERT INTO audit (action) VALUES (%s)", (action,))
        old = conn.execute("SELECT * FROM audit ORDER BY id").fetchall()
        _migrate(conn, files)
        new = conn.execute("SELECT * FROM audit ORDER BY id").fetchall()
        assert new == [(*row, outcome) for row, outcome in zip(old, ("refused", "failed", "done"), strict=True)]
        with pytest.raises(psycopg.errors.RaiseException, match="not changed"):
            conn.execute("UPDATE audit SET outcome = 'done'")
