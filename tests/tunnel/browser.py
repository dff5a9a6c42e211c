"""A browser at the level of one connection and one request, so that a test decides what is read, and when it leaves."""

from __future__ import annotations

import hashlib
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.support.visitor import Visitor

Headers = list[tuple[str, str]]
PATIENCE: Final = 30.0  # seconds until a test gives up waiting
_READ: Final = 1 << 18


class CutShort(Exception):
    """The connection broke before the answer was whole."""


@dataclass
class Reply:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes
    interim: list[int] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key == name]


class Call:
    """One request under way on a connection of its own."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.interim: list[int] = []
        self.headers: Headers = []
        self.status = 0
        self.received = 0
        self.sha256 = hashlib.sha256()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 18)

    async def begin(self, method: str, target: str, headers: Headers) -> None:
        """Send the head."""
        data = self._http.send(h11.Request(method=method, target=target, headers=headers))
        assert data is not None
        await self.stream.send_all(data)

    async def send(self, pieces: Iterable[bytes | memoryview]) -> str:
        """Send pieces of the body; their hash."""
        found = hashlib.sha256()
        for piece in pieces:
            found.update(piece)
            for part in self._http.send_with_data_passthrough(h11.Data(data=bytes(piece))) or []:
                await self.stream.send_all(part)
        return found.hexdigest()

    async def end(self) -> None:
        """The request is whole."""
        data = self._http.send(h11.EndOfMessage())
        if data:
            await self.stream.send_all(data)

    async def _next(self) -> Any:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self.stream.receive_some(_READ)))
        except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
            raise CutShort(str(error)) from error
        return event

    async def head(self) -> int:
        """Wait for the final head; its status. Raises :class:`CutShort`."""
        while True:
            event = await self._next()
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                self.interim.append(event.status_code)
                continue
            if not isinstance(event, h11.Response | h11.InformationalResponse):
                raise CutShort("closed without an answer")
            self.status = event.status_code
            self.headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
            return self.status

    async def piece(self) -> bytes:
        """The next piece of the body; empty at its end. Raises :class:`CutShort`."""
        event = await self._next()
        if isinstance(event, h11.Data):
            self.received += len(event.data)
            self.sha256.update(event.data)
            return bytes(event.data)
        return b""

    async def rest(self) -> bytes:
        """The body."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def drain(self) -> str:
        """Read the body to its end and keep none of it; its hash."""
        while await self.piece():
            pass
        return self.sha256.hexdigest()

    async def raw(self) -> bytes:
        """After 101: what comes; empty at the end."""
        early, closed = self._http.trailing_data
        if early and not closed:
            self._http = h11.Connection(h11.CLIENT)
            return early
        try:
            return bytes(await self.stream.receive_some(_READ))
        except trio.BrokenResourceError as error:
            raise CutShort(str(error)) from error

    def reset(self) -> None:
        """Close so that the other side knows at once, even while it reads nothing."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    def read_slowly(self) -> None:
        """Let the kernel keep little for this connection: who does not read is felt soon."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


@dataclass
class Browser:
    """A signed-in browser at one host."""

    port: int
    host: str
    cookie: str = ""

    @classmethod
    def of(cls, visitor: Visitor, host: str) -> Browser:
        """With the cookies that a visitor has for the host."""
        kept = visitor.cookies.get(host, {})
        return cls(visitor.port, host, "; ".join(f"{name}={value}" for name, value in kept.items()))

    def headers(self, more: Headers) -> Headers:
        """What every request has."""
        given = {name.lower() for name, _ in more}
        own = [("Host", f"{self.host}:{self.port}")]
        if self.cookie and "cookie" not in given:
            own.append(("Cookie", self.cookie))
        return [*own, *more]

    @asynccontextmanager
    async def call(self, method: str, target: str, headers: Headers | None = None) -> AsyncIterator[Call]:
        """A request whose head was sent. At the end the connection is closed, whatever its state."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        try:
            call = Call(stream)
            await call.begin(method, target, self.headers(headers or []))
            yield call
        finally:
            await trio.aclose_forcefully(stream)

    async def ask(self, method: str, target: str, headers: Headers | None = None, body: bytes | None = None) -> Reply:
        """One request and its whole answer. Raises :class:`CutShort`."""
        sent = list(headers or [])
        if body is not None and all(name.lower() != "transfer-encoding" for name, _ in sent):
            sent.append(("Content-Length", str(len(body))))
        with trio.fail_after(PATIENCE):
            async with self.call(method, target, sent) as call:
                if body:
                    await call.send([body])
                await call.end()
                await call.head()
                return Reply(call.status, call.headers, await call.rest(), call.interim)

    async def get(self, target: str, headers: Headers | None = None) -> Reply:
        """A GET."""
        return await self.ask("GET", target, headers)
