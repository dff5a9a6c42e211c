"""The tunnels of this process: which one reaches a sandbox now, how long each may stay, and its pings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.ids import new_id
from daemon.store.tunnels import find_tunnel
from protocol.liveness import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.db.database import Database
    from daemon.db.listen import Notifications
    from daemon.tunnel.presence import Presence
    from daemon.wire.link import ServerLink

log = structlog.get_logger(__name__)

# An end that was said is taken within a round trip; a peer that does not is gone.
_BURIAL_SECONDS: Final = 5.0
# An idle tunnel of a daemon that ends stays until its agent is connected elsewhere, so that nobody is offline
# meanwhile: a second, and some more for a slow line.
_PARTING_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0  # a check that the database did not answer is made again
_NEWER: Final = "a newer connection of this sandbox was made"


def _ignore(said: object) -> None:
    """Nobody wants to know."""


@dataclass(eq=False, slots=True)
class Tunnel:
    """One connection of an agent."""

    sandbox_id: str
    workspace_id: str
    token_hash: bytes
    link: ServerLink
    order: int = 0  # among the connections of all replicas
    connection_id: str = field(default_factory=new_id)
    established: bool = False
    moved: bool = False  # its agent has a newer one; what is open in this one goes on
    over_since: float = math.inf  # Trio's time


class Tunnels:
    """One per daemon. Its service is :meth:`run`. ``ended`` is told the code of each tunnel's end: a metric.

    ``several``: whether agents find another replica when this one ends.
    """

    def __init__(
        self,
        db: Database,
        presence: Presence,
        notifications: Notifications,
        *,
        ended: Callable[[str], None] = _ignore,
        several: bool = False,
    ) -> None:
        self._db = db
        self._ended = ended
        self._several = several
        self.closing = False  # the daemon is about to end: agents that come now had better go elsewhere
        self.cut: Callable[[tuple[str, ...]], object] = _ignore  # how the gateway cuts what lives by a key
        self._presence = presence
        self._open: dict[str, Tunnel] = {}  # by connection; those that are not established yet, too
        self._live: dict[str, Tunnel] = {}  # by sandbox
        self._doubtful: set[str] = set()  # connections whose right to be there may have ended
        self._unknown: set[str] = set()  # of these, those that the database does not name
        self._doubt = trio.Event()
        self._shutting_down = ""
        self._parting = math.inf  # until when idle tunnels wait for their agents to be elsewhere
        notifications.subscribe("sandbox", lambda words: self._look(lambda tunnel: tunnel.sandbox_id == words[0]))
        notifications.subscribe("tunnel", lambda words: self._look(lambda tunnel: tunnel.sandbox_id == words[0]))
        notifications.subscribe("workspace", lambda words: self._look(lambda tunnel: tunnel.workspace_id == words[0]))
        notifications.subscribe("member", lambda words: self._look(lambda tunnel: tunnel.workspace_id == words[0]))
        notifications.subscribe("user", lambda words: self._look(lambda tunnel: True))
        notifications.on_gap(lambda: self._look(lambda tunnel: True))

    @property
    def count(self) -> int:
        """How many sandboxes are reached through a tunnel of this process."""
        return len(self._live)

    def link(self, sandbox_id: str) -> ServerLink | None:
        """The way to a sandbox, if there is one."""
        tunnel = self._live.get(sandbox_id)
        return None if tunnel is None or tunnel.link.over.is_set() else tunnel.link

    def serves(self, sandbox_id: str) -> bool:
        """Whether a request for it can be sent from here now."""
        link = self.link(sandbox_id)
        return link is not None and not link.draining

    def holds(self, sandbox_id: str, connection_id: str) -> bool:
        """Whether it is this connection by which requests for it can be sent from here now."""
        return self.serves(sandbox_id) and self._live[sandbox_id].connection_id == connection_id

    # A connection's life

    def attach(self, tunnel: Tunnel) -> None:
        """Its handshake is over."""
        self._open[tunnel.connection_id] = tunnel
        tunnel.link.on_over = lambda: self._retire(tunnel)
        if self._shutting_down:
            tunnel.link.shut_down(self._shutting_down)
        # Its right was looked up before its handshake ended; what changed in between is found now.
        self._look(lambda other: other is tunnel)

    def heard(self, tunnel: Tunnel) -> None:
        """It said something: perhaps that it is there, or what its machine is."""
        link = tunnel.link
        if not link.greeted.is_set() or link.over.is_set():
            return
        if not tunnel.established:
            known = self._live.get(tunnel.sandbox_id)
            if known is not None and known.order > tunnel.order:
                # Its handshake took longer than that of a newer one. The database would refuse it, and so neither stay.
                tunnel.link.end("replaced", _NEWER)
                return
            tunnel.established = True
            self._live[tunnel.sandbox_id] = tunnel
            log.info("tunnel is up", sandbox=tunnel.sandbox_id, version=link.version)
            self._presence.up(tunnel.sandbox_id, tunnel.connection_id, link.info or None, order=tunnel.order)
            if known is not None:  # now that there is a newer one, its end makes nobody offline
                self._replace(known)
        elif link.version == 1 and link.info:  # version 2 says it once, with its hello
            self._presence.up(tunnel.sandbox_id, tunnel.connection_id, link.info)
            link.info = {}

    def _replace(self, tunnel: Tunnel) -> None:
        """There is a newer connection of its sandbox. One that shuts down was left by plan: its streams may end."""
        if tunnel.link.draining and tunnel.link.version != 1:
            tunnel.moved = True
            self._end_idle()
        else:
            tunnel.link.end("replaced", _NEWER)

    def detach(self, tunnel: Tunnel) -> None:
        """Its connection has ended."""
        del self._open[tunnel.connection_id]

    def _retire(self, tunnel: Tunnel) -> None:
        """Its link is over; the connection may last until our last word was taken."""
        if self._live.get(tunnel.sandbox_id) is tunnel:
            del self._live[tunnel.sandbox_id]
        if tunnel.established:
            tunnel.established = False
            if self._shutting_down and self._several:
                self._presence.hand_on(tunnel.connection_id)
            else:
                self._presence.down(tunnel.sandbox_id, tunnel.connection_id)
            self._ended(tunnel.link.failure.code)
            log.info("tunnel is down", sandbox=tunnel.sandbox_id, reason=str(tunnel.link.failure))

    def lost(self, connection_id: str) -> None:
        """The database does not know this connection as its sandbox's (any more).

        The sandbox may be gone, the database may have lost its last transactions, or another daemon may have a newer
        connection.
        """
        if connection_id in self._open:
            self._unknown.add(connection_id)
        self._look(lambda tunnel: tunnel.connection_id == connection_id)

    def shut_down(self, message: str) -> None:
        """The daemon ends: agents are told, no new streams; those that are open go on until somebody cuts them."""
        self.closing = True
        self._shutting_down = message
        self._parting = trio.current_time() + (_PARTING_SECONDS if self._several else 0.0)
        for tunnel in self._open.values():
            tunnel.link.shut_down(message)
        self._end_idle()

    def _end_idle(self) -> None:
        parting = trio.current_time() < self._parting
        for tunnel in self._open.values():
            waits = bool(self._shutting_down) and parting and not tunnel.moved and tunnel.link.version != 1
            if tunnel.link.idle.is_set() and not waits:
                tunnel.link.end("shutdown", self._shutting_down or "the agent shuts down")

    # The service

    async def run(self) -> None:
        """Tick and check until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tick_for_ever)
            nursery.start_soon(self._check_for_ever)

    async def _tick_for_ever(self) -> None:
        while True:
            for tunnel in list(self._open.values()):
                tunnel.link.tick()
                if tunnel.link.over.is_set():
                    self._bury(tunnel)
            self._end_idle()
            await trio.sleep(TICK_SECONDS)

    def _bury(self, tunnel: Tunnel) -> None:
        """A peer that takes nothing any more would keep its connection until the deadline of a write."""
        now = trio.current_time()
        tunnel.over_since = min(tunnel.over_since, now)
        if now - tunnel.over_since >= _BURIAL_SECONDS:
            self.cut(("tunnel", tunnel.connection_id))

    def _look(self, concerned: Callable[[Tunnel], bool]) -> None:
        found = {tunnel.connection_id for tunnel in self._open.values() if concerned(tunnel)}
        if found:
            self._doubtful |= found
            self._doubt.set()

    async def _check_for_ever(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt = trio.Event()
            doubtful, self._doubtful = self._doubtful, set()
            try:
                for connection_id in doubtful:
                    await self._check(connection_id)
            except DatabaseUnavailable as error:
                log.warning("rights of tunnels are not checked yet", reason=str(error))
                self._doubtful |= doubtful
                self._doubt.set()
                await trio.sleep(_RETRY_SECONDS)

    async def _check(self, connection_id: str) -> None:
        """End a tunnel whose sandbox is gone, or whose maker may not connect machines any more."""
        tunnel = self._open.get(connection_id)
        if tunnel is None:
            self._unknown.discard(connection_id)
            return
        found = await self._db.run(find_tunnel, tunnel.sandbox_id)
        unknown = connection_id in self._unknown
        self._unknown.discard(connection_id)
        if found is None or not found.allowed or found.token_hash != tunnel.token_hash:
            tunnel.link.end("removed", "the sandbox was deleted, or its maker may not connect machines any more")
        elif found.newest > tunnel.order:
            self._replace(tunnel)
        elif unknown:  # its agent comes anew, and the handshake tells why
            tunnel.link.end("shutdown", "the server does not know this connection any more")
