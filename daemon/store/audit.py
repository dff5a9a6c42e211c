"""The audit log: who did what, and from where. Entries are added and never changed.

An entry is written in the transaction of the change that it tells of, so that neither is there without the other. What
changes something on somebody's behalf takes an :class:`Actor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Required, TypedDict, Unpack, get_args

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from daemon.auth.rules import is_username
from daemon.ids import is_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from daemon.db.database import Connection

# Stable words: people filter by them, and programs read them.
AuditAction = Literal[
    "user.registered",
    "user.disabled",
    "user.enabled",
    "user.admin_granted",
    "user.admin_revoked",
    "session.created",
    "session.refused",
    "session.ended",
    "session.revoked",
    "identity.linked",
    "identity.refused",
    "identity.removed",
    "workspace.created",
    "workspace.renamed",
    "workspace.deleted",
    "member.added",
    "member.changed",
    "member.removed",
    "member.left",
    "sandbox.created",
    "sandbox.renamed",
    "sandbox.timeout_changed",
    "sandbox.paused",
    "sandbox.resumed",
    "sandbox.opened",
    "sandbox.failed",
    "sandbox.deleted",
    "token.created",
    "token.refused",
    "token.revoked",
    "invitation.created",
    "invitation.revoked",
    "invitation.accepted",
    "agent_code.created",
    "agent_code.refused",
    "machine.joined",
    "access.refused",
    "ticket.refused",
    "tunnel.refused",
]
ACTIONS: Final[tuple[str, ...]] = get_args(AuditAction)
TargetKind = Literal["user", "workspace", "sandbox"]
TARGET_KINDS: Final[tuple[str, ...]] = get_args(TargetKind)
Outcome = Literal["done", "refused", "failed"]
OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)

# What nobody signed in to write must not fill the disk, nor what members try in vain. From one address the throttle
# lets 100 guesses through in an hour (daemon.auth.throttle: FREE_BY_ADDRESS, forgotten after FORGET_SECONDS), 0.9
# million in a year. Who has many addresses, an IPv6 /48 has 65,536 of those that count, is bounded by the hashing of
# passwords only: some 40 a second, 1,300 million in a year. So this is a bound for all addresses and all kinds of
# refusals together: 8.8 million entries in a year, about 2 GB with their indexes. The metric cli_server_logins_total
# counts on.
MOST_REFUSALS: Final = 1000
_REFUSALS_SECONDS: Final = 3600
# Every tab, every port and every reload after a restart of the browser opens a sandbox anew. The log is to say who was
# in it, and when; not how often they clicked.
_OPENED_SECONDS: Final = 3600
_LONGEST_DETAIL: Final = 500  # characters; longer than any name, and enough of a reason


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from which address. ``token``: the id of the API token by which a program acts for them."""

    user_id: str
    ip: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What was acted on, with its name as it was then."""

    kind: TargetKind
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry. Without an actor: the server itself acted, or somebody who did not prove who they are."""

    id: int
    at: datetime
    actor_id: str | None
    actor_name: str | None
    action: str
    target_kind: str | None
    target_id: str | None
    target_name: str | None
    workspace_id: str | None
    ip: str
    detail: Mapping[str, str]
    outcome: str


def record(
    conn: Connection,
    actor: Actor | None,
    action: AuditAction,
    target: Target | None = None,
    *,
    workspace_id: str | None = None,
    ip: str = "",
    outcome: str = "",
    **detail: str,
) -> None:
    """Add an entry. ``ip`` is of somebody without a name; never give a ``detail`` that is or may be a secret.

    ``outcome``: one of them, where it is not the one that the action's word says.
    """
    if actor is not None and actor.token is not None:
        detail["token"] = actor.token
    conn.execute(
        "INSERT INTO audit"
        " (actor_id, actor_name, action, target_kind, target_id, target_name, workspace_id, ip, detail, outcome)"
        " SELECT a.id, CASE WHEN a.id IS NOT NULL THEN coalesce(u.username, '') END, %s, %s, %s, %s, %s, %s, %s, %s"
        " FROM (SELECT %s::text AS id) AS a LEFT JOIN users u ON u.id = a.id",
        (
            action,
            target and target.kind,
            target and target.id,
            target and target.name,
            workspace_id,
            actor.ip if actor else ip,
            Jsonb({name: text[:_LONGEST_DETAIL] for name, text in detail.items()}),
            outcome or _outcome(action),
            actor and actor.user_id,
        ),
    )


def _outcome(action: AuditAction) -> Outcome:
    """What the action's own word says: ``session.refused``, ``sandbox.failed``; all others were done."""
    word = action.partition(".")[2]
    return "refused" if word == "refused" else "failed" if word == "failed" else "done"


def record_refusal(conn: Connection, ip: str, target: Target | None, reason: str) -> None:
    """Somebody was not let in. ``target``: the user of the given name, if there is one.

    Nothing else that was typed: people type their passwords into the field for the name.
    """
    record_refused(conn, None, "session.refused", target, ip=ip, reason=reason)


def record_refused(
    conn: Connection,
    /,
    actor: Actor | None,
    action: AuditAction,
    target: Target | None = None,
    *,
    workspace_id: str | None = None,
    ip: str = "",
    **detail: str,
) -> bool:
    """As :func:`record`, for what was refused, and only as long as there were not too many; whether there were not.

    One bound for all refusals together. The last that is listed says that there may be more.
    """
    row = conn.execute(
        "SELECT count(*) FROM (SELECT 1 FROM audit WHERE outcome = 'refused'"
        " AND at > now() - make_interval(secs => %s) LIMIT %s) AS recent",
        (_REFUSALS_SECONDS, MOST_REFUSALS),
    ).fetchone()
    assert row is not None
    if row[0] >= MOST_REFUSALS:
        return False
    if row[0] == MOST_REFUSALS - 1:
        detail["further"] = "not listed for up to an hour"
    record(conn, actor, action, target, workspace_id=workspace_id, ip=ip, outcome="refused", **detail)
    return True


def record_opening(conn: Connection, actor: Actor, session_id: str, target: Target, workspace_id: str) -> None:
    """A sandbox was opened: noted once in an hour for each session."""
    # One at a time for a session: a browser that comes back opens all its tabs in the same moment.
    conn.execute("SELECT 1 FROM sessions WHERE id = %s FOR NO KEY UPDATE", (session_id,))
    before = conn.execute(
        "SELECT 1 FROM audit WHERE action = 'sandbox.opened' AND target_id = %s AND detail->>'session' = %s"
        " AND at > now() - make_interval(secs => %s) LIMIT 1",
        (target.id, session_id, _OPENED_SECONDS),
    ).fetchone()
    if before is None:
        record(conn, actor, "sandbox.opened", target, workspace_id=workspace_id, session=session_id)


class Wanted(TypedDict, total=False):
    """Which entries: at most ``most``, older than the entry ``before``.

    ``action``: one of them, or the word before the dot for all of its kind. ``actor``: a user's id, or the name they
    had.
    """

    before: Required[int | None]
    most: Required[int]
    action: str | None
    actor: str | None
    outcome: str | None


def list_entries(conn: Connection, *, workspace_id: str | None = None, **wanted: Unpack[Wanted]) -> list[EntryRow]:
    """The entries that are wanted, the newest first. ``workspace_id``: of what belongs to it."""
    action, actor, outcome = wanted.get("action"), wanted.get("actor"), wanted.get("outcome")
    if action is not None and action not in ACTIONS and action not in {known.partition(".")[0] for known in ACTIONS}:
        return []
    if actor is not None and not is_id(actor) and not is_username(actor):
        return []
    if outcome is not None and outcome not in OUTCOMES:
        return []
    with conn.cursor(row_factory=class_row(EntryRow)) as cursor:
        return cursor.execute(
            "SELECT id, at, actor_id, actor_name, action, target_kind, target_id, target_name, workspace_id, ip,"
            " detail, outcome FROM audit WHERE (%(before)s::bigint IS NULL OR id < %(before)s)"
            " AND (%(actions)s::text[] IS NULL OR action = ANY(%(actions)s))"
            " AND (%(actor)s::text IS NULL OR actor_id = %(actor)s OR lower(actor_name) = lower(%(actor)s))"
            " AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)"
            " AND (%(workspace)s::text IS NULL OR workspace_id = %(workspace)s)"
            " ORDER BY id DESC LIMIT %(most)s",
            {
                "before": wanted["before"],
                "actions": None if action is None else [k for k in ACTIONS if action in (k, k.partition(".")[0])],
                "actor": actor,
                "outcome": outcome,
                "workspace": workspace_id,
                "most": wanted["most"],
            },
        ).fetchall()


def forget_old(conn: Connection, seconds: float) -> int:
    """Remove entries that are older than so many seconds; how many went. 0: they are kept for ever."""
    if seconds == 0:
        return 0
    return conn.execute("DELETE FROM audit WHERE at < now() - make_interval(secs => %s)", (seconds,)).rowcount
