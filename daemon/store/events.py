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
ADMIN_CHANGED = "admin.changed"  # something that only admins may know of; what it is, their lists say


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something happened in a workspace, or to a user of the server. ``user_id``: whom or whose membership it is about.

    Events of users have no workspace, and only admins hear of them.
    """

    id: int
    kind: str
    workspace_id: str | None
    sandbox_id: str | None
    user_id: str | None


@dataclass(frozen=True, slots=True)
class News:
    """Events in order, up to ``position``, who is a member of which of their workspaces, and who is an admin."""

    position: int
    events: Sequence[EventRow] = ()
    members: Mapping[str | None, AbstractSet[str]] = field(default_factory=dict)
    admins: AbstractSet[str] = frozenset()

    def for_user(self, user_id: str) -> list[EventRow]:
        """What may be of interest to a user; :func:`visible` decides."""
        if user_id in self.admins:
            return list(self.events)
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
    members: dict[str | None, set[str]] = {}
    rows = conn.execute(
        "SELECT workspace_id, user_id FROM members WHERE workspace_id = ANY(%s)",
        (list({event.workspace_id for event in events if event.workspace_id is not None}),),
    )
    for workspace_id, user_id in rows:
        members.setdefault(workspace_id, set()).add(user_id)
    admins = conn.execute("SELECT id FROM users WHERE is_admin AND disabled_at IS NULL").fetchall()
    return News(events[-1].id, events, members, frozenset(row[0] for row in admins))


def visible(conn: Connection, user_id: str, events: Sequence[EventRow]) -> list[VisibleEvent]:
    """What of ``events`` the user may see now.

    That is what happened in workspaces that he is a member of, the end of his memberships, and the end of workspaces
    that he was a member of until then: nothing else of them is to be seen any more. An admin is told of the rest that
    there was some, once for all of ``events``.
    """
    mine = {workspace.id: workspace for workspace in workspaces.list_workspaces(conn, user_id)}
    boxes = _sandboxes(conn, {e.sandbox_id for e in events if e.sandbox_id is not None and e.workspace_id in mine})
    found = []
    hidden: list[int] = []
    for event in events:
        if event.workspace_id in mine:
            about = mine[event.workspace_id] if event.kind.startswith("workspace.") else None
            found.append(VisibleEvent(event, boxes.get(event.sandbox_id or ""), about))
        elif (event.kind == WORKSPACE_DELETED and _was_member(conn, user_id, event)) or (
            event.kind == "member.deleted" and event.user_id == user_id
        ):
            found.append(VisibleEvent(event))
        else:
            hidden.append(event.id)
    if hidden and _is_admin(conn, user_id):
        # The ids of what is told grow.
        place = sum(seen.event.id < hidden[-1] for seen in found)
        found.insert(place, VisibleEvent(EventRow(hidden[-1], ADMIN_CHANGED, None, None, None)))
    return found


def _is_admin(conn: Connection, user_id: str) -> bool:
    return conn.execute("SELECT 1 FROM users WHERE id = %s AND is_admin", (user_id,)).fetchone() is not None


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
