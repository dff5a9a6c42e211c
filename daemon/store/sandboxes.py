"""Rows of sandboxes. Every change of a status is one compare-and-set against the table in daemon.sandboxes.status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from daemon.sandboxes import status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from daemon.db.database import Connection

TRANSITIONAL = sorted(status.TRANSITIONAL)


class SandboxNotFound(Exception):
    """There is no such sandbox, or the asking user is no member of its workspace: nobody may tell which."""


@dataclass(frozen=True, slots=True)
class SandboxRow:
    """A sandbox as the table has it, without its hashes."""

    id: str
    workspace_id: str
    name: str
    type: str
    status: str
    status_reason: str | None
    generation: int
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
    last_busy_at: datetime | None
    paused_at: datetime | None
    last_heartbeat_at: datetime | None
    idle_timeout: str | None
    cpu: str | None
    memory: str | None
    secret_version: int
    failures: int
    failed_at: datetime | None


COLUMNS = (
    "id, workspace_id, name, type, status, status_reason, generation, created_by, created_at, updated_at,"
    " last_activity_at, last_busy_at, paused_at, last_heartbeat_at, idle_timeout, cpu, memory, secret_version,"
    " failures, failed_at"
)


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a cloud sandbox is made with. ``proxy_token_hash``: of the token that the keyring derives for it."""

    id: str
    workspace_id: str
    name: str
    created_by: str
    proxy_token_hash: bytes
    idle_timeout: str | None = None
    cpu: str | None = None
    memory: str | None = None


def _one(conn: Connection, query: str, parameters: Sequence[object]) -> SandboxRow | None:
    with conn.cursor(row_factory=class_row(SandboxRow)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchone()


def _many(conn: Connection, query: str, parameters: Sequence[object] = ()) -> list[SandboxRow]:
    with conn.cursor(row_factory=class_row(SandboxRow)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def insert_sandbox(conn: Connection, new: NewSandbox) -> SandboxRow:
    """A new row with status ``creating``; that is the order to create it."""
    row = _one(
        conn,
        "INSERT INTO sandboxes (id, workspace_id, name, type, status, created_by, proxy_token_hash, idle_timeout, cpu,"
        f" memory) VALUES (%s, %s, %s, 'cloud', 'creating', %s, %s, %s, %s, %s) RETURNING {COLUMNS}",
        (
            new.id,
            new.workspace_id,
            new.name,
            new.created_by,
            new.proxy_token_hash,
            new.idle_timeout,
            new.cpu,
            new.memory,
        ),
    )
    assert row is not None
    return row


def find_sandbox(conn: Connection, sandbox_id: str) -> SandboxRow | None:
    """One sandbox."""
    return _one(conn, f"SELECT {COLUMNS} FROM sandboxes WHERE id = %s", (sandbox_id,))


def list_sandboxes(conn: Connection, workspace_id: str) -> list[SandboxRow]:
    """The sandboxes of a workspace, the oldest first."""
    query = f"SELECT {COLUMNS} FROM sandboxes WHERE workspace_id = %s ORDER BY created_at, id"
    return _many(conn, query, (workspace_id,))


def all_cloud(conn: Connection) -> list[SandboxRow]:
    """Every sandbox that a backend is responsible for."""
    return _many(conn, f"SELECT {COLUMNS} FROM sandboxes WHERE type = 'cloud'")


def change_status(
    conn: Connection,
    sandbox_id: str,
    after: str,
    *,
    generation: int | None = None,
    reason: str | None = None,
    since: Sequence[str] | None = None,
) -> SandboxRow | None:
    """Set the status to ``after`` if the table of transitions allows it from the present one.

    ``generation``: only if nothing has changed since; ``since``: only from these statuses. ``None``: it was not so.
    The lease ends with the status, except for one that stays transitional, which the caller goes on with.
    """
    return _one(
        conn,
        "UPDATE sandboxes SET status = %s, status_reason = %s, generation = generation + 1, updated_at = now(),"
        " paused_at = CASE WHEN %s = 'paused' THEN now() WHEN %s = 'running' THEN NULL ELSE paused_at END,"
        " last_activity_at = CASE WHEN %s = 'running' THEN greatest(last_activity_at, now()) ELSE last_activity_at END,"
        " lease_owner = NULL, lease_until = NULL"
        " WHERE id = %s AND status = ANY(%s) AND (%s::bigint IS NULL OR generation = %s)"
        f" RETURNING {COLUMNS}",
        (
            after,
            reason,
            after,
            after,
            after,
            sandbox_id,
            status.before(after) if since is None else [name for name in since if status.may(name, after)],
            generation,
            generation,
        ),
    )


def request_status(conn: Connection, sandbox_id: str, after: str) -> SandboxRow:
    """A user's wish: as :func:`change_status`, but raises :class:`SandboxNotFound` or :class:`IllegalStatus`."""
    row = change_status(conn, sandbox_id, after)
    if row is not None:
        return row
    found = find_sandbox(conn, sandbox_id)
    if found is None:
        raise SandboxNotFound
    raise status.IllegalStatus(found.status, after)


def remove_row(conn: Connection, sandbox_id: str) -> bool:
    """The sandbox is gone from the backend: so is its row."""
    cursor = conn.execute("DELETE FROM sandboxes WHERE id = %s AND status = 'deleting'", (sandbox_id,))
    return cursor.rowcount == 1


# Leases: which replica works on a transitional status


def claim(conn: Connection, owner: str, seconds: float, *, most: int, take_over: bool = False) -> list[SandboxRow]:
    """Take up to ``most`` rows that have something to be done and that nobody works on, for ``seconds``.

    ``take_over``: whoever held a lease is known to be dead.
    """
    return _many(
        conn,
        "UPDATE sandboxes SET lease_owner = %s, lease_until = now() + make_interval(secs => %s) WHERE id IN"
        " (SELECT id FROM sandboxes WHERE type = 'cloud' AND status = ANY(%s)"
        "  AND (lease_until IS NULL OR lease_until < now() OR (%s AND lease_owner <> %s))"
        f"  ORDER BY updated_at LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING {COLUMNS}",
        (owner, seconds, TRANSITIONAL, take_over, owner, most),
    )


def renew(conn: Connection, owner: str, sandbox_ids: Sequence[str], seconds: float) -> set[str]:
    """Keep the leases; those that are still ours."""
    rows = conn.execute(
        "UPDATE sandboxes SET lease_until = now() + make_interval(secs => %s)"
        " WHERE id = ANY(%s) AND lease_owner = %s RETURNING id",
        (seconds, list(sandbox_ids), owner),
    ).fetchall()
    return {row[0] for row in rows}


def release(conn: Connection, owner: str, sandbox_id: str) -> None:
    """Let somebody else go on."""
    conn.execute(
        "UPDATE sandboxes SET lease_owner = NULL, lease_until = NULL WHERE id = %s AND lease_owner = %s",
        (sandbox_id, owner),
    )


def announce(conn: Connection, sandbox_id: str) -> None:
    """Tell everybody to look at this sandbox: the end of a lease is no change that a trigger tells of."""
    conn.execute("SELECT pg_notify('cli_server', 'sandbox ' || %s::text)", (sandbox_id,))


# Activity and idleness


def record_activity(conn: Connection, seen: Sequence[tuple[str, datetime]]) -> None:
    """Move the times of the latest activity forward, never back."""
    conn.cursor().executemany(
        "UPDATE sandboxes SET last_activity_at = %s WHERE id = %s AND last_activity_at < %s",
        [(at, sandbox_id, at) for sandbox_id, at in sorted(seen)],
    )


def record_busy(conn: Connection, sandbox_id: str, at: datetime) -> None:
    """opencode said that it works."""
    conn.execute("UPDATE sandboxes SET last_busy_at = %s WHERE id = %s", (at, sandbox_id))


def running_cloud(conn: Connection) -> list[SandboxRow]:
    """What the sweeper looks at."""
    return _many(conn, f"SELECT {COLUMNS} FROM sandboxes WHERE type = 'cloud' AND status = 'running'")


def claim_idle(conn: Connection, sandbox_id: str, cutoff: datetime, owner: str, seconds: float) -> SandboxRow | None:
    """Begin to pause a sandbox that saw no activity since ``cutoff``: one statement, so that it happens once.

    It comes with a lease for ``owner``, who may still undo it before anybody acts.
    """
    return _one(
        conn,
        "UPDATE sandboxes SET status = 'pausing', status_reason = NULL, generation = generation + 1, updated_at = now(),"
        " lease_owner = %s, lease_until = now() + make_interval(secs => %s)"
        " WHERE id = %s AND type = 'cloud' AND status = 'running' AND last_activity_at <= %s"
        f" RETURNING {COLUMNS}",
        (owner, seconds, sandbox_id, cutoff),
    )


# Unasked ends


def record_failure(
    conn: Connection, sandbox_id: str, generation: int, reason: str, window_seconds: float
) -> SandboxRow | None:
    """A running sandbox's processes are gone: ``failed``, and counted; ends that lie apart are counted anew."""
    return _one(
        conn,
        "UPDATE sandboxes SET status = 'failed', status_reason = %s, generation = generation + 1, updated_at = now(),"
        " failures = CASE WHEN failed_at > now() - make_interval(secs => %s) THEN failures + 1 ELSE 1 END,"
        " failed_at = now()"
        " WHERE id = %s AND generation = %s AND type = 'cloud' AND status = 'running'"
        f" RETURNING {COLUMNS}",
        (reason, window_seconds, sandbox_id, generation),
    )


# Deleted workspaces


def emptied_workspaces(conn: Connection) -> list[str]:
    """Deleted workspaces without a sandbox left: their disks may go."""
    rows = conn.execute(
        "SELECT id FROM workspaces w WHERE deleted_at IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM sandboxes s WHERE s.workspace_id = w.id)"
    ).fetchall()
    return [row[0] for row in rows]


def remove_workspace(conn: Connection, workspace_id: str) -> None:
    """The workspace's disk is gone: so is its row."""
    conn.execute("DELETE FROM workspaces WHERE id = %s AND deleted_at IS NOT NULL", (workspace_id,))


def change_details(conn: Connection, sandbox_id: str, name: str, idle_timeout: str | None) -> SandboxRow:
    """Rename it, set its idle timeout. Raises :class:`SandboxNotFound`."""
    row = _one(
        conn,
        f"UPDATE sandboxes SET name = %s, idle_timeout = %s WHERE id = %s RETURNING {COLUMNS}",
        (name, idle_timeout, sandbox_id),
    )
    if row is None:
        raise SandboxNotFound
    return row
