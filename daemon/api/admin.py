"""Routes under ``/api/admin``: all users, workspaces and sandboxes of this server, and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field
from quart import Blueprint, request

from daemon.api import guard
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, invalid
from daemon.api.sandbox_shapes import Sandbox, sandbox_shape
from daemon.api.shapes import Body, Shape, Time, answer
from daemon.store import admin as store
from daemon.store import audit
from daemon.store.admin import LastAdmin, NoSuchUser, NotAdmin, OwnAccount

if TYPE_CHECKING:
    from quart import Response

    from daemon.store.admin import AdminUserRow
    from daemon.store.audit import EntryRow

blueprint = Blueprint("admin", __name__)

_PAGE: Final = 50  # entries of the audit log; some screens full
_LONGEST_PAGE: Final = 200  # some 100 KB of JSON
_LARGEST_ID: Final = 2**63 - 1  # PostgreSQL's bigint

ActionWord = Annotated[str, Field(json_schema_extra={"enum": sorted(audit.ACTIONS)})]
TargetKind = Annotated[str, Field(json_schema_extra={"enum": sorted(audit.TARGET_KINDS)})]


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


class AuditActor(Shape):
    """Who acted, with the name they had then."""

    id: str
    username: str


class AuditTarget(Shape):
    """What was acted on, with the name it had then."""

    kind: TargetKind
    id: str
    name: str


class AuditEntry(Shape):
    """An entry of the audit log. Without ``actor``: the server itself acted, or nobody proved who they are."""

    id: int
    at: Time
    actor: AuditActor | None
    action: ActionWord
    target: AuditTarget | None
    workspace_id: str | None
    ip: str
    detail: dict[str, str]


class AuditPage(Shape):
    """Entries, the newest first. ``next``: what to give as ``before`` for the next page; null at the end."""

    entries: list[AuditEntry]
    next: int | None


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


def _entry(row: EntryRow) -> AuditEntry:
    actor = target = None
    if row.actor_id is not None and row.actor_name is not None:
        actor = AuditActor(id=row.actor_id, username=row.actor_name)
    if row.target_kind is not None and row.target_id is not None and row.target_name is not None:
        target = AuditTarget(kind=row.target_kind, id=row.target_id, name=row.target_name)
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=actor,
        action=row.action,
        target=target,
        workspace_id=row.workspace_id,
        ip=row.ip,
        detail=dict(row.detail),
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


def _number(name: str, least: int, most: int, default: int | None) -> int | None:
    text = request.args.get(name)
    if text is None:
        return default
    # Not more digits than the largest has: Python refuses to read some thousand of them.
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    raise invalid((name, f"must be a whole number from {least} to {most}"))


@blueprint.get("/api/admin/audit")
@describe(
    {200: Answer("A page of the audit log.", AuditPage)},
    problems=[403, 422],
    query={
        "before": "Only entries older than the one with this id: `next` of the page before.",
        "limit": f"How many entries, up to {_LONGEST_PAGE}; {_PAGE} without it.",
        "action": "Only this action; the word before the dot (`sandbox`) means all of its kind.",
        "actor": "Only what this user did: an id, or the name that the user had.",
    },
)
async def list_audit() -> Response:
    """Who did what, the newest first: admins."""
    most = _number("limit", 1, _LONGEST_PAGE, _PAGE) or _PAGE
    rows = await parts().db.run(
        store.list_audit,
        guard.current_user().id,
        before=_number("before", 1, _LARGEST_ID, None),
        most=most + 1,  # one more tells whether there is a next page
        action=request.args.get("action"),
        actor=request.args.get("actor"),
    )
    more = len(rows) > most
    return answer(AuditPage(entries=[_entry(row) for row in rows[:most]], next=rows[most - 1].id if more else None))
