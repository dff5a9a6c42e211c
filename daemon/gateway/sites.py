"""The host of each request decides which site answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.gateway.exchange import Decision, Reply, Request, Site
from daemon.gateway.router import MainSite, route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.gateway.router import SandboxSite


class Sites:
    """Sends a request to the main site or to a sandbox's; any other host is not ours.

    ``inner``: a host name by which sandboxes know this server, and the site for it.
    """

    def __init__(
        self,
        base_domain: str,
        main: Site,
        sandbox: Callable[[Request, SandboxSite], Awaitable[Decision]],
        misdirected: Callable[[Request], Reply],
        unavailable: Callable[[Request], Reply],
        errors: tuple[type[Exception], ...],
        inner: tuple[str, Site] | None = None,
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
        if found is None and (self._inner is None or request.host != self._inner[0]):
            return self._misdirected(request)
        if request.target == b"*":
            return Reply(204, [(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")])
        try:
            if found is None:
                assert self._inner is not None
                return await self._inner[1].decide(request)
            if isinstance(found, MainSite):
                return await self._main.decide(request)
            return await self._sandbox(request, found)
        except self._errors:
            return self._unavailable(request)
