"""Routes under ``/api/workspaces``: workspaces and their members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint

from daemon.api import guard
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.shapes import Body, Name, Shape, Time, answer, nothing
from daemon.auth.roles import Role  # noqa: TC001 - pydantic reads the annotations
from daemon.store import deletion
from daemon.store import workspaces as store

if TYPE_CHECKING:
    from quart import Response

    from daemon.store.workspaces import MemberRow, WorkspaceRow

blueprint = Blueprint("workspaces", __name__)


class WorkspaceName(Body):
    """The name of a workspace."""

    name: Name


class NewMember(Body):
    """Somebody to add."""

    username: str
    role: Role


class NewRole(Body):
    """A member's new role."""

    role: Role


class Workspace(Shape):
    """A workspace as the caller sees it."""

    id: str
    name: str
    role: Role
    created_at: Time
    updated_at: Time


class Member(Shape):
    """A member of a workspace."""

    user_id: str
    username: str
    role: Role


def workspace_shape(row: WorkspaceRow) -> Workspace:
    """The row as the API shows it."""
    return Workspace(id=row.id, name=row.name, role=row.role, created_at=row.created_at, updated_at=row.updated_at)


def _member(row: MemberRow) -> Member:
    return Member(user_id=row.user_id, username=row.username, role=row.role)


@blueprint.get("/api/workspaces")
@describe({200: Answer("The caller's workspaces, the oldest first.", list[Workspace])})
async def list_workspaces() -> Response:
    """My workspaces."""
    rows = await parts().db.run(store.list_workspaces, guard.current_user().id)
    return answer([workspace_shape(row) for row in rows])


@blueprint.post("/api/workspaces")
@describe({201: Answer("Created; the caller is its owner.", Workspace)})
@takes(WorkspaceName)
async def create_workspace(wanted: WorkspaceName) -> Response:
    """Create a workspace."""
    row = await parts().db.run(store.create_workspace, guard.actor(), wanted.name)
    return answer(workspace_shape(row), 201, {"Location": f"/api/workspaces/{row.id}"})


@blueprint.get("/api/workspaces/<workspace_id>")
@describe({200: Answer("The workspace.", Workspace)}, problems=[404])
async def get_workspace(workspace_id: str) -> Response:
    """One workspace."""
    row = await parts().db.run(store.get_workspace, workspace_id, guard.current_user().id)
    return answer(workspace_shape(row))


@blueprint.patch("/api/workspaces/<workspace_id>")
@describe({200: Answer("Renamed.", Workspace)}, problems=[404])
@takes(WorkspaceName)
async def rename_workspace(wanted: WorkspaceName, workspace_id: str) -> Response:
    """Rename a workspace: its owners and maintainers."""
    row = await parts().db.run(store.rename_workspace, workspace_id, guard.actor(), wanted.name)
    return answer(workspace_shape(row))


@blueprint.delete("/api/workspaces/<workspace_id>")
@describe({204: Answer("Deleted; its sandboxes, disk and tunnels go with it.")}, problems=[404])
async def delete_workspace(workspace_id: str) -> Response:
    """Delete a workspace with everything in it: its owners."""
    await parts().db.run(deletion.delete_workspace, workspace_id, guard.actor())
    return nothing()


@blueprint.get("/api/workspaces/<workspace_id>/members")
@describe({200: Answer("The members, the first to come first.", list[Member])}, problems=[404])
async def list_members(workspace_id: str) -> Response:
    """A workspace's members."""
    rows = await parts().db.run(store.list_members, workspace_id, guard.current_user().id)
    return answer([_member(row) for row in rows])


@blueprint.post("/api/workspaces/<workspace_id>/members")
@describe({201: Answer("Added.", Member)}, problems=[404, 409])
@takes(NewMember)
async def add_member(wanted: NewMember, workspace_id: str) -> Response:
    """Add a member: owners, and maintainers for roles below their own."""
    row = await parts().db.run(store.add_member, workspace_id, guard.actor(), wanted.username, wanted.role)
    return answer(_member(row), 201)


@blueprint.put("/api/workspaces/<workspace_id>/members/<user_id>")
@describe({200: Answer("Changed.", Member)}, problems=[404, 409])
@takes(NewRole)
async def change_role(wanted: NewRole, workspace_id: str, user_id: str) -> Response:
    """Change a member's role: owners."""
    row = await parts().db.run(store.change_role, workspace_id, guard.actor(), user_id, wanted.role)
    return answer(_member(row))


@blueprint.delete("/api/workspaces/<workspace_id>/members/<user_id>")
@describe({204: Answer("Removed; their open streams are cut.")}, problems=[404, 409])
async def remove_member(workspace_id: str, user_id: str) -> Response:
    """Remove a member: owners, maintainers for roles below their own, and everybody themselves."""
    await parts().db.run(store.remove_member, workspace_id, guard.actor(), user_id)
    return nothing()
