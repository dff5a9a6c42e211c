"""A server of version 1 of the tunnel, written from the contract's text: the witness for agents.

It takes ``GET /api/tunnel/{id}`` with a token, chooses no subprotocol whatever is offered, sends requests and reads
their answers as strictly as the contract can be read. What breaks a rule is written down in ``violations``; the
connection goes on, so that one mistake does not hide the next. What it does not do: it registers nobody, keeps nothing,
knows no upgrade, and holds back no sender: what nobody reads is kept in memory, as version 1 has it.

    server = TunnelServerV1("token-of-the-tunnel")
    await nursery.start(server.serve)
    ...  # an agent is told ``server.url``
    await server.connected()
    status, headers, body = await server.request("GET", "/session?limit=1")
"""

from __future__ import annotations

import itertools
import json
import math
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import parse_qs, urlsplit

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from tests.standins.tunnel_wire_v1 import MOST_MESSAGE, Frame, Malformed, check_stream, decode, encode

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

_PREFIX: Final = "/api/tunnel/"
_HANDSHAKE_SECONDS: Final = 10.0  # for TLS and the upgrade, and for the closing handshake
_TAKEN: Final = 1 << 24  # bytes of a message that are taken, so that one beyond the contract's limit can be told of


class TooBig(Exception):
    """The request does not fit into one message of version 1. The tunnel lives."""


class TunnelClosed(Exception):
    """The agent's connection ended before the answer did, or there is none."""


@dataclass
class Answer:
    """An answer that is arriving. Iterate over it for the body, piece by piece as the frames had it."""

    id: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    received: int = 0  # bytes of body
    done: bool = False
    _into: trio.MemorySendChannel[bytes] = field(init=False, repr=False)
    _pieces: trio.MemoryReceiveChannel[bytes] = field(init=False, repr=False)
    head: trio.Event = field(default_factory=trio.Event, repr=False)

    def __post_init__(self) -> None:
        self._into, self._pieces = trio.open_memory_channel[bytes](math.inf)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece of the body. Raises :class:`TunnelClosed` if it breaks off."""
        try:
            return await self._pieces.receive()
        except trio.EndOfChannel:
            if not self.done:
                raise TunnelClosed(f"the connection ended after {self.received} bytes of an answer") from None
            raise StopAsyncIteration from None

    def take(self, frame: Frame) -> None:
        """The next frame of it. Raises :class:`Malformed`, after having made the best of it."""
        first = self.frames == 0
        self.frames += 1
        if first:
            status, headers = frame.header.get("status"), frame.header.get("headers")
            self.status = status if isinstance(status, int) else 0
            self.headers = headers if isinstance(headers, dict) else {}
            self.head.set()
        self.received += len(frame.payload)
        if frame.payload:
            self._into.send_nowait(frame.payload)
        if frame.header.get("done"):
            self.done = True
            self.end()
        check_stream(frame, first=first)
        if self.done and self.received == 0 and self.frames > 1:
            raise Malformed(f"an empty body in {self.frames} frames, where one is due")

    def end(self) -> None:
        """Nothing more comes."""
        self.head.set()
        self._into.close()


@dataclass
class Connection:
    """One agent's connection, open or over."""

    sandbox_id: str
    token: str
    token_in: str  # "header" or "query"
    offered: tuple[str, ...]  # subprotocols
    headers: dict[str, str]  # of the upgrade, names in lower case
    opened: float  # by time.monotonic()
    socket: WebSocketConnection
    stream: trio.abc.Stream
    pings: int = 0  # frames of that type
    texts: list[str] = field(default_factory=list)
    close_code: int | None = None  # with which the agent, or we, closed
    over: trio.Event = field(default_factory=trio.Event)
    closing: bool = False  # by us
    closed: trio.Event = field(default_factory=trio.Event)
    answers: dict[str, Answer] = field(default_factory=dict)  # that have not ended
    ended: set[str] = field(default_factory=set)  # ids of those that have


class TunnelServerV1:
    """The service. ``connections`` has every connection in order, ``attempts`` every upgrade that was asked for."""

    def __init__(self, token: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Any sandbox id is known; ``refuse`` can be set to a status that every upgrade gets instead."""
        self.token = token
        self.refuse: int | None = None
        self.connections: list[Connection] = []
        self.attempts: list[float] = []
        self.violations: list[str] = []
        self.port = 0
        self._tls = tls
        self._ids = itertools.count(1)
        self._news = trio.Event()

    @property
    def url(self) -> str:
        """What an agent is given as its server."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def current(self) -> Connection | None:
        """The newest connection, if it is open."""
        newest = self.connections[-1] if self.connections else None
        return newest if newest and not newest.over.is_set() else None

    async def connected(self, number: int = 1) -> Connection:
        """Wait for the ``number``-th connection of all."""
        while len(self.connections) < number:
            await self._news.wait()
        return self.connections[number - 1]

    async def serve(self, port: int = 0, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever; started with its URL."""
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started(self.url)
        await trio.serve_listeners(self._handle, listeners)

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """One request and its whole answer. Raises :class:`TooBig` and :class:`TunnelClosed`."""
        async with self.stream(method, path, headers, body) as answer:
            pieces = [piece async for piece in answer]
        return answer.status, answer.headers, b"".join(pieces)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> AsyncIterator[Answer]:
        """One request; the answer has a head once this is entered. Raises :class:`TooBig` and :class:`TunnelClosed`.

        Leaving early cancels nothing at the agent: version 1 has no word for it. What still comes is read and dropped.
        """
        connection = self.current
        if connection is None:
            raise TunnelClosed("no agent is connected")
        answer = Answer(str(next(self._ids)))
        header = {"type": "request", "id": answer.id, "method": method, "path": path, "headers": headers or {}}
        message = encode(header, body)
        if len(message) > MOST_MESSAGE:
            raise TooBig(f"a message of {len(message)} bytes, where {MOST_MESSAGE} is the most")
        connection.answers[answer.id] = answer
        await self.send_raw(message)
        await answer.head.wait()
        if answer.frames == 0:
            raise TunnelClosed("the connection ended before the answer began")
        yield answer

    async def send_raw(self, message: bytes | str) -> None:
        """Send any message, well-formed or not. Raises :class:`TunnelClosed`."""
        if self.current is None:
            raise TunnelClosed("no agent is connected")
        try:
            await self.current.socket.send_message(message)
        except ConnectionClosed as error:
            raise TunnelClosed(str(error)) from error

    async def close(self, code: int = 1000) -> None:
        """End the current connection in peace."""
        if (connection := self.current) is not None:
            connection.closing = True
            with trio.move_on_after(_HANDSHAKE_SECONDS):
                await connection.socket.aclose(code)
            connection.closed.set()

    async def drop(self) -> None:
        """End the current connection without a word."""
        if self.current is not None:
            await trio.aclose_forcefully(self.current.stream)

    async def _handle(self, raw: trio.SocketStream) -> None:
        stream: trio.abc.Stream = raw
        if self._tls is not None:
            stream = trio.SSLStream(raw, self._tls, server_side=True, https_compatible=True)
        try:
            async with trio.open_nursery() as nursery:
                await self._converse(nursery, stream)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
        try:
            with trio.fail_after(_HANDSHAKE_SECONDS):
                request = await wrap_server_stream(nursery, stream, 1, _TAKEN, 65536)
                connection = await self._accept(request, stream)
        except (ConnectionClosed, trio.TooSlowError, trio.BrokenResourceError):
            return
        if connection is None:
            return
        try:
            await self._read(connection)
        except ConnectionClosed as error:
            connection.close_code = error.reason.code if error.reason else None
        finally:
            connection.over.set()
            for answer in connection.answers.values():
                answer.end()
            self._changed()
        with trio.move_on_after(_HANDSHAKE_SECONDS):
            # What reads for the WebSocket goes with our caller, and whoever closes needs it until then.
            await (connection.closed.wait() if connection.closing else connection.socket.aclose())

    async def _accept(self, request: WebSocketRequest, stream: trio.abc.Stream) -> Connection | None:
        self.attempts.append(time.monotonic())
        self._changed()
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in request.headers}
        target = urlsplit(request.path)
        bearer, given = headers.get("authorization"), parse_qs(target.query).get("token", [""])[0]
        token = given if bearer is None else bearer.removeprefix("Bearer ")
        refuse = self.refuse
        if refuse is None and not target.path.startswith(_PREFIX):
            refuse = 404
        if refuse is None and token != self.token:
            refuse = 401
        if refuse is not None:
            await request.reject(refuse)
            return None
        connection = Connection(
            target.path.removeprefix(_PREFIX),
            token,
            "query" if bearer is None else "header",
            request.proposed_subprotocols,
            headers,
            self.attempts[-1],
            await request.accept(),
            stream,
        )
        self.connections.append(connection)
        self._changed()
        return connection

    async def _read(self, connection: Connection) -> None:
        while True:
            message = await connection.socket.get_message()
            try:
                if isinstance(message, str):
                    self._text(connection, message)
                else:
                    await self._frame(connection, decode(message))
            except Malformed as error:
                self.violations.append(str(error))

    def _text(self, connection: Connection, message: str) -> None:
        """The one text message there is: ``agent_info``."""
        connection.texts.append(message)
        self._changed()
        try:
            info = json.loads(message)
            known = info["type"] == "agent_info" and isinstance(info["data"], dict)
        except (ValueError, TypeError, KeyError):
            known = False
        if not known:
            raise Malformed(f"a text message that is no agent_info: {message[:80]!r}")

    async def _frame(self, connection: Connection, frame: Frame) -> None:
        if frame.kind == "ping":
            connection.pings += 1
            self._changed()
            await connection.socket.send_message(encode({"type": "pong"}))
        elif frame.kind != "stream":
            raise Malformed(f"a frame of type {frame.kind!r}")
        elif (identity := str(frame.header.get("id"))) in connection.answers:
            answer = connection.answers[identity]
            try:
                answer.take(frame)
            finally:
                if answer.done:
                    del connection.answers[identity]
                    connection.ended.add(identity)
        elif identity in connection.ended:
            raise Malformed(f"a frame of answer {identity} after its end")
        else:
            raise Malformed(f"a frame of answer {identity}, which nobody asked for")

    def _changed(self) -> None:
        self._news.set()
        self._news = trio.Event()
