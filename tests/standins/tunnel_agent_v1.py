"""An agent of version 1 of the tunnel, written from the contract's text: other people's agents, as far as we know them.

It joins a server with its token, offers no subprotocol, and answers requests from one local HTTP server, each in a task
and on a connection of its own. It sends ``agent_info`` and pings, and closes the connection at a message that is
malformed or too long, which ``reason`` then says. As agents of its time it has shortcomings that a server must live
with: of a repeated header one value survives, a head waits for the first byte of its body, a body that breaks off in
the middle ends like a whole one, and a request goes on when nobody waits for its answer. What it does not do:
upgrades, chunked requests, reconnecting.

    python -m tests.standins.tunnel_agent_v1 http://127.0.0.1:8080/api/tunnel/SANDBOX TOKEN 4096

joins and prints why it ended. In a test it is a Trio service::

    agent = TunnelAgentV1(url, token, port)
    await nursery.start(agent.run)
"""

from __future__ import annotations

import json
import ssl
import sys
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import h11
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.standins.tunnel_wire_v1 import MOST_CHUNK, Frame, Malformed, check_request, decode, encode

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Repeated = Literal["first", "last", "joined"]

_TAKEN: Final = 1 << 24  # bytes of a message that are taken, so that the reason for closing can name its length
_CLOSE_SECONDS: Final = 5.0  # for the closing handshake
_LOCAL_BREAKS: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)
_MALFORMED: Final = 1002  # the close codes of RFC 6455, 7.4.1
_TOO_LONG: Final = 1009


class TunnelAgentV1:
    """The agent. ``requests`` counts what it was asked, ``running`` what it has not finished."""

    def __init__(
        self,
        url: str,
        token: str,
        port: int,
        *,
        token_in: Literal["header", "query"] = "header",
        ping_seconds: float = 15.0,
        repeated: Repeated = "first",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``url`` is the tunnel's (``http://host:port/api/tunnel/{id}``), ``port`` that of the local server."""
        self.url = url
        self.token = token
        self.port = port
        self.ping_seconds = ping_seconds
        self.pings = 0
        self.pongs = 0
        self.requests = 0
        self.running = 0
        self.reason: str | None = None  # why it closed, or how it was closed
        self.close_code: int | None = None
        self._token_in = token_in
        self._repeated: Repeated = repeated
        self._tls = tls
        self._socket: WebSocketConnection | None = None
        self._news = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Join and answer until the connection ends; started when it has joined.

        Raises :class:`trio_websocket.HandshakeError` if the server refuses, :class:`OSError` if nobody is there.
        """
        stream = await self._dial()
        try:
            async with trio.open_nursery() as nursery:
                self._socket = await self._join(nursery, stream)
                task_status.started()
                nursery.start_soon(self._ping)
                await self._work(self._socket)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def close(self) -> None:
        """Leave in peace."""
        assert self._socket is not None
        await self._socket.aclose()

    async def ponged(self, number: int = 1) -> None:
        """Wait until so many pings were answered."""
        while self.pongs < number:
            await self._news.wait()

    async def _dial(self) -> Stream:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        secure = parts.scheme in ("https", "wss")
        stream = await trio.open_tcp_stream(parts.hostname, parts.port or (443 if secure else 80))
        if not secure:
            return stream
        context = self._tls or ssl.create_default_context()
        return trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)

    async def _join(self, nursery: trio.Nursery, stream: Stream) -> WebSocketConnection:
        parts = urlsplit(self.url)
        target, headers = parts.path, [(b"Authorization", f"Bearer {self.token}".encode())]
        if self._token_in == "query":
            target, headers = f"{target}?token={quote(self.token)}", []
        return await wrap_client_stream(
            nursery,
            stream,
            parts.netloc,
            target,
            extra_headers=headers,
            max_message_size=_TAKEN,
            receive_buffer_size=65536,
        )

    async def _work(self, socket: WebSocketConnection) -> None:
        """Read messages until the connection ends, by them or by us; open requests are given up then."""
        try:
            await socket.send_message(json.dumps({"type": "agent_info", "data": {"version": "0.1", "os": "linux"}}))
            async with trio.open_nursery() as nursery:
                try:
                    while True:
                        self._take(decode(await socket.get_message()), nursery)
                except Malformed as error:
                    self.reason = str(error)
                nursery.cancel_scope.cancel()
        except* ConnectionClosed:
            closed = socket.closed
            self.close_code = closed.code if closed else None
            self.reason = f"the server closed: {closed}"
        with trio.move_on_after(_CLOSE_SECONDS):
            await socket.aclose(_TOO_LONG if "is the most" in (self.reason or "") else _MALFORMED)

    def _take(self, frame: Frame, nursery: trio.Nursery) -> None:
        if frame.kind == "pong":
            self.pongs += 1
            self._changed()
        elif frame.kind == "request":
            check_request(frame)
            self.requests += 1
            nursery.start_soon(self._answer, frame)
        else:
            raise Malformed(f"a frame of type {frame.kind!r}")

    async def _ping(self) -> None:
        while True:
            await trio.sleep(self.ping_seconds)
            try:
                await self._send({"type": "ping"})
            except ConnectionClosed:
                return
            self.pings += 1

    async def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        assert self._socket is not None
        await self._socket.send_message(encode(header, payload))

    async def _answer(self, frame: Frame) -> None:
        self.running += 1
        try:
            await self._forward(frame)
        except ConnectionClosed:
            pass  # _work learns it too
        finally:
            self.running -= 1

    async def _forward(self, frame: Frame) -> None:
        identity = frame.header["id"]
        start: dict[str, Any] = {"type": "stream", "id": identity, "status": 502, "headers": {}}
        begun = False
        try:
            exchange = _Local(await trio.open_tcp_stream("127.0.0.1", self.port), self.port)
            try:
                response = await exchange.ask(frame)
                start |= {"status": response.status_code, "headers": _single(response, self._repeated)}
                while piece := await exchange.piece():
                    for at in range(0, len(piece), MOST_CHUNK):
                        await self._send(
                            ({"type": "stream", "id": identity} if begun else start) | {"done": False},
                            piece[at : at + MOST_CHUNK],
                        )
                        begun = True
            finally:
                await trio.aclose_forcefully(exchange.stream)
        except _LOCAL_BREAKS:
            if not begun:
                start |= {"status": 502, "headers": {}}
        await self._send(({"type": "stream", "id": identity} if begun else start) | {"done": True})

    def _changed(self) -> None:
        self._news.set()
        self._news = trio.Event()


class _Local:
    """One exchange with the local server."""

    def __init__(self, stream: trio.SocketStream, port: int) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._host = f"127.0.0.1:{port}"

    async def ask(self, frame: Frame) -> h11.Response:
        """Send the request; the head of its answer."""
        given = {name.lower(): value for name, value in frame.header["headers"].items()}
        for name in ("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"):
            given.pop(name, None)
        headers = [("host", self._host), *given.items(), ("connection", "close")]
        if frame.payload or frame.header["method"] in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", str(len(frame.payload))))
        events: list[h11.Event] = [
            h11.Request(method=frame.header["method"], target=frame.header["path"], headers=headers),
            h11.Data(data=frame.payload),
            h11.EndOfMessage(),
        ]
        await self.stream.send_all(b"".join(self._http.send(event) or b"" for event in events))
        while not isinstance(event := await self._next(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError(f"{event!r} instead of a head")
        return event

    async def piece(self) -> bytes:
        """The next piece of the body; empty at the end."""
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self.stream.receive_some(65536)))
        return event


def _single(response: h11.Response, repeated: Repeated) -> dict[str, str]:
    """Headers as single strings, in the way of an agent that does not know better."""
    found: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw_items():
        name, value = raw_name.decode(), raw_value.decode("latin-1")
        if name.lower() == "transfer-encoding" or (name in found and repeated == "first"):
            continue
        found[name] = f"{found[name]}, {value}" if name in found and repeated == "joined" else value
    return found


def main() -> None:
    """Run it by itself."""
    if len(sys.argv) != 4:
        sys.exit("usage: python -m tests.standins.tunnel_agent_v1 URL TOKEN LOCALPORT")
    agent = TunnelAgentV1(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    trio.run(agent.run)
    sys.stdout.write(f"{agent.reason}\n")


if __name__ == "__main__":
    main()
