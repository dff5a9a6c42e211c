"""Deleting a workspace: the one change that is about it and its sandboxes together. What is left goes later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.auth.roles import Action
from daemon.sandboxes.status import DELETING
from daemon.store.audit import Target, record
from daemon.store.sandboxes import change_status, list_sandboxes
from daemon.store.workspaces import authorize, get_workspace

if TYPE_CHECKING:
    from daemon.db.database import Connection
    from daemon.store.audit import Actor


def delete_workspace(conn: Connection, workspace_id: str, actor: Actor) -> None:
    """From here on it is invisible. Its sandboxes are told to go; whoever removes the last one removes the row.

    Raises as :func:`authorize`.
    """
    authorize(conn, workspace_id, actor.user_id, Action.DELETE_WORKSPACE, lock=True)
    workspace = Target("workspace", workspace_id, get_workspace(conn, workspace_id, actor.user_id).name)
    conn.execute("UPDATE workspaces SET deleted_at = now(), updated_at = now() WHERE id = %s", (workspace_id,))
    record(conn, actor, "workspace.deleted", workspace, workspace_id=workspace_id)
    for sandbox in list_sandboxes(conn, workspace_id):
        if change_status(conn, sandbox.id, DELETING) is not None:  # those on their way out already do not change
            target = Target("sandbox", sandbox.id, sandbox.name)
            record(conn, actor, "sandbox.deleted", target, workspace_id=workspace_id, reason="with its workspace")


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
