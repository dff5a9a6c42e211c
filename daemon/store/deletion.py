"""Deleting a workspace: the one change that is about a workspace and its sandboxes together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.auth.roles import Action
from daemon.sandboxes.status import DELETING
from daemon.store.sandboxes import change_status, list_sandboxes
from daemon.store.workspaces import authorize

if TYPE_CHECKING:
    from daemon.db.database import Connection


def delete_workspace(conn: Connection, workspace_id: str, user_id: str) -> None:
    """From here on it is invisible. Its sandboxes are told to go; whoever removes the last one removes the row.

    Raises as :func:`authorize`.
    """
    authorize(conn, workspace_id, user_id, Action.DELETE_WORKSPACE, lock=True)
    conn.execute("UPDATE workspaces SET deleted_at = now(), updated_at = now() WHERE id = %s", (workspace_id,))
    for sandbox in list_sandboxes(conn, workspace_id):
        change_status(conn, sandbox.id, DELETING)  # no change for those on their way out already
