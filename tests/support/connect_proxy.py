"""A small HTTP proxy that does CONNECT and nothing else, and remembers whom it was asked for."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PIECE = 65536


@dataclass
class ConnectProxy:
    """``refusal``: the status of every answer, with its headers; ``None`` lets pass. ``silent`` answers nothing.

    ``leads``: where a name leads to, whatever the port; the proxy resolves names, not the client.
    """

    refusal: int | None = None
    authorization: bytes | None = None
    silent: bool = False
    leads: dict[str, tuple[str, int]] = field(default_factory=dict)
    port: int = 0
    targets: list[str] = field(default_factory=list)
    heads: list[dict[bytes, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What stands in ``HTTPS_PROXY``."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, client: trio.SocketStream) -> None:
        """One connection."""
        connection = h11.Connection(h11.SERVER)
        while not isinstance(request := connection.next_event(), h11.Request):
            if request is not h11.NEED_DATA:
                return
            connection.receive_data(await client.receive_some())
        self.heads.append(dict(request.headers))
        self.targets.append(request.target.decode())
        if self.silent:
            await trio.sleep_forever()
        status = 407 if self.authorization not in (None, self.heads[-1].get(b"proxy-authorization")) else self.refusal
        if request.method != b"CONNECT":
            status = 405
        if status is not None:
            await client.send_all(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            return
        host, _, port = request.target.decode().rpartition(":")
        async with await trio.open_tcp_stream(*self.leads.get(host, (host, int(port)))) as server:
            await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_move, client, server)
                nursery.start_soon(_move, server, client)


async def _move(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for piece in source:
            await sink.send_all(piece)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await source.aclose()
        await sink.aclose()


@asynccontextmanager
async def connect_proxy(proxy: ConnectProxy) -> AsyncIterator[ConnectProxy]:
    """Run it on a free port."""
    async with trio.open_nursery() as nursery:

        async def handle(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.BrokenResourceError):
                    await proxy.handle(stream)

        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
