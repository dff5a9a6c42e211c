"""The end of sessions that run out: a row that is deleted tells everybody, one that is only too old tells nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.db.database import Connection


def end_expired(conn: Connection) -> float | None:
    """Delete the sessions that have run out, each with its notification. Seconds until the next one does, if any."""
    conn.execute("DELETE FROM sessions WHERE expires_at <= now()")
    row = conn.execute("SELECT extract(epoch FROM min(expires_at) - now())::float FROM sessions").fetchone()
    return None if row is None else row[0]
