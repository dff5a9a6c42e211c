"""What makes this daemon one of several: its name among them, its internal listener, and the ways to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.gateway.connection import Service
from daemon.gateway.listener import Listener, connection_limit
from daemon.tunnel.hopsite import HopSite
from daemon.tunnel.places import Places
from daemon.tunnel.replicas import Replicas
from daemon.tunnel.ways import Ways
from daemon.version import version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from socket import socket

    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.gateway.connection import Ledger
    from daemon.secret import Keyring
    from daemon.tunnel.presence import Presence
    from daemon.tunnel.registry import Tunnels
    from daemon.wire.exchange import Upstream


class Cluster:
    """The parts of a replica, around its tunnels. ``url``: where the others reach ``sockets``."""

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        notifications: Notifications,
        tunnels: Tunnels,
        presence: Presence,
        ledger: Ledger,
        *,
        replica_id: str,
        url: str,
        sockets: list[socket],
    ) -> None:
        self._replicas = Replicas(db, replica_id, url, version(), revived=presence.beat_soon)
        self._ways = Ways(keyring, replica_id, tunnels, Places(db, notifications))
        notifications.subscribe("replica", lambda words: self._ways.cut(words[0]))
        notifications.on_gap(self._ways.missed)
        # Nobody's word about where a request came from is asked for here: the head says it, written by a replica.
        service = Service(HopSite(keyring, replica_id, tunnels), ledger, (), "http")
        self.listener = Listener(service, sockets, most=connection_limit())

    def way(self, sandbox_id: str) -> Upstream:
        """The way to a local sandbox."""
        return self._ways.to(sandbox_id)

    def services(self) -> Iterator[tuple[str, Callable[..., Awaitable[None]]]]:
        """With their names."""
        yield "replicas", self._replicas.run
        yield "idle connections to replicas", self._ways.run
