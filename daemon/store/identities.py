"""Accounts elsewhere that users sign in with: finding and linking them, and the sign-ins that are under way.

Who comes in, what is linked and what is removed leaves an entry in the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg.errors import ForeignKeyViolation

from daemon.ids import is_id, new_id
from daemon.signin.faults import SignInRefused
from daemon.store.audit import Actor, Target, record

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from daemon.db.database import Connection
    from daemon.signin.profile import Profile

# A person types a password there, looks for the second factor, and perhaps asks somebody for a right.
ATTEMPT_SECONDS: Final = 600
# Of one client's address, as sign-ins with passwords: a whole office behind it begins fewer in ten minutes.
MOST_PENDING: Final = 100


class IdentityNotFound(Exception):
    """The user has no such identity."""


class LastSignIn(Exception):
    """Without it the user could not sign in any more."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that goes to a provider. ``session_id``: whose user an identity is to be linked to."""

    provider: str
    browser_hash: bytes
    next: str
    session_id: str | None = None
    invitation: bytes | None = None


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """An identity as its user sees it."""

    id: str
    provider: str
    username: str | None
    email: str | None
    created_at: datetime
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """An identity that was here before, and whose it is."""

    id: str
    user_id: str
    username: str
    disabled: bool
    by_organisation: bool
    email: str | None  # as it was verified then


# Sign-ins that are under way


def begin(conn: Connection, state_hash: bytes, attempt: Attempt, network: str) -> float:
    """Keep an attempt for ten minutes: 0.0; or seconds until this ``network`` may begin another one.

    Raises :class:`SignInRefused` if the session that it is bound to ends in this moment.
    """
    conn.execute("DELETE FROM sign_in_attempts WHERE expires_at < now()")
    row = conn.execute(
        "SELECT count(*), extract(epoch FROM min(expires_at) - now())::float8 FROM sign_in_attempts WHERE network = %s",
        (network,),
    ).fetchone()
    assert row is not None
    if row[0] >= MOST_PENDING:
        return max(1.0, float(row[1]))
    try:
        _keep(conn, state_hash, attempt, network)
    except ForeignKeyViolation:
        raise SignInRefused("signed_out", "the session that began it has ended") from None
    return 0.0


def _keep(conn: Connection, state_hash: bytes, attempt: Attempt, network: str) -> None:
    conn.execute(
        "INSERT INTO sign_in_attempts"
        " (state_hash, provider, browser_hash, network, next, session_id, invitation, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s))",
        (
            state_hash,
            attempt.provider,
            attempt.browser_hash,
            network,
            attempt.next,
            attempt.session_id,
            attempt.invitation,
            ATTEMPT_SECONDS,
        ),
    )


def take(conn: Connection, state_hash: bytes) -> Attempt | None:
    """The attempt with this state, used up by asking; ``None`` if there is none, or no more."""
    row = conn.execute(
        "DELETE FROM sign_in_attempts WHERE state_hash = %s"
        " RETURNING expires_at > now(), provider, browser_hash, next, session_id, invitation",
        (state_hash,),
    ).fetchone()
    return Attempt(*row[1:]) if row is not None and row[0] else None


# Identities


def lock(conn: Connection, profile: Profile) -> None:
    """One sign-in of an identity after the other: of two first ones the second finds what the first made."""
    conn.execute(
        "SELECT pg_advisory_xact_lock(7300004, hashtext(%s))", (f"{profile.issuer} {profile.subject}",)
    )  # in the space of locks with two numbers, which has no other of ours


def find(conn: Connection, profile: Profile) -> Known | None:
    """The identity, if it was here before."""
    row = conn.execute(
        "SELECT i.id, u.id, u.username, u.disabled_at IS NOT NULL, i.by_organisation,"
        " CASE WHEN i.email_verified THEN i.email END"
        " FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = %s AND i.subject = %s",
        (profile.issuer, profile.subject),
    ).fetchone()
    return None if row is None else Known(*row)


def add(
    conn: Connection, actor: Actor, profile: Profile, target: Target, how: str, *, by_organisation: bool = False
) -> None:
    """Link an identity that nobody has to the ``target``, a user. ``how`` it came about is for the audit log."""
    conn.execute(
        "INSERT INTO identities"
        " (id, user_id, provider, issuer, subject, username, email, email_verified, by_organisation)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            new_id(),
            target.id,
            profile.provider,
            profile.issuer,
            profile.subject,
            profile.username,
            profile.email,
            profile.email_verified,
            by_organisation,
        ),
    )
    record(conn, actor, "identity.linked", target, **_about(profile.provider, profile.username, profile.email), how=how)


def refresh(conn: Connection, profile: Profile, identity_id: str) -> None:
    """Note what the provider says today, and that it was used."""
    conn.execute(
        "UPDATE identities SET username = %s, email = %s, email_verified = %s, last_used_at = now() WHERE id = %s",
        (profile.username, profile.email, profile.email_verified, identity_id),
    )


def bound(conn: Connection, user_id: str, profile: Profile) -> bool:
    """Whether one more account at GitHub has to be in an organisation at each sign-in, as the user's first one has.

    Else who leaves the organisation comes back by another account. Raises :class:`SignInRefused` if it is in none.
    """
    if profile.provider != "github":
        return False
    query = "SELECT 1 FROM identities WHERE user_id = %s AND by_organisation LIMIT 1"
    if conn.execute(query.encode(), (user_id,)).fetchone() is None:
        return False
    if not profile.in_organisation:
        raise SignInRefused("organisation_required", "another account of a member of GITHUB_ALLOWED_ORGS")
    return True


def link(conn: Connection, actor: Actor, profile: Profile) -> None:
    """Link an identity to the actor, who asked for it. Raises :class:`SignInRefused` if it is not to be theirs."""
    lock(conn, profile)
    known = find(conn, profile)
    if known is None:
        row = conn.execute("SELECT username FROM users WHERE id = %s", (actor.user_id,)).fetchone()
        if row is None:
            raise SignInRefused("signed_out", "the user is gone")
        by_organisation = bound(conn, actor.user_id, profile)
        target = Target("user", actor.user_id, row[0])
        add(conn, actor, profile, target, "by the user", by_organisation=by_organisation)
    elif known.user_id == actor.user_id:
        refresh(conn, profile, known.id)
    else:
        raise SignInRefused("identity_taken", "the identity is somebody else's")
    take_over_email(conn, actor.user_id, profile, before=None if known is None else known.email)


def take_over_email(conn: Connection, user_id: str, profile: Profile, *, before: str | None) -> None:
    """The user's own address is what a provider verified: where they have none, or it came from there ``before``.

    One that they typed stays, and is trusted from now on if it is the same.
    """
    if profile.verified_email is None:
        return
    conn.execute(
        "UPDATE users SET email = %(email)s, email_trusted = true WHERE id = %(user)s"
        " AND (email IS NULL OR lower(email) = lower(%(email)s)"
        "      OR (email_trusted AND lower(email) = lower(%(before)s)))",
        {"email": profile.verified_email, "user": user_id, "before": before},
    )


def list_identities(conn: Connection, user_id: str) -> list[IdentityRow]:
    """The user's identities, the first linked first."""
    rows = conn.execute(
        "SELECT id, provider, username, email, created_at, last_used_at FROM identities"
        " WHERE user_id = %s ORDER BY created_at, id",
        (user_id,),
    ).fetchall()
    return [IdentityRow(*row) for row in rows]


def remove(conn: Connection, actor: Actor, identity_id: str, usable: Collection[str]) -> None:
    """Unlink one of the actor's own. ``usable``: the issuers with which one can sign in here.

    Raises :class:`IdentityNotFound`, or :class:`LastSignIn` if neither a password nor another one would be left.
    """
    user = conn.execute(
        "SELECT username, password_hash IS NOT NULL FROM users WHERE id = %s FOR NO KEY UPDATE", (actor.user_id,)
    ).fetchone()
    found = (
        is_id(identity_id)
        and conn.execute(
            "DELETE FROM identities WHERE id = %s AND user_id = %s RETURNING provider, username, email",
            (identity_id, actor.user_id),
        ).fetchone()
    )
    if user is None or not found:
        raise IdentityNotFound
    others = conn.execute(
        "SELECT 1 FROM identities WHERE user_id = %s AND issuer = ANY(%s) LIMIT 1", (actor.user_id, list(usable))
    ).fetchone()
    if not user[1] and others is None:
        raise LastSignIn
    record(conn, actor, "identity.removed", Target("user", actor.user_id, user[0]), **_about(*found))


def _about(provider: str, username: str | None, email: str | None) -> dict[str, str]:
    return {"provider": provider, "as": username or email or "without a name"}
