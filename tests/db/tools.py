"""Small helpers of the database's tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.db.database import Connection
    from daemon.db.embedded import EmbeddedPostgres

PATIENCE = 20.0  # seconds until something that takes milliseconds is taken to have failed
POLL = 0.02
ROOT = Path(__file__).parents[2]

# What a daemon does: it opens the database, writes a row, says who it is, and waits to be told to end.
DAEMON = """
import sys
from pathlib import Path
import trio
from daemon.datadir import lock_data_dir
from daemon.db.database import Database
from daemon.db.embedded import EmbeddedPostgres

def write(conn):
    conn.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
    conn.execute("INSERT INTO kept VALUES ('daemon')")

async def main():
    with lock_data_dir(Path(sys.argv[1])) as path:
        async with EmbeddedPostgres.open(path) as postgres, Database.open(postgres.conninfo) as db:
            await db.run(write)
            print(postgres.pid, flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main)
"""


async def eventually(condition: Callable[[], bool], *, within: float = PATIENCE) -> None:
    """Wait until ``condition()`` holds."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what happens in other processes sets no event
            await trio.sleep(POLL)


def fetch(conninfo: str, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of one query on a connection of its own."""
    with psycopg.connect(conninfo) as conn:
        return conn.execute(query.encode(), parameters).fetchall()


def write(conn: Connection) -> None:
    conn.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
    conn.execute("INSERT INTO kept VALUES ('kept')")


def kept(conn: Connection) -> list[str]:
    return [line for (line,) in conn.execute("SELECT line FROM kept")]


def server_pid(postgres: EmbeddedPostgres) -> int:
    assert postgres.pid is not None
    return postgres.pid
