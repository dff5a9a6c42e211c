"""What people want of sandboxes. Each wish leaves an entry in the audit log; who may wish is decided before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daemon.sandboxes import status
from daemon.store import sandboxes
from daemon.store.audit import Target, record
from daemon.store.sandboxes import SandboxNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.db.database import Connection
    from daemon.store.audit import Actor, AuditAction
    from daemon.store.sandboxes import NewSandbox, SandboxRow

_ACTIONS: Final[Mapping[str, AuditAction]] = {
    status.PAUSING: "sandbox.paused",
    status.RESUMING: "sandbox.resumed",
    status.DELETING: "sandbox.deleted",
}


def _record(conn: Connection, actor: Actor, action: AuditAction, row: SandboxRow, **detail: str) -> None:
    record(conn, actor, action, Target("sandbox", row.id, row.name), workspace_id=row.workspace_id, **detail)


def create(conn: Connection, new: NewSandbox, actor: Actor) -> SandboxRow:
    """A new sandbox, which the life cycle starts."""
    row = sandboxes.insert_sandbox(conn, new)
    _record(conn, actor, "sandbox.created", row)
    return row


def request_status(conn: Connection, sandbox_id: str, after: str, actor: Actor) -> SandboxRow:
    """As :func:`daemon.store.sandboxes.change_status`, but raises :class:`SandboxNotFound` or :class:`IllegalStatus`.

    Who asks for a sandbox that failed starts with a clean record of failures.
    """
    row = sandboxes.change_status(conn, sandbox_id, after)
    if row is None:
        found = sandboxes.find_sandbox(conn, sandbox_id)
        if found is None:
            raise SandboxNotFound
        raise status.IllegalStatus(found.status, after, found.type)
    if after == status.RESUMING:
        conn.execute("UPDATE sandboxes SET failures = 0, failed_at = NULL WHERE id = %s", (sandbox_id,))
    _record(conn, actor, _ACTIONS[after], row)
    return row


def change_details(
    conn: Connection, before: SandboxRow, name: str, idle_timeout: str | None, actor: Actor
) -> SandboxRow:
    """Rename it, set its idle timeout; ``None`` is the server's. Raises :class:`SandboxNotFound`."""
    row = sandboxes.change_details(conn, before.id, name, idle_timeout)
    if row.name != before.name:
        _record(conn, actor, "sandbox.renamed", row, before=before.name)
    if row.idle_timeout != before.idle_timeout:
        times = {"before": before.idle_timeout or "default", "after": row.idle_timeout or "default"}
        _record(conn, actor, "sandbox.timeout_changed", row, **times)
    return row
