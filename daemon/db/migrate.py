"""Brings the schema up to date: numbered SQL files, each in its transaction, one replica at a time."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import psycopg
import structlog

from daemon.db.connect import connect, unavailable
from daemon.ids import new_id

if TYPE_CHECKING:
    from daemon.db.connect import Connection

log = structlog.get_logger(__name__)

# Any number that nothing else in the database uses as an advisory lock; 7300001 is the events' (0001_initial.sql).
_LOCK = 7300000
# How long a replica waits for another one that migrates, and how long one migration may take.
_SECONDS = 300


class MigrationError(Exception):
    """The database cannot be brought to this program's schema. One line that says what to do."""


def migrate(conninfo: str) -> list[str]:
    """Apply the migrations that are missing and return their names; safe to call from several replicas at once. Blocks.

    It also writes the installation's id. Raises :class:`MigrationError`, and
    :class:`~daemon.db.database.DatabaseUnavailable` if the database cannot be reached.
    """
    with connect(conninfo) as conn:
        try:
            return _migrate(conn, available())
        except psycopg.OperationalError as error:
            raise unavailable("the migration of the database did not end", error) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise MigrationError(f"the database's user lacks a right: {error.diag.message_primary}") from error


def installation_id(conn: Connection) -> str:
    """The id of this installation, which marks everything that it creates. The same for ever."""
    row = conn.execute("SELECT id FROM installation").fetchone()
    if row is None:
        raise MigrationError("the database holds no installation; run: cli-server migrate")
    return str(row[0])


def available() -> dict[str, str]:
    """The migrations that this program carries: SQL by name, in order of their numbers."""
    files = (resources.files("daemon.db") / "migrations").iterdir()
    found = {file.name.removesuffix(".sql"): file for file in files if file.name.endswith(".sql")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def _migrate(conn: Connection, migrations: dict[str, str]) -> list[str]:
    conn.execute("SELECT set_config('statement_timeout', %s, false)", (f"{_SECONDS}s",))
    # Held until the connection closes. Whoever comes second waits here and then finds nothing to do.
    conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    conn.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {str(name) for (name,) in conn.execute("SELECT name FROM schema_migrations")}
    if unknown := sorted(applied - migrations.keys()):
        raise MigrationError(
            f"the database is newer than this cli-server (it has the migration {unknown[-1]}); start a newer cli-server"
        )
    missing = [name for name in migrations if name not in applied]
    for name in missing:
        with conn.transaction():
            conn.execute(migrations[name].encode())
            conn.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (name,))
        log.info("migration applied", name=name)
    conn.execute("INSERT INTO installation (id) VALUES (%s) ON CONFLICT DO NOTHING", (new_id(),))
    return missing
