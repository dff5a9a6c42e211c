"""One end of a TCP connection, driven by hand."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from daemon.wire.sockets import SocketStream
from tests.gateway import strict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gateway.strict import Message

PATIENCE = 30.0  # seconds until a test gives up waiting
SOON = 3.5  # seconds within which a peer that is gone must have been noticed: before the last of four probes


def _largest(kind: str) -> int:
    return int(Path(f"/proc/sys/net/ipv4/tcp_{kind}").read_text().split()[2])


# What the kernel may hold of a body between two peers: two buffers on each of two connections, and a pipe of 1 MiB. The
# gateway itself may hold some pieces of 64 KiB beside that.
MOST_IN_FLIGHT = 2 * (_largest("rmem") + _largest("wmem")) + (2 << 20)


async def eventually(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until ``what()`` is true; for what the gateway does and does not tell."""
    with trio.fail_after(seconds):
        while not what():  # noqa: ASYNC110
            await trio.sleep(0.005)


def stream_pair() -> tuple[SocketStream, socket.socket]:
    """A stream, and the plain other end; closed by the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        return SocketStream(server.accept()[0]), other


class Peer:
    """One end of a connection, driven by hand. What is received but not asked for stays in ``buffer``."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.socket = sock
        self.buffer = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, data: bytes) -> None:
        """Send everything."""
        with trio.fail_after(PATIENCE):
            view = memoryview(data)
            while view:
                view = view[await self.socket.send(view) :]

    async def drip(self, data: bytes) -> None:
        """Send byte by byte; the other side gets a turn after each."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await trio.lowlevel.checkpoint()

    async def flood(self, data: bytes = bytes(65536), most: int = 1 << 30) -> int:
        """Send until the other side takes nothing more for a moment; how much it took."""
        sent = 0
        while sent < most:
            with trio.move_on_after(0.5):
                sent += await self.socket.send(data)
                continue
            break
        return sent

    async def _more(self, most: int = 1 << 18) -> bool:
        data = await self.socket.recv(most)
        self.buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def until(self, marker: bytes) -> bytes:
        """See :class:`~tests.gateway.strict.Source`."""
        with trio.fail_after(PATIENCE):
            while marker not in self.buffer:
                if not await self._more():
                    raise EOFError(f"ended without {marker!r}: {bytes(self.buffer)!r}")
        return self._take(self.buffer.index(marker) + len(marker))

    async def exactly(self, count: int) -> bytes:
        """See :class:`~tests.gateway.strict.Source`."""
        with trio.fail_after(PATIENCE):
            while len(self.buffer) < count:
                if not await self._more():
                    raise EOFError(f"{count - len(self.buffer)} of {count} bytes are missing")
        return self._take(count)

    async def rest(self) -> bytes:
        """See :class:`~tests.gateway.strict.Source`."""
        with trio.fail_after(PATIENCE):
            while await self._more():
                pass
        return self._take(len(self.buffer))

    async def head(self) -> bytes:
        """One head, as it came."""
        return await self.until(b"\r\n\r\n")

    async def request(self) -> Message:
        """One whole request, read strictly."""
        return await strict.read_request(self)

    async def response(self, method: bytes = b"GET") -> Message:
        """One whole final response, read strictly; 1xx before it are not expected."""
        message, before = await strict.read_response(self, method)
        assert not before, f"unexpected 1xx: {before}"
        return message

    async def responses(self) -> list[Message]:
        """All responses until the connection ends, 1xx left out."""
        found: list[Message] = []
        while self.buffer or await self.any():
            found.append((await strict.read_response(self))[0])
        return found

    async def any(self) -> bool:
        """Wait for anything; false at the end."""
        with trio.fail_after(PATIENCE):
            return await self._more()

    async def ending(self, seconds: float = PATIENCE) -> str:
        """Wait for the end, dropping what comes before it: ``eof`` or ``reset``."""
        with trio.fail_after(seconds):
            try:
                while await self.socket.recv(1 << 18):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                return "reset"
            return "eof"

    async def silent(self) -> bool:
        """Whether nothing is here, after the gateway had every chance to say something."""
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(0.02):
            return not self.buffer and not await self._more()
        return not self.buffer

    def send_eof(self) -> None:
        """Nothing more comes from here."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Go away in peace (with a reset if something was not read)."""
        self.socket.close()

    def reset(self) -> None:
        """Go away with a reset; nothing if it was closed already."""
        if self.socket.fileno() < 0:
            return
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
