"""Rows of sandboxes. Every change of a status is one compare-and-set against the table in daemon.sandboxes.status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from daemon.sandboxes import status
from daemon.store.audit import Target, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from daemon.db.database import Connection
    from daemon.store.audit import AuditAction

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
    agent_info: Mapping[str, str] | None = None  # local: what the machine said of itself
    creator: str | None = None  # the user name of created_by


@dataclass(frozen=True, slots=True)
class CloudRow:
    """What is compared with what a backend has: the little of a row that takes no time with ten thousand of them."""

    id: str
    status: str
    generation: int


# What makes a SandboxRow, wherever the table is not given another name.
COLUMNS = (
    "id, workspace_id, name, type, status, status_reason, generation, created_by, created_at, updated_at,"
    " last_activity_at, last_busy_at, paused_at, last_heartbeat_at, idle_timeout, cpu, memory, secret_version,"
    " failures, failed_at, agent_info,"
    " (SELECT u.username FROM users u WHERE u.id = sandboxes.created_by) AS creator"
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


def _one(conn: Connection, query: str, parameters: Sequence[object] | Mapping[str, object]) -> SandboxRow | None:
    with conn.cursor(row_factory=class_row(SandboxRow)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchone()


def _many(conn: Connection, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[SandboxRow]:
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


def all_sandboxes(conn: Connection) -> list[SandboxRow]:
    """Every sandbox, the oldest first."""
    return _many(conn, f"SELECT {COLUMNS} FROM sandboxes ORDER BY created_at, id")


def all_cloud(conn: Connection) -> list[CloudRow]:
    """Every sandbox that a backend is responsible for. It is asked for all the time, so it reads no more than it needs.

    Whole rows of 10,000 sandboxes would keep Python's lock for a tenth of a second, and all requests waiting.
    """
    rows = conn.execute("SELECT id, status, generation FROM sandboxes WHERE type = 'cloud'").fetchall()
    return [CloudRow(*row) for row in rows]


def change_status(
    conn: Connection,
    sandbox_id: str,
    after: str,
    *,
    generation: int | None = None,
    reason: str | None = None,
    owner: str | None = None,
) -> SandboxRow | None:
    """Set the status to ``after`` if the table of transitions allows it from the present one.

    ``generation``: only if nothing has changed since. ``owner``: only if this owner has the lease, which ends with it;
    without one the lease stays, because it says who acts in the backend, and that goes on until they notice.
    ``None``: it was not so.
    """
    row = _one(
        conn,
        "UPDATE sandboxes SET status = %(after)s, status_reason = %(reason)s, generation = generation + 1,"
        " updated_at = now(),"
        " paused_at = CASE %(after)s WHEN 'paused' THEN now() WHEN 'running' THEN NULL ELSE paused_at END,"
        # The time that a start took is no idleness.
        " last_activity_at = CASE %(after)s WHEN 'running' THEN greatest(last_activity_at, now())"
        "  ELSE last_activity_at END,"
        " lease_owner = CASE WHEN %(owner)s::text IS NULL THEN lease_owner END,"
        " lease_until = CASE WHEN %(owner)s::text IS NULL THEN lease_until END"
        " WHERE id = %(id)s AND status = ANY(CASE type WHEN 'cloud' THEN %(cloud)s::text[] ELSE %(local)s::text[] END)"
        " AND (%(generation)s::bigint IS NULL OR generation = %(generation)s)"
        " AND (%(owner)s::text IS NULL OR lease_owner = %(owner)s)"
        f" RETURNING {COLUMNS}",
        {
            "id": sandbox_id,
            "after": after,
            "reason": reason,
            "generation": generation,
            "owner": owner,
            "cloud": status.sources(after, status.CLOUD),
            "local": status.sources(after, status.LOCAL),
        },
    )
    if row is not None and after == status.FAILED:
        _note(conn, row, "sandbox.failed", reason or "")
    return row


def tell_progress(conn: Connection, row: SandboxRow, words: str, *, owner: str) -> None:
    """What a start is waiting for, while the order is still the one in ``row`` and ``owner`` works on it."""
    conn.execute(
        "UPDATE sandboxes SET status_reason = %s WHERE id = %s AND generation = %s AND lease_owner = %s"
        " AND status IN ('creating', 'resuming')",
        (words, row.id, row.generation, owner),
    )


def _note(conn: Connection, row: SandboxRow, action: AuditAction, reason: str) -> None:
    """An entry in the audit log about what nobody did: it explains what people do next."""
    record(conn, None, action, Target("sandbox", row.id, row.name), workspace_id=row.workspace_id, reason=reason)


def remove_row(conn: Connection, sandbox_id: str) -> bool:
    """The sandbox is gone from the backend: so is its row."""
    cursor = conn.execute("DELETE FROM sandboxes WHERE id = %s AND status = 'deleting'", (sandbox_id,))
    return cursor.rowcount == 1


# Leases: which replica acts in the backend. A change of status leaves a lease where it is; only time, its owner, or the
# end of the job ends it.


def forget_leases(conn: Connection, owner: str) -> None:
    """Only one replica runs on this backend, and it starts: whoever held a lease is dead. Its own services live."""
    conn.execute(
        "UPDATE sandboxes SET lease_owner = NULL, lease_until = NULL WHERE NOT starts_with(lease_owner, %s)", (owner,)
    )


def claim(
    conn: Connection, owner: str, seconds: float, *, most: int, working: Mapping[str, int] | None = None
) -> list[SandboxRow]:
    """Take up to ``most`` rows that have something to be done and that nobody else works on, for ``seconds``.

    ``working``: the generations that the owner works on already; it gets those rows only if they have changed since.
    """
    working = working or {}
    return _many(
        conn,
        "UPDATE sandboxes SET lease_owner = %(owner)s, lease_until = now() + make_interval(secs => %(seconds)s)"
        " WHERE id IN (SELECT id FROM sandboxes"
        "  WHERE (type = 'cloud' AND status = ANY(%(statuses)s) OR status = 'deleting')"
        "  AND (lease_until IS NULL OR lease_until < now() OR lease_owner = %(owner)s)"
        "  AND (id, generation) NOT IN (SELECT * FROM unnest(%(ids)s::text[], %(generations)s::bigint[]))"
        f"  ORDER BY updated_at LIMIT %(most)s FOR UPDATE SKIP LOCKED) RETURNING {COLUMNS}",
        {
            "owner": owner,
            "seconds": seconds,
            "statuses": TRANSITIONAL,
            "ids": list(working),
            "generations": list(working.values()),
            "most": most,
        },
    )


def take_lease(conn: Connection, row: SandboxRow | CloudRow, owner: str, seconds: float) -> bool:
    """A lease on a row that is as it was seen and that nobody works on; whether it was so."""
    cursor = conn.execute(
        "UPDATE sandboxes SET lease_owner = %s, lease_until = now() + make_interval(secs => %s)"
        " WHERE id = %s AND generation = %s AND (lease_until IS NULL OR lease_until < now())",
        (owner, seconds, row.id, row.generation),
    )
    return cursor.rowcount == 1


def renew(conn: Connection, owner: str, sandbox_ids: Sequence[str], seconds: float) -> set[str]:
    """Keep the leases; those that are still ours."""
    rows = conn.execute(
        "UPDATE sandboxes SET lease_until = now() + make_interval(secs => %s) WHERE id IN"
        " (SELECT id FROM sandboxes WHERE id = ANY(%s) AND lease_owner = %s ORDER BY id FOR UPDATE) RETURNING id",
        (seconds, list(sandbox_ids), owner),
    ).fetchall()
    return {row[0] for row in rows}


def release(conn: Connection, owner: str, sandbox_id: str) -> bool:
    """Let somebody else go on, and tell everybody: the end of a lease is no change that a trigger tells of."""
    cursor = conn.execute(
        "UPDATE sandboxes SET lease_owner = NULL, lease_until = NULL WHERE id = %s AND lease_owner = %s",
        (sandbox_id, owner),
    )
    if cursor.rowcount:
        conn.execute("SELECT pg_notify('cli_server', 'sandbox ' || %s::text)", (sandbox_id,))
    return cursor.rowcount == 1


def release_all(conn: Connection, owner: str) -> None:
    """Its owner ends, and has no job any more."""
    conn.execute("UPDATE sandboxes SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = %s", (owner,))


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


def claim_idle(
    conn: Connection, seen: SandboxRow, cutoff: datetime, busy_cutoff: datetime | None, owner: str, seconds: float
) -> SandboxRow | None:
    """Begin to pause a sandbox that saw no activity since ``cutoff``: one statement, so that it happens once.

    ``seen`` is the row that was judged; a status or an idle timeout that has changed since counts. ``busy_cutoff``: nor
    was it busy since; ``None``: busy or not. It comes with a lease for ``owner``, who may undo it before anybody acts.
    """
    return _one(
        conn,
        "UPDATE sandboxes SET status = 'pausing', status_reason = NULL, generation = generation + 1,"
        " updated_at = now(), lease_owner = %s, lease_until = now() + make_interval(secs => %s)"
        " WHERE id = %s AND type = 'cloud' AND status = 'running' AND generation = %s"
        " AND idle_timeout IS NOT DISTINCT FROM %s AND last_activity_at <= %s"
        " AND (%s::timestamptz IS NULL OR last_busy_at IS NULL OR last_busy_at <= %s)"
        f" RETURNING {COLUMNS}",
        (owner, seconds, seen.id, seen.generation, seen.idle_timeout, cutoff, busy_cutoff, busy_cutoff),
    )


def hand_over(conn: Connection, claimed: SandboxRow, owner: str, cutoff: datetime, *, used: bool) -> bool:
    """End the sweeper's lease: the pause goes on, or, if the sandbox was used since, is undone. Whether it goes on.

    ``used``: this process knows of a use. What other replicas know is in the row, compared with ``cutoff``.
    """
    undone = conn.execute(
        "UPDATE sandboxes SET status = 'running', generation = generation + 1, updated_at = now(), lease_owner = NULL,"
        " lease_until = NULL WHERE id = %s AND generation = %s AND status = 'pausing' AND lease_owner = %s"
        " AND (%s OR last_activity_at > %s)",
        (claimed.id, claimed.generation, owner, used, cutoff),
    ).rowcount
    if undone:
        return False
    now = find_sandbox(conn, claimed.id)
    if now is not None and now.generation == claimed.generation:
        _note(conn, now, "sandbox.paused", "idle")
    return release(conn, owner, claimed.id)  # whatever it is now: somebody may have deleted it


# Unasked ends


def record_failure(
    conn: Connection, seen: SandboxRow | CloudRow, reason: str, window_seconds: float, *, counted: bool = True
) -> SandboxRow | None:
    """A running sandbox's processes are gone: ``failed``, and counted; ends that lie apart are counted anew.

    ``counted`` is false for an end that is not the sandbox's fault. ``None``: the row is no more as it was seen.
    """
    row = _one(
        conn,
        "UPDATE sandboxes SET status = 'failed', status_reason = %(reason)s, generation = generation + 1,"
        " updated_at = now(), failures = CASE WHEN NOT %(counted)s THEN failures"
        "  WHEN failed_at > now() - make_interval(secs => %(window)s) THEN failures + 1 ELSE 1 END,"
        " failed_at = CASE WHEN %(counted)s THEN now() ELSE failed_at END"
        " WHERE id = %(id)s AND generation = %(generation)s AND type = 'cloud' AND status = 'running'"
        f" RETURNING {COLUMNS}",
        {
            "reason": reason,
            "counted": counted,
            "window": window_seconds,
            "id": seen.id,
            "generation": seen.generation,
        },
    )
    if row is not None and counted:  # else every restart of the daemon would be a failure of all sandboxes
        _note(conn, row, "sandbox.failed", reason)
    return row


def was_deleted(conn: Connection, sandbox_id: str) -> bool:
    """Whether this database knows that the sandbox was deleted here, rather than knowing nothing of it."""
    row = conn.execute(
        "SELECT 1 FROM events WHERE sandbox_id = %s AND kind = 'sandbox.deleted'"
        " AND NOT EXISTS (SELECT 1 FROM sandboxes WHERE id = %s)",
        (sandbox_id, sandbox_id),
    ).fetchone()
    return row is not None


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


def count_by_status(conn: Connection) -> dict[str, int]:
    """How many sandboxes there are in each status that occurs."""
    return dict(conn.execute("SELECT status, count(*) FROM sandboxes GROUP BY status").fetchall())
