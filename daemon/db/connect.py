"""Opening a connection with our deadlines, and saying in one line without secrets why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from psycopg.rows import TupleRow

Connection: TypeAlias = "psycopg.Connection[TupleRow]"

CONNECT_SECONDS = 5  # for one attempt; a local server takes 5 ms, one across the world half a second
STATEMENT_SECONDS = 15  # no statement of ours takes 1 s; what does is stuck behind a lock
# A daemon that was frozen in the middle must not hold its locks for ever.
IDLE_TRANSACTION_SECONDS = 60

_DEFAULTS: dict[str, str | int | None] = {
    "connect_timeout": CONNECT_SECONDS,
    # A peer that vanished is noticed within 25 s in silence, and while sending within the deadline of a statement.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": STATEMENT_SECONDS * 1000,  # milliseconds
    "application_name": "cli-server",
}


class DatabaseUnavailable(Exception):
    """The database cannot be reached, was lost, or took too long. The text holds no secret and fits in one line."""


def complete_conninfo(conninfo: str) -> str:
    """``conninfo`` (URL or words) with our defaults where it says nothing; raises :class:`DatabaseUnavailable`."""
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        given = None
    # A password with a character that its URL does not quote is taken for a port or for a part of the host. No words of
    # the parser are repeated, because they hold pieces of what it read.
    if given is None or not str(given.get("port") or "0").replace(",", "").isdecimal() or "@" in str(given.get("host")):
        raise DatabaseUnavailable(
            "the database's address cannot be read; give postgresql://user:password@host:port/name, "
            "with special characters in the password percent-encoded"
        )
    return make_conninfo("", **(_DEFAULTS | given))


def connect(conninfo: str) -> Connection:
    """A new connection in autocommit mode with our deadlines set. Blocks; raises :class:`DatabaseUnavailable`."""
    completed = complete_conninfo(conninfo)
    try:
        conn = psycopg.connect(completed, autocommit=True)
    except psycopg.Error as error:
        raise unavailable("cannot connect to the database", error) from None
    try:
        # Not by connection options, which some poolers refuse.
        conn.execute(
            "SELECT set_config('statement_timeout', %s, false),"
            " set_config('idle_in_transaction_session_timeout', %s, false)",
            (f"{STATEMENT_SECONDS}s", f"{IDLE_TRANSACTION_SECONDS}s"),
        )
    except psycopg.Error as error:
        conn.close()
        raise unavailable("cannot connect to the database", error) from None
    return conn


def unavailable(what: str, error: psycopg.Error) -> DatabaseUnavailable:
    """What to tell callers and logs: the server's primary message, or the first line of libpq's own."""
    lines = str(error.diag.message_primary or error).strip().splitlines()
    return DatabaseUnavailable(f"{what}: {lines[0].strip()}" if lines else what)
