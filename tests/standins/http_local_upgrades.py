"""The upgrades of the local stand-in: a WebSocket that gives back what it gets, and raw bytes with a half-closed side.

| path | what it does |
| --- | --- |
| ``/ws`` | gives back every message, in the frames in which it came; chooses the first subprotocol that is offered |
| ``/ws/bytes/SIZE`` | sends so many bytes in messages of ``piece`` bytes, then closes with 1000 |
| ``/ws/close/CODE`` | closes at once, with ``reason`` |
| ``/ws/cut`` | resets the connection at the first message |
| ``/half/client`` | gives back raw bytes until the client ends its side, then says how many there were, and closes |
| ``/half/server`` | says hello, ends its side, and reads until the client ends too |
| ``/half/server/NAME`` | the same, but reads once the gate is open |

No extension is taken: there is no compression.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from tests.standins.content import pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsproto.events import Event

    from tests.standins.http_local import Visit
    from tests.standins.http_local_reader import Reader

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_LINGER_SECONDS: Final = 5.0  # for the client to close after us


async def upgraded(
    visit: Visit,
    stream: trio.SocketStream,
    reader: Reader,
    changed: Callable[[], None],
    gate: Callable[[str], Awaitable[None]],
) -> None:
    """Switch, and be what the path says until the end. Raises :class:`EOFError` if the client leaves without a word."""
    protocol = (visit.get("sec-websocket-protocol") or "").partition(",")[0].strip()
    key = (visit.get("sec-websocket-key") or "").encode()
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
    lines = [f"Upgrade: {visit.get('upgrade')}", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
    await stream.send_all("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode("latin-1"))
    if visit.path[0] == "half":
        await _half(visit, stream, reader, gate)
    else:
        await _WebSocket(visit, stream, reader, changed).run()


async def _half(
    visit: Visit, stream: trio.SocketStream, reader: Reader, gate: Callable[[str], Awaitable[None]]
) -> None:
    found = hashlib.sha256()
    if visit.path[1] == "server":
        await stream.send_all(b"hello")
        await stream.send_eof()
    if len(visit.path) > 2:
        await gate(visit.path[2])
    while data := await reader.raw():
        found.update(data)
        visit.received += len(data)
        if visit.path[1] == "client":
            await stream.send_all(data)
            visit.sent += len(data)
    if visit.path[1] == "client":
        await stream.send_all(b"%d bytes" % visit.received)
        await stream.send_eof()
    visit.sha256 = found.hexdigest()


class _WebSocket:
    """One WebSocket, once it is open."""

    def __init__(self, visit: Visit, stream: trio.SocketStream, reader: Reader, changed: Callable[[], None]) -> None:
        self._visit = visit
        self._stream = stream
        self._reader = reader
        self._changed = changed
        self._socket = Connection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._parts: list[str | bytes | bytearray] = []  # of a frame that has not arrived as a whole

    async def run(self) -> None:
        """Be what the path says."""
        task = self._visit.path[1] if len(self._visit.path) > 1 else "echo"
        if task == "close":
            await self._send(CloseConnection(int(self._visit.path[2]), self._visit.query("reason") or None))
        elif task == "bytes":
            return await self._flood(int(self._visit.path[2]), int(self._visit.query("piece", "16384")))
        await self._listen(task)
        await self._leave()

    async def _flood(self, size: int, most: int) -> None:
        """Send, and read meanwhile, so that neither side waits for the other for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen_until_it_breaks, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError, LocalProtocolError):  # the client left, or closed in the middle
                for piece in pieces(size, most=most):
                    await self._send(BytesMessage(bytes(piece)))
                    self._visit.sent += len(piece)
                await self._send(CloseConnection(1000))
        if self._socket.state is not ConnectionState.CLOSED:
            raise EOFError
        await self._leave()

    async def _listen_until_it_breaks(self, scope: trio.CancelScope) -> None:
        with suppress(EOFError, trio.BrokenResourceError):
            await self._listen("")
        scope.cancel()

    async def _listen(self, task: str) -> None:
        """Read until the WebSocket is closed by both sides."""
        while self._socket.state is not ConnectionState.CLOSED:
            data = await self._reader.raw()
            if not data:
                raise EOFError
            self._socket.receive_data(data)
            answers, broken = self._answers(task)
            if answers:
                async with self._sending:
                    await self._stream.send_all(answers)
            if broken:
                return
            self._changed()

    def _answers(self, task: str) -> tuple[bytes, bool]:
        """The bytes that answer what has come, and whether the last of it broke a rule."""
        answers: list[bytes] = []
        for event in self._socket.events():
            # wsproto tells of a broken rule by an event as if the client had closed, but is still open then.
            if isinstance(event, CloseConnection) and self._socket.state is ConnectionState.OPEN:
                return b"".join((*answers, self._socket.send(event))), True
            answers.append(self._answer(event, task))
        return b"".join(answers), False

    def _answer(self, event: Event, task: str) -> bytes:
        """The bytes that answer one event."""
        if isinstance(event, CloseConnection):
            self._visit.close_code = event.code
            closing = self._socket.state is ConnectionState.REMOTE_CLOSING
            return self._socket.send(event.response()) if closing else b""
        if self._socket.state is not ConnectionState.OPEN:
            return b""  # we have said goodbye
        if isinstance(event, Ping):
            return self._socket.send(event.response())
        if isinstance(event, Message):
            self._visit.received += len(event.data)
            if task == "cut":
                self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise EOFError
            return self._echo(event) if task == "echo" else b""
        return b""

    def _echo(self, event: Message[Any]) -> bytes:
        """A frame is given back once it is whole, so that frames stay what they were."""
        self._parts.append(event.data)
        if not event.frame_finished:
            return b""
        parts, self._parts = self._parts, []
        whole: Message[Any]
        if isinstance(event, TextMessage):
            whole = TextMessage("".join(map(str, parts)), message_finished=event.message_finished)
        else:
            whole = BytesMessage(b"".join(parts), message_finished=event.message_finished)  # type: ignore[arg-type]
        self._visit.sent += len(whole.data)
        return self._socket.send(whole)

    async def _send(self, event: Event) -> None:
        async with self._sending:
            await self._stream.send_all(self._socket.send(event))

    async def _leave(self) -> None:
        """Close first, as a server should, and without a reset that would overtake the goodbye."""
        with trio.move_on_after(_LINGER_SECONDS):
            try:
                await self._stream.send_eof()
                while await self._stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass
