"""Routes under ``/api/auth``: register, sign in and out, who am I, my sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StringConstraints
from quart import Blueprint

from daemon import cookies
from daemon.api import guard
from daemon.api.invitations import LONGEST, check_invitation
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, invalid, too_many_attempts
from daemon.api.shapes import Body, Shape, Time, answer, nothing
from daemon.auth import rules, throttle
from daemon.auth.passwords import Busy
from daemon.auth.throttle import Bucket, Crowded
from daemon.store import attempts, people
from daemon.store.attempts import Attempt, Blocked
from daemon.store.people import Account, NewSession, RegistrationClosed, UsernameTaken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quart import Response

    from daemon.db.database import Connection

blueprint = Blueprint("auth", __name__)

RETRY_BUSY_SECONDS = 2  # see daemon.auth.passwords.PLACES


class Registration(Body):
    """A wanted account. ``invitation``: what stands behind ``#`` in an invitation's link, if there is one."""

    username: str
    password: str = Field(json_schema_extra={"format": "password"})
    email: str | None = None
    invitation: Annotated[str, StringConstraints(max_length=LONGEST)] | None = None


class Credentials(Body):
    """A user name and a password."""

    username: str
    password: str = Field(json_schema_extra={"format": "password"})


class User(Shape):
    """A user."""

    id: str
    username: str
    email: str | None


class Me(User):
    """The user who asks."""

    is_admin: bool


class Session(Shape):
    """One browser that is signed in. ``provider``: by which it came; null for a password."""

    id: str
    created_at: Time
    last_seen_at: Time
    user_agent: str
    ip: str
    provider: str | None
    current: bool


class RegistrationState(Shape):
    """Whether anybody can register now; ``reason``, for people, says why not. ``first``: and becomes the admin."""

    possible: bool
    first: bool
    reason: str | None


_CLOSED: Final = {
    "closed": "Nobody can register on this server without an invitation. Ask somebody who uses it for one.",
    "first-user": "This server lets its first user register, and has one. Ask somebody who uses it for an invitation.",
}


@blueprint.get("/api/auth/registration")
@describe({200: Answer("Whether it is possible, and why not.", RegistrationState)}, public=True)
async def get_registration() -> Response:
    """Can I register?"""
    policy = parts().settings.registration

    def read(conn: Connection) -> tuple[bool, bool]:
        possible = people.may_register(conn, policy)
        return possible, possible and not people.anybody(conn)

    possible, first = await parts().db.run(read)
    return answer(RegistrationState(possible=possible, first=first, reason=None if possible else _CLOSED[policy]))


@blueprint.post("/api/auth/register")
@describe({201: Answer("Registered and signed in.", User)}, problems=[403, 404, 409, 429], public=True)
@takes(Registration)
async def register(wanted: Registration) -> Response:
    """Register with a user name and a password, if this server allows it, or by an invitation, which is used then."""
    email = (wanted.email or "").strip() or None
    _check_registration(wanted, email)
    policy = parts().settings.registration
    session, token = guard.new_session()
    invitation = None if wanted.invitation is None else await check_invitation(wanted.invitation)
    try:
        if invitation is None and not await parts().db.run(people.may_register, policy):
            raise RegistrationClosed
        # One at a time for each address, or one client's registrations take all places from those who sign in.
        async with parts().turns.turn(Bucket(f"register:{throttle.network(guard.client_ip())}", 0)):
            with parts().passwords.place():
                password_hash = await parts().passwords.hash(wanted.password)
        user = await parts().db.run(people.register, policy, wanted.username, email, password_hash, session, invitation)
    except RegistrationClosed:
        raise Problem(403, "registration_closed", _CLOSED[policy]) from None
    except UsernameTaken:
        raise Problem(409, "username_taken", "Somebody has this user name already; choose another.") from None
    except Crowded:
        raise _crowded() from None
    except Busy:
        raise _busy() from None
    return _signed_in(user, token, 201)


def _check_registration(wanted: Registration, email: str | None) -> None:
    faults = [
        ("username", rules.username_fault(wanted.username)),
        ("password", rules.password_fault(wanted.password, wanted.username)),
        ("email", email and rules.email_fault(email)),
    ]
    found = [(field, fault) for field, fault in faults if fault]
    if found:
        raise invalid(*found)


@blueprint.post("/api/auth/login")
@describe({200: Answer("Signed in.", User)}, problems=[401, 403, 429], public=True)
@takes(Credentials)
async def login(given: Credentials) -> Response:
    """Sign in with a user name and a password."""
    device = guard.cookie(guard.cookie_names().device)
    buckets = throttle.buckets(parts().keyring, guard.client_ip(), given.username, device)
    outcome = "limited"
    try:
        async with parts().turns.turn(buckets[0]):
            with parts().passwords.place():
                response = await _login(given, buckets)
        outcome = "ok"
    except Problem as problem:
        outcome = "limited" if problem.status == 429 else "wrong"
        raise
    except Crowded:
        raise too_many_attempts(1) from None
    except Busy:
        raise _busy() from None
    finally:
        parts().on_login(outcome)
    return response


async def _login(given: Credentials, buckets: Sequence[Bucket]) -> Response:
    attempt, account = await parts().db.run(_begin, given.username, buckets)
    if isinstance(attempt, Blocked):
        raise too_many_attempts(attempt.seconds)
    # The same work and the same words, whether there is such a user or not. What nobody can have set is not hashed.
    possible = len(given.password) <= rules.MAX_PASSWORD
    stored = None if account is None else account.password_hash
    verdict = await parts().passwords.verify(stored, given.password if possible else "")
    if account is None or not verdict.right:
        reason = "wrong password" if account else "no such user"
        await parts().db.run(people.refuse, guard.client_ip(), account, reason)
        raise Problem(401, "bad_credentials", "User name or password is wrong.")
    session, token = guard.new_session()
    if account.disabled or not await parts().db.run(
        _succeed, attempt, buckets[0], account.user.id, session, verdict.new_hash
    ):
        await parts().db.run(people.refuse, guard.client_ip(), account, "disabled")
        raise Problem(403, "account_disabled", "This account is disabled; ask the operator.")
    return _signed_in(account.user, token, 200)


def _begin(conn: Connection, username: str, buckets: Sequence[Bucket]) -> tuple[Attempt | Blocked, Account | None]:
    attempt = attempts.begin(conn, buckets)
    return attempt, people.find_account(conn, username) if rules.is_username(username) else None


def _succeed(
    conn: Connection, attempt: Attempt, own: Bucket, user_id: str, session: NewSession, new_hash: str | None
) -> bool:
    signed_in = people.sign_in(conn, user_id, session, new_hash)
    if signed_in:
        attempts.take_back(conn, attempt, own)
    return signed_in


def _crowded() -> Problem:
    detail = "Too many registrations from here at the same time. Try again in a moment."
    return Problem(429, "too_many_attempts", detail, headers={"Retry-After": str(RETRY_BUSY_SECONDS)})


def _busy() -> Problem:
    return Problem(
        503,
        "busy",
        "Too many people are signing in at the same time. Try again in a moment.",
        headers={"Retry-After": str(RETRY_BUSY_SECONDS)},
    )


def _signed_in(user: people.User, token: str, status: int) -> Response:
    response = answer(User(id=user.id, username=user.username, email=user.email), status)
    response.headers.add("Set-Cookie", guard.session_cookie(token))
    device = cookies.set_cookie(
        guard.cookie_names().device,
        throttle.new_device(parts().keyring, user.username),
        secure=parts().settings.secure,
        max_age=throttle.DEVICE_SECONDS,
    )
    response.headers.add("Set-Cookie", device)
    return response


@blueprint.post("/api/auth/logout")
@describe({204: Answer("Signed out, here and on every sandbox host.")})
async def logout() -> Response:
    """Sign out: this session ends everywhere, with its open streams."""
    session = await guard.require_session()
    await parts().db.run(people.end_session, guard.actor(), session.session_id, "session.ended")
    return nothing({"Set-Cookie": guard.session_cookie("")})


@blueprint.get("/api/auth/me")
@describe({200: Answer("The user who asks.", Me)})
async def get_me() -> Response:
    """Who am I?"""
    user = guard.current_user()
    return answer(Me(id=user.id, username=user.username, email=user.email, is_admin=user.is_admin))


@blueprint.get("/api/auth/sessions")
@describe({200: Answer("The caller's sessions, the latest used first.", list[Session])})
async def list_sessions() -> Response:
    """Where am I signed in?"""
    current = await guard.require_session()
    rows = await parts().db.run(people.list_sessions, current.user.id)
    return answer(
        [
            Session(
                id=row.id,
                created_at=row.created_at,
                last_seen_at=row.last_seen_at,
                user_agent=row.user_agent,
                ip=row.ip,
                provider=row.provider,
                current=row.id == current.session_id,
            )
            for row in rows
        ]
    )


@blueprint.delete("/api/auth/sessions/<session_id>")
@describe({204: Answer("Ended.")}, problems=[404])
async def delete_session(session_id: str) -> Response:
    """Sign out another browser or program of mine."""
    current = await guard.require_session()
    if not await parts().db.run(people.end_session, guard.actor(), session_id, "session.revoked"):
        raise Problem(404, "session_not_found", "You have no such session.")
    return nothing({"Set-Cookie": guard.session_cookie("")} if session_id == current.session_id else None)
