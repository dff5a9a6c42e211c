"""Who may pass to a sandbox host: tickets, the hosts' own cookies, grants, and the proxy tokens of sandboxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.rows import class_row

from daemon.auth.roles import Action, Role, may

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from daemon.db.database import Connection

TICKET_SECONDS = 60  # contract, section 4: a redirect takes a second, a slow phone some more


# What something open lives by: a session and, where it is not None, a membership of its user in a workspace.
Hold = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a cookie of a sandbox host stands for. ``role`` is ``None`` for somebody who is no member any more."""

    session_id: str
    user_id: str
    workspace_id: str
    sandbox_id: str
    role: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ProxyGrant:
    """What a proxy token stands for."""

    sandbox_id: str
    workspace_id: str
    status: str


def create_ticket(conn: Connection, ticket_hash: bytes, session_id: str, sandbox_id: str, host_label: str) -> bool:
    """A ticket for one host (``oc-{id}`` or ``{port}-{id}``), bound to the session that asked.

    ``False``: the session or the sandbox has ended in the same moment.
    """
    try:
        with conn.transaction():
            conn.execute(
                "INSERT INTO tickets (token_hash, session_id, sandbox_id, host, expires_at)"
                " VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s))",
                (ticket_hash, session_id, sandbox_id, host_label, TICKET_SECONDS),
            )
    except errors.ForeignKeyViolation:
        return False
    return True


def redeem_ticket(conn: Connection, ticket_hash: bytes, host_label: str, cookie_hash: bytes) -> str | None:
    """Exchange a ticket for a cookie of its host; the sandbox's id, or ``None`` if the ticket is no good.

    The ticket is used up by the first try on its own host; another host's try leaves it alone.
    """
    try:
        with conn.transaction():
            row = conn.execute(
                "WITH used AS (DELETE FROM tickets WHERE token_hash = %s AND host = %s"
                "              RETURNING session_id, sandbox_id, host, expires_at)"
                " INSERT INTO sandbox_cookies (token_hash, session_id, sandbox_id, host)"
                " SELECT %s, used.session_id, used.sandbox_id, used.host FROM used"
                " JOIN sessions s ON s.id = used.session_id AND s.expires_at > now()"
                " JOIN users u ON u.id = s.user_id AND u.disabled_at IS NULL"
                " WHERE used.expires_at > now() RETURNING sandbox_id",
                (ticket_hash, host_label, cookie_hash),
            ).fetchone()
    except errors.ForeignKeyViolation:  # the session or the sandbox ends in this moment, and the ticket with it
        return None
    return None if row is None else str(row[0])


def discard_ticket(conn: Connection, ticket_hash: bytes, host_label: str) -> bool:
    """Use a ticket up on its host without an exchange; whether it was good until now."""
    row = conn.execute(
        "DELETE FROM tickets WHERE token_hash = %s AND host = %s RETURNING expires_at > now()",
        (ticket_hash, host_label),
    ).fetchone()
    return row is not None and bool(row[0])


def find_grant(conn: Connection, cookie_hash: bytes, host_label: str) -> Grant | None:
    """What a cookie of a sandbox host stands for; ``None`` if it, its session or its user is not valid (any more)."""
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(
            "SELECT s.id AS session_id, s.user_id, b.workspace_id, b.id AS sandbox_id, m.role, s.expires_at"
            " FROM sandbox_cookies c"
            " JOIN sessions s ON s.id = c.session_id AND s.expires_at > now()"
            " JOIN users u ON u.id = s.user_id AND u.disabled_at IS NULL"
            " JOIN sandboxes b ON b.id = c.sandbox_id"
            " JOIN workspaces w ON w.id = b.workspace_id AND w.deleted_at IS NULL"
            " LEFT JOIN members m ON m.workspace_id = b.workspace_id AND m.user_id = s.user_id"
            " WHERE c.token_hash = %s AND c.host = %s",
            (cookie_hash, host_label),
        ).fetchone()


def find_proxy_token(conn: Connection, token_hash: bytes) -> ProxyGrant | None:
    """The sandbox whose proxy token this is."""
    with conn.cursor(row_factory=class_row(ProxyGrant)) as cursor:
        return cursor.execute(
            "SELECT id AS sandbox_id, workspace_id, status FROM sandboxes WHERE proxy_token_hash = %s", (token_hash,)
        ).fetchone()


def still_held(conn: Connection, holds: Iterable[Hold], action: Action) -> set[Hold]:
    """Those of ``holds`` whose session lives and, where there is a workspace, whose user may do ``action`` in it."""
    sessions, wanted = zip(*holds, strict=True)
    rows = conn.execute(
        "SELECT k.session_id, k.workspace_id, m.role"
        " FROM unnest(%s::text[], %s::text[]) AS k(session_id, workspace_id)"
        " JOIN sessions s ON s.id = k.session_id AND s.expires_at > now()"
        " JOIN users u ON u.id = s.user_id AND u.disabled_at IS NULL"
        " LEFT JOIN workspaces w ON w.id = k.workspace_id AND w.deleted_at IS NULL"
        " LEFT JOIN members m ON m.workspace_id = w.id AND m.user_id = s.user_id",
        (list(sessions), list(wanted)),
    ).fetchall()
    return {
        (session, workspace)
        for session, workspace, role in rows
        if workspace is None or (role is not None and may(Role(role), action))
    }


# Kept for clients that resume /api/events; more than a day away, a client loads everything anew.
_EVENT_SECONDS = 24 * 3600
# People see the last 24; what a book that waited for the database, or a replica with a late clock, adds is still seen.
_HOURS_SECONDS = 48 * 3600
_FORGOTTEN_FAILURES_SECONDS = 24 * 3600  # longer than any block, and than any failure counts (daemon.auth.throttle)

_EXPIRED = (
    ("DELETE FROM tickets WHERE expires_at < now()", None),
    ("DELETE FROM sign_in_attempts WHERE expires_at < now()", None),
    ("DELETE FROM sessions WHERE expires_at < now()", None),
    ("DELETE FROM agent_codes WHERE expires_at < now()", None),
    ("DELETE FROM invitations WHERE expires_at < now() OR uses_left = 0", None),
    (
        "DELETE FROM login_failures WHERE updated_at < now() - make_interval(secs => %s)"
        " AND coalesce(blocked_until < now(), true)",
        _FORGOTTEN_FAILURES_SECONDS,
    ),
    # The log loses its oldest without a gap, and never the newest: it tells clients that come back where it stands.
    (
        "DELETE FROM events WHERE id < (SELECT max(id) FROM events)"
        " AND id <= (SELECT max(id) FROM events WHERE at < now() - make_interval(secs => %s))",
        _EVENT_SECONDS,
    ),
    ("DELETE FROM usage_hourly WHERE hour < now() - make_interval(secs => %s)", _HOURS_SECONDS),
)


def purge_expired(conn: Connection) -> int:
    """Remove what has run out: sessions, tickets, codes, invitations, old events, failures, hours.

    How many went.
    """
    return sum(
        conn.execute(query.encode(), None if seconds is None else (seconds,)).rowcount for query, seconds in _EXPIRED
    )
