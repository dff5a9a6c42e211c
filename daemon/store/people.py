"""Users and their sessions. What proves a session is kept as a hash only.

Who comes, goes, or is not let in, leaves an entry in the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.errors import UniqueViolation

from daemon.cookies import SESSION_SECONDS
from daemon.ids import is_id, new_id
from daemon.store import invitations
from daemon.store.audit import Actor, Target, record, record_refusal
from daemon.store.workspaces import create_workspace

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.auth.scopes import Scope
    from daemon.db.database import Connection
    from daemon.store.audit import AuditAction

# A session is written at most so often because of its use: exact to the hour is enough for a lifetime of a month.
RENEW_SECONDS = 3600
_FIRST_USER_LOCK = 7300002  # advisory; any number no other of our locks has (see the migrations)

Registration = Literal["open", "first-user", "closed"]


class RegistrationClosed(Exception):
    """Nobody may register (any more)."""


class UsernameTaken(Exception):
    """Somebody has this name, in whatever case."""


@dataclass(frozen=True, slots=True)
class User:
    """A person as the API shows them."""

    id: str
    username: str
    email: str | None
    is_admin: bool


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A living session and whose it is. ``renewed``: its lifetime began anew with this use.

    ``scopes``: of an API token; ``None`` for a browser, which may do all that its user may.
    """

    session_id: str
    user: User
    renewed: bool = False
    scopes: frozenset[Scope] | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as its owner sees it."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    user_agent: str
    ip: str
    provider: str | None  # by which it came, if not by a password


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a session begins with. ``replaces`` is the hash of a token that the browser had before."""

    token_hash: bytes
    ip: str
    user_agent: str
    replaces: bytes | None = None
    provider: str | None = None  # by which somebody comes, if not by a password


@dataclass(frozen=True, slots=True)
class Account:
    """What signing in needs to know of a user."""

    user: User
    password_hash: str | None
    disabled: bool


def may_register(conn: Connection, registration: Registration) -> bool:
    """Whether it is worth hashing a password. :func:`register` decides."""
    if registration == "first-user":
        return not anybody(conn)
    return registration == "open"


def anybody(conn: Connection) -> bool:
    """Whether there is a user."""
    return conn.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None


def register(
    conn: Connection,
    registration: Registration,
    username: str,
    email: str | None,
    password_hash: str,
    session: NewSession,
    invitation: bytes | None = None,
) -> User:
    """A new user with a workspace of their own, signed in. The very first user is an admin.

    ``invitation``: the hash of the secret of one, which is used then, whatever the rule for others. Raises
    :class:`RegistrationClosed`, :class:`UsernameTaken` or :class:`~daemon.store.invitations.InvitationNotFound`.
    """
    first = lock_registration(conn)
    invited = {} if invitation is None else {"invitation": invitations.look(conn, invitation).id}
    if not invited and (registration == "closed" or (registration == "first-user" and not first)):
        raise RegistrationClosed
    user = User(new_id(), username, email, is_admin=first)
    # The first one has set the server up; others may have typed somebody else's address.
    trusted = first and email is not None
    create_account(conn, user, session, password_hash=password_hash, email_trusted=trusted, **invited)
    if invitation is not None:
        invitations.accept(conn, invitation, Actor(user.id, session.ip))
    return user


def lock_registration(conn: Connection) -> bool:
    """Nobody else registers until the transaction ends; whether there is nobody yet."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_FIRST_USER_LOCK,))
    return not anybody(conn)


def create_account(
    conn: Connection,
    user: User,
    session: NewSession,
    *,
    password_hash: str | None,
    email_trusted: bool,
    **detail: str,
) -> None:
    """A new user with a workspace of their own, signed in. Raises :class:`UsernameTaken`."""
    try:
        conn.execute(
            "INSERT INTO users (id, username, email, password_hash, is_admin, email_trusted)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (user.id, user.username, user.email, password_hash, user.is_admin, email_trusted),
        )
    except UniqueViolation:
        raise UsernameTaken from None
    actor = Actor(user.id, session.ip)
    session_id = _insert_session(conn, actor, session)
    target = Target("user", user.id, user.username)
    admin = "yes" if user.is_admin else "no"
    record(conn, actor, "user.registered", target, session=session_id, admin=admin, **detail)
    create_workspace(conn, actor, f"{user.username}'s workspace")


def find_account(conn: Connection, username: str) -> Account | None:
    """The account with this name, in whatever case."""
    row = conn.execute(
        "SELECT id, username, email, is_admin, password_hash, disabled_at IS NOT NULL"
        " FROM users WHERE lower(username) = lower(%s)",
        (username,),
    ).fetchone()
    return None if row is None else Account(User(*row[:4]), row[4], row[5])


def sign_in(
    conn: Connection, user_id: str, session: NewSession, new_password_hash: str | None = None, **detail: str
) -> bool:
    """Begin a session; ``False`` if the user was disabled or removed meanwhile.

    ``new_password_hash`` replaces one that was made with weaker parameters. ``detail`` is for the audit log.
    """
    query = "SELECT disabled_at, username FROM users WHERE id = %s FOR NO KEY UPDATE"
    row = conn.execute(query.encode(), (user_id,)).fetchone()
    if row is None or row[0] is not None:
        return False
    if new_password_hash is not None:
        conn.execute("UPDATE users SET password_hash = %s WHERE id = %s", (new_password_hash, user_id))
    actor = Actor(user_id, session.ip)
    session_id = _insert_session(conn, actor, session)
    target = Target("user", user_id, row[1])
    record(conn, actor, "session.created", target, session=session_id, browser=session.user_agent, **detail)
    return True


def refuse(conn: Connection, ip: str, account: Account | None, reason: str) -> None:
    """Note that somebody was not let in. ``account``: of the name that was given, if there is one."""
    target = None if account is None else Target("user", account.user.id, account.user.username)
    record_refusal(conn, ip, target, reason)


def _insert_session(conn: Connection, actor: Actor, session: NewSession) -> str:
    """Always a new one, so that nobody can plant one beforehand; what the browser had before ends. Its id."""
    if session.replaces is not None:
        _delete_session(conn, actor, "token_hash", session.replaces, "session.ended", reason="signed in anew")
    session_id = new_id()
    conn.execute(
        "INSERT INTO sessions (id, token_hash, user_id, expires_at, user_agent, ip, provider)"
        " VALUES (%s, %s, %s, now() + make_interval(secs => %s), %s, %s, %s)",
        (
            session_id,
            session.token_hash,
            actor.user_id,
            SESSION_SECONDS,
            session.user_agent,
            session.ip,
            session.provider,
        ),
    )
    conn.execute("UPDATE users SET last_seen_at = now() WHERE id = %s", (actor.user_id,))
    return session_id


def find_session(conn: Connection, token_hash: bytes, ip: str, user_agent: str) -> SignedIn | None:
    """Who signed in with this token, and note the use of it; ``None`` if it is not (or no longer) good."""
    row = conn.execute(
        "SELECT s.id, s.last_seen_at < now() - make_interval(secs => %s), u.id, u.username, u.email, u.is_admin"
        " FROM sessions s JOIN users u ON u.id = s.user_id"
        " WHERE s.token_hash = %s AND s.name IS NULL AND s.expires_at > now() AND u.disabled_at IS NULL",
        (RENEW_SECONDS, token_hash),
    ).fetchone()
    if row is None:
        return None
    if row[1]:
        # The user before the session, as everybody locks.
        conn.execute("UPDATE users SET last_seen_at = now() WHERE id = %s", (row[2],))
        conn.execute(
            "UPDATE sessions SET last_seen_at = now(), expires_at = now() + make_interval(secs => %s),"
            " ip = %s, user_agent = %s WHERE id = %s",
            (SESSION_SECONDS, ip, user_agent, row[0]),
        )
    return SignedIn(row[0], User(*row[2:]), renewed=row[1])


def list_sessions(conn: Connection, user_id: str) -> list[SessionRow]:
    """The user's living sessions, the latest used first; without API tokens."""
    rows = conn.execute(
        "SELECT id, created_at, last_seen_at, user_agent, ip, provider FROM sessions"
        " WHERE user_id = %s AND name IS NULL AND expires_at > now() ORDER BY last_seen_at DESC, id",
        (user_id,),
    ).fetchall()
    return [SessionRow(*row) for row in rows]


def end_session(conn: Connection, actor: Actor, session_id: str, action: AuditAction) -> bool:
    """End one of the actor's own sessions, everywhere and at once; ``False`` if there is no such session of theirs."""
    return is_id(session_id) and _delete_session(conn, actor, "id", session_id, action, of=actor.user_id)


def _delete_session(
    conn: Connection,
    actor: Actor,
    column: Literal["id", "token_hash"],
    value: str | bytes,
    action: AuditAction,
    *,
    of: str | None = None,
    **detail: str,
) -> bool:
    """Delete a browser's session, if it is ``of`` this user where one is given; whether there was one."""
    row = conn.execute(
        f"DELETE FROM sessions s USING users u WHERE u.id = s.user_id AND s.{column} = %(value)s"
        " AND s.name IS NULL AND (%(of)s::text IS NULL OR u.id = %(of)s)"
        " RETURNING s.id, s.user_agent, u.id, u.username".encode(),
        {"value": value, "of": of},
    ).fetchone()
    if row is not None:
        record(conn, actor, action, Target("user", row[2], row[3]), session=row[0], browser=row[1], **detail)
    return row is not None
