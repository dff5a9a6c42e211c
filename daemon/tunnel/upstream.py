"""A sandbox that is reached through its tunnel, as the gateway's relay sees it: one stream for each exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.wire.exchange import NotMovable, UpstreamAbsent, UpstreamError, UpstreamRefused
from daemon.wire.streams import LinkBroken, LinkStream

if TYPE_CHECKING:
    from typing import Self

    from daemon.tunnel.registry import Tunnels
    from daemon.wire.link import ServerLink
    from protocol.messages import RequestHead, ResponseHead


class TunnelUpstream:
    """Requests to one sandbox. See :class:`~daemon.wire.exchange.Upstream`."""

    def __init__(self, tunnels: Tunnels, sandbox_id: str) -> None:
        self._tunnels = tunnels
        self._sandbox_id = sandbox_id

    def exchange(self) -> TunnelExchange:
        """Open one exchange; leaving it early tells the agent to stop."""
        return TunnelExchange(self._tunnels, self._sandbox_id)


def _refused(error: UpstreamError, version: int) -> UpstreamError:
    """An error for the relay."""
    if not isinstance(error, LinkBroken) or error.code != "request_too_large":
        return error
    if version == 1:
        return UpstreamRefused(413, "too_large_for_agent", "The machine's agent is too old for requests of this size.")
    return UpstreamRefused(431, "head_too_large", "The head of this request is too large for the tunnel.")


class TunnelExchange(NotMovable):
    """See :class:`~daemon.wire.exchange.Exchange`.

    The stream is opened with the first piece of the body, so that a small request is one message, or when the answer
    is asked for.
    """

    __slots__ = ("_failure", "_head", "_sandbox_id", "_stream", "_tunnels", "_version")

    def __init__(self, tunnels: Tunnels, sandbox_id: str) -> None:
        self._tunnels = tunnels
        self._sandbox_id = sandbox_id
        self._version = 0
        self._head: RequestHead | None = None  # until the stream is opened
        self._stream: LinkStream | None = None
        self._failure: UpstreamError | None = None  # why it could not be opened: whoever asks next is told, too

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave; what is not over is broken off."""
        if self._stream is not None:
            self._stream.close()

    def _link(self, head: RequestHead) -> ServerLink:
        link = self._tunnels.link(self._sandbox_id)
        if link is None or link.draining:
            raise UpstreamAbsent("the machine is not connected")
        self._version = link.version
        if head.upgrade is not None and link.version == 1:
            raise UpstreamRefused(501, "no_upgrade", "The machine's agent is too old for WebSockets.")
        if not link.can_open:
            raise UpstreamRefused(503, "tunnel_busy", "Too many requests are under way to this machine.")
        return link

    def _opened(self, data: bytes = b"", *, end: bool = False) -> LinkStream:
        """The stream; ``data`` and ``end`` count if it is opened now."""
        if self._failure is not None:
            raise self._failure
        if self._stream is None:
            head, self._head = self._head, None
            assert head is not None, "the exchange has no head yet"  # a bug of ours, never of a peer
            try:
                self._stream = self._link(head).open(head, data, end=end)
            except UpstreamError as error:
                self._failure = _refused(error, self._version)
                raise self._failure from error
        return self._stream

    def open(self) -> None:
        """Open the stream before there is a piece of the body. Raises :class:`UpstreamError`."""
        self._opened()

    async def send_head(self, head: RequestHead) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        self._head = head
        if head.body_length == 0:
            self._opened(end=head.upgrade is None)

    async def send_body(self, data: bytes) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        try:
            if self._head is None:
                await self._opened().send(data)
            else:
                self._opened(data, end=self._head.body_length == len(data))
        except LinkBroken as error:
            raise _refused(error, self._version) from error

    async def send_end(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        stream = self._opened(end=True)
        if not stream.said_end:
            try:
                stream.send_end()
            except LinkBroken as error:
                raise _refused(error, self._version) from error

    async def receive_head(self) -> ResponseHead:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        try:
            return await self._opened().receive_head()
        except LinkBroken as error:
            raise _refused(error, self._version) from error

    async def receive_body(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return await self._opened().receive()

    def body_here(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self._opened().receive_nowait()

    @property
    def body_done(self) -> bool:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self._opened().drained

    async def send_raw(self, data: bytes) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._opened().send(data)

    async def send_raw_eof(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        self._opened().send_end()

    async def receive_raw(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return await self._opened().receive()
