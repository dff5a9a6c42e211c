"""The host of each request decides which site answers it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from daemon.gateway.exchange import Decision, Reply, Request, Site
from daemon.gateway.origin import Networks, is_within
from daemon.gateway.router import MainSite, Route, route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.gateway.router import SandboxSite


@dataclass(frozen=True, slots=True)
class Inner:
    """The site for sandboxes, which is told by the ``host`` name that they know, or by where they are."""

    host: str
    networks: Networks
    site: Site

    def asks(self, request: Request, found: Route | None) -> bool:
        """Whether a sandbox asks, by where it is or by its name for us, which may be one of the main site's, too."""
        if found is None and request.host == self.host:
            return True
        return bool(self.networks) and _is_within(request.client_ip, self.networks)


_is_within = lru_cache(maxsize=4096)(is_within)  # the same few addresses come again and again


class Sites:
    """Sends a request to the main site or to a sandbox's; any other host is not ours.

    ``inner``: what sandboxes in containers get.
    """

    def __init__(
        self,
        base_domain: str,
        main: Site,
        sandbox: Callable[[Request, SandboxSite], Awaitable[Decision]],
        misdirected: Callable[[Request], Reply],
        unavailable: Callable[[Request], Reply],
        errors: tuple[type[Exception], ...],
        inner: Inner | None = None,
    ) -> None:
        self._base_domain = base_domain
        self._main = main
        self._sandbox = sandbox
        self._misdirected = misdirected
        self._unavailable = unavailable
        self._errors = errors
        self._inner = inner

    async def decide(self, request: Request) -> Decision:
        """See :class:`~daemon.gateway.exchange.Site`. ``errors`` of what a decision needs make it a 503."""
        found = route(request.host, self._base_domain, request.local_address)
        if self._inner is not None and self._inner.asks(request, found):
            return await self._inner.site.decide(request)
        if found is None:
            return self._misdirected(request)
        if request.target == b"*":
            return Reply(204, [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")])
        try:
            if isinstance(found, MainSite):
                return await self._main.decide(request)
            return await self._sandbox(request, found)
        except self._errors:
            return self._unavailable(request)
