"""Sandbox hosts: who may pass, what is shown to who may not or not yet, and what reaches the sandbox."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from daemon import cookies
from daemon.cookies import CookieNames, is_ours
from daemon.gateway import limits
from daemon.gateway.entering import Entrance, Tickets, safe_path
from daemon.gateway.exchange import Decision, Forward, Reply, Request
from daemon.sandboxes.status import CLOUD, LOCAL, OFFLINE, RUNNING
from daemon.store.audit import Actor
from daemon.store.refusals import Refusal
from daemon.wire.http1 import Http1Upstream
from protocol.headers import Headers, request_headers, without_cookies, without_query_parameter
from protocol.messages import RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.config import Settings
    from daemon.gateway.lookup import CachedLookup
    from daemon.gateway.router import SandboxSite as SandboxRoute
    from daemon.gateway.sandbox_pages import SandboxPages
    from daemon.store.access import Grant
    from daemon.store.sandboxes import SandboxRow
    from daemon.wire.exchange import Upstream
    from daemon.wire.sockets import SocketStream

TICKET_PATH = b"/__cli-server/ticket"
RESUME_PARAMETER = b"__cli-server"
# What opencode's page asks for by itself while it is merely open, seen by watching one for a minute: its event stream,
# and its health every ten seconds. It keeps nothing awake.
BACKGROUND = frozenset({b"/event", b"/global/event", b"/api/event", b"/global/health", b"/api/health"})
# And what replicas say to each other (daemon.tunnel.hop): nobody else does.
_CREDENTIALS = frozenset({b"authorization", b"cli-server-hop"})
# Clear-Site-Data reaches cookies of the whole domain, ours among them. Whether this host is reached by TLS, and where,
# is the operator's to say. Network error logging would report each address that is opened here, our tickets among them.
_NOT_FROM_SANDBOXES = frozenset(
    {b"clear-site-data", b"strict-transport-security", b"alt-svc", b"nel", b"report-to", b"set-cookie2"}
)
_FRAMES = frozenset({b"iframe", b"frame", b"embed", b"object", b"fencedframe"})
_MAY_OPEN = frozenset({"owner", "maintainer", "developer"})
GrantKey = tuple[str, str]  # host label, cookie


class Sandboxes(Tickets, Protocol):
    """What the gateway asks of the sandboxes' life."""

    async def connect(self, sandbox_id: str, port: int | None) -> SocketStream:
        """Connect to opencode, or to a port inside. Raises :class:`OSError`."""
        ...

    def tunnel(self, sandbox_id: str, /) -> Upstream:
        """The way to a local sandbox."""
        ...

    def password(self, sandbox: SandboxRow) -> str:
        """opencode's password."""
        ...

    def touch(self, sandbox_id: str) -> None:
        """Somebody uses it now."""
        ...

    async def resume(self, sandbox_id: str, actor: Actor) -> None:
        """Ask for it to be resumed; no error if it is on its way already."""
        ...


class _Use:
    """Tells the activity what passes. An event stream by itself is no use: a forgotten tab holds one."""

    __slots__ = ("_id", "_quiet", "_touch")

    def __init__(self, touch: Callable[[str], None], sandbox_id: str, quiet: bool) -> None:
        self._touch = touch
        self._id = sandbox_id
        self._quiet = quiet

    def head(self, response: ResponseHead) -> ResponseHead:
        cookies_set = False
        for name, value in response.headers:
            if name == b"set-cookie":
                cookies_set = True
            elif name == b"content-type" and value.startswith(b"text/event-stream"):
                self._quiet = True
        if cookies_set:
            response.headers = [pair for pair in response.headers if not _foreign_cookie(pair)]
        if any(name in _NOT_FROM_SANDBOXES for name, _ in response.headers):
            response.headers = [pair for pair in response.headers if pair[0] not in _NOT_FROM_SANDBOXES]
        return response

    def up(self, count: int) -> None:
        self._touch(self._id)

    def down(self, count: int) -> None:
        if not self._quiet:
            self._touch(self._id)


def _foreign_cookie(header: tuple[bytes, bytes]) -> bool:
    """A cookie that a sandbox may not set: one with our names, or one for more than its own host."""
    if header[0] != b"set-cookie":
        return False
    cookie, *attributes = header[1].decode("latin-1").split(";")
    name, _, value = cookie.partition("=")
    if not name.strip():
        name = value.partition("=")[0]  # browsers keep "=name=value" as a cookie without a name and send "name=value"
    return is_ours(name.strip()) or any(
        attribute.partition("=")[0].strip().lower() == "domain" for attribute in attributes
    )


@dataclass(slots=True)
class _Visit:
    """A request with what was found out about it."""

    request: Request
    route: SandboxRoute
    origin: str  # of this host


class SandboxHosts:
    """Decides about requests for ``oc-{id}`` and ``{port}-{id}`` hosts."""

    def __init__(
        self,
        settings: Settings,
        grants: CachedLookup[GrantKey, Grant],
        states: CachedLookup[str, SandboxRow],
        sandboxes: Sandboxes,
        pages: SandboxPages,
    ) -> None:
        self._settings = settings
        self._cookie = CookieNames.for_scheme(secure=settings.secure).sandbox
        self._grants = grants
        self._states = states
        self._sandboxes = sandboxes
        self._pages = pages
        self._entrance = Entrance(settings, sandboxes, pages)
        self._upstreams: dict[tuple[str, int | None], Http1Upstream] = {}
        self._basic: dict[str, tuple[int, bytes]] = {}

    async def decide(self, request: Request, route: SandboxRoute) -> Decision:
        """What to do with a request for the sandbox host ``route``."""
        request.site = "sandbox" if route.port is None else "port"
        visit = _Visit(request, route, self._settings.host_origin(route.label))
        if request.path == TICKET_PATH:
            return await self._entrance.redeem(request, route)
        key = self._grant_key(request, route)
        grant = None if key is None else await self._grants.get(key)
        if key is None or grant is None:
            return self._entrance.sign_in(request, route)
        if not may_open(grant.role):
            return self._pages.no_access(request)
        refused = self._foreign(visit)
        if refused is not None:
            who = Actor(grant.user_id, request.client_ip)
            reason = "a page of another site asked for it"
            await self._sandboxes.note(Refusal("access.refused", reason, who, sandbox_id=grant.sandbox_id))
            return refused
        sandbox = self._states.kept(route.sandbox_id)
        if sandbox is None:
            sandbox = await self._states.get(route.sandbox_id)
            grant = await self._grants.get(key)  # it may have been revoked while we waited
            if grant is None:
                return self._entrance.sign_in(request, route)
        if sandbox is None:
            return self._pages.not_found(request)
        if sandbox.type == LOCAL and route.port is not None:
            return self._pages.local_port(request, sandbox, route.port)
        if sandbox.status != "running":
            return await self._not_running(visit, sandbox, grant)
        return self._forward(visit, sandbox, grant, key)

    def _grant_key(self, request: Request, route: SandboxRoute) -> GrantKey | None:
        """Host and cookie. Two cookies: one was tossed by a sibling host, and neither is believed."""
        header = b"; ".join(request.get_all(b"cookie"))
        value = cookies.only_value(header.decode("latin-1"), self._cookie)
        return None if value is None else (route.label, value)

    def _foreign(self, visit: _Visit) -> Reply | None:
        """Refuse what another site's page sends with this browser's cookie.

        Sandbox hosts are same-site to each other, so that ``SameSite`` does not do it.
        """
        request = visit.request
        origin = request.get(b"origin")
        if origin is not None:
            allowed = origin == visit.origin.encode() or self._sibling(origin, visit.route)
            unsafe = request.method not in (b"GET", b"HEAD") or request.upgrade is not None
            if not allowed and (unsafe or not request.page_load):
                return self._pages.foreign(request)
        site = request.get(b"sec-fetch-site")
        # In a frame of a foreign page people would click on what they do not see. Previews of ports may be framed.
        framed = visit.route.port is None and request.get(b"sec-fetch-dest") in _FRAMES
        if site in (b"same-site", b"cross-site") and origin is None and (framed or not request.page_load):
            return self._pages.foreign(request)
        return None

    def _sibling(self, origin: bytes, route: SandboxRoute) -> bool:
        """A page of the same sandbox on another of its hosts may use a server that runs inside it."""
        if route.port is None:
            return False
        suffix = self._settings.host_origin(f"-{route.sandbox_id}").partition("//")[2]
        scheme, _, rest = origin.decode("latin-1").partition("://")
        label = rest.removesuffix(suffix)
        return scheme == self._settings.base_scheme and label != rest and (label == "oc" or label.isdecimal())

    # Not running

    async def _not_running(self, visit: _Visit, sandbox: SandboxRow, grant: Grant) -> Reply:
        request = visit.request
        wants = _asks_to_resume(request)
        if sandbox.type == CLOUD and wants and (sandbox.status == "paused" or _pressed(request)):
            await self._sandboxes.resume(sandbox.id, Actor(grant.user_id, request.client_ip))
            if _pressed(request):
                clean = safe_path(without_query_parameter(request.target, RESUME_PARAMETER).decode("ascii"))
                return Reply(303, [(b"location", clean.encode("ascii")), (b"cache-control", b"no-store")])
            return self._pages.resuming(request, sandbox)
        return self._pages.for_status(request, sandbox, _with_resume(request.target))

    # Through

    def _forward(self, visit: _Visit, sandbox: SandboxRow, grant: Grant, key: GrantKey) -> Forward:
        request, route = visit.request, visit.route
        quiet = (route.port is None and request.path in BACKGROUND) or b"text/event-stream" in (
            request.get(b"accept") or b""
        )
        if not quiet:
            self._sandboxes.touch(sandbox.id)
        use = _Use(self._sandboxes.touch, sandbox.id, quiet or request.upgrade is not None)
        return Forward(
            self._upstream(route, sandbox),
            RequestHead(
                request.method,
                without_query_parameter(request.target, b"auth_token"),
                self._headers(visit, sandbox),
                request.body_length,
                request.upgrade,
            ),
            lambda error: self._pages.unreachable(request, sandbox, route.port, error),
            rewrite=use.head,
            on_up_bytes=use.up,
            on_down_bytes=use.down,
            revoked_by=(
                ("session", grant.session_id),
                ("user", grant.user_id),
                ("member", grant.workspace_id, grant.user_id),
                ("sandbox", sandbox.id),
                ("grant", *key),
            ),
        )

    def _headers(self, visit: _Visit, sandbox: SandboxRow) -> Headers:
        request = visit.request
        kept = request_headers(request.headers, _CREDENTIALS)
        headers: Headers = []
        for name, value in kept:
            if name == b"cookie":
                value = without_cookies(value, is_ours)
                if not value:
                    continue
            headers.append((name, value))
        if visit.route.port is None and sandbox.type == CLOUD:  # a machine's agent knows its own opencode's password
            headers.append((b"authorization", self._authorization(sandbox)))
        headers.append((b"x-forwarded-for", request.client_ip.encode()))
        headers.append((b"x-forwarded-proto", request.client_scheme.encode()))
        headers.append((b"x-forwarded-host", request.get(b"host") or b""))
        return headers

    def _authorization(self, sandbox: SandboxRow) -> bytes:
        kept = self._basic.get(sandbox.id)
        if kept is None or kept[0] != sandbox.secret_version:
            credentials = b64encode(f"opencode:{self._sandboxes.password(sandbox)}".encode())
            kept = self._basic[sandbox.id] = (sandbox.secret_version, b"Basic " + credentials)
        return kept[1]

    def _upstream(self, route: SandboxRoute, sandbox: SandboxRow) -> Upstream:
        if sandbox.type == LOCAL:
            return self._sandboxes.tunnel(sandbox.id)
        key = (route.sandbox_id, route.port)
        upstream = self._upstreams.get(key)
        if upstream is None:

            async def connect() -> SocketStream:
                return await self._sandboxes.connect(*key)

            upstream = self._upstreams[key] = Http1Upstream(connect)
        return upstream

    async def run(self) -> None:
        """Close idle connections to sandboxes, which would otherwise wait for the next request."""
        while True:
            await trio.sleep(limits.PRUNE_SECONDS)
            for upstream in list(self._upstreams.values()):
                upstream.prune()

    def forget(self, sandbox_id: str) -> None:
        """The sandbox changed: its address is asked anew, nothing kept of it is used again."""
        self._states.forget_key(sandbox_id)
        self._basic.pop(sandbox_id, None)
        for key in [key for key in self._upstreams if key[0] == sandbox_id]:
            self._upstreams.pop(key).close()


def may_open(role: str | None) -> bool:
    """Whether a member with this role may use sandboxes."""
    return role in _MAY_OPEN


def may_go_on(sandbox: SandboxRow) -> bool:
    """Whether what is under way to it may go on. What waits for a machine that is away gets its answer: that it is."""
    return sandbox.status == RUNNING or (sandbox.type == LOCAL and sandbox.status == OFFLINE)


def _asks_to_resume(request: Request) -> bool:
    """A person came here. Not a prefetch, not a frame, not what a forgotten tab asks for by itself."""
    purpose = (request.get(b"sec-purpose") or request.get(b"purpose") or b"").lower()
    destination = request.get(b"sec-fetch-dest")
    return request.page_load and b"prefetch" not in purpose and destination in (None, b"document")


def _pressed(request: Request) -> bool:
    return RESUME_PARAMETER + b"=resume" in request.query.split(b"&")


def _with_resume(target: bytes) -> str:
    target = without_query_parameter(target, RESUME_PARAMETER)
    separator = "&" if b"?" in target else "?"
    return f"{target.decode('ascii')}{separator}{RESUME_PARAMETER.decode()}=resume"
