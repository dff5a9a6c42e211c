"""The main site: health, the Anthropic proxy, the tunnel's endpoint, and everything else is the API's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from daemon.gateway import limits
from daemon.gateway.exchange import Decision, Forward, Reply, Request, Site
from daemon.gateway.replies import problem, protected
from protocol.headers import request_headers
from protocol.messages import RequestHead

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.wire.exchange import Upstream, UpstreamError
    from protocol.messages import ResponseHead

_ANTHROPIC = b"/proxy/anthropic"
_TUNNEL = b"/api/tunnel/"


def is_anthropic(request: Request) -> bool:
    """Whether it is for the Anthropic proxy; notes that for the metrics."""
    path = request.path
    if path != _ANTHROPIC and not path.startswith(_ANTHROPIC + b"/"):
        return False
    request.site = "anthropic"
    return True


class MainSite:
    """Decides about requests for the main host."""

    def __init__(self, api: Upstream, anthropic: Site, tunnel: Site, ready: Callable[[], Awaitable[Reply]]) -> None:
        self._api = api
        self._anthropic = anthropic
        self._tunnel = tunnel
        self._ready = ready

    async def decide(self, request: Request) -> Decision:
        """See :class:`~daemon.gateway.exchange.Site`."""
        path = request.path
        if path == b"/healthz" or path == b"/readyz":
            return await self._health(request)
        if is_anthropic(request):
            return await self._anthropic.decide(request)
        if path.startswith(_TUNNEL):
            return await self._tunnel.decide(request)
        request.site = "api"
        return Forward(
            self._api,
            api_head(request),
            _api_failed,
            body_limit=limits.MAX_API_BODY,
            rewrite=partial(_protected, request.client_scheme == "https"),
        )

    async def _health(self, request: Request) -> Reply:
        request.site = "health"
        if request.method not in (b"GET", b"HEAD"):
            return problem(405, "method_not_allowed", "Use GET.", [(b"allow", b"GET, HEAD")])
        if request.path == b"/readyz":
            return await self._ready()
        return Reply(200, [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")], b"ok\n")


def api_head(request: Request) -> RequestHead:
    """The request as the API sees it: no upgrade, no hop-by-hop header, and only our word for where it came from."""
    headers = request_headers(request.headers)
    headers.append((b"x-forwarded-for", request.client_ip.encode()))
    headers.append((b"x-forwarded-proto", request.client_scheme.encode()))
    return RequestHead(request.method, request.target, headers, request.body_length)


def _protected(https: bool, head: ResponseHead) -> ResponseHead:
    head.headers = protected(head.headers, https=https)
    return head


def _api_failed(error: UpstreamError) -> Reply:
    return problem(
        503,
        "api_unavailable",
        "The API is restarting; nothing of your request was kept. Try again in a few seconds.",
        [(b"retry-after", b"2")],
    )
