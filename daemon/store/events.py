"""The event log behind /api/events. Triggers write it; ids become visible in their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from daemon.store import workspaces
from daemon.store.sandboxes import COLUMNS, SandboxRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from daemon.db.database import Connection
    from daemon.store.workspaces import WorkspaceRow

WORKSPACE_DELETED = "workspace.deleted"


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something happened in a workspace. ``user_id``: whose membership it is about."""

    id: int
    kind: str
    workspace_id: str
    sandbox_id: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class News:
    """Events in order, up to ``position``, and who is a member of which of their workspaces."""

    position: int
    events: Sequence[EventRow] = ()
    members: Mapping[str, AbstractSet[str]] = field(default_factory=dict)

    def for_user(self, user_id: str) -> list[EventRow]:
        """What may be of interest to a user; :func:`visible` decides."""
        return [
            event
            for event in self.events
            # Who was a member of a workspace that is gone is known to the log only; it seldom happens.
            if event.kind == WORKSPACE_DELETED
            or event.user_id == user_id
            or user_id in self.members.get(event.workspace_id, ())
        ]


@dataclass(frozen=True, slots=True)
class VisibleEvent:
    """An event that a user may see, with what it is about as it is now; ``None`` if that is gone."""

    event: EventRow
    sandbox: SandboxRow | None = None
    workspace: WorkspaceRow | None = None


def bounds(conn: Connection) -> tuple[int, int]:
    """The ids of the oldest and the newest event that are kept; ``(1, 0)`` if nothing ever happened."""
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


def read_news(conn: Connection, last_id: int, most: int) -> News:
    """As :func:`events_after`, with the members."""
    events = events_after(conn, last_id, most)
    if not events:
        return News(last_id)
    members: dict[str, set[str]] = {}
    rows = conn.execute(
        "SELECT workspace_id, user_id FROM members WHERE workspace_id = ANY(%s)",
        (list({event.workspace_id for event in events}),),
    )
    for workspace_id, user_id in rows:
        members.setdefault(workspace_id, set()).add(user_id)
    return News(events[-1].id, events, members)


def visible(conn: Connection, user_id: str, events: Sequence[EventRow]) -> list[VisibleEvent]:
    """What of ``events`` the user may see now.

    That is what happened in workspaces that he is a member of, the end of his memberships, and the end of workspaces
    that he was a member of until then: nothing else of them is to be seen any more.
    """
    mine = {workspace.id: workspace for workspace in workspaces.list_workspaces(conn, user_id)}
    boxes = _sandboxes(conn, {e.sandbox_id for e in events if e.sandbox_id is not None and e.workspace_id in mine})
    found = []
    for event in events:
        if event.workspace_id in mine:
            about = mine[event.workspace_id] if event.kind.startswith("workspace.") else None
            found.append(VisibleEvent(event, boxes.get(event.sandbox_id or ""), about))
        elif event.kind == WORKSPACE_DELETED:
            if _was_member(conn, user_id, event):
                found.append(VisibleEvent(event))
        elif event.kind == "member.deleted" and event.user_id == user_id:
            found.append(VisibleEvent(event))
    return found


def _sandboxes(conn: Connection, ids: AbstractSet[str]) -> dict[str, SandboxRow]:
    if not ids:
        return {}
    with conn.cursor(row_factory=class_row(SandboxRow)) as cursor:
        rows = cursor.execute(f"SELECT {COLUMNS} FROM sandboxes WHERE id = ANY(%s)".encode(), (list(ids),)).fetchall()
    return {row.id: row for row in rows}


def _was_member(conn: Connection, user_id: str, deleted: EventRow) -> bool:
    """Whether the user was a member when the workspace was deleted. Memberships go later, with the workspace's row."""
    row = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM members WHERE workspace_id = %s AND user_id = %s) OR EXISTS"
        " (SELECT 1 FROM events WHERE id > %s AND kind = 'member.deleted' AND workspace_id = %s AND user_id = %s)",
        (deleted.workspace_id, user_id, deleted.id, deleted.workspace_id, user_id),
    ).fetchone()
    return row is not None and bool(row[0])
