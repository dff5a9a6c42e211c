"""Users and their sessions. What proves a session is kept as a hash only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.errors import UniqueViolation

from daemon.cookies import SESSION_SECONDS
from daemon.ids import is_id, new_id
from daemon.store.workspaces import create_workspace

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.db.database import Connection

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
    """A living session and whose it is. ``renewed``: its lifetime began anew with this use."""

    session_id: str
    user: User
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as its owner sees it."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    user_agent: str
    ip: str


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a session begins with. ``replaces`` is the hash of a token that the browser had before."""

    token_hash: bytes
    ip: str
    user_agent: str
    replaces: bytes | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What signing in needs to know of a user."""

    user: User
    password_hash: str | None
    disabled: bool


def may_register(conn: Connection, registration: Registration) -> bool:
    """Whether it is worth hashing a password. :func:`register` decides."""
    if registration == "first-user":
        return conn.execute("SELECT 1 FROM users LIMIT 1").fetchone() is None
    return registration == "open"


def register(
    conn: Connection,
    registration: Registration,
    username: str,
    email: str | None,
    password_hash: str,
    session: NewSession,
) -> User:
    """A new user with a workspace of their own, signed in. The very first user is an admin.

    Raises :class:`RegistrationClosed` or :class:`UsernameTaken`.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_FIRST_USER_LOCK,))
    first = conn.execute("SELECT 1 FROM users LIMIT 1").fetchone() is None
    if registration == "closed" or (registration == "first-user" and not first):
        raise RegistrationClosed
    user = User(new_id(), username, email, is_admin=first)
    try:
        conn.execute(
            "INSERT INTO users (id, username, email, password_hash, is_admin) VALUES (%s, %s, %s, %s, %s)",
            (user.id, username, email, password_hash, first),
        )
    except UniqueViolation:
        raise UsernameTaken from None
    create_workspace(conn, user.id, f"{username}'s workspace")
    _insert_session(conn, user.id, session)
    return user


def find_account(conn: Connection, username: str) -> Account | None:
    """The account with this name, in whatever case."""
    row = conn.execute(
        "SELECT id, username, email, is_admin, password_hash, disabled_at IS NOT NULL"
        " FROM users WHERE lower(username) = lower(%s)",
        (username,),
    ).fetchone()
    return None if row is None else Account(User(*row[:4]), row[4], row[5])


def sign_in(conn: Connection, user_id: str, session: NewSession, new_password_hash: str | None = None) -> bool:
    """Begin a session; ``False`` if the user was disabled or removed meanwhile.

    ``new_password_hash`` replaces one that was made with weaker parameters.
    """
    row = conn.execute("SELECT disabled_at FROM users WHERE id = %s FOR SHARE", (user_id,)).fetchone()
    if row is None or row[0] is not None:
        return False
    if new_password_hash is not None:
        conn.execute("UPDATE users SET password_hash = %s WHERE id = %s", (new_password_hash, user_id))
    _insert_session(conn, user_id, session)
    return True


def _insert_session(conn: Connection, user_id: str, session: NewSession) -> None:
    """Always a new one, so that nobody can plant one beforehand; what the browser had before ends."""
    if session.replaces is not None:
        conn.execute("DELETE FROM sessions WHERE token_hash = %s", (session.replaces,))
    conn.execute(
        "INSERT INTO sessions (id, token_hash, user_id, expires_at, user_agent, ip)"
        " VALUES (%s, %s, %s, now() + make_interval(secs => %s), %s, %s)",
        (new_id(), session.token_hash, user_id, SESSION_SECONDS, session.user_agent, session.ip),
    )


def find_session(conn: Connection, token_hash: bytes, ip: str, user_agent: str) -> SignedIn | None:
    """Who signed in with this token, and note the use of it; ``None`` if it is not (or no longer) good."""
    row = conn.execute(
        "SELECT s.id, s.last_seen_at < now() - make_interval(secs => %s), u.id, u.username, u.email, u.is_admin"
        " FROM sessions s JOIN users u ON u.id = s.user_id"
        " WHERE s.token_hash = %s AND s.expires_at > now() AND u.disabled_at IS NULL",
        (RENEW_SECONDS, token_hash),
    ).fetchone()
    if row is None:
        return None
    if row[1]:
        conn.execute(
            "UPDATE sessions SET last_seen_at = now(), expires_at = now() + make_interval(secs => %s),"
            " ip = %s, user_agent = %s WHERE id = %s",
            (SESSION_SECONDS, ip, user_agent, row[0]),
        )
    return SignedIn(row[0], User(*row[2:]), renewed=row[1])


def list_sessions(conn: Connection, user_id: str) -> list[SessionRow]:
    """The user's living sessions, the latest used first."""
    rows = conn.execute(
        "SELECT id, created_at, last_seen_at, user_agent, ip FROM sessions"
        " WHERE user_id = %s AND expires_at > now() ORDER BY last_seen_at DESC, id",
        (user_id,),
    ).fetchall()
    return [SessionRow(*row) for row in rows]


def end_session(conn: Connection, user_id: str, session_id: str) -> bool:
    """End one of the user's own sessions, everywhere and at once; ``False`` if there is no such session of theirs."""
    if not is_id(session_id):
        return False
    deleted = conn.execute("DELETE FROM sessions WHERE id = %s AND user_id = %s", (session_id, user_id))
    return deleted.rowcount == 1
