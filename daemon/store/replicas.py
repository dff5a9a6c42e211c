"""The replicas of the daemon, where each machine's tunnel is, and duties that one of them does for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.sandboxes.status import LOCAL, OFFLINE, sources

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.db.database import Connection


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine is reached: the connection, and the replica that holds it with its URL."""

    connection_id: str
    replica_id: str
    url: str


def find_place(conn: Connection, sandbox_id: str) -> Place | None:
    """Where the machine of a local sandbox is; ``None``: no replica that is known holds a connection of it."""
    row = conn.execute(
        "SELECT b.tunnel_connection, r.id, r.url FROM sandboxes b JOIN replicas r ON r.id = b.tunnel_replica"
        " WHERE b.id = %s AND b.type = %s AND b.tunnel_connection IS NOT NULL",
        (sandbox_id, LOCAL),
    ).fetchone()
    return None if row is None else Place(*row)


def gone(conn: Connection, replica_ids: Collection[str]) -> set[str]:
    """Those of them that are not there any more."""
    found = conn.execute("SELECT id FROM replicas WHERE id = ANY(%s)", (list(replica_ids),)).fetchall()
    return set(replica_ids) - {row[0] for row in found}


def beat(conn: Connection, replica_id: str, url: str, version: str) -> bool:
    """This replica lives. Whether nobody knew: it is its first sign, or it was taken for dead."""
    known = conn.execute("UPDATE replicas SET heartbeat_at = now() WHERE id = %s", (replica_id,)).rowcount
    if not known:
        conn.execute("INSERT INTO replicas (id, url, version) VALUES (%s, %s, %s)", (replica_id, url, version))
    return not known


def forget_dead(conn: Connection, replica_id: str, seconds: float) -> tuple[list[str], list[str]]:
    """Replicas that gave no sign for so long are gone, and so are tunnels that nobody took over from one that is gone.

    Others do what those did for all.

    Their ids, and those of the sandboxes that are offline now. These keep the name of their connection: if it lives
    after all, its next heartbeat brings them back.
    """
    dead = conn.execute(
        "DELETE FROM replicas WHERE id IN (SELECT id FROM replicas"
        "  WHERE id <> %s AND heartbeat_at < now() - make_interval(secs => %s) ORDER BY id FOR UPDATE SKIP LOCKED)"
        " RETURNING id",
        (replica_id, seconds),
    ).fetchall()
    conn.execute("DELETE FROM duties WHERE holder = ANY(%s)", ([row[0] for row in dead],))
    left = conn.execute(
        "UPDATE sandboxes SET status = %s, generation = generation + 1, updated_at = now()"
        " WHERE id IN (SELECT id FROM sandboxes b WHERE type = %s AND status = ANY(%s) AND tunnel_replica IS NOT NULL"
        "  AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = b.tunnel_replica)"
        "  AND coalesce(last_heartbeat_at < now() - make_interval(secs => %s), true)"
        "  ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id",
        (OFFLINE, LOCAL, sources(OFFLINE, LOCAL), seconds),
    ).fetchall()
    return sorted(row[0] for row in dead), sorted(row[0] for row in left)


def leave(conn: Connection, replica_id: str) -> None:
    """This replica ends. Agents that have not come back elsewhere yet get as long as those of one that died."""
    conn.execute(
        "UPDATE sandboxes SET last_heartbeat_at = now() WHERE id IN (SELECT id FROM sandboxes"
        "  WHERE type = %s AND status = ANY(%s) AND tunnel_replica = %s ORDER BY id FOR UPDATE)",
        (LOCAL, sources(OFFLINE, LOCAL), replica_id),
    )
    conn.execute("DELETE FROM replicas WHERE id = %s", (replica_id,))


def take_duty(conn: Connection, name: str, holder: str, seconds: float) -> bool:
    """Whether ``holder`` does this for everybody for the next ``seconds``; again before they are over to keep it."""
    cursor = conn.execute(
        "INSERT INTO duties AS d (name, holder, until) VALUES (%s, %s, now() + make_interval(secs => %s))"
        " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
        " WHERE d.holder = excluded.holder OR d.until < now()",
        (name, holder, seconds),
    )
    return cursor.rowcount == 1


def give_up_duties(conn: Connection, holder: str) -> None:
    """Somebody else may do them at once."""
    conn.execute("DELETE FROM duties WHERE holder = %s", (holder,))
