"""The WebSocket under a tunnel, after its handshake: bytes in, whole messages out (RFC 6455), by wsproto.

Frames are written one per message, so that several may share one write to the socket.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sys
from dataclasses import dataclass
from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError as WsLocalError
from wsproto.utilities import RemoteProtocolError as WsRemoteError

from protocol.errors import RemoteProtocolError
from protocol.session import FLOOD

SUBPROTOCOL_V2: Final = "cli-server.tunnel.v2"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_MOST_REASON: Final = 123  # bytes: a control frame has 125, the code takes two
NORMAL, BROKE_RULE, TOO_LARGE = 1000, 1002, 1009


def accept_token(key: bytes) -> bytes:
    """The ``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def is_key(value: bytes) -> bool:
    """Whether this is a ``Sec-WebSocket-Key``: 16 bytes in base64."""
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer closes. ``reason`` is for logs."""

    code: int
    reason: str


Received = bytes | str | Closed


class WebSocket:
    """One end. ``most``: bytes of a whole message. ``owed``: frames that the protocol itself asks for, to be sent."""

    def __init__(self, *, client: bool, most: int) -> None:
        self._connection = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
        self._most = most
        self._parts: list[bytes] = []
        self._texts: list[str] = []
        self._size = 0
        self._deaf = False  # what came was no frame: nobody knows where the next one begins
        self.parting = False  # nothing counts any more but the closing frame
        self.behind = False  # more frames are here: feed again, with nothing
        self.owed: list[bytes] = []

    def feed(self, data: bytes, most_frames: int = sys.maxsize) -> list[Received]:
        """Take bytes and give what is complete now, of so many frames. Raises :class:`RemoteProtocolError`.

        What stood before the fault is lost then; the session ends anyway.
        """
        received: list[Received] = []
        self.behind = False
        if self._deaf or self._connection.state is ConnectionState.CLOSED:
            return received  # what comes behind the closing frame is nothing
        try:
            self._connection.receive_data(data)
            for count, event in enumerate(self._connection.events(), 1):
                self._take(event, received)
                if count >= most_frames:
                    self.behind = True
                    break
        except WsRemoteError as error:
            self._deaf = True
            raise RemoteProtocolError("malformed", f"no WebSocket frame: {error}") from None
        return received

    def _take(self, event: object, received: list[Received]) -> None:
        if self.parting and not isinstance(event, CloseConnection):
            return
        if isinstance(event, BytesMessage):
            self._grow(len(event.data))
            if event.data:  # of empty fragments there is no end
                self._parts.append(bytes(event.data))
            if event.message_finished:
                received.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
                self._parts, self._size = [], 0
        elif isinstance(event, TextMessage):
            self._grow(len(event.data))
            if event.data:
                self._texts.append(event.data)
            if event.message_finished:
                received.append("".join(self._texts))
                self._texts, self._size = [], 0
        elif isinstance(event, Ping):
            if self.open:
                self._owe(self._connection.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._closed(event, received)
        else:
            assert isinstance(event, Pong), event

    def _closed(self, event: CloseConnection, received: list[Received]) -> None:
        """The peer closes; or wsproto says so of a frame that is none, and then no state of it has changed."""
        if self._connection.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            self._deaf = True
            raise RemoteProtocolError("malformed", f"no WebSocket frame: {event.reason}")
        if self._connection.state is ConnectionState.REMOTE_CLOSING:
            self._owe(self._connection.send(event.response()))
        received.append(Closed(int(event.code), event.reason or ""))

    def _owe(self, frame: bytes) -> None:
        self.owed.append(frame)
        if len(self.owed) > FLOOD:
            raise RemoteProtocolError("flood", f"more than {FLOOD} answers to pings wait that the peer does not read")

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._most:
            raise RemoteProtocolError("too_large", f"a message is larger than {self._most} bytes")

    def message(self, data: bytes) -> bytes:
        """A binary message as bytes for the socket."""
        return self._connection.send(BytesMessage(data))

    def text(self, data: str) -> bytes:
        """A text message."""
        return self._connection.send(TextMessage(data))

    def ping(self) -> bytes:
        """A ping without content."""
        return self._connection.send(Ping())

    def close(self, code: int, reason: str) -> bytes:
        """The closing frame; empty if it was sent already."""
        cut = reason.encode("utf-8", "replace")[:_MOST_REASON].decode("utf-8", "ignore")
        try:
            return self._connection.send(CloseConnection(code, cut))
        except WsLocalError:
            return b""

    @property
    def closed(self) -> bool:
        """Whether both ends have closed it."""
        return self._connection.state is ConnectionState.CLOSED

    @property
    def open(self) -> bool:
        """Whether messages may still be sent."""
        return self._connection.state is ConnectionState.OPEN
