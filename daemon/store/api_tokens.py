"""API tokens: sessions of programs, with a name, scopes, and an expiry that use does not move.

Being rows of ``sessions``, they end as those do: with the user, by a notification that cuts what lives by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.auth.scopes import Scope, in_order
from daemon.ids import is_id
from daemon.store.audit import Target, record
from daemon.store.people import SignedIn, User

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.db.database import Connection
    from daemon.store.audit import Actor

# For each user: one for every script, pipeline and machine that somebody looks after, and still a list to look through.
MOST: Final = 50
# Use is noted at most so often: a script that asks every second costs one write in a minute.
_NOTED_SECONDS: Final = 60


class TooManyTokens(Exception):
    """The user has as many tokens as one may have."""


class AccountGone(Exception):
    """The user was disabled or removed in this moment."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """What a token begins with. ``seconds``: its lifetime."""

    id: str
    token_hash: bytes
    name: str
    scopes: frozenset[Scope]
    seconds: float


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as its owner sees it."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


def create(conn: Connection, actor: Actor, new: NewToken) -> TokenRow:
    """A new token of the actor's. Raises :class:`TooManyTokens` or :class:`AccountGone`."""
    # The user before the session, as everybody locks; so the count holds, and nobody who is disabled is missed.
    query = "SELECT username FROM users WHERE id = %s AND disabled_at IS NULL FOR NO KEY UPDATE"
    user = conn.execute(query.encode(), (actor.user_id,)).fetchone()
    if user is None:
        raise AccountGone
    if len(list_tokens(conn, actor.user_id)) >= MOST:
        raise TooManyTokens
    scopes = in_order(new.scopes)
    row = conn.execute(
        "INSERT INTO sessions (id, token_hash, user_id, expires_at, ip, name, scopes)"
        f" VALUES (%s, %s, %s, now() + make_interval(secs => %s), %s, %s, %s) RETURNING {_COLUMNS}".encode(),
        (new.id, new.token_hash, actor.user_id, new.seconds, actor.ip, new.name, [scope.value for scope in scopes]),
    ).fetchone()
    assert row is not None
    made = _row(row)
    target = Target("user", actor.user_id, user[0])
    until = f"{made.expires_at:%Y-%m-%d %H:%M} UTC"
    record(conn, actor, "token.created", target, id=made.id, name=made.name, scopes=" ".join(scopes), until=until)
    return made


# Both times are those of the transaction that made it, until it is used.
_COLUMNS: Final = "id, name, scopes, created_at, expires_at, CASE WHEN last_seen_at > created_at THEN last_seen_at END"


def list_tokens(conn: Connection, user_id: str) -> list[TokenRow]:
    """The user's tokens that are still good, the oldest first."""
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM sessions WHERE user_id = %s AND name IS NOT NULL AND expires_at > now()"
        " ORDER BY created_at, id".encode(),
        (user_id,),
    ).fetchall()
    return [_row(row) for row in rows]


def _row(row: tuple[Any, ...]) -> TokenRow:
    return TokenRow(row[0], row[1], [Scope(scope) for scope in row[2]], *row[3:])


def revoke(conn: Connection, actor: Actor, token_id: str) -> bool:
    """End one of the actor's tokens, everywhere and at once; ``False`` if there is no such token of theirs."""
    if not is_id(token_id):
        return False
    row = conn.execute(
        "DELETE FROM sessions s USING users u WHERE u.id = s.user_id AND s.id = %s AND u.id = %s"
        " AND s.name IS NOT NULL RETURNING s.name, u.username",
        (token_id, actor.user_id),
    ).fetchone()
    if row is not None:
        record(conn, actor, "token.revoked", Target("user", actor.user_id, row[1]), id=token_id, name=row[0])
    return row is not None


def find(conn: Connection, token_hash: bytes, ip: str, user_agent: str) -> SignedIn | None:
    """Whose token this is, and note the use of it; ``None`` if it is not (or no longer) good."""
    row = conn.execute(
        "SELECT s.id, s.scopes, s.last_seen_at = s.created_at"
        " OR s.last_seen_at < now() - make_interval(secs => %s), u.id, u.username, u.email, u.is_admin"
        " FROM sessions s JOIN users u ON u.id = s.user_id"
        " WHERE s.token_hash = %s AND s.name IS NOT NULL AND s.expires_at > now() AND u.disabled_at IS NULL",
        (_NOTED_SECONDS, token_hash),
    ).fetchone()
    if row is None:
        return None
    if row[2]:
        # What a script does says nothing about when its user was last here.
        query = "UPDATE sessions SET last_seen_at = now(), ip = %s, user_agent = %s WHERE id = %s"
        conn.execute(query.encode(), (ip, user_agent, row[0]))
    return SignedIn(row[0], User(*row[3:]), scopes=frozenset(map(Scope, row[1])))
