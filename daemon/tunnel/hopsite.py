"""The internal listener's site: exchanges that other replicas pass on, for tunnels that this replica itself holds."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from daemon.gateway.exchange import Decision, Forward, Reply, Request
from daemon.gateway.replies import problem
from daemon.tunnel import hop
from daemon.tunnel.upstream import TunnelExchange
from daemon.wire.exchange import UpstreamAbsent, UpstreamError, UpstreamRefused
from protocol.headers import end_to_end
from protocol.messages import RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.secret import Keyring
    from daemon.tunnel.registry import Tunnels

_OURS = frozenset({hop.HEADER})


class HopSite:
    """See :class:`~daemon.gateway.exchange.Site`. It never passes anything on to a third replica."""

    def __init__(self, keyring: Keyring, replica_id: str, tunnels: Tunnels, clock: Callable[[], float] = time) -> None:
        self._keyring = keyring
        self._replica_id = replica_id
        self._tunnels = tunnels
        self._clock = clock

    async def decide(self, request: Request) -> Decision:
        """To the tunnel, if a replica asks for one that is here."""
        request.site = "replica"
        given = request.get_all(hop.HEADER)
        value = given[0] if len(given) == 1 else b""
        if request.target == hop.HELLO_TARGET:
            answer = hop.answer_hello(self._keyring, value, self._replica_id, self._clock())
            if answer is not None:
                return Reply(204, [(hop.HEADER, answer)])
        voucher = hop.read(self._keyring, value, request.method, request.target, self._clock())
        if voucher is None:
            return problem(401, "not_a_replica", "Only replicas of this server are answered here.")
        here = self._tunnels.holds(voucher.sandbox_id, voucher.connection_id)
        if voucher.replica_id != self._replica_id or not here:
            return _not_here()
        head = RequestHead(
            request.method, request.target, end_to_end(request.headers, _OURS), request.body_length, request.upgrade
        )
        return Forward(_Held(self._tunnels, voucher.sandbox_id), head, _failed)


def _not_here() -> Reply:
    return _marked(hop.NOT_HERE, 503, "tunnel_not_here", "This replica does not hold this tunnel.")


def _failed(error: UpstreamError) -> Reply:
    """What the replica that asked makes the person's answer of."""
    if isinstance(error, UpstreamAbsent):
        return _not_here()
    if isinstance(error, UpstreamRefused):
        marker = b"%s %d %s %s" % (hop.REFUSED, error.status, error.code.encode(), str(error).encode())
        return _marked(marker, error.status, error.code, str(error))
    words = "".join(filter(str.isprintable, str(error))).encode("ascii", "replace")
    return _marked(b"%s %s" % (hop.BROKE, words), 502, "upstream_failed", "The machine did not answer.")


def _marked(marker: bytes, status: int, code: str, text: str) -> Reply:
    return problem(status, code, text, [(hop.HEADER, marker)])


class _Held:
    """An upstream; see :class:`~daemon.wire.exchange.Upstream`."""

    def __init__(self, tunnels: Tunnels, sandbox_id: str) -> None:
        self._tunnels = tunnels
        self._sandbox_id = sandbox_id

    def exchange(self) -> _HeldExchange:
        """Open one exchange."""
        return _HeldExchange(self._tunnels, self._sandbox_id)


class _HeldExchange(TunnelExchange):
    """Says that the tunnel took the head, before the body comes: until then the other replica may ask elsewhere."""

    __slots__ = ("_unsaid",)

    def __init__(self, tunnels: Tunnels, sandbox_id: str) -> None:
        super().__init__(tunnels, sandbox_id)
        self._unsaid = False

    async def send_head(self, head: RequestHead) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await super().send_head(head)
        if head.body_length != 0:
            self.open()
            self._unsaid = True

    async def receive_head(self) -> ResponseHead:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        if self._unsaid:
            self._unsaid = False
            return ResponseHead(102, b"Processing", [(hop.HEADER, hop.HELD)], 0)
        head = await super().receive_head()
        head.headers = [pair for pair in head.headers if pair[0] != hop.HEADER]
        return head
