"""The reading half of the local stand-in: heads by h11, counted bodies straight from the socket, as they are large."""

from __future__ import annotations

import fcntl
import hashlib
import sys
import termios
from typing import Final

import h11
import trio

_PIECE: Final = 1 << 18  # bytes of one read
_ACKNOWLEDGE_SECONDS: Final = 5.0  # a reader that takes nothing keeps the rest in this kernel


class Reader:
    """Reads one request after the other. A method that needs more than there is raises :class:`EOFError`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self._left: int | None = None  # bytes of a counted body that were not read; None: h11 reads it
        self._hash = hashlib.sha256()
        self._awaited = False  # the client waits for 100 before it sends the body
        self.spare = b""  # what came behind the request
        self._room = bytearray(_PIECE)

    @property
    def sha256(self) -> str:
        """The hash of the body so far, in hex."""
        return self._hash.hexdigest()

    async def request(self) -> h11.Request | None:
        """The next head; ``None`` if the client ended in peace. Raises :class:`h11.RemoteProtocolError`."""
        self._http = h11.Connection(h11.SERVER)
        self._hash = hashlib.sha256()
        if self.spare:
            self._http.receive_data(self.spare)
        event = await self._event()
        if isinstance(event, h11.ConnectionClosed):
            return None
        assert isinstance(event, h11.Request)
        self.spare = self._http.trailing_data[0]
        self._awaited = self._http.they_are_waiting_for_100_continue
        length = next((value for name, value in event.headers if name == b"content-length"), None)
        self._left = None if length is None else int(length)
        if any(name in (b"transfer-encoding", b"content-length") for name, _ in event.headers):
            return event
        self._left = 0
        return event

    async def piece(self) -> bytes | memoryview:
        """The next piece of that request's body, good until the one after it; empty at the end."""
        if self._awaited:
            self._awaited = False
            await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        piece = await self._chunk() if self._left is None else await self._counted(self._left)
        self._hash.update(piece)
        return piece

    async def _counted(self, left: int) -> bytes | memoryview:
        found: bytes | memoryview
        if self.spare:
            found, self.spare = self.spare[:left], self.spare[left:]
        else:
            room = memoryview(self._room)[:left]
            found = room[: await self._into(room)] if left else b""
        self._left = left - len(found)
        return found

    async def _into(self, room: memoryview) -> int:
        try:
            count = await self._stream.socket.recv_into(room)
        except OSError as error:
            raise EOFError from error
        if count == 0:
            raise EOFError
        return count

    async def _chunk(self) -> bytes:
        event = await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self.spare = self._http.trailing_data[0]
        self._left = 0
        return b""

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(65536)))
        return event

    async def raw(self) -> bytes:
        """Whatever comes next after an upgrade; empty at the end."""
        if self.spare:
            found, self.spare = self.spare, b""
            return found
        return bytes(await self._stream.receive_some(_PIECE))

    async def until_closed(self) -> None:
        """Wait until the client ends its side, gracefully or not. What it sends until then is kept."""
        try:
            while data := await self._stream.receive_some(65536):
                self.spare += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def acknowledged(self) -> None:
        """Wait until the other kernel has all that was sent."""
        with trio.move_on_after(_ACKNOWLEDGE_SECONDS):
            while self._unacknowledged():  # noqa: ASYNC110 - the kernel tells nobody when it is so far
                await trio.sleep(0.001)

    def _unacknowledged(self) -> int:
        count = fcntl.ioctl(self._stream.socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(count, sys.byteorder)
