"""What admins see and do. Every function checks in its own transaction that who asks is an admin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Unpack

from psycopg.rows import class_row

from daemon.ids import is_id
from daemon.store import audit, sandboxes
from daemon.store.audit import Target, record

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.db.database import Connection
    from daemon.store.audit import Actor, AuditAction, EntryRow, Wanted
    from daemon.store.sandboxes import SandboxRow

_ADMINS_LOCK: Final = 7300003  # advisory; any number no other of our locks has (migrations, daemon.store.people)


class NotAdmin(Exception):
    """Who asks is no admin (any more)."""


class NoSuchUser(Exception):
    """There is no user with this id."""


class OwnAccount(Exception):
    """Nobody locks themselves out, or gives their rights away by a slip: another admin does it."""


class LastAdmin(Exception):
    """A server must keep an admin who can sign in."""


@dataclass(frozen=True, slots=True)
class AdminUserRow:
    """A user as admins see them. ``workspaces``: how many they are a member of."""

    id: str
    username: str
    email: str | None
    is_admin: bool
    disabled_at: datetime | None
    created_at: datetime
    last_seen_at: datetime | None
    workspaces: int


@dataclass(frozen=True, slots=True)
class AdminWorkspaceRow:
    """A workspace as admins see it. ``running``: how many of its sandboxes are."""

    id: str
    name: str
    created_at: datetime
    owners: list[str]
    members: int
    sandboxes: int
    running: int


def require_admin(conn: Connection, user_id: str) -> None:
    """Raise :class:`NotAdmin` for everybody else."""
    query = "SELECT 1 FROM users WHERE id = %s AND is_admin AND disabled_at IS NULL"
    if conn.execute(query.encode(), (user_id,)).fetchone() is None:
        raise NotAdmin


# Lists


_USERS = (
    "SELECT u.id, u.username, u.email, u.is_admin, u.disabled_at, u.created_at, u.last_seen_at,"
    " (SELECT count(*) FROM members m JOIN workspaces w ON w.id = m.workspace_id AND w.deleted_at IS NULL"
    "  WHERE m.user_id = u.id) AS workspaces FROM users u"
)


def list_users(conn: Connection, user_id: str) -> list[AdminUserRow]:
    """All users, the first to come first."""
    require_admin(conn, user_id)
    with conn.cursor(row_factory=class_row(AdminUserRow)) as cursor:
        return cursor.execute(f"{_USERS} ORDER BY u.created_at, u.id".encode()).fetchall()


def list_workspaces(conn: Connection, user_id: str) -> list[AdminWorkspaceRow]:
    """All workspaces, the oldest first; without those that are being deleted."""
    require_admin(conn, user_id)
    with conn.cursor(row_factory=class_row(AdminWorkspaceRow)) as cursor:
        return cursor.execute(
            "SELECT w.id, w.name, w.created_at, ARRAY(SELECT u.username FROM members m JOIN users u ON u.id = m.user_id"
            "  WHERE m.workspace_id = w.id AND m.role = 'owner' ORDER BY m.created_at, u.id) AS owners,"
            " (SELECT count(*) FROM members m WHERE m.workspace_id = w.id) AS members,"
            " (SELECT count(*) FROM sandboxes s WHERE s.workspace_id = w.id) AS sandboxes,"
            " (SELECT count(*) FROM sandboxes s WHERE s.workspace_id = w.id AND s.status = 'running') AS running"
            " FROM workspaces w WHERE w.deleted_at IS NULL ORDER BY w.created_at, w.id"
        ).fetchall()


def list_sandboxes(conn: Connection, user_id: str) -> list[tuple[SandboxRow, str]]:
    """All sandboxes with the names of their workspaces, the oldest first."""
    require_admin(conn, user_id)
    rows = sandboxes.all_sandboxes(conn)
    # A workspace's row stays until its sandboxes' are gone: one without it went in between.
    names: dict[str, str] = dict(conn.execute("SELECT id, name FROM workspaces").fetchall())
    return [(row, names[row.workspace_id]) for row in rows if row.workspace_id in names]


def list_audit(conn: Connection, user_id: str, **wanted: Unpack[Wanted]) -> list[EntryRow]:
    """Entries of the audit log; see :func:`daemon.store.audit.list_entries`."""
    require_admin(conn, user_id)
    return audit.list_entries(conn, **wanted)


# Changes


def change_user(
    conn: Connection, actor: Actor, user_id: str, *, is_admin: bool | None = None, disabled: bool | None = None
) -> AdminUserRow:
    """Make a user an admin or not, let them in or not; ``None`` leaves it as it is.

    Who is disabled is signed out everywhere. Nothing of theirs is lost. Raises :class:`NotAdmin`, :class:`NoSuchUser`,
    :class:`OwnAccount` or :class:`LastAdmin`.
    """
    # One change after the other: of two admins who demote each other, the second is none any more.
    lock_admins(conn)
    require_admin(conn, actor.user_id)
    before = _find(conn, user_id)
    if user_id == actor.user_id and (is_admin is not None or disabled is not None):
        raise OwnAccount
    if is_admin is False or disabled:
        keep_an_admin(conn, user_id)
    target = Target("user", user_id, before.username)
    if is_admin is not None and is_admin != before.is_admin:
        conn.execute("UPDATE users SET is_admin = %s WHERE id = %s", (is_admin, user_id))
        record(conn, actor, "user.admin_granted" if is_admin else "user.admin_revoked", target)
    if disabled is not None and disabled != (before.disabled_at is not None):
        _set_disabled(conn, actor, target, disabled)
    return _find(conn, user_id)


def lock_admins(conn: Connection) -> None:
    """No admin is made or unmade until the transaction ends. Taken before any user is locked."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_ADMINS_LOCK,))


def keep_an_admin(conn: Connection, user_id: str) -> None:
    """This user is about to be no admin, or disabled: raise :class:`LastAdmin` if nobody else is one who can sign in.

    Who asks is an admin and not the user; so it only happens when something else than :func:`change_user` asks.
    """
    query = "SELECT 1 FROM users WHERE is_admin AND disabled_at IS NULL AND id <> %s LIMIT 1"
    if conn.execute(query.encode(), (user_id,)).fetchone() is None:
        raise LastAdmin


def _set_disabled(conn: Connection, actor: Actor, target: Target, disabled: bool) -> None:
    """The user first, then the sessions, as everybody locks. Triggers tell who cuts what is open."""
    action: AuditAction = "user.disabled" if disabled else "user.enabled"
    conn.execute("UPDATE users SET disabled_at = CASE WHEN %s THEN now() END WHERE id = %s", (disabled, target.id))
    # A session that somebody else may have got hold of must not come back to life with the account.
    ended = conn.execute("DELETE FROM sessions WHERE user_id = %s", (target.id,)).rowcount if disabled else 0
    record(conn, actor, action, target, **({"sessions": str(ended)} if disabled else {}))


def _find(conn: Connection, user_id: str) -> AdminUserRow:
    with conn.cursor(row_factory=class_row(AdminUserRow)) as cursor:
        row = cursor.execute(f"{_USERS} WHERE u.id = %s".encode(), (user_id,)).fetchone() if is_id(user_id) else None
    if row is None:
        raise NoSuchUser
    return row
