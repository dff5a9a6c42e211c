"""Connections that stay open, as a browser's would, and how soon they are cut."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tests.support.visitor import Visitor

SECONDS: Final = 1.0  # what the product promises
SLACK: Final = 4.0  # times that, before a busy machine with other tests beside it is not believed any more
PATIENCE: Final = 30.0  # for what is no promise about time
SIGNS: Final = 3  # new signs of life, after everything that had arrived before was read

_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"  # the API ends its streams in peace, and keeps the connection
_UPGRADE: Final = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@dataclass(eq=False)
class Stream:
    """One open connection. ``upload``: it is the client who speaks, and nothing comes back."""

    name: str
    socket: socket.socket
    upload: bool = False
    tail: bytes = b""

    def receive(self) -> bytes:
        """What comes next; nothing at the end of the connection, or of the answer. Raises as sockets do."""
        data = self.socket.recv(65536)
        self.tail = (self.tail + data)[-len(_LAST_CHUNK) :]
        return b"" if self.tail == _LAST_CHUNK else data

    def sign(self) -> bytes:
        """Wait for something new."""
        self.socket.settimeout(PATIENCE)
        data = self.receive()
        assert data, f"{self.name} has ended"
        return data

    def drained(self) -> bytes:
        """What has arrived by now."""
        found = b""
        self.socket.setblocking(False)
        try:
            while True:
                data = self.receive()
                assert data, f"{self.name} has ended"
                found += data
        except BlockingIOError:
            return found

    def until(self, text: bytes) -> bytes:
        """Read until ``text`` has come; all of it."""
        found = b""
        while text not in found:
            found += self.sign()
        return found

    def lives(self) -> None:
        """It goes on: for uploads, what is sent is taken and nothing refuses it; for others, new signs come."""
        assert not (self.drained() if self.upload else b""), f"{self.name} was answered"
        if self.upload:
            self.socket.settimeout(PATIENCE)
            self.socket.sendall(b"more")
            return
        for _ in range(SIGNS):
            self.sign()


def begin(visitor: Visitor, name: str, host: str, target: str, expected: bytes, **headers: str) -> Stream:
    """A GET whose answer goes on; ``expected`` is its first sign of life. Header names: underscores for hyphens."""
    return _begun(visitor, name, host, f"GET {target} HTTP/1.1\r\n", b"", expected, headers)


def begin_socket(visitor: Visitor, name: str, host: str, target: str) -> Stream:
    """A WebSocket that has spoken."""
    origin = f"Origin: http://{host}:{visitor.port}\r\n"
    return _begun(visitor, name, host, f"GET {target} HTTP/1.1\r\n{_UPGRADE}{origin}", b"", b"tick", {})


def begin_upload(visitor: Visitor, name: str, host: str, target: str) -> Stream:
    """An upload that goes on; it has begun to arrive when what is behind it has been asked for more."""
    start = f"POST {target} HTTP/1.1\r\nContent-Length: {1 << 40}\r\nExpect: 100-continue\r\n"
    stream = _begun(visitor, name, host, start, b"", b"100 Continue\r\n\r\n", {})
    stream.upload = True
    stream.socket.sendall(b"x" * 65536)
    return stream


def begin_call(visitor: Visitor, name: str, key: str, body: bytes, expected: bytes) -> Stream:
    """A call of the model with a sandbox's proxy token, made from wherever."""
    start = f"POST /proxy/anthropic/v1/messages HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
    headers = {"x_api_key": key, "anthropic_version": "2023-06-01", "content_type": "application/json"}
    return _begun(visitor, name, visitor.domain, start, body, expected, {"Cookie": "", **headers})


def _begun(
    visitor: Visitor, name: str, host: str, start: str, body: bytes, expected: bytes, headers: Mapping[str, str]
) -> Stream:
    jar = visitor.cookies.get(host, {})
    given = {"Cookie": "; ".join(f"{key}={value}" for key, value in jar.items()), **headers}
    lines = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in given.items() if value)
    connection = socket.create_connection(("127.0.0.1", visitor.port), timeout=PATIENCE)
    stream = Stream(name, connection)
    connection.sendall(f"{start}Host: {host}:{visitor.port}\r\n{lines}\r\n".encode() + body)
    stream.until(expected)
    return stream


def cut(streams: Collection[Stream], since: float) -> dict[str, float]:
    """Wait until each of them is cut; how many seconds after ``since`` it was. Fails for those that go on."""
    times: dict[str, float] = {}
    deadline = since + SECONDS * SLACK  # of what ends by itself, ``since`` is in the future
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            stream.socket.setblocking(False)
            selector.register(stream.socket, selectors.EVENT_READ, stream)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                stream = key.data
                if _ended(stream):
                    times[stream.name] = time.monotonic() - since
                    selector.unregister(stream.socket)
        going_on = sorted(key.data.name for key in selector.get_map().values())
    assert not going_on, f"not cut within {SECONDS * SLACK:g} s: {going_on}; cut: {times}"
    return times


def _ended(stream: Stream) -> bool:
    try:
        return not stream.receive()
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
