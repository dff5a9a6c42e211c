"""Machines that join through a tunnel: codes, tokens, and whether each one is connected now.

A local sandbox is ``running`` while a connection of its agent lives and ``offline`` otherwise. The row names the
connection, so that whoever cleans up after an older one changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from daemon.auth.roles import Action, Role, may
from daemon.ids import is_id
from daemon.sandboxes.status import DELETING, LOCAL, OFFLINE, RUNNING, sources
from daemon.store.audit import Actor, Target, record
from daemon.store.sandboxes import COLUMNS, SandboxRow
from daemon.store.workspaces import NotAllowed, WorkspaceNotFound, authorize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from daemon.db.database import Connection

CODE_SECONDS: Final = 600  # contract, section 3: long enough to walk over to the other machine
# What a machine says of itself is shown to people: host name, system, versions. More is not meant for them.
MOST_INFO: Final = 20
LONGEST_INFO: Final = 200  # characters of a value; the longest host name has 253, most have 20
_LONGEST_INFO_NAME: Final = 40  # characters of a key, which our page shows beside its value
_LARGEST_INFO_NUMBER: Final = 10**15  # digits that JavaScript and a person can still read


@dataclass(frozen=True, slots=True)
class NewLocalSandbox:
    """What a machine that joins is entered with. ``name``: the one given, or none."""

    id: str
    name: str | None
    tunnel_token_hash: bytes


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Who may connect as a local sandbox. ``allowed``: whether anybody may, now. ``newest``: its connection's order."""

    token_hash: bytes
    workspace_id: str
    status: str
    allowed: bool
    newest: int = 0


# Codes


def create_code(conn: Connection, code_hash: bytes, workspace_id: str, actor: Actor) -> datetime:
    """A code that lets one machine into the workspace; when it expires. Raises as :func:`authorize`."""
    authorize(conn, workspace_id, actor.user_id, Action.CONNECT_AGENT, lock=True)
    row = conn.execute(
        "INSERT INTO agent_codes (code_hash, workspace_id, created_by, expires_at)"
        " VALUES (%s, %s, %s, now() + make_interval(secs => %s)) RETURNING expires_at",
        (code_hash, workspace_id, actor.user_id, CODE_SECONDS),
    ).fetchone()
    assert row is not None
    record(conn, actor, "agent_code.created", _workspace(conn, workspace_id), workspace_id=workspace_id)
    expires_at: datetime = row[0]
    return expires_at


def _workspace(conn: Connection, workspace_id: str) -> Target:
    row = conn.execute("SELECT name FROM workspaces WHERE id = %s", (workspace_id,)).fetchone()
    assert row is not None
    return Target("workspace", workspace_id, row[0])


def redeem_code(conn: Connection, code_hash: bytes, new: NewLocalSandbox, ip: str) -> SandboxRow | None:
    """Use up a code; the new sandbox, offline until its agent connects. ``ip``: where the machine is.

    ``None``: the code is wrong, used or expired, or whoever made it may not connect machines any more.
    """
    found = conn.execute(
        "SELECT workspace_id, created_by FROM agent_codes WHERE code_hash = %s AND expires_at > now()", (code_hash,)
    ).fetchone()
    if found is None:
        return None
    workspace_id, user_id = found
    try:
        # The workspace first, as everybody locks; two who bring the same code wait for each other here.
        authorize(conn, workspace_id, user_id, Action.CONNECT_AGENT, lock=True)
    except (WorkspaceNotFound, NotAllowed):
        return None
    enabled = "SELECT 1 FROM users WHERE id = %s AND disabled_at IS NULL FOR SHARE"
    if conn.execute(enabled.encode(), (user_id,)).fetchone() is None:
        return None
    if not conn.execute("DELETE FROM agent_codes WHERE code_hash = %s", (code_hash,)).rowcount:
        return None
    name = new.name or f"machine-{new.id[:4]}"
    # Who made the code answers for the machine.
    target = Target("sandbox", new.id, name)
    record(conn, Actor(user_id, ip), "machine.joined", target, workspace_id=workspace_id)
    with conn.cursor(row_factory=class_row(SandboxRow)) as cursor:
        return cursor.execute(
            "INSERT INTO sandboxes (id, workspace_id, name, type, status, created_by, tunnel_token_hash)"
            f" VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING {COLUMNS}".encode(),
            (new.id, workspace_id, name, LOCAL, OFFLINE, user_id, new.tunnel_token_hash),
        ).fetchone()


# Who may connect


def find_tunnel(conn: Connection, sandbox_id: str) -> Tunnel | None:
    """The local sandbox and whether its agent may connect: as long as whoever let it in may connect machines."""
    if not is_id(sandbox_id):
        return None
    row = conn.execute(
        "SELECT b.tunnel_token_hash, b.workspace_id, b.status, m.role, coalesce(b.tunnel_order, 0) FROM sandboxes b"
        " LEFT JOIN workspaces w ON w.id = b.workspace_id AND w.deleted_at IS NULL"
        " LEFT JOIN users u ON u.id = b.created_by AND u.disabled_at IS NULL"
        " LEFT JOIN members m ON m.workspace_id = w.id AND m.user_id = u.id"
        " WHERE b.id = %s AND b.type = %s AND b.tunnel_token_hash IS NOT NULL",
        (sandbox_id, LOCAL),
    ).fetchone()
    if row is None:
        return None
    token_hash, workspace_id, status, role, newest = row
    allowed = status != DELETING and role is not None and may(Role(role), Action.CONNECT_AGENT)
    return Tunnel(token_hash, workspace_id, status, allowed, newest)


def next_order(conn: Connection) -> int:
    """The place of a connection that comes in now behind all that came before, on whichever replica."""
    row = conn.execute("SELECT nextval('tunnel_order')").fetchone()
    assert row is not None
    return int(row[0])


# Presence. Who changes several rows takes them in the order of their ids.


def clean_info(said: Mapping[str, object]) -> dict[str, str]:
    """What a machine said of itself, as it is kept: some short printable texts. It may say anything."""
    kept: dict[str, str] = {}
    for name, value in said.items():
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float) and abs(value) < _LARGEST_INFO_NUMBER:
            value = str(value)
        if len(kept) < MOST_INFO and isinstance(value, str) and name.isprintable() and name.strip():
            kept[name[:_LONGEST_INFO_NAME]] = "".join(filter(str.isprintable, value[: 2 * LONGEST_INFO]))[:LONGEST_INFO]
    return kept


@dataclass(frozen=True, slots=True)
class Holder:
    """Where a connection is. ``replica``: whose it is, if there are several. ``order``: see :func:`next_order`."""

    replica: str | None = None
    order: int = 0


def tunnel_up(
    conn: Connection,
    sandbox_id: str,
    connection_id: str,
    info: Mapping[str, object] | None = None,
    holder: Holder = Holder(),
) -> bool:
    """The sandbox is reached by this connection from now on.

    ``False``: it is gone, or being deleted, or is reached by a newer one. ``info``: what the machine says of itself;
    ``None`` leaves what it said before. A second time changes nothing.
    """
    cursor = conn.execute(
        "UPDATE sandboxes SET status = %(running)s, tunnel_connection = %(connection)s, last_heartbeat_at = now(),"
        " tunnel_replica = %(replica)s, tunnel_order = %(order)s,"
        " agent_info = coalesce(%(info)s::jsonb, agent_info),"
        " generation = generation + (status <> %(running)s)::int,"
        " updated_at = CASE status WHEN %(running)s THEN updated_at ELSE now() END"
        " WHERE id = %(id)s AND type = %(local)s AND status = ANY(%(before)s)"
        " AND (tunnel_connection IS NULL OR coalesce(tunnel_order, 0) <= %(order)s)",
        {
            "id": sandbox_id,
            "connection": connection_id,
            "replica": holder.replica,
            "order": holder.order,
            "info": None if info is None else Jsonb(clean_info(info)),
            "running": RUNNING,
            "local": LOCAL,
            "before": [RUNNING, *sources(RUNNING, LOCAL)],
        },
    )
    return cursor.rowcount == 1


def tunnel_down(conn: Connection, sandbox_id: str, connection_id: str) -> bool:
    """The connection has ended. ``False``: the sandbox was not running by it, so nothing has changed."""
    cursor = conn.execute(
        "UPDATE sandboxes SET status = %s, tunnel_connection = NULL, generation = generation + 1, updated_at = now()"
        " WHERE id = %s AND type = %s AND tunnel_connection = %s AND status = ANY(%s)",
        (OFFLINE, sandbox_id, LOCAL, connection_id, sources(OFFLINE, LOCAL)),
    )
    return cursor.rowcount == 1


def heartbeat(conn: Connection, connection_ids: Sequence[str]) -> set[str]:
    """These connections live; those by which their sandboxes are still reached.

    A sandbox that was taken to be offline, because nothing could be written for a while, is running again.
    """
    rows = conn.execute(
        "UPDATE sandboxes SET status = %(running)s, last_heartbeat_at = now(),"
        " generation = generation + (status <> %(running)s)::int,"
        " updated_at = CASE status WHEN %(running)s THEN updated_at ELSE now() END"
        " WHERE id IN (SELECT id FROM sandboxes WHERE type = %(local)s AND tunnel_connection = ANY(%(ids)s)"
        "  AND status = ANY(%(before)s) ORDER BY id FOR UPDATE) RETURNING tunnel_connection",
        {
            "running": RUNNING,
            "local": LOCAL,
            "ids": list(connection_ids),
            "before": [RUNNING, *sources(RUNNING, LOCAL)],
        },
    ).fetchall()
    return {row[0] for row in rows}


def expire_tunnels(conn: Connection, seconds: float) -> list[str]:
    """Running local sandboxes without a heartbeat for so long are offline: their daemon is gone. Their ids.

    They keep the name of their connection: if it lives after all, its next heartbeat brings them back.
    """
    rows = conn.execute(
        "UPDATE sandboxes SET status = %s, generation = generation + 1, updated_at = now()"
        " WHERE id IN (SELECT id FROM sandboxes WHERE type = %s AND status = ANY(%s)"
        "  AND coalesce(last_heartbeat_at < now() - make_interval(secs => %s), true)"
        "  ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id",
        (OFFLINE, LOCAL, sources(OFFLINE, LOCAL), seconds),
    ).fetchall()
    return sorted(row[0] for row in rows)


def forget_tunnels(conn: Connection) -> list[str]:
    """Every running local sandbox is offline: the only daemon starts, and its agents come back. Their ids."""
    rows = conn.execute(
        "UPDATE sandboxes SET status = %s, tunnel_connection = NULL, generation = generation + 1, updated_at = now()"
        " WHERE id IN (SELECT id FROM sandboxes WHERE type = %s AND status = ANY(%s) ORDER BY id FOR UPDATE)"
        " RETURNING id",
        (OFFLINE, LOCAL, sources(OFFLINE, LOCAL)),
    ).fetchall()
    return sorted(row[0] for row in rows)
