"""A server as the agent sees it: registration, and the handshake of the tunnel. It answers what a test tells it to."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import h11
import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

TOKEN = "token-of-the-tunnel-0123456789"
SANDBOX = "s123456789abcdef"
GIVEN = {"sandboxId": SANDBOX, "tunnelToken": TOKEN, "workspaceId": "w123456789abcdef"}
V2 = "cli-server.tunnel.v2"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = dict[str, str]


@dataclass
class Asked:
    """One request that arrived."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Answer:
    """What is answered: ``status`` with ``body``; 101 is a handshake. ``None`` as status closes without an answer."""

    status: int | None = 101
    body: Any = b""
    headers: Headers = field(default_factory=dict)
    subprotocol: str | None = V2
    early: bytes = b""
    accept: str | None = None  # instead of the right one
    silent: bool = False

    def encoded(self, asked: Asked) -> bytes:
        """The bytes of the answer."""
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = dict(self.headers)
        if self.status == 101:
            key = asked.headers["sec-websocket-key"]
            accept = b64encode(sha1((key + GUID).encode()).digest()).decode()
            given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": self.accept or accept}
            headers = {**given, **headers}
            if self.subprotocol is not None:
                headers["Sec-WebSocket-Protocol"] = self.subprotocol
            body = self.early
        else:
            headers["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode() + body


@dataclass
class StandIn:
    """``answers`` are used up one after the other; the last one stays."""

    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    registration: Answer = field(default_factory=lambda: Answer(201, GIVEN))
    asked: list[Asked] = field(default_factory=list)
    arrived: trio.Condition = field(default_factory=trio.Condition)
    tunnels: list[trio.abc.Stream] = field(default_factory=list)
    scheme: str = "http"
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        """What stands in ``--server``."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def handshakes(self) -> list[Asked]:
        """The requests for a tunnel."""
        return [one for one in self.asked if one.target.startswith("/api/tunnel/")]

    async def until(self, true: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until something about what arrived is true."""
        with trio.fail_after(seconds):
            async with self.arrived:
                while not true():
                    await self.arrived.wait()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, one request."""
        connection = h11.Connection(h11.SERVER)
        asked: Asked | None = None
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                data = await stream.receive_some()
                if not data and asked is None:
                    return
                connection.receive_data(bytes(data))
            elif isinstance(event, h11.Request):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                asked = Asked(event.method.decode(), event.target.decode(), headers)
            elif isinstance(event, h11.Data) and asked is not None:
                asked.body += event.data
        assert asked is not None
        tunnel = asked.target.startswith("/api/tunnel/")
        answer = self.registration
        if tunnel:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        async with self.arrived:
            self.asked.append(asked)
            self.arrived.notify_all()
        if answer.silent:
            await trio.sleep_forever()
        if answer.status is None:
            return
        await stream.send_all(answer.encoded(asked))
        if tunnel and answer.status == 101:
            async with self.arrived:
                self.tunnels.append(stream)
                self.arrived.notify_all()
            while await stream.receive_some():
                pass


@asynccontextmanager
async def stand_in(server: StandIn, tls: ssl.SSLContext | None = None) -> AsyncIterator[StandIn]:
    """Run it on a free port, with TLS if a context is given."""
    async with trio.open_nursery() as nursery:

        async def handle(transport: trio.SocketStream) -> None:
            stream: trio.abc.Stream = transport
            if tls is not None:
                stream = trio.SSLStream(transport, tls, server_side=True, https_compatible=True)
            try:
                await server.handle(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
                pass
            finally:
                await trio.aclose_forcefully(stream)

        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        server.port = listeners[0].socket.getsockname()[1]
        server.scheme = "http" if tls is None else "https"
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def http_at(answer: bytes | None, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Something that gives the same answer to every request (``None``: none at all); its port."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if answer is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, port, host=host))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def http(status: int, body: str = "", content_type: str = "application/json") -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


HEALTHY = http(200, '{"healthy":true,"version":"1.18.33"}')
