"""The event log behind /api/events. Triggers write it; ids become visible in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from daemon.store import sandboxes, workspaces
from daemon.store.sandboxes import SandboxRow
from daemon.store.workspaces import WorkspaceNotFound, WorkspaceRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.db.database import Connection


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something happened in a workspace. ``user_id``: whose membership it is about."""

    id: int
    kind: str
    workspace_id: str
    sandbox_id: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class VisibleEvent:
    """An event that a user may see, with what it is about as it is now; ``None`` if that is gone."""

    event: EventRow
    sandbox: SandboxRow | None = None
    workspace: WorkspaceRow | None = None


def bounds(conn: Connection) -> tuple[int, int]:
    """The ids of the oldest and the newest event that are kept; ``(1, 0)`` if there is none yet."""
    row = conn.execute("SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM events").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def events_after(conn: Connection, last_id: int, most: int) -> list[EventRow]:
    """Up to ``most`` events behind ``last_id``, in order."""
    with conn.cursor(row_factory=class_row(EventRow)) as cursor:
        return cursor.execute(
            "SELECT id, kind, workspace_id, sandbox_id, user_id FROM events WHERE id > %s ORDER BY id LIMIT %s",
            (last_id, most),
        ).fetchall()


def visible(conn: Connection, user_id: str, events: Sequence[EventRow]) -> list[VisibleEvent]:
    """What of ``events`` the user may see now: those of workspaces he is a member of, and of his own memberships."""
    wanted = list({event.workspace_id for event in events})
    rows = conn.execute(
        "SELECT workspace_id FROM members WHERE user_id = %s AND workspace_id = ANY(%s)", (user_id, wanted)
    ).fetchall()
    mine = {row[0] for row in rows}
    return [
        _filled(conn, user_id, event)
        for event in events
        if event.workspace_id in mine or (event.kind == "member.deleted" and event.user_id == user_id)
    ]


def _filled(conn: Connection, user_id: str, event: EventRow) -> VisibleEvent:
    subject = event.kind.partition(".")[0]
    if subject == "sandbox" and event.sandbox_id is not None:
        return VisibleEvent(event, sandbox=sandboxes.find_sandbox(conn, event.sandbox_id))
    if subject == "workspace" and event.kind != "workspace.deleted":
        try:
            return VisibleEvent(event, workspace=workspaces.get_workspace(conn, event.workspace_id, user_id))
        except WorkspaceNotFound:
            return VisibleEvent(event)
    return VisibleEvent(event)
