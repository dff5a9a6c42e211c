"""The audit log: of the whole server for admins, and of a workspace for its owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field
from quart import Blueprint, request

from daemon.api import guard
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.problems import invalid
from daemon.api.shapes import Shape, Time, answer
from daemon.store import admin, audit, workspaces

if TYPE_CHECKING:
    from quart import Response

    from daemon.store.audit import EntryRow

blueprint = Blueprint("audit", __name__)

_PAGE: Final = 50  # entries; some screens full
_LONGEST_PAGE: Final = 200  # some 100 KB of JSON
_LARGEST_ID: Final = 2**63 - 1  # PostgreSQL's bigint

ActionWord = Annotated[str, Field(json_schema_extra={"enum": sorted(audit.ACTIONS)})]
TargetKind = Annotated[str, Field(json_schema_extra={"enum": sorted(audit.TARGET_KINDS)})]
OutcomeWord = Annotated[str, Field(json_schema_extra={"enum": list(audit.OUTCOMES)})]


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
    """An entry of the audit log. Without ``actor``: the server itself acted, or nobody proved who they are.

    ``outcome``: what is ``refused`` was tried and not done; ``failed`` went wrong by itself.
    """

    id: int
    at: Time
    actor: AuditActor | None
    action: ActionWord
    target: AuditTarget | None
    workspace_id: str | None
    ip: str
    detail: dict[str, str]
    outcome: OutcomeWord


class AuditPage(Shape):
    """Entries, the newest first. ``next``: what to give as ``before`` for the next page; null at the end."""

    entries: list[AuditEntry]
    next: int | None


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
        outcome=row.outcome,
    )


def _number(name: str, least: int, most: int, default: int | None) -> int | None:
    text = request.args.get(name)
    if text is None:
        return default
    # Not more digits than the largest has: Python refuses to read some thousand of them.
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    raise invalid((name, f"must be a whole number from {least} to {most}"))


_FILTERS: Final = {
    "before": "Only entries older than the one with this id: `next` of the page before.",
    "limit": f"How many entries, up to {_LONGEST_PAGE}; {_PAGE} without it.",
    "action": "Only this action; the word before the dot (`sandbox`) means all of its kind.",
    "actor": "Only what this user did: an id, or the name that the user had.",
    "outcome": "Only what was `done`, `refused` or `failed`.",
}


def _wanted() -> tuple[int, dict[str, Any]]:
    """How many entries a page has, and which are asked for."""
    most = _number("limit", 1, _LONGEST_PAGE, _PAGE) or _PAGE
    filters = {name: request.args.get(name) for name in ("action", "actor", "outcome")}
    # One more tells whether there is a next page.
    return most, {"before": _number("before", 1, _LARGEST_ID, None), "most": most + 1, **filters}


def _page(rows: list[EntryRow], most: int) -> Response:
    more = len(rows) > most
    return answer(AuditPage(entries=[_entry(row) for row in rows[:most]], next=rows[most - 1].id if more else None))


@blueprint.get("/api/admin/audit")
@describe({200: Answer("A page of the audit log.", AuditPage)}, problems=[403, 422], query=_FILTERS)
async def list_audit() -> Response:
    """Who did what, the newest first: admins."""
    most, wanted = _wanted()
    return _page(await parts().db.run(admin.list_audit, guard.current_user().id, **wanted), most)


@blueprint.get("/api/workspaces/<workspace_id>/audit")
@describe({200: Answer("A page of the workspace's audit log.", AuditPage)}, problems=[403, 404, 422], query=_FILTERS)
async def list_workspace_audit(workspace_id: str) -> Response:
    """Who did what in the workspace, and from where, the newest first: owners."""
    most, wanted = _wanted()
    rows = await parts().db.run(workspaces.list_audit, workspace_id, guard.current_user().id, **wanted)
    return _page(rows, most)
