"""Routes of invitations: made, listed and revoked in a workspace; looked at and accepted by whoever has the link.

The secret stands behind ``#`` in the link, which browsers send to nobody, and reaches us in bodies only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import Field, StringConstraints
from quart import Blueprint

from daemon.api import guard
from daemon.api.lifetimes import lifetime
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, too_many_attempts
from daemon.api.sandbox_shapes import Creator, Duration
from daemon.api.shapes import Body, Shape, Time, answer, nothing
from daemon.api.workspaces import Workspace, workspace_shape
from daemon.auth.roles import Role  # noqa: TC001 - pydantic reads the annotations
from daemon.auth.throttle import Bucket, Crowded, network
from daemon.ids import new_id
from daemon.secret import new_token, token_hash
from daemon.store import attempts
from daemon.store import invitations as store
from daemon.store.attempts import Blocked
from daemon.store.invitations import InvitationNotFound, InvitationRow, TooManyInvitations

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from daemon.db.database import Connection
    from daemon.store.workspaces import WorkspaceRow

T = TypeVar("T")

blueprint = Blueprint("invitations", __name__)

PREFIX: Final = "clisi_"  # by which logs know a secret of ours
INVITE_PAGE: Final = "/invite"  # of the web UI, which keeps the secret while its tab is away at a provider
LONGEST: Final = 100  # characters of a secret; ours have 49
_DEFAULT: Final = "7d"  # a week: people on holiday come back
_LEAST: Final = 600.0  # ten minutes: it is sent, seen and clicked
_MOST: Final = 30 * 86400.0  # a month; a link that is forgotten in a chat is no way in for ever
_MOST_USES: Final = 100  # a large team, or a class
# Secrets cannot be guessed; this bounds what trying costs us. Links that are right do not count.
_FREE: Final = 20


class Invitation(Shape):
    """An open invitation, without its secret."""

    id: str
    role: Role
    expires_at: Time
    uses_left: int
    created_by: Creator


class MadeInvitation(Invitation):
    """A new invitation with its link, which holds the secret and is told only here."""

    url: str


class NewInvitation(Body):
    """A wanted invitation. ``uses``: how many people may join by it."""

    role: Role
    expires_in: Duration = Field(default=_DEFAULT)
    uses: Annotated[int, Field(ge=1, le=_MOST_USES)] = 1


class InvitationSecret(Body):
    """What stands behind ``#`` in an invitation's link."""

    token: Annotated[str, StringConstraints(max_length=LONGEST)]


class Invited(Shape):
    """To what somebody is invited; ``invitedBy`` is a user name."""

    workspace_name: str
    role: Role
    invited_by: str
    expires_at: Time


def _shape(row: InvitationRow) -> Invitation:
    return Invitation(
        id=row.id,
        role=row.role,
        expires_at=row.expires_at,
        uses_left=row.uses_left,
        created_by=Creator(id=row.created_by, username=row.creator),
    )


@blueprint.app_errorhandler(InvitationNotFound)
async def _on_not_found(error: InvitationNotFound) -> Response:
    detail = (
        "This invitation is not good (any more): it was used, taken back or has expired, or its link was not copied "
        "whole. Nothing was changed. Ask whoever invited you for a new one."
    )
    return Problem(404, "invitation_not_found", detail).response()


# In the workspace


@blueprint.get("/api/workspaces/<workspace_id>/invitations")
@describe({200: Answer("The open invitations, the oldest first.", list[Invitation])}, problems=[404])
async def list_invitations(workspace_id: str) -> Response:
    """A workspace's open invitations: owners and maintainers."""
    rows = await parts().db.run(store.list_open, workspace_id, guard.current_user().id)
    return answer([_shape(row) for row in rows])


@blueprint.post("/api/workspaces/<workspace_id>/invitations")
@describe({201: Answer("Made; its link is told only now.", MadeInvitation)}, problems=[404, 409])
@takes(NewInvitation)
async def create_invitation(wanted: NewInvitation, workspace_id: str) -> Response:
    """Make a link by which somebody joins: owners, and maintainers for roles below their own."""
    seconds = lifetime("expiresIn", wanted.expires_in, _LEAST, _MOST)
    secret = PREFIX + new_token()
    new = store.NewInvitation(new_id(), token_hash(secret), wanted.role, seconds, wanted.uses)
    try:
        row = await parts().db.run(store.create, workspace_id, guard.actor(), new)
    except TooManyInvitations:
        detail = (
            f"This workspace has {store.MOST_OPEN} open invitations, which is the most; none was made. Revoke some."
        )
        raise Problem(409, "too_many_invitations", detail) from None
    url = f"{parts().settings.main_origin}{INVITE_PAGE}#{secret}"
    return answer(MadeInvitation(**dict(_shape(row)), url=url), 201)


@blueprint.delete("/api/workspaces/<workspace_id>/invitations/<invitation_id>")
@describe({204: Answer("Revoked; nobody joins by it any more.")}, problems=[404])
async def delete_invitation(workspace_id: str, invitation_id: str) -> Response:
    """Revoke an invitation: owners, and maintainers for roles below their own."""
    await parts().db.run(store.revoke, workspace_id, guard.actor(), invitation_id)
    return nothing()


# By the link


@blueprint.post("/api/invitations/look")
@describe({200: Answer("To what it invites.", Invited)}, problems=[404, 429], public=True)
@takes(InvitationSecret)
async def look_at_invitation(given: InvitationSecret) -> Response:
    """To what does this link invite me?"""
    row = await _attempt(lambda conn: store.look(conn, token_hash(given.token)))
    invited = Invited(
        workspace_name=row.workspace_name, role=row.role, invited_by=row.creator, expires_at=row.expires_at
    )
    return answer(invited)


@blueprint.post("/api/invitations/accept")
@describe({200: Answer("Joined.", Workspace)}, problems=[404, 409])
@takes(InvitationSecret)
async def accept_invitation(given: InvitationSecret) -> Response:
    """Join the workspace that a link invites to."""
    actor = guard.actor()
    row: WorkspaceRow = await _attempt(lambda conn: store.accept(conn, token_hash(given.token), actor))
    return answer(workspace_shape(row))


async def check_invitation(secret: str) -> bytes:
    """The hash of an open invitation's secret. Raises :class:`InvitationNotFound`, and the 429 for too many tries."""
    hashed = token_hash(secret)
    await _attempt(lambda conn: store.look(conn, hashed))
    return hashed


async def _attempt(use: Callable[[Connection], T]) -> T:
    """What ``use`` does with an invitation, in one transaction; those that are not good are counted by address.

    Raises :class:`InvitationNotFound`, and the 429 for too many of them.
    """
    bucket = Bucket(f"invitation:{network(guard.client_ip())}", _FREE)
    try:
        # One at a time for each address, or somebody who tries takes all connections to the database.
        async with parts().turns.turn(bucket):
            found = await parts().db.run(_counted, bucket, use)
    except Crowded:
        raise too_many_attempts(1) from None
    if isinstance(found, Blocked):
        raise too_many_attempts(found.seconds)
    if found is None:
        raise InvitationNotFound
    return found


def _counted(conn: Connection, bucket: Bucket, use: Callable[[Connection], T]) -> T | Blocked | None:
    """The attempt is counted, and taken back if the invitation was good."""
    begun = attempts.begin(conn, [bucket])
    if isinstance(begun, Blocked):
        return begun
    try:
        used = use(conn)
    except InvitationNotFound:  # raised before anything was changed
        return None
    attempts.take_back(conn, begun, None)
    return used
