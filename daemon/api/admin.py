"""Routes under ``/api/admin``: all users, workspaces and sandboxes of this server. The log is in daemon.api.audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint

from daemon.api import guard
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem
from daemon.api.sandbox_shapes import Sandbox, sandbox_shape
from daemon.api.shapes import Body, Shape, Time, answer
from daemon.store import admin as store
from daemon.store.admin import LastAdmin, NoSuchUser, NotAdmin, OwnAccount

if TYPE_CHECKING:
    from quart import Response

    from daemon.store.admin import AdminUserRow

blueprint = Blueprint("admin", __name__)


class AdminUser(Shape):
    """A user as admins see them. ``lastSeenAt`` is exact to the hour; ``workspaces`` is a number."""

    id: str
    username: str
    email: str | None
    is_admin: bool
    disabled_at: Time | None
    created_at: Time
    last_seen_at: Time | None
    workspaces: int


class UserChange(Body):
    """What to change; what is absent or null stays."""

    is_admin: bool | None = None
    disabled: bool | None = None


class AdminWorkspace(Shape):
    """A workspace as admins see it: the names of its owners, and numbers."""

    id: str
    name: str
    created_at: Time
    owners: list[str]
    members: int
    sandboxes: int
    running: int


class AdminSandbox(Sandbox):
    """A sandbox, with the name of its workspace."""

    workspace_name: str


def _user(row: AdminUserRow) -> AdminUser:
    return AdminUser(
        id=row.id,
        username=row.username,
        email=row.email,
        is_admin=row.is_admin,
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        workspaces=row.workspaces,
    )


@blueprint.app_errorhandler(NotAdmin)
async def _on_not_admin(error: NotAdmin) -> Response:
    return Problem(403, "not_admin", "Only admins of this server may see or do this. Ask one of them.").response()


@blueprint.app_errorhandler(NoSuchUser)
async def _on_no_such_user(error: NoSuchUser) -> Response:
    return Problem(404, "user_not_found", "There is no such user.").response()


@blueprint.app_errorhandler(OwnAccount)
async def _on_own_account(error: OwnAccount) -> Response:
    detail = "This is your own account; nothing was changed. Another admin can do this."
    return Problem(409, "own_account", detail).response()


@blueprint.app_errorhandler(LastAdmin)
async def _on_last_admin(error: LastAdmin) -> Response:
    detail = "The server would have no admin; nothing was changed. Make somebody else an admin first."
    return Problem(409, "last_admin", detail).response()


@blueprint.get("/api/admin/users")
@describe({200: Answer("All users, the first to come first.", list[AdminUser])}, problems=[403])
async def list_users() -> Response:
    """All users: admins."""
    rows = await parts().db.run(store.list_users, guard.current_user().id)
    return answer([_user(row) for row in rows])


@blueprint.patch("/api/admin/users/<user_id>")
@describe({200: Answer("Changed.", AdminUser)}, problems=[404, 409])
@takes(UserChange)
async def change_user(wanted: UserChange, user_id: str) -> Response:
    """Make a user an admin, or disable them: admins. Who is disabled is signed out everywhere and loses nothing."""
    row = await parts().db.run(
        store.change_user, guard.actor(), user_id, is_admin=wanted.is_admin, disabled=wanted.disabled
    )
    return answer(_user(row))


@blueprint.get("/api/admin/workspaces")
@describe({200: Answer("All workspaces, the oldest first.", list[AdminWorkspace])}, problems=[403])
async def list_all_workspaces() -> Response:
    """All workspaces: admins."""
    rows = await parts().db.run(store.list_workspaces, guard.current_user().id)
    return answer(
        [
            AdminWorkspace(
                id=row.id,
                name=row.name,
                created_at=row.created_at,
                owners=row.owners,
                members=row.members,
                sandboxes=row.sandboxes,
                running=row.running,
            )
            for row in rows
        ]
    )


@blueprint.get("/api/admin/sandboxes")
@describe({200: Answer("All sandboxes, the oldest first.", list[AdminSandbox])}, problems=[403])
async def list_all_sandboxes() -> Response:
    """All sandboxes: admins."""
    rows = await parts().db.run(store.list_sandboxes, guard.current_user().id)
    return answer([AdminSandbox(**dict(sandbox_shape(parts(), row)), workspace_name=name) for row, name in rows])
