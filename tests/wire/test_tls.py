"""TLS: over a connection that is there, and how it fails."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.wire.sockets import connect_tcp, connect_tls, tls_over
from tests.gateway.harness import limit
from tests.gateway.peer import PATIENCE, stream_pair
from tests.support.product import free_port
from tests.wire.authority import serving, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def echo(*names: str) -> AsyncIterator[int]:
    """A TLS server with these names that says everything again; yields its port."""

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            while data := await stream.receive_some():
                await stream.send_all(data)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        run = partial(trio.serve_ssl_over_tcp, serve, 0, serving(*names), host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(run)
        with trio.fail_after(PATIENCE):
            yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """A server that accepts and says nothing."""
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield silent.getsockname()[1]


async def test_tls_over_a_connection_that_is_there() -> None:
    """Through a proxy the name is not the address."""
    async with echo("server.test") as port:
        stream = await tls_over(await connect_tcp("127.0.0.1", port), "server.test", trusting())
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        assert stream.still_open()
        stream.close()


async def test_a_certificate_for_another_name_is_the_cause() -> None:
    async with echo("server.test") as port:
        plain = await connect_tcp("127.0.0.1", port)
        with pytest.raises(ConnectionError, match="TLS with other") as caught:
            await tls_over(plain, "other.test", trusting())
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert plain.socket.fileno() == -1


async def test_a_certificate_of_a_stranger_is_the_cause() -> None:
    async with echo("127.0.0.1") as port:
        with pytest.raises(ConnectionError, match="certificate") as caught:
            await connect_tls("127.0.0.1", port, ssl.create_default_context())
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_a_server_that_does_not_speak_tls_is_no_matter_of_certificates(answer: bytes) -> None:
    stream, other = stream_pair()
    with other:
        other.sendall(answer)
        other.shutdown(1)
        with trio.fail_after(PATIENCE), pytest.raises(ConnectionError, match="TLS with server") as caught:
            await tls_over(stream, "server.test", trusting())
        assert not isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert stream.socket.fileno() == -1


async def test_a_handshake_that_does_not_end_has_a_deadline() -> None:
    async with silence() as port:
        with limit(CONNECT_SECONDS=0.05), pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            await connect_tls("127.0.0.1", port, trusting())


async def test_a_handshake_that_is_given_up_lets_the_connection_go() -> None:
    stream, other = stream_pair()
    with other:
        with trio.move_on_after(0.05) as scope:
            await tls_over(stream, "server.test", trusting())
        assert scope.cancelled_caught
        assert stream.socket.fileno() == -1


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(OSError, match=r"connect|refused"):
        await connect_tls("127.0.0.1", free_port(), trusting())
