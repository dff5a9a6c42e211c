"""What happens all the time must be cheap for the database, however many there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from daemon.ids import new_id
from daemon.store import sandboxes, tunnels
from tests.sandboxes.fakes import add

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from daemon.db.database import Connection, Database

MACHINES = 100  # several pages of rows
MANY = 3_000


async def test_heartbeats_stay_on_their_pages(db: Database) -> None:
    """Without room on the page each new version of a row is told to all six indexes, five times a minute for each."""
    machines = {new_id(): await add(db, "offline", "local") for _ in range(MACHINES)}

    def connect(conn: Connection) -> None:
        for connection_id, sandbox_id in machines.items():
            assert tunnels.tunnel_up(conn, sandbox_id, connection_id)

    def beat(conn: Connection) -> int:
        assert tunnels.heartbeat(conn, list(machines)) == set(machines)
        row = conn.execute("SELECT pg_stat_get_xact_tuples_hot_updated('sandboxes'::regclass)").fetchone()
        assert row is not None
        return int(row[0])

    await db.run(connect)
    await db.run(beat)  # each may have to find a page with room once
    assert await db.run(beat) > 0.9 * MACHINES


async def test_what_the_reconciler_reads_is_little(db: Database) -> None:
    """Reading keeps Python's lock, and requests wait: whole rows of ten thousand did so for a tenth of a second."""
    await add(db, "running")

    def fill(conn: Connection) -> None:
        conn.execute(
            "INSERT INTO sandboxes (id, workspace_id, name, type, status)"
            " SELECT 's' || n, (SELECT id FROM workspaces LIMIT 1), 'n', 'cloud', 'paused'"
            f" FROM generate_series(1, {MANY}) AS n".encode()
        )

    def seconds(conn: Connection, read: Callable[[Connection], Sized]) -> float:
        began = time.thread_time()
        assert len(read(conn)) == MANY + 1
        return time.thread_time() - began

    await db.run(fill)
    whole = min([await db.run(seconds, sandboxes.all_sandboxes) for _ in range(3)])
    little = min([await db.run(seconds, sandboxes.all_cloud) for _ in range(3)])
    assert little < whole / 2


async def test_whether_a_sandbox_was_deleted_is_found_by_an_index(db: Database) -> None:
    """It is asked every few seconds of each sandbox that runs and is not known; the events of a day are many."""
    sandbox_id, other = await add(db, "deleting"), new_id()

    def fill(conn: Connection) -> None:
        conn.execute(
            "INSERT INTO events (kind, workspace_id, sandbox_id)"
            " SELECT 'sandbox.updated', 'w', 's' || n FROM generate_series(1, 5000) AS n"
        )
        sandboxes.remove_row(conn, sandbox_id)

    def ask(conn: Connection) -> tuple[bool, bool, int]:
        answers = sandboxes.was_deleted(conn, sandbox_id), sandboxes.was_deleted(conn, other)
        row = conn.execute("SELECT pg_stat_get_xact_tuples_returned('events'::regclass)").fetchone()
        assert row is not None
        return (*answers, int(row[0]))

    await db.run(fill)
    deleted, unknown, read = await db.run(ask)
    assert (deleted, unknown) == (True, False)
    assert read < 100
