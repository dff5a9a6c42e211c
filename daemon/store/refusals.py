"""What members tried in vain and what strangers brought, as entries of the audit log.

A refusal raises, and so undoes the transaction that it happens in: it is written in another one
(:class:`daemon.refusals.Refusals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.ids import is_id
from daemon.store.audit import Target, record_refused

if TYPE_CHECKING:
    from daemon.db.database import Connection
    from daemon.store.audit import Actor, AuditAction


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was not allowed. ``reason``, for people, and ``tried``, the kind of request, are words of ours.

    Nothing that was sent is in it: it may be a secret in the wrong place. ``ip`` is of somebody without a name.
    ``sandbox_id`` or ``workspace_id``: on what, where that is theirs to see who see the log of its workspace.
    """

    action: AuditAction
    reason: str
    actor: Actor | None = None
    ip: str = ""
    tried: str = ""
    sandbox_id: str | None = None
    workspace_id: str | None = None


def write_refusal(conn: Connection, refusal: Refusal) -> bool:
    """Enter it into the log; ``False`` if the log takes no more of them for now."""
    target, workspace_id = _target(conn, refusal)
    detail = {"reason": refusal.reason} | ({"request": refusal.tried} if refusal.tried else {})
    return record_refused(
        conn, refusal.actor, refusal.action, target, workspace_id=workspace_id, ip=refusal.ip, **detail
    )


def _target(conn: Connection, refusal: Refusal) -> tuple[Target | None, str | None]:
    """What it was tried on, with its name now, and the workspace that it belongs to."""
    if refusal.sandbox_id is not None and is_id(refusal.sandbox_id):
        query = "SELECT name, workspace_id FROM sandboxes WHERE id = %s"
        row = conn.execute(query.encode(), (refusal.sandbox_id,)).fetchone()
        return (None, None) if row is None else (Target("sandbox", refusal.sandbox_id, row[0]), row[1])
    if refusal.workspace_id is not None and is_id(refusal.workspace_id):
        row = conn.execute("SELECT name FROM workspaces WHERE id = %s", (refusal.workspace_id,)).fetchone()
        if row is not None:
            return Target("workspace", refusal.workspace_id, row[0]), refusal.workspace_id
    return None, None
