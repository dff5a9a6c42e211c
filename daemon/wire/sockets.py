"""Byte streams: a socket used directly, and TLS with the same face. They work on any system that Python runs on.

``trio.SocketStream`` runs a checkpoint at every call, which is a turn of the scheduler (about 15 µs). Here a call that
the kernel can serve at once returns at once; every sixteenth such call takes a turn, so that nobody is starved.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Protocol

import trio

from daemon.wire import limits

if TYPE_CHECKING:
    import ssl

_TURNS = 16
# linux/tcp.h; a Python that was built on old headers lacks the name.
TCP_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # SO_LINGER with time 0: close() sends RST
# What connect() answers when it has begun and did not fail.
_BEGUN = (errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))


def bound_unsent(sock: socket.socket | trio.socket.SocketType, most: int) -> None:
    """Let no more than about ``most`` bytes wait in the kernel that are not on their way yet, where it can do that."""
    if TCP_NOTSENT_LOWAT is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # a kernel without it: more waits there, and nothing else changes
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, most)


class Stream(Protocol):
    """A byte stream. One task may send while another receives. Errors are :class:`OSError`."""

    async def receive(self) -> bytes:
        """What is there, at least one byte, at most ``READ_SIZE``; empty at the peer's end."""
        ...

    async def receive_later(self) -> bytes:
        """As :meth:`receive`, where nothing can be there yet: spares an attempt in vain."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        ...

    async def send_eof(self) -> None:
        """Say that nothing more comes."""
        ...

    def bound_unsent(self, most: int) -> None:
        """See :func:`bound_unsent`."""
        ...

    def close(self) -> None:
        """Let go at once."""
        ...


class SocketStream:
    """A connected, non-blocking stream socket."""

    __slots__ = ("_turns", "socket")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self._turns = 0

    async def _turn(self) -> None:
        self._turns += 1
        if self._turns >= _TURNS:
            self._turns = 0
            await trio.lowlevel.checkpoint()

    async def receive(self) -> bytes:
        """See :class:`Stream`."""
        await self._turn()  # before, because whoever is cancelled behind it would lose what was received
        while True:
            try:
                return self.socket.recv(limits.READ_SIZE)
            except BlockingIOError:
                self._turns = 0
                await trio.lowlevel.wait_readable(self.socket)

    async def receive_later(self) -> bytes:
        """See :class:`Stream`."""
        self._turns = 0
        await trio.lowlevel.wait_readable(self.socket)
        return await self.receive()

    async def send(self, data: bytes) -> None:
        """See :class:`Stream`."""
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            await self._turn()
            return
        view = memoryview(data)
        while sent < len(data):
            await trio.lowlevel.wait_writable(self.socket)
            try:
                sent += self.socket.send(view[sent:])
            except BlockingIOError:
                continue

    async def send_eof(self) -> None:
        """See :class:`Stream`."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise BrokenPipeError("the peer is gone") from error

    def bound_unsent(self, most: int) -> None:
        """See :class:`Stream`."""
        bound_unsent(self.socket, most)

    def still_open(self) -> bool:
        """Whether an idle connection can be used again: the peer neither closed it nor said anything unasked."""
        return _says_nothing(self.socket)

    def close(self) -> None:
        """See :class:`Stream`."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def reset(self) -> None:
        """Close so that the peer sees a broken connection and not an end."""
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()


def _says_nothing(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class TLSStream:
    """TLS over a socket. Errors of the TLS layer leave as :class:`ConnectionError`."""

    __slots__ = ("_stream",)

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def receive(self) -> bytes:
        """See :class:`Stream`."""
        try:
            return bytes(await self._stream.receive_some(limits.READ_SIZE))
        except trio.BrokenResourceError as error:
            raise ConnectionResetError(str(error.__cause__ or error)) from error

    async def receive_later(self) -> bytes:
        """See :class:`Stream`."""
        return await self.receive()

    async def send(self, data: bytes) -> None:
        """See :class:`Stream`."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise BrokenPipeError(str(error.__cause__ or error)) from error

    async def send_eof(self) -> None:
        """TLS cannot close one side; the message's framing has said it already."""

    def bound_unsent(self, most: int) -> None:
        """See :class:`Stream`."""
        bound_unsent(self._stream.transport_stream.socket, most)

    def still_open(self) -> bool:
        """See :class:`SocketStream`."""
        return _says_nothing(self._stream.transport_stream.socket._sock)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close without the closing handshake: every message had its own end."""
        self._stream.transport_stream.socket.close()


async def connect_tcp(host: str, port: int) -> SocketStream:
    """Connect within ``CONNECT_SECONDS``. Raises :class:`OSError` (:class:`TimeoutError` if it took too long)."""
    with trio.move_on_after(limits.CONNECT_SECONDS):
        family = _literal_family(host)
        if family is not None:
            return await _connect_address(family, host, port)
        stream = await trio.open_tcp_stream(host, port)
        return SocketStream(socket.socket(fileno=stream.socket.detach()))
    raise TimeoutError(f"no connection to {host} port {port} within {limits.CONNECT_SECONDS:g} s")


def _literal_family(host: str) -> socket.AddressFamily | None:
    """The family of an address; ``None`` for a name, which has to be looked up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return family
    return None


async def _connect_address(family: socket.AddressFamily, host: str, port: int) -> SocketStream:
    """Connect to one address, without the machinery that several need (a millisecond of CPU)."""
    stream = SocketStream(socket.socket(family, socket.SOCK_STREAM))
    try:
        error = stream.socket.connect_ex((host, port))
        if error in _BEGUN:
            await trio.lowlevel.wait_writable(stream.socket)
            error = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        stream.close()
        raise
    return stream


async def connect_tls(host: str, port: int, context: ssl.SSLContext) -> TLSStream:
    """Connect and shake hands within twice ``CONNECT_SECONDS``. Raises :class:`OSError`, as :func:`tls_over`."""
    with trio.move_on_after(2 * limits.CONNECT_SECONDS):
        transport = await trio.open_tcp_stream(host, port)
        return await tls_over(SocketStream(socket.socket(fileno=transport.socket.detach())), host, context)
    raise TimeoutError(f"no TLS connection to {host} port {port} within {2 * limits.CONNECT_SECONDS:g} s")


async def tls_over(stream: SocketStream, host: str, context: ssl.SSLContext) -> TLSStream:
    """Shake hands over a connection that is there, such as one through a proxy; ``stream`` is used up.

    The deadline is the caller's. Raises :class:`ConnectionError`; its ``__cause__`` says what was wrong: an
    :class:`ssl.SSLCertVerificationError` if the server's certificate was, else another :class:`OSError` or ``None``.
    """
    transport = trio.SocketStream(trio.socket.from_stdlib_socket(stream.socket))
    try:
        over = trio.SSLStream(transport, context, server_hostname=host, https_compatible=True)
        await over.do_handshake()
    except trio.BrokenResourceError as error:
        transport.socket.close()
        raise ConnectionError(f"TLS with {host} failed: {error.__cause__}") from error.__cause__
    except BaseException:
        transport.socket.close()
        raise
    return TLSStream(over)
