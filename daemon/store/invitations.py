"""Invitations: links by which somebody joins a workspace, with a role, an expiry and a number of uses.

An invitation is as good as the right of whoever made it: it is checked again when somebody accepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from daemon.auth.roles import Action, Role, may, may_add
from daemon.ids import is_id
from daemon.store.audit import Target, record
from daemon.store.workspaces import NotAllowed, WorkspaceNotFound, authorize, get_workspace, join

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.db.database import Connection
    from daemon.store.audit import Actor
    from daemon.store.workspaces import WorkspaceRow

# For each workspace: more open links than anybody can still say what they are for.
MOST_OPEN: Final = 100


InvitationAction = Literal["invitation.created", "invitation.revoked", "invitation.accepted"]


class InvitationNotFound(Exception):
    """There is no such invitation, or it is not good any more: nobody is told which."""


class TooManyInvitations(Exception):
    """The workspace has as many open invitations as it may have."""


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """What an invitation begins with. ``seconds``: its lifetime."""

    id: str
    token_hash: bytes
    role: Role
    seconds: float
    uses: int


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An open invitation, without its secret."""

    id: str
    workspace_id: str
    workspace_name: str
    role: Role
    expires_at: datetime
    uses_left: int
    created_by: str
    creator: str


# What is open: neither used up nor expired, of a workspace that is there, and by somebody who could still add a member.
_OPEN: Final = (
    "SELECT i.id, w.id, w.name, i.role, i.expires_at, i.uses_left, u.id, u.username, m.role"
    " FROM invitations i JOIN workspaces w ON w.id = i.workspace_id AND w.deleted_at IS NULL"
    " JOIN users u ON u.id = i.created_by AND u.disabled_at IS NULL"
    " JOIN members m ON m.workspace_id = w.id AND m.user_id = u.id"
    " WHERE i.expires_at > now() AND i.uses_left > 0"
)


def _open(conn: Connection, condition: str, value: str | bytes) -> list[InvitationRow]:
    rows = conn.execute(f"{_OPEN} AND {condition} ORDER BY i.created_at, i.id".encode(), (value,)).fetchall()
    return [
        InvitationRow(row[0], row[1], row[2], Role(row[3]), row[4], row[5], row[6], row[7])
        for row in rows
        if may(Role(row[8]), Action.ADD_MEMBER) and may_add(Role(row[8]), Role(row[3]))
    ]


def create(conn: Connection, workspace_id: str, actor: Actor, new: NewInvitation) -> InvitationRow:
    """A new invitation. Raises as :func:`authorize`, or :class:`TooManyInvitations`."""
    own = authorize(conn, workspace_id, actor.user_id, Action.ADD_MEMBER, lock=True)
    if not may_add(own, new.role):
        raise NotAllowed(own, Action.ADD_MEMBER)
    if len(_open(conn, "w.id = %s", workspace_id)) >= MOST_OPEN:
        raise TooManyInvitations
    conn.execute(
        "INSERT INTO invitations (id, token_hash, workspace_id, role, created_by, expires_at, uses_left)"
        " VALUES (%s, %s, %s, %s, %s, now() + make_interval(secs => %s), %s)",
        (new.id, new.token_hash, workspace_id, new.role, actor.user_id, new.seconds, new.uses),
    )
    (made,) = _open(conn, "i.id = %s", new.id)
    until = f"{made.expires_at:%Y-%m-%d %H:%M} UTC"
    _record(conn, actor, "invitation.created", made, uses=str(made.uses_left), until=until)
    return made


def list_open(conn: Connection, workspace_id: str, user_id: str) -> list[InvitationRow]:
    """The open ones, the oldest first, for those who may add members. Raises as :func:`authorize`."""
    authorize(conn, workspace_id, user_id, Action.ADD_MEMBER)
    return _open(conn, "w.id = %s", workspace_id)


def revoke(conn: Connection, workspace_id: str, actor: Actor, invitation_id: str) -> None:
    """End an open one: who could make it may. Raises as :func:`authorize`, or :class:`InvitationNotFound`."""
    own = authorize(conn, workspace_id, actor.user_id, Action.ADD_MEMBER, lock=True)
    found = _open(conn, "i.id = %s", invitation_id) if is_id(invitation_id) else []
    if not found or found[0].workspace_id != workspace_id:
        raise InvitationNotFound
    if not may_add(own, found[0].role):
        raise NotAllowed(own, Action.ADD_MEMBER)
    conn.execute("DELETE FROM invitations WHERE id = %s", (invitation_id,))
    _record(conn, actor, "invitation.revoked", found[0], made_by=found[0].creator)


def look(conn: Connection, token_hash: bytes) -> InvitationRow:
    """The open invitation with this secret. Raises :class:`InvitationNotFound`."""
    found = _open(conn, "i.token_hash = %s", token_hash)
    if not found:
        raise InvitationNotFound
    return found[0]


def accept(conn: Connection, token_hash: bytes, actor: Actor) -> WorkspaceRow:
    """Use it once: the actor becomes a member.

    Raises :class:`InvitationNotFound`, with nothing changed, or :class:`~daemon.store.workspaces.AlreadyMember`: then
    no use is spent, and the role stays what it was.
    """
    found = look(conn, token_hash)
    try:
        # The workspace first, as everybody locks: who accepts at the same time waits here, and so do changes of roles.
        authorize(conn, found.workspace_id, found.created_by, Action.ADD_MEMBER, lock=True)
    except (WorkspaceNotFound, NotAllowed):
        raise InvitationNotFound from None
    found = look(conn, token_hash)  # as the one before us left it
    join(conn, found.workspace_id, actor, found.role, invitation=found.id, invited_by=found.creator)
    conn.execute("UPDATE invitations SET uses_left = uses_left - 1 WHERE id = %s", (found.id,))
    _record(conn, actor, "invitation.accepted", found, made_by=found.creator)
    return get_workspace(conn, found.workspace_id, actor.user_id)


def _record(conn: Connection, actor: Actor, action: InvitationAction, invitation: InvitationRow, **detail: str) -> None:
    target = Target("workspace", invitation.workspace_id, invitation.workspace_name)
    about = {"invitation": invitation.id, "role": invitation.role.value}
    record(conn, actor, action, target, workspace_id=invitation.workspace_id, **about, **detail)
