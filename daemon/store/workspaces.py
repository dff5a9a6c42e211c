"""Workspaces and their members. Every function is one transaction's worth of SQL that checks who asks.

What changes something leaves an entry in the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from daemon.auth.roles import Action, Role, may, may_add, may_remove
from daemon.auth.rules import is_username
from daemon.ids import is_id, new_id
from daemon.store.audit import Target, list_entries, record

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.db.database import Connection
    from daemon.store.audit import Actor, AuditAction, EntryRow, Wanted


class WorkspaceNotFound(Exception):
    """There is no such workspace, or the asking user is no member of it: nobody may tell which."""


class NotAllowed(Exception):
    """The member's role does not allow it."""

    def __init__(self, role: Role, action: Action) -> None:
        super().__init__(f"a {role} may not {action}")
        self.role = role
        self.action = action


class UserNotFound(Exception):
    """There is no user of this name."""


class MemberNotFound(Exception):
    """This user is no member of the workspace."""


class AlreadyMember(Exception):
    """This user is a member already."""


class LastOwner(Exception):
    """A workspace must keep an owner."""


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """A workspace with the asking user's role."""

    id: str
    name: str
    role: Role
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member of a workspace."""

    user_id: str
    username: str
    role: Role


def authorize(conn: Connection, workspace_id: str, user_id: str, action: Action, *, lock: bool = False) -> Role:
    """The user's role, if it allows ``action``; raises :class:`WorkspaceNotFound` or :class:`NotAllowed`.

    With ``lock`` the workspace is locked until the transaction ends, so that it is not deleted and its members do not
    change meanwhile: for everything that writes. Reads and key checks of others go on.
    """
    if not is_id(workspace_id):
        raise WorkspaceNotFound
    found = conn.execute(
        b"SELECT 1 FROM workspaces WHERE id = %s AND deleted_at IS NULL" + (b" FOR NO KEY UPDATE" if lock else b""),
        (workspace_id,),
    ).fetchone()
    # Asked after the lock was taken, so that it is the role as the transaction before us left it.
    role = _role_of(conn, workspace_id, user_id)
    if found is None or role is None:
        raise WorkspaceNotFound
    if not may(role, action):
        raise NotAllowed(role, action)
    return role


def list_audit(conn: Connection, workspace_id: str, user_id: str, **wanted: Unpack[Wanted]) -> list[EntryRow]:
    """Entries of the audit log that belong to the workspace, for owners; raises as :func:`authorize`."""
    authorize(conn, workspace_id, user_id, Action.READ_AUDIT)
    return list_entries(conn, workspace_id=workspace_id, **wanted)


# Workspaces

_COLUMNS = "w.id, w.name, m.role, w.created_at, w.updated_at"


def create_workspace(conn: Connection, actor: Actor, name: str) -> WorkspaceRow:
    """A new workspace that ``actor`` owns."""
    workspace_id = new_id()
    conn.execute("INSERT INTO workspaces (id, name) VALUES (%s, %s)", (workspace_id, name))
    _insert_member(conn, workspace_id, actor.user_id, Role.OWNER)
    record(conn, actor, "workspace.created", Target("workspace", workspace_id, name), workspace_id=workspace_id)
    return _read(conn, workspace_id, actor.user_id)


def list_workspaces(conn: Connection, user_id: str) -> list[WorkspaceRow]:
    """The workspaces that the user is a member of, the oldest first."""
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM workspaces w JOIN members m ON m.workspace_id = w.id"
        " WHERE m.user_id = %s AND w.deleted_at IS NULL ORDER BY w.created_at, w.id",
        (user_id,),
    ).fetchall()
    return [_row(row) for row in rows]


def get_workspace(conn: Connection, workspace_id: str, user_id: str) -> WorkspaceRow:
    """One workspace; raises as :func:`authorize`."""
    authorize(conn, workspace_id, user_id, Action.VIEW)
    return _read(conn, workspace_id, user_id)


def count_sandboxes(conn: Connection, workspace_id: str, user_id: str) -> dict[str, int]:
    """How many sandboxes it has of each type that occurs, but for those that go; raises as :func:`authorize`."""
    authorize(conn, workspace_id, user_id, Action.VIEW)
    query = "SELECT type, count(*) FROM sandboxes WHERE workspace_id = %s AND status <> 'deleting' GROUP BY type"
    return dict(conn.execute(query.encode(), (workspace_id,)).fetchall())


def rename_workspace(conn: Connection, workspace_id: str, actor: Actor, name: str) -> WorkspaceRow:
    """Rename it; raises as :func:`authorize`."""
    authorize(conn, workspace_id, actor.user_id, Action.RENAME_WORKSPACE, lock=True)
    before = _read(conn, workspace_id, actor.user_id).name
    conn.execute("UPDATE workspaces SET name = %s, updated_at = now() WHERE id = %s", (name, workspace_id))
    if name != before:
        target = Target("workspace", workspace_id, name)
        record(conn, actor, "workspace.renamed", target, workspace_id=workspace_id, before=before)
    return _read(conn, workspace_id, actor.user_id)


def _read(conn: Connection, workspace_id: str, user_id: str) -> WorkspaceRow:
    row = conn.execute(
        f"SELECT {_COLUMNS} FROM workspaces w JOIN members m ON m.workspace_id = w.id"
        " WHERE w.id = %s AND m.user_id = %s AND w.deleted_at IS NULL",
        (workspace_id, user_id),
    ).fetchone()
    if row is None:
        raise WorkspaceNotFound
    return _row(row)


def _row(row: tuple[Any, ...]) -> WorkspaceRow:
    return WorkspaceRow(row[0], row[1], Role(row[2]), row[3], row[4])


# Members


def list_members(conn: Connection, workspace_id: str, user_id: str) -> list[MemberRow]:
    """The members, the first to come first; raises as :func:`authorize`."""
    authorize(conn, workspace_id, user_id, Action.VIEW)
    rows = conn.execute(
        "SELECT u.id, u.username, m.role FROM members m JOIN users u ON u.id = m.user_id"
        " WHERE m.workspace_id = %s ORDER BY m.created_at, u.id",
        (workspace_id,),
    ).fetchall()
    return [MemberRow(row[0], row[1], Role(row[2])) for row in rows]


def add_member(conn: Connection, workspace_id: str, actor: Actor, username: str, role: Role) -> MemberRow:
    """Add a user by name. Raises as :func:`authorize`, :class:`UserNotFound` or :class:`AlreadyMember`."""
    own = authorize(conn, workspace_id, actor.user_id, Action.ADD_MEMBER, lock=True)
    if not may_add(own, role):
        raise NotAllowed(own, Action.ADD_MEMBER)
    user = (
        is_username(username)
        and conn.execute("SELECT id, username FROM users WHERE lower(username) = lower(%s)", (username,)).fetchone()
    )
    if not user:
        raise UserNotFound
    if _role_of(conn, workspace_id, user[0]) is not None:
        raise AlreadyMember
    _insert_member(conn, workspace_id, user[0], role)
    record(conn, actor, "member.added", Target("user", user[0], user[1]), workspace_id=workspace_id, role=role)
    return MemberRow(user[0], user[1], role)


def join(conn: Connection, workspace_id: str, actor: Actor, role: Role, **detail: str) -> None:
    """Add the actor, whom somebody invited; the caller holds the lock. Raises :class:`AlreadyMember`."""
    if _role_of(conn, workspace_id, actor.user_id) is not None:
        raise AlreadyMember
    _insert_member(conn, workspace_id, actor.user_id, role)
    name = _member(conn, workspace_id, actor.user_id)[1]
    target = Target("user", actor.user_id, name)
    record(conn, actor, "member.added", target, workspace_id=workspace_id, role=role, **detail)


def change_role(conn: Connection, workspace_id: str, actor: Actor, user_id: str, role: Role) -> MemberRow:
    """Give a member another role. Raises as :func:`authorize`, :class:`MemberNotFound` or :class:`LastOwner`."""
    authorize(conn, workspace_id, actor.user_id, Action.CHANGE_ROLE, lock=True)
    before, name = _member(conn, workspace_id, user_id)
    if before is Role.OWNER and role is not Role.OWNER:
        _keep_an_owner(conn, workspace_id)
    if before is not role:
        conn.execute(
            "UPDATE members SET role = %s WHERE workspace_id = %s AND user_id = %s", (role, workspace_id, user_id)
        )
        target = Target("user", user_id, name)
        record(conn, actor, "member.changed", target, workspace_id=workspace_id, before=before, role=role)
    return MemberRow(user_id, name, role)


def remove_member(conn: Connection, workspace_id: str, actor: Actor, user_id: str) -> None:
    """Remove a member, or leave. Raises as :func:`authorize`, :class:`MemberNotFound` or :class:`LastOwner`."""
    leaving = user_id == actor.user_id
    action = Action.VIEW if leaving else Action.REMOVE_MEMBER
    own = authorize(conn, workspace_id, actor.user_id, action, lock=True)
    role, name = _member(conn, workspace_id, user_id)
    if not leaving and not may_remove(own, role):
        raise NotAllowed(own, Action.REMOVE_MEMBER)
    if role is Role.OWNER:
        _keep_an_owner(conn, workspace_id)
    conn.execute("DELETE FROM members WHERE workspace_id = %s AND user_id = %s", (workspace_id, user_id))
    what: AuditAction = "member.left" if leaving else "member.removed"
    record(conn, actor, what, Target("user", user_id, name), workspace_id=workspace_id, role=role)


def _insert_member(conn: Connection, workspace_id: str, user_id: str, role: Role) -> None:
    conn.execute("INSERT INTO members (workspace_id, user_id, role) VALUES (%s, %s, %s)", (workspace_id, user_id, role))


def _role_of(conn: Connection, workspace_id: str, user_id: str) -> Role | None:
    row = conn.execute(
        "SELECT role FROM members WHERE workspace_id = %s AND user_id = %s", (workspace_id, user_id)
    ).fetchone()
    return None if row is None else Role(row[0])


def _member(conn: Connection, workspace_id: str, user_id: str) -> tuple[Role, str]:
    """A member's role and name."""
    row = (
        is_id(user_id)
        and conn.execute(
            "SELECT m.role, u.username FROM members m JOIN users u ON u.id = m.user_id"
            " WHERE m.workspace_id = %s AND m.user_id = %s",
            (workspace_id, user_id),
        ).fetchone()
    )
    if not row:
        raise MemberNotFound
    return Role(row[0]), row[1]


def _keep_an_owner(conn: Connection, workspace_id: str) -> None:
    """One owner is about to go: raise if it is the last. The workspace is locked, so the count holds."""
    row = conn.execute(
        "SELECT count(*) FROM members WHERE workspace_id = %s AND role = %s", (workspace_id, Role.OWNER)
    ).fetchone()
    if row is None or row[0] < 2:
        raise LastOwner
