"""Upstreams behind TLS, such as the Anthropic API: the same relay, never spliced."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.wire.exchange import UpstreamError
from daemon.wire.http1 import Http1Upstream
from daemon.wire.sockets import connect_tls
from tests.gateway.harness import GET, OK, gateway
from tests.gateway.peer import PATIENCE
from tests.gateway.strict import read_request
from tests.wire.authority import serving, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from daemon.wire.sockets import TLSStream
    from tests.gateway.strict import Message


class Server:
    """One connection of a client, from the server's side."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError
        self._buffer += data

    async def until(self, marker: bytes) -> bytes:
        """See :class:`~tests.gateway.strict.Source`."""
        while marker not in self._buffer:
            await self._more()
        return await self.exactly(self._buffer.index(marker) + len(marker))

    async def exactly(self, count: int) -> bytes:
        """See :class:`~tests.gateway.strict.Source`."""
        while len(self._buffer) < count:
            await self._more()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def rest(self) -> bytes:
        """See :class:`~tests.gateway.strict.Source`."""
        raise AssertionError("a request has a length")

    async def request(self) -> Message:
        """The next request."""
        with trio.fail_after(PATIENCE):
            return await read_request(self)


@asynccontextmanager
async def tls_server(handle: Callable[[Server], Awaitable[None]]) -> AsyncIterator[Callable[[], Awaitable[TLSStream]]]:
    """A TLS server; yields how to connect to it."""

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await handle(Server(stream))
        except (EOFError, trio.BrokenResourceError):
            pass
        finally:
            stream.transport_stream.socket.close()

    async with trio.open_nursery() as nursery:
        run = partial(trio.serve_ssl_over_tcp, serve, 0, serving("127.0.0.1"), host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(run)
        port = listener.transport_listener.socket.getsockname()[1]
        yield partial(connect_tls, "127.0.0.1", port, trusting())
        nursery.cancel_scope.cancel()


async def test_a_connection_is_kept_and_large_bodies_are_whole() -> None:
    size = (1 << 20) + 1
    connections = 0

    async def handle(server: Server) -> None:
        nonlocal connections
        connections += 1
        while True:
            message = await server.request()
            body = message.body or bytes(size)
            await server.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with tls_server(handle) as connect, gateway(connect=connect) as gate, trio.open_nursery() as nursery:
        client = await gate.client()
        await client.send(GET)
        assert (await client.response()).body == bytes(size)
        data = bytes(range(256)) * 4096
        nursery.start_soon(client.send, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        assert (await client.response()).body == data
        assert connections == 1


async def test_events_arrive_one_by_one() -> None:
    go_on = trio.Event()

    async def handle(server: Server) -> None:
        await server.request()
        await server.stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        await server.stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")

    async with tls_server(handle) as connect, gateway(connect=connect) as gate:
        client = await gate.client()
        await client.send(GET)
        await client.until(b"3\r\none\r\n")
        go_on.set()
        assert await client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "said", [b"Content-Length: 10\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
async def test_an_answer_that_breaks_off_is_seen_to_break(said: bytes) -> None:
    async def handle(server: Server) -> None:
        await server.request()
        await server.stream.send_all(b"HTTP/1.1 200 OK\r\n" + said)

    async with tls_server(handle) as connect, gateway(connect=connect) as gate:
        client = await gate.client()
        await client.send(GET)
        assert await client.ending() == "reset"


async def test_a_kept_connection_that_closed_is_replaced() -> None:
    async def handle(server: Server) -> None:
        await server.request()
        await server.stream.send_all(OK)

    async with tls_server(handle) as connect, gateway(connect=connect) as gate:
        client = await gate.client()
        for _ in range(3):
            await client.send(GET)
            assert (await client.response()).body == b"ok"


async def test_a_client_that_leaves_lets_the_upstream_go() -> None:
    gone = trio.Event()

    async def handle(server: Server) -> None:
        await server.request()
        await server.stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        try:
            await server.until(b"never")
        finally:
            gone.set()

    async with tls_server(handle) as connect, gateway(connect=connect) as gate:
        client = await gate.client()
        await client.send(GET)
        await client.until(b"one\r\n")
        client.close()
        with trio.fail_after(PATIENCE):
            await gone.wait()


async def test_a_certificate_that_is_not_trusted_is_an_error() -> None:
    async def handle(server: Server) -> None:
        await server.request()

    async with tls_server(handle) as connect:
        assert isinstance(connect, partial)
        host, port, _ = connect.args
        stranger = partial(connect_tls, host, port, ssl.create_default_context())
        with pytest.raises(UpstreamError, match="certificate"):
            await Http1Upstream(stranger).connect()
        async with gateway(connect=stranger) as gate:
            client = await gate.client()
            await client.send(GET)
            assert (await client.response()).status == 502
