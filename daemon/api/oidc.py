"""Routes under ``/api/auth/oidc``: to a provider, back from it, and out of it.

Whoever comes back is sent on to where they were going, or to ``/login?error=…``, which has the words
(:mod:`daemon.signin.faults` has the codes). A provider that does not answer gets a page of its own, 503.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import structlog
from pydantic import StringConstraints
from quart import Blueprint, Response, request

from daemon import cookies
from daemon.api import guard
from daemon.api.invitations import INVITE_PAGE, LONGEST, check_invitation
from daemon.api.openapi import Answer, describe, takes
from daemon.api.parts import parts
from daemon.api.problems import Problem, too_many_attempts
from daemon.api.shapes import Body, Shape, answer
from daemon.auth.throttle import network
from daemon.pages.layout import HEADERS, Content, Link, html
from daemon.secret import new_token, token_hash
from daemon.signin.base import visit
from daemon.signin.faults import ProviderDown, SignInFault, SignInRefused
from daemon.signin.places import HOME, MOST, safe_next, with_query
from daemon.store import arrivals, identities
from daemon.store.arrivals import Rules
from daemon.store.identities import ATTEMPT_SECONDS, Attempt
from daemon.store.invitations import InvitationNotFound
from daemon.store.refusals import Refusal
from protocol.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.signin import base
    from daemon.signin.base import Visit
    from daemon.signin.profile import Profile

log = structlog.get_logger(__name__)

blueprint = Blueprint("oidc", __name__)

_BASE: Final = "/api/auth/oidc/<provider>"
RETRY_SECONDS: Final = 5  # a provider that restarts is back within some seconds
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # as daemon.secret.new_token makes them
_LONGEST_CODE: Final = 4096  # characters; some providers send what they know, signed


class Provider(Shape):
    """A way to sign in with somebody else's account."""

    id: str
    name: str


class Providers(Shape):
    """The ways to sign in with somebody else's account."""

    providers: list[Provider]


class SignInStart(Body):
    """What a sign-in is for: to link an identity to the account that is signed in, or to come by an invitation."""

    next: Annotated[str, StringConstraints(max_length=MOST)] | None = None
    link: bool = False
    invitation: Annotated[str, StringConstraints(max_length=LONGEST)] | None = None


class SignInLocation(Shape):
    """Where the browser has to go."""

    location: str


@blueprint.get("/api/auth/oidc/providers")
@describe({200: Answer("The ways to sign in besides a password.", Providers)}, public=True)
async def list_providers() -> Response:
    """With which other accounts can I sign in?"""
    found = [Provider(id=each.id, name=each.name) for each in parts().providers.values()]
    return answer(Providers(providers=found))


@blueprint.get(f"{_BASE}/login")
@describe(
    {302: Answer("To the provider, or to the sign-in page, which says what is wrong.")},
    problems=[403, 404, 429],
    public=True,
    query={"next": "Where to afterwards: a path on this site."},
)
async def sign_in_with_provider(provider: str) -> Response:
    """Go to a provider and sign in there."""
    chosen = _provider(provider)
    if guard.fetched_from_elsewhere():
        raise Problem(403, "foreign_origin", "A page of another site asked for this; nothing was begun.")
    place = safe_next(request.args.get("next"))
    if (elsewhere := _other_host()) is not None:
        # The cookie of this sign-in must be there when the provider sends the browser to the address it knows.
        return _go(with_query(f"{elsewhere}{request.path}", next=place))
    try:
        return await _depart(chosen, place, lambda location: _go(location))
    except ProviderDown as error:
        return _down(chosen, _login(chosen, place), error)
    except Problem as problem:
        if problem.status == 429 and guard.page_load():
            return _refused("too_many_attempts", place)
        raise


@blueprint.post(f"{_BASE}/start")
@describe({200: Answer("Where the browser has to go.", SignInLocation)}, problems=[401, 404], public=True)
@takes(SignInStart)
async def start_sign_in(wanted: SignInStart, provider: str) -> Response:
    """Begin to link an identity, or a sign-in with an invitation, which stands in no address so."""
    chosen = _provider(provider)
    session = await guard.require_session() if wanted.link else None
    invitation = None if wanted.invitation is None else await check_invitation(wanted.invitation)
    try:
        return await _depart(
            chosen,
            safe_next(wanted.next),
            lambda location: answer(SignInLocation(location=location)),
            session_id=None if session is None else session.session_id,
            invitation=invitation,
        )
    except ProviderDown as error:
        raise _unavailable(chosen, error) from None
    except SignInRefused:
        raise Problem(401, "not_signed_in", "Sign in first; the session may have ended.") from None


async def _depart(
    provider: base.Provider,
    place: str,
    respond: Callable[[str], Response],
    *,
    session_id: str | None = None,
    invitation: bytes | None = None,
) -> Response:
    """Keep the attempt, and the cookie by which its browser is known again. Raises :class:`ProviderDown`."""
    state = new_token()
    location = await provider.authorization_url(_visit(provider, state))
    name = guard.cookie_names().sign_in
    browser = guard.cookie(name) or ""
    if not _TOKEN.fullmatch(browser):  # one that is there stays: another tab may be away with it
        browser = new_token()
    attempt = Attempt(provider.id, token_hash(browser), place, session_id, invitation)
    seconds = await parts().db.run(identities.begin, token_hash(state), attempt, network(guard.client_ip()))
    if seconds > 0:
        parts().on_login("limited")
        raise too_many_attempts(seconds)
    response = respond(location)
    secure = parts().settings.secure
    response.headers.add("Set-Cookie", cookies.set_cookie(name, browser, secure=secure, max_age=ATTEMPT_SECONDS))
    return response


@blueprint.get(f"{_BASE}/callback")
@describe(
    {302: Answer("Signed in, to where the person was going; or to the sign-in page, which says what is wrong.")},
    problems=[404],
    public=True,
    query={
        "code": "The provider's, for the person's tokens.",
        "state": "Ours, of the sign-in that was begun.",
        "iss": "The provider's own name, where it says it (RFC 9207).",
        "error": "What the provider says in the place of a code.",
    },
)
async def finish_sign_in(provider: str) -> Response:
    """Come back from a provider."""
    chosen = _provider(provider)
    place, again, linking = HOME, HOME, False
    try:
        attempt = await _attempt(chosen)
        place, again, linking = attempt.next, _again(chosen, attempt), attempt.session_id is not None
        code = _code()
        profile = await chosen.profile(_visit(chosen, request.args.get("state", "")), code, request.args.get("iss"))
        response = await (_link(attempt, profile) if linking else _arrive(attempt, profile))
    except ProviderDown as error:
        return _down(chosen, again, error)
    except InvitationNotFound:
        return await _no_entry(SignInRefused("invitation_not_found", "the invitation is not good any more"), place)
    except SignInRefused as refusal:
        log.info("sign-in refused", provider=chosen.id, fault=refusal.fault, reason=refusal.reason)
        return await (_not_linked(refusal, place) if linking else _no_entry(refusal, place))
    return response


async def _attempt(provider: base.Provider) -> Attempt:
    """The attempt that the browser comes back from, used up. Raises :class:`SignInRefused`."""
    state, browser = request.args.get("state", ""), guard.cookie(guard.cookie_names().sign_in)
    attempt = await parts().db.run(identities.take, token_hash(state)) if _TOKEN.fullmatch(state) else None
    if attempt is None:
        raise SignInRefused("expired", "no such state, or used or run out")
    # The answer of one provider must not be taken for another's (RFC 9700, 4.4).
    if attempt.provider != provider.id:
        raise SignInRefused("expired", "the state is of another provider")
    if browser is None or token_hash(browser) != attempt.browser_hash:
        raise SignInRefused("other_browser", "the state is of another browser")
    return attempt


def _code() -> str:
    """What the provider gave. Raises :class:`SignInRefused` if it is an error."""
    error = request.args.get("error")
    if error == "access_denied":
        raise SignInRefused("denied", "denied at the provider")
    code = request.args.get("code", "")
    if error is not None or not code or len(code) > _LONGEST_CODE:
        raise SignInRefused("provider_refused", "the provider sent no code")
    return code


async def _arrive(attempt: Attempt, profile: Profile) -> Response:
    """Sign in."""
    session, token = guard.new_session()
    await parts().db.run(arrivals.arrive, profile, _rules(), session, attempt.invitation)
    parts().on_login("ok")
    response = _go(attempt.next)
    response.headers.add("Set-Cookie", guard.session_cookie(token))
    return response


async def _link(attempt: Attempt, profile: Profile) -> Response:
    """Link the identity to the one who began it, and who must still be here."""
    session = await guard.find_session()
    if session is None or session.session_id != attempt.session_id:
        raise SignInRefused("signed_out", "the session that began it is not this browser's")
    arrivals.check_domain(profile, _rules())
    await parts().db.run(identities.link, guard.actor(), profile)
    return _go(attempt.next)


@blueprint.get(f"{_BASE}/logout")
@describe(
    {302: Answer("To where the provider ends its own session; if it has no such place, to the sign-in page.")},
    problems=[404],
    public=True,
)
async def sign_out_of_provider(provider: str) -> Response:
    """Sign out at the provider, too. It ends no session here: sign out here first."""
    chosen = _provider(provider)
    try:
        location = await chosen.logout_url(f"{_redirect_base()}/login")
    except ProviderDown as error:
        log.warning("provider does not answer", provider=chosen.id, reason=str(error))
        location = None
    return _refused("no_sign_out", HOME) if location is None else _go(location)


# What they have in common


def _provider(provider: str) -> base.Provider:
    found = parts().providers.get(provider)
    if found is None:
        raise Problem(404, "provider_not_found", "This server has no such way to sign in.")
    return found


def _rules() -> Rules:
    settings = parts().settings
    return Rules(settings.registration, settings.oidc_allowed_domains, settings.github_allowed_orgs)


def _redirect_base() -> str:
    settings = parts().settings
    return settings.oidc_redirect_base_url or settings.main_origin


def _visit(provider: base.Provider, state: str) -> Visit:
    redirect_uri = f"{_redirect_base()}/api/auth/oidc/{provider.id}/callback"
    return visit(parts().keyring, provider.id, redirect_uri, state)


def _other_host() -> str | None:
    """Where callbacks come to, if the browser is at another host of ours: at the listener's address, say. Ports are no
    matter, to cookies neither.

    A host that is none of ours leads here by a proxy, which may say another: to be sent there would have no end.
    """
    here = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    base = _redirect_base()
    there = urlsplit(base).hostname or ""
    ours = there == parts().settings.base_domain or is_address(there)
    return base if ours and here != there else None


def _go(location: str) -> Response:
    # Nobody learns code and state of the address that this answers.
    return Response(b"", 302, {"Location": location, "Referrer-Policy": "no-referrer"})


def _refused(fault: SignInFault, place: str) -> Response:
    more = {} if place == HOME else {"next": place}
    return _go(with_query("/login", error=fault, **more))


async def _no_entry(refusal: SignInRefused, place: str) -> Response:
    """Somebody was not let in, which the audit log tells: not each time, as coming here costs nobody anything."""
    parts().on_login("wrong")
    reason = f"by a provider: {refusal.reason}"
    await parts().refusals.note(Refusal("session.refused", reason, ip=guard.client_ip()))
    return _refused(refusal.fault, place)


async def _not_linked(refusal: SignInRefused, place: str) -> Response:
    """An identity was not linked to somebody who wanted it."""
    session = await guard.find_session()
    if session is not None:
        await parts().refusals.note(Refusal("identity.refused", refusal.reason, guard.actor()))
    return _refused(refusal.fault, place)


def _unavailable(provider: base.Provider, error: ProviderDown) -> Problem:
    log.warning("provider does not answer", provider=provider.id, reason=str(error))
    detail = f"{provider.name} does not answer right now. Nothing was changed; try again in a moment."
    return Problem(503, "provider_unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def _login(provider: base.Provider, place: str) -> str:
    return with_query(f"/api/auth/oidc/{provider.id}/login", next=place)


def _again(provider: base.Provider, attempt: Attempt) -> str:
    """Where to begin anew what was broken off. Of linking, and of an invitation, it is the page they were begun on:
    the address of a sign-in would make another account."""
    if attempt.session_id is not None:
        return attempt.next
    return _login(provider, attempt.next) if attempt.invitation is None else INVITE_PAGE


def _down(provider: base.Provider, again: str, error: ProviderDown) -> Response:
    """The 503: a page for people, a problem for programs."""
    problem = _unavailable(provider, error)
    if not guard.page_load():
        raise problem
    page = Content(
        title=f"{provider.name} does not answer",
        word="Not available",
        icon="away",
        text="Signing in there does not work right now. Nothing is lost, and everything else works: "
        "who is signed in stays so. Try again in a moment, or sign in another way.",
        links=(Link("Try again", again, first=True), Link("Other ways to sign in", "/login")),
    )
    headers = {name.decode(): value.decode() for name, value in HEADERS} | problem.headers
    return Response(html(page), 503, headers | {"Referrer-Policy": "no-referrer"})
