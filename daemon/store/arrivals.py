"""Somebody comes back from a provider: who that is here, whether they may come in, and what the provider decides."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from daemon.ids import new_id
from daemon.signin.faults import SignInRefused
from daemon.signin.profile import allowed_domain, usernames
from daemon.store import admin, identities, invitations, people
from daemon.store.audit import Actor, Target, record
from daemon.store.people import User
from daemon.store.workspaces import AlreadyMember

if TYPE_CHECKING:
    from daemon.db.database import Connection
    from daemon.signin.faults import SignInFault
    from daemon.signin.profile import Profile
    from daemon.store.audit import AuditAction
    from daemon.store.people import NewSession, Registration


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may come in."""

    registration: Registration
    domains: tuple[str, ...]  # of people who come by OIDC
    organisations: tuple[str, ...]  # of people who come by GitHub, and may come without registration


def check_domain(profile: Profile, rules: Rules) -> None:
    """Raise :class:`SignInRefused` for somebody from elsewhere: at each sign-in, and before anything is linked."""
    if profile.provider == "oidc" and not allowed_domain(profile, rules.domains):
        raise SignInRefused("domain_not_allowed", "no verified e-mail address of OIDC_ALLOWED_DOMAINS")


def may_join(profile: Profile) -> bool:
    """Whether somebody new gets an account by who they are. Whom an OIDC provider knows belongs to it; GitHub knows
    everybody.
    """
    return profile.provider == "oidc" or profile.in_organisation


def arrive(conn: Connection, profile: Profile, rules: Rules, session: NewSession, invitation: bytes | None) -> None:
    """Sign somebody in: as whom they were before, by a trusted e-mail address, or as a new user.

    Raises :class:`SignInRefused`, or :class:`~daemon.store.invitations.InvitationNotFound`.
    """
    check_domain(profile, rules)
    session = replace(session, provider=profile.provider)
    if profile.is_admin is not None:
        admin.lock_admins(conn)
    identities.lock(conn, profile)
    known = identities.find(conn, profile)
    if known is None:
        stranger = invitation is None and rules.registration != "open" and not may_join(profile)
        # Who types an address at GitHub, and gets in by nothing else, is not told whether somebody here has it.
        user_id = None if stranger and not profile.email_verified else _by_email(conn, profile, session)
        if user_id is None:
            _join(conn, profile, rules, session, invitation)
            return
    else:
        if known.by_organisation and not profile.in_organisation:
            raise SignInRefused("organisation_required", "not a member of GITHUB_ALLOWED_ORGS any more")
        user_id = known.user_id
    actor = Actor(user_id, session.ip)
    if not people.sign_in(conn, user_id, session, provider=profile.provider):
        raise SignInRefused("account_disabled", "disabled")
    if known is not None:
        identities.refresh(conn, profile, known.id)
    identities.take_over_email(conn, user_id, profile, before=None if known is None else known.email)
    _decide_admin(conn, actor, profile)
    if invitation is not None:
        with suppress(AlreadyMember):
            invitations.accept(conn, invitation, actor)


def _by_email(conn: Connection, profile: Profile, session: NewSession) -> str | None:
    """Link it to the one account with its e-mail address, if both sides are known to be the same person's.

    An account whose address nobody verified may be somebody else's, who waits for its owner to come; and one that this
    provider knows as another person is theirs, whoever has the address now (decision 16).
    """
    if profile.email is None:
        return None
    rows = conn.execute(
        "SELECT id, username, email_trusted AND NOT EXISTS"
        " (SELECT 1 FROM identities WHERE user_id = users.id AND issuer = %s)"
        " FROM users WHERE lower(email) = lower(%s) LIMIT 2",
        (profile.issuer, profile.email),
    ).fetchall()
    if not rows:
        return None
    if len(rows) > 1 or not rows[0][2] or not profile.email_verified:
        raise SignInRefused("email_taken", "an account with this e-mail address is there, and not known to be the same")
    target = Target("user", rows[0][0], rows[0][1])
    by_organisation = identities.bound(conn, target.id, profile)
    actor = Actor(target.id, session.ip)
    identities.add(conn, actor, profile, target, "by e-mail address", by_organisation=by_organisation)
    return target.id


def _join(conn: Connection, profile: Profile, rules: Rules, session: NewSession, invitation: bytes | None) -> None:
    """A new user."""
    first = people.lock_registration(conn)
    invited = {} if invitation is None else {"invitation": invitations.look(conn, invitation).id}
    # Where organisations are named, the first one, who becomes the admin, is of one of them, too.
    unbound = rules.registration == "open" or bool(invited) or (first and not rules.organisations)
    if not (unbound or may_join(profile)):
        fault: SignInFault = "organisation_required" if rules.organisations else "registration_closed"
        raise SignInRefused(fault, "nobody new may come by this provider")
    user = User(new_id(), _free_name(conn, profile), profile.verified_email, is_admin=first or bool(profile.is_admin))
    trusted = user.email is not None
    people.create_account(
        conn, user, session, password_hash=None, email_trusted=trusted, provider=profile.provider, **invited
    )
    actor = Actor(user.id, session.ip)
    # Only who would not have come in otherwise has to stay a member.
    bound = profile.in_organisation and not unbound
    target = Target("user", user.id, user.username)
    identities.add(conn, actor, profile, target, "with the account", by_organisation=bound)
    if invitation is not None:
        invitations.accept(conn, invitation, actor)


def _free_name(conn: Connection, profile: Profile) -> str:
    """A user name that nobody has. Nobody registers meanwhile."""
    wanted = list(usernames(profile, new_id()))
    rows = conn.execute(
        "SELECT lower(username) FROM users WHERE lower(username) = ANY(%s)", ([name.lower() for name in wanted],)
    ).fetchall()
    taken = {name for (name,) in rows}
    return next(name for name in wanted if name.lower() not in taken)


def _decide_admin(conn: Connection, actor: Actor, profile: Profile) -> None:
    """Make the user an admin or not, where the provider says; the last one stays."""
    if profile.is_admin is None:
        return
    row = conn.execute("SELECT username, is_admin FROM users WHERE id = %s", (actor.user_id,)).fetchone()
    if row is None or row[1] == profile.is_admin:
        return
    if not profile.is_admin:
        try:
            admin.keep_an_admin(conn, actor.user_id)
        except admin.LastAdmin:
            return
    conn.execute("UPDATE users SET is_admin = %s WHERE id = %s", (profile.is_admin, actor.user_id))
    action: AuditAction = "user.admin_granted" if profile.is_admin else "user.admin_revoked"
    target = Target("user", actor.user_id, row[0])
    record(conn, None, action, target, ip=actor.ip, by="the provider's groups")
