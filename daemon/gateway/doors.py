"""Where sandboxes in containers reach this server: the Anthropic proxy, at addresses that only they see.

The public listener may be on loopback, behind a proxy that speaks TLS, and has no address that a container reaches.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.gateway.main_site import is_anthropic

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.gateway.connection import Service
    from daemon.gateway.exchange import Decision, Reply, Request, Site
    from daemon.gateway.listener import Listener

log = structlog.get_logger(__name__)

# A sandbox is made in a second and asks for a model after some more; looking costs a comparison of two sets.
_LOOK_SECONDS: Final = 0.5
_BACKLOG: Final = 128  # a workspace's sandboxes, with some calls at once


class ProxyOnly:
    """The Anthropic proxy, whatever the ``Host``, and nothing else."""

    def __init__(self, anthropic: Site, misdirected: Callable[[Request], Reply]) -> None:
        self._anthropic = anthropic
        self._misdirected = misdirected

    async def decide(self, request: Request) -> Decision:
        """See :class:`~daemon.gateway.exchange.Site`."""
        if not is_anthropic(request):
            return self._misdirected(request)
        return await self._anthropic.decide(request)


class Doors:
    """The service: a listening socket on each of ``gateways()``, at ``port``, as long as it is named there."""

    def __init__(self, listener: Listener, service: Service, gateways: Callable[[], frozenset[str]], port: int) -> None:
        self._listener = listener
        self._service = service
        self._gateways = gateways
        self._port = port
        self._open: dict[str, Callable[[], None]] = {}  # how to close it, by address
        self._told: set[str] = set()

    async def run(self) -> None:
        """Open and close them until cancelled."""
        try:
            while True:
                wanted = self._gateways()
                for address in wanted - self._open.keys():
                    self._try_open(address)
                for address in self._open.keys() - wanted:
                    self._open.pop(address)()
                await trio.sleep(_LOOK_SECONDS)
        finally:
            while self._open:
                self._open.popitem()[1]()

    def _try_open(self, address: str) -> None:
        try:
            sock = socket.create_server((address, self._port), backlog=_BACKLOG)
        except OSError as error:  # the network is being made, or its engine is away
            if address not in self._told:
                self._told.add(address)
                log.warning("sandboxes do not reach this server yet", address=address, reason=error.strerror)
            return
        shut = self._listener.open_door(sock, self._service)
        if shut is None:  # it begins just now, or it ends
            return
        self._told.discard(address)
        self._open[address] = shut
        log.info("sandboxes reach this server", address=address, port=self._port)
