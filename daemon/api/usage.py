"""Routes that tell what the LLM calls of a sandbox or a workspace cost, and how many there were lately."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from quart import Blueprint, request

from daemon.api import guard
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.problems import invalid
from daemon.api.sandboxes import authorized
from daemon.api.shapes import Shape, Time, answer
from daemon.auth.roles import Action
from daemon.store import usage as store
from daemon.store import workspaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quart import Response

    from daemon.db.database import Connection
    from daemon.store.usage import UsageRow

blueprint = Blueprint("usage", __name__)

_DEFAULT_DAYS: Final = 30  # a month's view, without a question
_MOST_DAYS: Final = 366  # a year by day and model is some thousand rows
_HOURS: Final = 24  # of activity: a day at a glance; the table keeps two (daemon.store.access)


class Tokens(Shape):
    """Requests and tokens."""

    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


class UsageDay(Tokens):
    """What was used on one day (UTC) of one model; ``sandboxId`` only where it was asked for by sandbox."""

    day: date
    model: str
    sandbox_id: str | None = None


class Usage(Shape):
    """Usage by day and model, and its sums."""

    days: list[UsageDay]
    totals: Tokens


class SandboxActivity(Shape):
    """A sandbox's LLM calls in each of the hours."""

    sandbox_id: str
    requests: list[int]


class Activity(Shape):
    """LLM calls by hour. ``hours``: when each begins (UTC), the oldest first; the last one is not over yet."""

    hours: list[Time]
    sandboxes: list[SandboxActivity]


def _usage(rows: Sequence[UsageRow]) -> Usage:
    days = [
        UsageDay(
            day=row.day,
            model=row.model,
            sandbox_id=row.sandbox_id,
            requests=row.requests,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cache_read_tokens=row.cache_read_tokens,
            cache_write_tokens=row.cache_write_tokens,
        )
        for row in rows
    ]
    totals = {name: sum(getattr(day, name) for day in days) for name in Tokens.model_fields}
    return Usage(days=days, totals=Tokens(**totals))


def _day(name: str, default: date) -> date:
    text = request.args.get(name)
    if text is None:
        return default
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):  # Python reads other ways of writing it too
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise invalid((name, "must be a day such as 2026-01-31")) from None


def _period() -> tuple[date, date]:
    last = _day("to", datetime.now(UTC).date())
    first = _day("from", last - timedelta(days=min(_DEFAULT_DAYS - 1, (last - date.min).days)))
    if first > last:
        raise invalid(("from", "must not be after to"))
    if (last - first).days >= _MOST_DAYS:
        raise invalid(("from", f"must be at most {_MOST_DAYS - 1} days before to"))
    return first, last


def _by_sandbox() -> bool:
    by = request.args.get("by")
    if by not in (None, "sandbox"):
        raise invalid(("by", "must be sandbox, or left out"))
    return by is not None


_PERIOD = {
    "from": f"The first day, such as 2026-01-31, in UTC; {_DEFAULT_DAYS - 1} days before `to` without it.",
    "to": "The last day; today without it.",
}


@blueprint.get("/api/sandboxes/<sandbox_id>/usage")
@describe({200: Answer("By day and model.", Usage)}, problems=[404, 422], query=_PERIOD)
async def sandbox_usage(sandbox_id: str) -> Response:
    """What a sandbox's LLM calls cost."""
    first, last = _period()

    def read(conn: Connection, user_id: str) -> list[UsageRow]:
        authorized(conn, sandbox_id, user_id, Action.VIEW)
        return store.read_usage(conn, "sandbox_id", sandbox_id, first, last, by_sandbox=False)

    return answer(_usage(await parts().db.run(read, guard.current_user().id)))


@blueprint.get("/api/workspaces/<workspace_id>/usage")
@describe(
    {200: Answer("By day and model.", Usage)},
    problems=[404, 422],
    query=_PERIOD | {"by": "`sandbox`: by sandbox, too."},
)
async def workspace_usage(workspace_id: str) -> Response:
    """What a workspace's LLM calls cost, deleted sandboxes included."""
    first, last = _period()
    by_sandbox = _by_sandbox()

    def read(conn: Connection, user_id: str) -> list[UsageRow]:
        workspaces.authorize(conn, workspace_id, user_id, Action.VIEW)
        return store.read_usage(conn, "workspace_id", workspace_id, first, last, by_sandbox=by_sandbox)

    return answer(_usage(await parts().db.run(read, guard.current_user().id)))


def last_hours(now: datetime) -> list[datetime]:
    """When each of the last hours began, the present one last."""
    present = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [present - timedelta(hours=back) for back in reversed(range(_HOURS))]


@blueprint.get("/api/workspaces/<workspace_id>/activity")
@describe({200: Answer("By hour and sandbox; one that is not there made no calls.", Activity)}, problems=[404])
async def workspace_activity(workspace_id: str) -> Response:
    """How many LLM calls a workspace's sandboxes made in the last 24 hours."""
    hours = last_hours(datetime.now(UTC))

    def read(conn: Connection, user_id: str) -> dict[str, list[int]]:
        workspaces.authorize(conn, workspace_id, user_id, Action.VIEW)
        return store.read_hours(conn, workspace_id, hours)

    found = await parts().db.run(read, guard.current_user().id)
    made = [SandboxActivity(sandbox_id=sandbox_id, requests=requests) for sandbox_id, requests in found.items()]
    return answer(Activity(hours=hours, sandboxes=made))
