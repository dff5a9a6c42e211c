"""The way into a sandbox host: a browser is sent for a ticket, and the ticket becomes the host's own cookie.

A ticket that a browser brings must have been made for that browser: else somebody could have another's browser redeem a
ticket of theirs, and the other would work, and type what is secret, in their name. So this host gives the browser a
cookie when it sends it for a ticket, and the ticket is good with that cookie only. One that was made without (by a link
on the main page) is used up, and the browser is sent once more for one of its own.

A browser is told by ``Sec-Fetch-Site``, which pages can neither forge nor take away; a program, which nobody can make
follow a link, sends none and needs no more than the ticket. Over plain HTTP browsers send it to ``localhost`` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, quote

from daemon import cookies
from daemon.cookies import CookieNames
from daemon.gateway.exchange import Reply, Request
from daemon.secret import browser_mark, new_token, ticket_hash, token_hash
from daemon.store.refusals import Refusal

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.gateway.router import SandboxSite as SandboxRoute
    from daemon.gateway.sandbox_pages import SandboxPages
    from protocol.headers import Headers

# From being sent for a ticket until coming back with it: whoever signs in meanwhile looks for a password.
_ENTERING_SECONDS = 600
# Of a mark, to name its cookie by: several tabs enter at the same time, and each has one of its own.
_NAMED_BY = 8


class Tickets(Protocol):
    """What is asked of the database."""

    async def redeem(self, ticket_hash: bytes, label: str, cookie_hash: bytes) -> str | None:
        """Exchange a ticket for a cookie of this host; the sandbox's id, or ``None`` if the ticket is not good."""
        ...

    async def discard(self, ticket_hash: bytes, label: str) -> bool:
        """Use a ticket up; whether it was good."""
        ...

    async def note(self, refusal: Refusal) -> None:
        """Somebody was not let in."""
        ...


class Entrance:
    """Sends browsers for tickets, and takes tickets."""

    def __init__(self, settings: Settings, tickets: Tickets, pages: SandboxPages) -> None:
        self._settings = settings
        self._names = CookieNames.for_scheme(secure=settings.secure)
        self._tickets = tickets
        self._pages = pages

    def sign_in(self, request: Request, route: SandboxRoute) -> Reply:
        """There is no valid cookie of this host: a person is sent to get one, a program is told."""
        target = request.target.decode("ascii")
        if not (request.page_load and _is_browser(request)):
            reply = self._pages.sign_in(request, self._open_url(route, target))
        else:
            reply = self._send(route, target, 302)
        reply.headers += self._without_tossed(request)
        return reply

    async def redeem(self, request: Request, route: SandboxRoute) -> Reply:
        """The browser, or a program, came with a ticket."""
        query = parse_qs(request.query.decode("ascii"), keep_blank_values=True)
        ticket, wanted, mark = (query.get(name, [""])[0] for name in ("ticket", "next", "browser"))
        wanted = safe_path(wanted)
        if request.method != b"GET" or not ticket:
            return self._bad_ticket(request, route)
        if _is_browser(request) and not mark:
            if not await self._tickets.discard(token_hash(ticket), route.label):
                return await self._refused(request, route, "wrong, used or expired")
            return self._send(route, wanted, 303)
        if mark and not self._is_marked(request, mark):
            return await self._refused(request, route, "another browser's")
        cookie = new_token()
        found = await self._tickets.redeem(ticket_hash(ticket, mark), route.label, token_hash(cookie))
        if found is None:
            return await self._refused(request, route, "wrong, used or expired")
        headers = self._without_tossed(request)
        headers.append(self._cookie(self._names.sandbox, cookie, cookies.SESSION_SECONDS))
        if mark:
            headers.append(self._cookie(self._entering(mark), "", 0))
        return _redirect(303, wanted, headers)

    def _send(self, route: SandboxRoute, wanted: str, status: int) -> Reply:
        """Send a browser for a ticket that it alone can use."""
        secret = new_token()
        mark = browser_mark(secret)
        place = f"{self._open_url(route, wanted)}&browser={mark}"
        return _redirect(status, place, [self._cookie(self._entering(mark), secret, _ENTERING_SECONDS)])

    def _open_url(self, route: SandboxRoute, target: str) -> str:
        wanted = target if route.port is None else self._settings.host_origin(route.label) + target
        path = f"/api/sandboxes/{route.sandbox_id}/open"
        return f"{self._settings.main_origin}{path}?next={quote(wanted, safe='')}"

    async def _refused(self, request: Request, route: SandboxRoute, reason: str) -> Reply:
        """The ticket is no good, and somebody may look later who brought it."""
        refusal = Refusal("ticket.refused", reason, ip=request.client_ip, sandbox_id=route.sandbox_id)
        await self._tickets.note(refusal)
        return self._bad_ticket(request, route)

    def _bad_ticket(self, request: Request, route: SandboxRoute) -> Reply:
        return self._pages.bad_ticket(request, self._open_url(route, "/"))

    def _entering(self, mark: str) -> str:
        return f"{self._names.entering}_{mark[:_NAMED_BY]}"

    def _is_marked(self, request: Request, mark: str) -> bool:
        """Whether the browser has the cookie that belongs to the mark."""
        secret = cookies.only_value(_cookies(request), self._entering(mark))
        return secret is not None and browser_mark(secret) == mark

    def _without_tossed(self, request: Request) -> Headers:
        """Where two cookies have our name, neither is believed; take the one away that a sibling host set."""
        if self._settings.secure or len(cookies.values(_cookies(request), self._names.sandbox)) < 2:
            return []
        lines = cookies.expire_tossed(self._names.sandbox, request.host, request.path.decode("ascii"))
        return [(b"set-cookie", line.encode()) for line in lines]

    def _cookie(self, name: str, value: str, max_age: int) -> tuple[bytes, bytes]:
        line = cookies.set_cookie(name, value, secure=self._settings.secure, max_age=max_age)
        return (b"set-cookie", line.encode())


def _is_browser(request: Request) -> bool:
    return request.get(b"sec-fetch-site") is not None


def _cookies(request: Request) -> str:
    return b"; ".join(request.get_all(b"cookie")).decode("latin-1")


def _redirect(status: int, place: str, headers: Headers) -> Reply:
    fixed = [(b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
    return Reply(status, [(b"location", place.encode("ascii")), *headers, *fixed])


def safe_path(wanted: str) -> str:
    """``wanted`` if it is a path on this very host, else the root: what follows here goes into ``Location``."""
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted and " " not in wanted
    return wanted if plain and wanted.startswith("/") and not wanted.startswith("//") else "/"
