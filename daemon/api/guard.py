"""What every request to the API passes before its handler: same site, JSON, signed in.

Sandbox hosts are same-site with the main one, so that ``SameSite`` cookies protect nothing: a request that changes
something must come from a page of this very origin, or from a program, which sends neither ``Origin`` nor
``Sec-Fetch-Site``. Routes need a session unless they are marked :func:`daemon.api.openapi.describe` ``public``.
Programs may bring an API token instead, where :mod:`daemon.auth.scopes` says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from quart import g, request

from daemon import cookies
from daemon.api.openapi import is_public
from daemon.api.parts import parts
from daemon.api.problems import Problem
from daemon.auth import scopes
from daemon.browser_headers import missing
from daemon.cookies import CookieNames
from daemon.secret import new_token, token_hash
from daemon.store import api_tokens, people, workspaces
from daemon.store.audit import Actor
from daemon.store.people import NewSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quart import Quart, Response

    from daemon.auth.roles import Action, Role
    from daemon.store.people import SignedIn, User

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# As long as what browsers send; it is shown in the list of sessions, nothing more.
_USER_AGENT_LENGTH = 200


def is_api(path: str) -> bool:
    """Whether a path belongs to the API rather than to the web page."""
    return path == "/api" or path.startswith("/api/")


# Where the request came from


def client_ip() -> str:
    """The client's address; the gateway's word, never the client's."""
    return request.headers.get("X-Forwarded-For", "")


def user_agent() -> str:
    """What the client calls itself, printable and cut."""
    given = request.headers.get("User-Agent", "")
    return "".join(char for char in given if char.isprintable())[:_USER_AGENT_LENGTH]


def _normal(scheme: str, host: str) -> str:
    """An origin as browsers write it: lower case, without the scheme's own port."""
    return f"{scheme}://{host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def check_same_site(method: str, origins: Sequence[str], fetch_sites: Sequence[str], allowed: frozenset[str]) -> None:
    """Raise the 403 for a state-changing request that a page of another origin sent. ``Origin: null`` is another."""
    if method in SAFE_METHODS:
        return
    if any(origin not in allowed for origin in origins):
        raise Problem(403, "foreign_origin", "This request came from a page of another site; it was not carried out.")
    if any(site not in ("same-origin", "none") for site in fetch_sites):
        raise Problem(403, "foreign_origin", "This request came from a page of another site; it was not carried out.")


def check_content_type(method: str, content_type: str | None, has_body: bool) -> None:
    """Raise the 415 for a body that is not JSON: forms and plain text are what pages can send without asking."""
    if method in SAFE_METHODS or (content_type is None and not has_body):
        return
    if content_type is None or content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported_media_type", "The body must be application/json.")


def _check_request() -> None:
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    # A listener's own address (http://127.0.0.1:8080) is not in the settings. The gateway sends us no other hosts.
    main_scheme, _, main_host = parts().settings.main_origin.partition("://")
    allowed = {_normal(main_scheme, main_host), _normal(scheme, request.headers.get("Host", ""))}
    headers = request.headers
    check_same_site(request.method, headers.getlist("Origin"), headers.getlist("Sec-Fetch-Site"), frozenset(allowed))
    has_body = bool(request.content_length) or "Transfer-Encoding" in headers
    check_content_type(request.method, headers.get("Content-Type"), has_body)


# Who sent it


def cookie_names() -> CookieNames:
    """The cookies' names here."""
    return CookieNames.for_scheme(secure=parts().settings.secure)


def cookie(name: str) -> str | None:
    """The value of one of our cookies; ``None`` too if there are two: one was tossed by a sibling host."""
    return cookies.only_value("; ".join(request.headers.getlist("Cookie")), name)


async def find_session() -> SignedIn | None:
    """The session that the request's cookie proves, or its API token, if any. Asked of the database once for a request.

    Raises for a token that is not good, or not for this route: who sends one means it.
    """
    if "signed_in" not in g:
        token = bearer(request.headers.getlist("Authorization"))
        if token is None:
            g.signed_in = await _by_cookie()
        else:
            g.signed_in = await _by_token(token)
            _check_scope(g.signed_in)
    found: SignedIn | None = g.signed_in
    return found


async def _by_cookie() -> SignedIn | None:
    token = cookie(cookie_names().session)
    if not token:
        return None
    found = await parts().db.run(people.find_session, token_hash(token), client_ip(), user_agent())
    if found and found.renewed:
        g.renewed_token = token
    return found


def bearer(values: Sequence[str]) -> str | None:
    """What ``Authorization: Bearer`` holds, if it is there. Other schemes are of somebody in front of us.

    Raises the 400 for two.
    """
    found = [rest.strip() for scheme, _, rest in (value.strip().partition(" ") for value in values)
             if scheme.lower() == "bearer"]  # fmt: skip
    if len(found) > 1:
        raise Problem(400, "two_credentials", "The request has two Authorization headers. Send one token.")
    return found[0] if found else None


async def _by_token(token: str) -> SignedIn:
    if cookies.values("; ".join(request.headers.getlist("Cookie")), cookie_names().session):
        detail = "The request has a token and the cookie of a session; it is not clear who sent it. Send one of them."
        raise Problem(400, "two_credentials", detail)
    found = None
    if token.startswith(scopes.PREFIX) and len(token) == scopes.LENGTH:
        found = await parts().db.run(api_tokens.find, token_hash(token), client_ip(), user_agent())
    if found is None:
        detail = "This API token is wrong, was revoked, or has expired. Its owner can make a new one."
        raise Problem(401, "invalid_token", detail, headers=_challenge("invalid_token"))
    return found


def _check_scope(session: SignedIn) -> None:
    """Raise the 403 if the token is not for this route."""
    rule = request.url_rule
    scope = scopes.needed(request.method, "" if rule is None else rule.rule)
    if scope is None:
        detail = "This takes a person who is signed in; API tokens cannot do it."
        raise Problem(403, "session_required", detail)
    if scope not in (session.scopes or ()):
        detail = f"This API token has no scope “{scope}”, which this takes. Make a token with it."
        raise Problem(403, "scope_missing", detail, headers=_challenge("insufficient_scope", scope))


def _challenge(error: str | None = None, scope: str | None = None) -> dict[str, str]:
    """What a 401 must say (RFC 9110, 11.6.1), and what is wrong with a token (RFC 6750, 3)."""
    said = [f'{name}="{word}"' for name, word in (("error", error), ("scope", scope)) if word]
    return {"WWW-Authenticate": " ".join(["Bearer", ", ".join(said)]).strip()}


async def require_session() -> SignedIn:
    """The request's session; raises the 401. Unless a route is public, this was done before its handler."""
    session = await find_session()
    if session is None:
        raise Problem(401, "not_signed_in", "Sign in first; the session may have ended.", headers=_challenge())
    return session


async def require_user() -> User:
    """Who sent the request; raises the 401."""
    return (await require_session()).user


def current_user() -> User:
    """Who sent the request. For handlers of routes that are not public."""
    signed_in: SignedIn = g.signed_in
    return signed_in.user


def actor() -> Actor:
    """Who sent the request, and from where, for what changes something. For handlers of routes that are not public."""
    signed_in: SignedIn = g.signed_in
    token = None if signed_in.scopes is None else signed_in.session_id
    return Actor(signed_in.user.id, client_ip(), token)


async def require_role(workspace_id: str, action: Action) -> Role:
    """The caller's role, if it allows ``action``; raises 404 for non-members and 403.

    For reading. What changes something calls :func:`daemon.store.workspaces.authorize` in its own transaction.
    """
    user = await require_user()
    return await parts().db.run(workspaces.authorize, workspace_id, user.id, action)


# How it was asked


def page_load() -> bool:
    """Whether a person navigates here, by the same signs as the gateway's."""
    mode = request.headers.get("Sec-Fetch-Mode")
    return mode == "navigate" if mode is not None else "text/html" in request.headers.get("Accept", "")


def fetched_from_elsewhere() -> bool:
    """Whether a page of a sandbox, or of anybody, asks behind the person's back.

    Programs send neither header; a link from elsewhere is a person's navigation.
    """
    headers = request.headers
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    return headers.get("Sec-Fetch-Mode") != "navigate" or headers.get("Sec-Fetch-Dest", "document") != "document"


def new_session() -> tuple[NewSession, str]:
    """A session for this browser, in the place of the one it has, and its token."""
    token = new_token()
    before = cookie(cookie_names().session)
    replaces = None if before is None else token_hash(before)
    return NewSession(token_hash(token), client_ip(), user_agent(), replaces), token


# Hooks


def register_guard(app: Quart) -> None:
    """Put the guard before every handler, and the fixed headers on every answer."""

    @app.before_request
    async def _before() -> None:
        if not is_api(request.path):
            return
        _check_request()
        view = app.view_functions.get(request.endpoint or "")
        if view is not None and not is_public(view):
            session = await require_session()
            _count_change(session.user)

    @app.after_request
    async def _after(response: Response) -> Response:
        # The gateway adds HSTS, where it is due, and these where we fail.
        for name, value in missing({name.lower() for name in response.headers.keys()}, https=False):  # noqa: SIM118
            response.headers[name.title()] = value
        if is_api(request.path):
            response.headers["Cache-Control"] = "no-store"
            _renew_cookie(response)
            _remove_tossed(response)
        return response


def _count_change(user: User) -> None:
    """Raise the 429 for more changes than one user may make. Signing out, here or elsewhere, is always possible."""
    ends = request.path == "/api/auth/logout" or (request.method == "DELETE" and request.path.startswith("/api/auth/"))
    if request.method in SAFE_METHODS or ends:
        return
    seconds = parts().changes.take(user.id)
    if seconds > 0:
        wait = math.ceil(seconds)
        detail = f"You make more changes than this server takes at once; this one was not made. Try again in {wait} s."
        raise Problem(429, "too_many_changes", detail, headers={"Retry-After": str(wait)})


def _renew_cookie(response: Response) -> None:
    """The browser keeps the cookie as long as the database keeps the session, unless the handler set another."""
    token = g.get("renewed_token")
    if token is not None and "Set-Cookie" not in response.headers:
        response.headers.add("Set-Cookie", session_cookie(token))


def _remove_tossed(response: Response) -> None:
    """Take away what a sibling host set in our cookies' names, or whoever signs in would be nobody all the same.

    It shows by two of a name; or, where a session begins or ends, by one that was there before, which may be ours.
    """
    if parts().settings.secure:
        return  # browsers keep siblings from it
    header = "; ".join(request.headers.getlist("Cookie"))
    names = cookie_names()
    given = {name: len(cookies.values(header, name)) for name in (names.session, names.device, names.sign_in)}
    ours = response.headers.getlist("Set-Cookie")
    replaced = any(line.startswith(names.session) for line in ours)
    tossed = [name for name, count in given.items() if count > 1 or (count and replaced)]
    domain = parts().settings.base_domain
    removed = [line for name in tossed for line in cookies.expire_tossed(name, domain, request.path)]
    if removed:  # before ours, for programs that tell cookies by nothing but their names
        response.headers.setlist("Set-Cookie", removed + ours)


def session_cookie(token: str) -> str:
    """The ``Set-Cookie`` value for a session's token; an empty token removes the cookie."""
    lifetime = cookies.SESSION_SECONDS if token else 0
    return cookies.set_cookie(cookie_names().session, token, secure=parts().settings.secure, max_age=lifetime)
