"""One request of the tunnel, carried out at the one local server that the agent leads to.

The target is put into the request line as it is and never joined to a URL; redirects are passed on.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

import trio

from daemon.wire.exchange import UpstreamError
from daemon.wire.http1 import Http1Upstream
from daemon.wire.sockets import connect_tcp
from daemon.wire.streams import LinkBroken
from protocol.headers import end_to_end
from protocol.messages import RequestHead

if TYPE_CHECKING:
    from daemon.agent.opencode import Local
    from daemon.wire.http1 import Http1Exchange
    from daemon.wire.link import AgentLink
    from daemon.wire.sockets import SocketStream
    from daemon.wire.streams import LinkStream

_OWN = frozenset({b"authorization"})
# In version 1 an empty body is one message with its head; of a chunked one only its end says that it is empty. A head
# that is followed by silence, as that of server-sent events, is not held back for longer.
_EMPTY_SECONDS: Final = 0.1


class Requests:
    """Answers the requests of one tunnel."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._upstream = Http1Upstream(self._connect)

    async def _connect(self) -> SocketStream:
        if not self._local.up:
            raise ConnectionRefusedError("opencode is being started")
        return await connect_tcp(self._local.host, self._local.port)

    def close(self) -> None:
        """Close idle connections to the local server."""
        self._upstream.close()

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        self._upstream.prune()

    async def serve(self, link: AgentLink, stream: LinkStream, head: RequestHead) -> None:
        """Answer one request; whatever happens, the stream is over afterwards. Cancelled when the browser leaves."""
        scope = trio.CancelScope()
        stream.on_failure = scope.cancel
        try:
            stream.check()  # the browser may have left before this task began
            with scope:
                async with self._upstream.exchange() as exchange:
                    await self._carry(link, stream, head, exchange)
        except UpstreamError:
            return  # the stream, or the tunnel, broke off
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one request, and not the tunnel
            stream.reset("broken", f"the agent failed: {type(error).__name__}")
            traceback.print_exc()
        finally:
            stream.close()

    async def _carry(self, link: AgentLink, stream: LinkStream, head: RequestHead, exchange: Http1Exchange) -> None:
        carrier = _Carrier(link, stream, exchange)
        try:
            await carrier.run(self._addressed(head))
        except LinkBroken:
            raise
        except UpstreamError as error:
            stream.reset("unreachable" if exchange.stream is None else "broken", str(error))

    def _addressed(self, head: RequestHead) -> RequestHead:
        """The request for the local server, with its own credentials. Older servers name no host."""
        local, headers = self._local, head.headers
        if all(name != b"host" for name, _ in headers):
            host = f"[{local.host}]" if ":" in local.host else local.host
            headers = [(b"host", f"{host}:{local.port}".encode("ascii")), *headers]
        if local.authorization is not None:
            headers = [*end_to_end(headers, _OWN), (b"authorization", local.authorization)]
        return RequestHead(head.method, head.target, headers, head.body_length, head.upgrade)


class _Carrier:
    """Bytes between a stream and an exchange."""

    def __init__(self, link: AgentLink, stream: LinkStream, exchange: Http1Exchange) -> None:
        self._link = link
        self._stream = stream
        self._exchange = exchange

    async def run(self, head: RequestHead) -> None:
        await self._exchange.send_head(head)
        if head.upgrade is not None:
            await self._answer()
        elif self._stream.ended:
            await self._send_rest()
            await self._answer()
        else:
            await self._both()
        if not self._stream.ended:
            self._stream.reset("enough", "the answer is complete")

    async def _both(self) -> None:
        """The body goes on while the answer comes. Without a reader of the whole body, the answer is enough."""
        failures: list[UpstreamError] = []
        async with trio.open_nursery() as nursery:

            async def up() -> None:
                try:
                    await self._send_body()
                except LinkBroken as error:
                    failures.append(error)
                    nursery.cancel_scope.cancel()
                except UpstreamError:
                    return  # it may answer before it has read everything; the answer, or its absence, tells

            nursery.start_soon(up)
            try:
                await self._answer()
            except UpstreamError as error:
                failures.insert(0, error)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _send_rest(self) -> None:
        """A body that is here already."""
        data = self._stream.receive_nowait()
        try:
            if data:
                await self._exchange.send_body(data)
            await self._exchange.send_end()
        except UpstreamError:
            return  # as in _both

    async def _send_body(self) -> None:
        while data := await self._stream.receive():
            await self._exchange.send_body(data)
        await self._exchange.send_end()

    async def _answer(self) -> None:
        exchange, stream = self._exchange, self._stream
        while True:
            head = await exchange.receive_head()
            if head.status == 101:
                self._link.answer(stream, head)
                await self._switch()
                return
            if head.status == 100:
                continue  # the gateway's to say
            head.headers = end_to_end(head.headers)
            if head.status >= 200:
                break
            self._link.answer(stream, head)
        data = exchange.body_here()
        if not data and not exchange.body_done and self._link.version == 1:
            with trio.move_on_after(_EMPTY_SECONDS):
                data = await exchange.receive_body()
        done = exchange.body_done
        self._link.answer(stream, head, data, end=done)
        while not done:
            data = await exchange.receive_body()
            done = exchange.body_done
            if done:
                stream.send_end(data)
            else:
                await stream.send(data)

    async def _switch(self) -> None:
        """After 101: raw bytes both ways, until both sides are done or one breaks."""
        failures: list[UpstreamError] = []
        async with trio.open_nursery() as nursery:

            async def up() -> None:
                try:
                    while data := await self._stream.receive():
                        await self._exchange.send_raw(data)
                    await self._exchange.send_raw_eof()
                except UpstreamError as error:
                    failures.append(error)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(up)
            try:
                while data := await self._exchange.receive_raw():
                    await self._stream.send(data)
                self._stream.send_end()
            except UpstreamError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
