"""The way to a machine, whichever replica its agent is connected to: this one's own tunnel, or a hop to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.db.database import DatabaseUnavailable
from daemon.tunnel.hopway import HopExchange, HopUpstream
from daemon.tunnel.upstream import TunnelExchange
from daemon.wire import limits
from daemon.wire.exchange import UpstreamAbsent, UpstreamRefused

if TYPE_CHECKING:
    from typing import Self

    from daemon.secret import Keyring
    from daemon.store.replicas import Place
    from daemon.tunnel.places import Places
    from daemon.tunnel.registry import Tunnels
    from daemon.wire.sockets import SocketStream
    from protocol.messages import RequestHead, ResponseHead

log = structlog.get_logger(__name__)

# A request waits so long for an agent that is on its way from one replica to another: it comes back within a second,
# and its handshake takes as long as a slow line needs.
MOVE_SECONDS: Final = 5.0
_NO_DATABASE: Final = "The database is not reachable now. This request was not sent. Try again in a few seconds."


class Ways:
    """Makes them. One per daemon; :meth:`run` is a service that closes connections that nobody uses."""

    def __init__(self, keyring: Keyring, replica_id: str, tunnels: Tunnels, places: Places) -> None:
        self.replica_id = replica_id
        self.tunnels = tunnels
        self.places = places
        self._keyring = keyring
        self._upstreams: dict[tuple[str, str], HopUpstream] = {}  # by replica and URL
        self._missed = False  # news of replicas that are gone

    def to(self, sandbox_id: str) -> Way:
        """The upstream of a local sandbox."""
        return Way(self, sandbox_id)

    def hop(self, sandbox_id: str, place: Place) -> HopExchange:
        """An exchange with the replica that holds it."""
        key = (place.replica_id, place.url)
        upstream = self._upstreams.get(key)
        if upstream is None:
            upstream = self._upstreams[key] = HopUpstream(self._keyring, *key)
        return HopExchange(upstream, sandbox_id, place)

    def cut(self, replica_id: str) -> None:
        """That replica is gone: what waits for it waits in vain."""
        for key in [key for key in self._upstreams if key[0] == replica_id]:
            self._upstreams.pop(key).cut()

    def missed(self) -> None:
        """A replica may have gone without a word: at the next look it is asked who did."""
        self._missed = True

    async def _cut_gone(self) -> None:
        self._missed = False
        try:
            gone = await self.places.gone({replica_id for replica_id, _ in self._upstreams})
        except DatabaseUnavailable as error:
            log.warning("it is not known which replicas are gone", reason=str(error))
            self._missed = True
            return
        for replica_id in gone:
            self.cut(replica_id)

    async def run(self) -> None:
        """Prune until cancelled. A replica has a new id at each start, so those of old ones go."""
        while True:
            await trio.sleep(limits.IDLE_UPSTREAM_SECONDS)
            if self._missed:
                await self._cut_gone()
            for key, upstream in list(self._upstreams.items()):
                upstream.prune()
                if upstream.unused and not upstream.exchanges:
                    self._upstreams.pop(key).close()


class Way:
    """See :class:`~daemon.wire.exchange.Upstream`."""

    def __init__(self, ways: Ways, sandbox_id: str) -> None:
        self._ways = ways
        self._sandbox_id = sandbox_id

    def exchange(self) -> WayExchange:
        """Open one exchange."""
        return WayExchange(self._ways, self._sandbox_id)


class WayExchange:
    """See :class:`~daemon.wire.exchange.Exchange`. Which one it is, is decided when there is a head to be sent.

    Where a request has not reached the machine because its tunnel is on the way to another replica, the new one is
    waited for. A body is asked for only when somebody has taken the head.
    """

    __slots__ = ("_deadline", "_head", "_inner", "_sandbox_id", "_tried", "_ways")

    def __init__(self, ways: Ways, sandbox_id: str) -> None:
        self._ways = ways
        self._sandbox_id = sandbox_id
        self._inner: TunnelExchange | HopExchange | None = None
        self._head: RequestHead | None = None
        self._tried: str | None = None  # the connection that did not take it
        self._deadline = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave; what is not over is broken off."""
        await self._leave()

    async def _leave(self) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            await inner.__aexit__()

    def _now(self) -> TunnelExchange | HopExchange:
        assert self._inner is not None, "the exchange has no head yet"  # a bug of ours, never of a peer
        return self._inner

    async def send_head(self, head: RequestHead) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        self._head = head
        if self._ways.tunnels.serves(self._sandbox_id):
            return await self._take(head)
        self._deadline = trio.current_time() + MOVE_SECONDS
        await self._look(head)

    async def _take(self, head: RequestHead) -> None:
        """By our own tunnel."""
        self._inner = own = TunnelExchange(self._ways.tunnels, self._sandbox_id)
        await own.send_head(head)
        if head.body_length != 0:
            own.open()

    async def _look(self, head: RequestHead) -> None:
        """Send the head to whoever has the tunnel, as soon as somebody has it."""
        with trio.move_on_at(self._deadline):
            while True:
                if self._ways.tunnels.serves(self._sandbox_id):
                    return await self._take(head)
                place = await self._place()
                self._tried = place.connection_id
                if place.replica_id == self._ways.replica_id:
                    continue  # it is ours, and on its way to somebody else
                self._inner = self._ways.hop(self._sandbox_id, place)
                try:
                    return await self._inner.send_head(head)
                except UpstreamAbsent as error:
                    log.info("tunnel is not where it was", sandbox=self._sandbox_id, reason=str(error))
                    await self._leave()
        raise UpstreamAbsent("no replica holds the machine's tunnel now")

    async def _place(self) -> Place:
        """One that was not tried yet."""
        places = self._ways.places
        try:
            place = await places.get(self._sandbox_id) if self._tried is None else None
            return place or await places.other_than(self._sandbox_id, self._tried)
        except DatabaseUnavailable as error:
            raise UpstreamRefused(503, "unavailable", _NO_DATABASE) from error

    async def receive_head(self) -> ResponseHead:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        while True:
            try:
                return await self._now().receive_head()
            except UpstreamAbsent as error:
                head = self._head
                if head is None or head.body_length != 0 or trio.current_time() >= self._deadline:
                    raise
                log.info("tunnel is not where it was", sandbox=self._sandbox_id, reason=str(error))
                await self._leave()
                await self._look(head)

    async def send_body(self, data: bytes) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._now().send_body(data)

    async def send_end(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._now().send_end()

    async def receive_body(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return await self._now().receive_body()

    def body_here(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self._now().body_here()

    @property
    def body_done(self) -> bool:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self._now().body_done

    def take_body(self) -> tuple[SocketStream, int] | None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self._now().take_body()

    def body_moved(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        self._now().body_moved()

    def body_target(self) -> SocketStream | None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self._now().body_target()

    async def send_raw(self, data: bytes) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._now().send_raw(data)

    async def send_raw_eof(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._now().send_raw_eof()

    async def receive_raw(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return await self._now().receive_raw()
