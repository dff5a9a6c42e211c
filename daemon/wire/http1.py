"""Upstreams that speak HTTP/1.1 over a socket: a small keep-alive pool, and the exchange on one connection."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import h11

from daemon.wire import limits
from daemon.wire.exchange import UpstreamError
from daemon.wire.pool import ConnectionPool, PlainOrTLS
from daemon.wire.sockets import SocketStream
from protocol.headers import Headers, tokens
from protocol.messages import RequestHead, ResponseHead
from protocol.plainheads import PlainHead, plain_response

if TYPE_CHECKING:
    from typing import Self

_BODILESS = (b"204", b"304")
_SAFE = (b"GET", b"HEAD", b"OPTIONS")  # RFC 9110, section 9.2.1: repeating them changes nothing


class Http1Upstream(ConnectionPool):
    """Requests to one address."""

    def exchange(self) -> Http1Exchange:
        """Open one exchange; its connection is kept for the next one if both sides ended cleanly."""
        return Http1Exchange(self)


@functools.cache
def _shape(method: bytes, upgrade: bool) -> h11.Request:
    """A request that tells h11 how to frame the response. What goes over the wire we write ourselves."""
    headers = [(b"host", b"x")]
    if upgrade:
        headers += [(b"connection", b"upgrade"), (b"upgrade", b"x")]
    return h11.Request(method=method, target=b"/", headers=headers)


def _repeatable(head: RequestHead) -> bool:
    return head.body_length == 0 and head.method in _SAFE and head.upgrade is None


def _response_reader(head: RequestHead) -> h11.Connection:
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.MAX_HEAD)
    reader.send(_shape(b"HEAD" if head.method == b"HEAD" else b"GET", head.upgrade is not None))
    reader.send(h11.EndOfMessage())
    return reader


def request_bytes(head: RequestHead) -> bytes:
    """The head as it goes over the wire."""
    lines = [b"%s %s HTTP/1.1\r\n" % (head.method, head.target)]
    lines += [b"%s: %s\r\n" % pair for pair in head.headers]
    if head.body_length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif head.body_length or head.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"content-length: %d\r\n" % head.body_length)
    if head.upgrade is not None:
        lines.append(b"connection: upgrade\r\nupgrade: %s\r\n" % head.upgrade)
    lines.append(b"\r\n")
    return b"".join(lines)


class Http1Exchange:
    """One request and its response over one connection (see :class:`daemon.wire.exchange.Exchange`)."""

    __slots__ = (
        "_chunked_up",
        "_head",
        "_kept",
        "_pending",
        "_reader",
        "_received",
        "_remaining",
        "_reusable",
        "_sent",
        "_upstream",
        "stream",
    )

    def __init__(self, upstream: Http1Upstream) -> None:
        self._upstream = upstream
        self.stream: PlainOrTLS | None = None
        self._head: RequestHead | None = None
        self._reader: h11.Connection | None = None
        self._pending = b""  # body bytes of known length that came with the head
        self._remaining: int | None = 0  # of the response body, not yet delivered; None: until the end of the stream
        self._chunked_up = False
        self._sent = self._received = self._reusable = self._kept = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the connection back if it is clean, else close it."""
        stream, self.stream = self.stream, None
        if stream is None:
            return
        if self._sent and self._received and self._reusable and not self._pending:
            self._upstream.put_idle(stream)
        else:
            self.drop(stream)

    def drop(self, stream: PlainOrTLS) -> None:
        """Close a connection that is of no use any more."""
        stream.close()

    def _io(self) -> PlainOrTLS:
        assert self.stream is not None, "the exchange has no head yet"  # a bug of ours, never of a peer
        return self.stream

    async def send_head(self, head: RequestHead) -> None:
        """Send the head. A kept connection that turns out dead before any answer is replaced, once."""
        self._head = head
        self._chunked_up = head.body_length is None
        self._sent = head.body_length == 0
        data = request_bytes(head)
        self.stream = self._upstream.take_idle()
        if self.stream is not None:
            self._kept = True
            try:
                return await self._send(data)
            except UpstreamError:
                self.stream.close()
        await self._connect_and_send(data)

    async def _connect_and_send(self, data: bytes) -> None:
        self._kept = False
        self.stream = await self._upstream.connect()
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        try:
            await self._io().send(data)
        except OSError as error:
            raise UpstreamError(f"broke off while we sent: {error}") from error

    async def send_body(self, data: bytes) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._send(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked_up else data)

    async def send_end(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        if self._chunked_up:
            await self._send(b"0\r\n\r\n")
        self._sent = True

    async def _receive(self) -> bytes:
        try:
            return await self._io().receive()
        except OSError as error:
            raise UpstreamError(f"broke off while it answered: {error}") from error

    async def _receive_later(self) -> bytes:
        try:
            return await self._io().receive_later()
        except OSError as error:
            raise UpstreamError(f"broke off while it answered: {error}") from error

    async def receive_head(self) -> ResponseHead:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        if self._reader is None:
            assert self._head is not None, "the exchange has no head yet"
            data = await self._receive_head_bytes(b"")
            plain = plain_response(data)
            if plain is not None and (plain.length is not None or plain.first in _BODILESS):
                return self._plain(plain, data)
            self._reader = _response_reader(self._head)
            self._reader.receive_data(data)
        while True:
            try:
                event = self._reader.next_event()
            except h11.RemoteProtocolError as error:
                raise UpstreamError(f"does not speak HTTP/1.1: {error}") from error
            if event is h11.NEED_DATA:
                self._reader.receive_data(await self._receive_head_bytes(self._reader.trailing_data[0]))
            elif isinstance(event, h11.InformationalResponse):
                return self._informational(event)
            elif isinstance(event, h11.Response):
                return self._final(event)
            else:
                raise UpstreamError("closed the connection without an answer")

    async def _receive_head_bytes(self, before: bytes) -> bytes:
        """Bytes of the head. A kept connection may close just as we use it: then a safe request is repeated."""
        kept, self._kept = self._kept, False
        error: UpstreamError | None = None
        try:
            data = await self._receive_later()
        except UpstreamError as broken:
            data, error = b"", broken
        if data:
            return data
        head = self._head
        if kept and head is not None and _repeatable(head) and not before:
            self._io().close()
            await self._connect_and_send(request_bytes(head))
            data = await self._receive()
            if data:
                return data
        raise error or UpstreamError("closed the connection without an answer")

    def _plain(self, plain: PlainHead, data: bytes) -> ResponseHead:
        """A head that needed no h11: a body of declared length, or none."""
        assert self._head is not None
        status = int(plain.first)
        length = plain.length
        self._pending = data[plain.size :]
        self._remaining = 0 if self._head.method == b"HEAD" or plain.first in _BODILESS else length
        self._received = self._remaining == 0
        self._reusable = self._head.method != b"HEAD"
        return ResponseHead(status, plain.second, plain.headers, length)

    def _informational(self, event: h11.InformationalResponse) -> ResponseHead:
        headers: Headers = list(event.headers)
        upgrade = None
        if event.status_code == 101 and self._reader is not None:
            upgrade = next((value for name, value in headers if name == b"upgrade"), b"")
            self._pending = self._reader.trailing_data[0]
        return ResponseHead(event.status_code, bytes(event.reason), headers, 0, upgrade)

    def _final(self, event: h11.Response) -> ResponseHead:
        assert self._reader is not None
        assert self._head is not None
        if event.status_code > 599 or event.http_version not in (b"1.0", b"1.1"):
            raise UpstreamError("answered with a status, or in a version, that HTTP/1.1 does not know")
        headers: Headers = []
        options: set[bytes] = set()
        length: bytes | None = None
        chunked = False
        for raw_name, value in event.headers.raw_items():
            name = raw_name.lower()
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"connection":
                options |= tokens((value,))
            headers.append((name, value))
        if chunked and length is not None:
            raise UpstreamError("gave both Content-Length and Transfer-Encoding")
        closes = b"close" in options or event.http_version != b"1.1"
        bodiless = self._head.method == b"HEAD" or event.status_code in (204, 304)
        if bodiless:
            self._remaining, self._received = 0, True
            self._pending = self._reader.trailing_data[0]  # it is not ours, but spoils the connection
        elif chunked:
            self._remaining = -1
        else:
            self._remaining = int(length) if length is not None else None
            self._pending = self._reader.trailing_data[0]
            self._received = self._remaining == 0
        # Servers that send a body to HEAD all the same do so when the head is out: it would be the next one's answer.
        self._reusable = not closes and self._remaining is not None and self._head.method != b"HEAD"
        body_length = None if self._remaining == -1 else self._remaining
        if bodiless:
            body_length = int(length) if length is not None else None
        return ResponseHead(event.status_code, bytes(event.reason), headers, body_length)

    async def receive_body(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        if self._received:
            return b""
        if self._remaining == -1:
            return await self._receive_chunks()
        data = self._pending or await self._receive()
        self._pending = b""
        if self._remaining is None:
            self._received = not data
            return data
        if not data:
            raise UpstreamError(f"closed the connection {self._remaining} bytes before the end of its answer")
        return self._counted(data)

    async def _receive_chunks(self) -> bytes:
        """All whole pieces that are here, joined; waits only if there is none."""
        assert self._reader is not None
        while True:
            data = self._chunks_here(self._reader)
            if data or self._received:
                return data
            self._reader.receive_data(await self._receive())

    def _chunks_here(self, reader: h11.Connection) -> bytes:
        pieces: list[bytes] = []
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError as error:
                raise UpstreamError(f"sent a broken body: {error}") from error
            if isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
                continue
            if event is not h11.NEED_DATA:
                self._received = True
                self._reusable = self._reusable and not reader.trailing_data[0]
            return b"".join(pieces)

    @property
    def body_done(self) -> bool:
        return self._received

    def body_here(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        if self._received:
            return b""
        if self._remaining == -1:
            assert self._reader is not None
            return self._chunks_here(self._reader)
        data, self._pending = self._pending, b""
        return self._counted(data) if data and self._remaining is not None else data

    def _counted(self, data: bytes) -> bytes:
        """Take a piece off the count of a body of known length; what goes beyond it is not part of the answer."""
        assert self._remaining is not None
        if len(data) > self._remaining:
            data, self._reusable = data[: self._remaining], False
        self._remaining -= len(data)
        self._received = self._remaining == 0
        return data

    def take_body(self) -> tuple[SocketStream, int] | None:
        """The socket and the number of body bytes still to come on it, for moving them in the kernel; else ``None``."""
        if (
            self._pending
            or self._remaining is None
            or self._remaining <= 0
            or not isinstance(self.stream, SocketStream)
        ):
            return None
        return self.stream, self._remaining

    def body_moved(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        self._remaining, self._received = 0, True

    def body_target(self) -> SocketStream | None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        return self.stream if isinstance(self.stream, SocketStream) and not self._chunked_up else None

    async def send_raw(self, data: bytes) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await self._send(data)

    async def send_raw_eof(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        try:
            await self._io().send_eof()
        except OSError as error:
            raise UpstreamError(f"broke off: {error}") from error

    async def receive_raw(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        if self._pending:
            data, self._pending = self._pending, b""
            return data
        return await self._receive()
