"""The way to a tunnel that another replica holds: an exchange over HTTP/1.1, signed, with one that proved who it is."""

from __future__ import annotations

import dataclasses
import secrets
import socket
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio

from daemon.tunnel import hop
from daemon.wire.exchange import UpstreamAbsent, UpstreamError, UpstreamRefused
from daemon.wire.http1 import Http1Exchange, Http1Upstream
from daemon.wire.sockets import SocketStream, connect_tcp
from protocol.messages import RequestHead, ResponseHead

if TYPE_CHECKING:
    from daemon.secret import Keyring
    from daemon.store.replicas import Place
    from daemon.wire.pool import PlainOrTLS

# For a connection and a hello on a network inside a cluster: some milliseconds. Who needs longer is asked again.
_HELLO_SECONDS: Final = 2.0
# A machine that was switched off is noticed after three times as long: as soon as the replica on it is held for dead.
_SILENCE_SECONDS: Final = 4


class HopUpstream(Http1Upstream):
    """Connections to one replica."""

    def __init__(self, keyring: Keyring, replica_id: str, url: str) -> None:
        super().__init__(self._introduced)
        self.keyring = keyring
        self.replica_id = replica_id
        self.url = url
        self.exchanges: set[HopExchange] = set()  # those under way
        where = urlsplit(url)
        self._address = (where.hostname or "", where.port or 80)

    async def connect(self) -> PlainOrTLS:
        """A new connection. Raises :class:`UpstreamAbsent`: nobody has got anything of the request then."""
        try:
            return await super().connect()
        except UpstreamError as error:
            raise UpstreamAbsent(f"the replica at {self.url} cannot be reached: {error}") from error

    def cut(self) -> None:
        """The replica is gone. One that was stopped keeps its connections, and would never answer."""
        for exchange in self.exchanges:
            exchange.cut()
        self.close()

    async def _introduced(self) -> SocketStream:
        stream: SocketStream | None = None
        try:
            with trio.move_on_after(_HELLO_SECONDS):
                stream = await connect_tcp(*self._address)
                if not await self._is_meant(stream):
                    raise ConnectionError("somebody else answers there")
                _keep_alive(stream)
                kept, stream = stream, None
                return kept
            raise TimeoutError("it did not answer in time")
        finally:
            if stream is not None:
                stream.reset()

    async def _is_meant(self, stream: SocketStream) -> bool:
        """Whether it is this very replica, and has the key."""

        async def made() -> SocketStream:
            return stream

        number = secrets.token_hex(16)
        value = hop.write_hello(self.keyring, self.replica_id, number, time())
        head = RequestHead(b"GET", hop.HELLO_TARGET, [(b"host", b"replica"), (hop.HEADER, value)], 0)
        only = Http1Upstream(made)
        async with only.exchange() as exchange:
            try:
                await exchange.send_head(head)
                answer = await exchange.receive_head()
            except UpstreamError as error:
                raise ConnectionError(str(error)) from error
        proof = next((value for name, value in answer.headers if name == hop.HEADER), b"")
        return hop.is_answer(self.keyring, proof, self.replica_id, number) and only.take_idle() is stream


def _keep_alive(stream: SocketStream) -> None:
    """Nobody pings on a hop: the kernel asks whether the other machine is there."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE_SECONDS)
    stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENCE_SECONDS)
    stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)


class HopExchange(Http1Exchange):
    """See :class:`~daemon.wire.exchange.Exchange`.

    Raises :class:`UpstreamAbsent` where the request has not reached the machine, so that it may be sent elsewhere: by
    :meth:`send_head`, and for one without a body also by :meth:`receive_head`. Every other error is as the tunnel's
    own.
    """

    __slots__ = ("_early", "_heard_all", "_hop", "_said_all", "_voucher")

    def __init__(self, upstream: HopUpstream, sandbox_id: str, place: Place) -> None:
        super().__init__(upstream)
        self._hop = upstream
        self._voucher = hop.Voucher(place.replica_id, sandbox_id, place.connection_id)
        self._early: ResponseHead | None = None  # the answer came before the body was asked for
        self._said_all = self._heard_all = False  # after 101

    async def send_head(self, head: RequestHead) -> None:
        """Send the head; with a body to come, until the tunnel took it."""
        self._hop.exchanges.add(self)
        value = hop.write(self._hop.keyring, self._voucher, head.method, head.target, time())
        kept = [pair for pair in head.headers if pair[0] != hop.HEADER]
        await super().send_head(dataclasses.replace(head, headers=[*kept, (hop.HEADER, value)]))
        if head.body_length == 0:
            return
        try:
            self._early = await self._until_held()
        except UpstreamRefused:
            raise
        except UpstreamError as error:  # it has the head at most, which by itself is nothing
            raise UpstreamAbsent(str(error)) from error

    async def _until_held(self) -> ResponseHead | None:
        while True:
            answer = await super().receive_head()
            if answer.status >= 200:
                return _judged(answer)
            if (hop.HEADER, hop.HELD) in answer.headers:
                return None

    async def receive_head(self) -> ResponseHead:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        early, self._early = self._early, None
        return early or _judged(await super().receive_head())

    def release(self) -> None:
        """See :class:`~daemon.wire.http1.Http1Exchange`."""
        self._hop.exchanges.discard(self)
        super().release()

    def cut(self) -> None:
        """Nothing more comes from the other side."""
        if isinstance(self.stream, SocketStream):
            with suppress(OSError):
                self.stream.socket.shutdown(socket.SHUT_RDWR)

    async def send_raw_eof(self) -> None:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        await super().send_raw_eof()
        self._said_all = True

    async def receive_raw(self) -> bytes:
        """See :class:`~daemon.wire.exchange.Exchange`."""
        data = await super().receive_raw()
        self._heard_all |= not data
        return data

    def drop(self, stream: PlainOrTLS) -> None:
        """Break off so that the other replica sees it at once, whatever it is doing.

        Not after a whole exchange: what we said last may not have been read there, and a reset would take it away.
        """
        if (self._sent and self._received) or (self._said_all and self._heard_all):
            stream.close()
        elif isinstance(stream, SocketStream):
            stream.reset()


def _judged(answer: ResponseHead) -> ResponseHead:
    """An answer of the machine; what the other replica says for itself is raised."""
    said = next((value for name, value in answer.headers if name == hop.HEADER), None)
    if said is None or answer.status < 200:
        answer.headers = [pair for pair in answer.headers if pair[0] != hop.HEADER]
        return answer
    what, _, words = said.partition(b" ")
    if what == hop.NOT_HERE:
        raise UpstreamAbsent("the replica does not hold the tunnel any more")
    if what == hop.REFUSED:
        with suppress(ValueError):
            status, code, text = words.decode("latin-1").split(" ", 2)
            raise UpstreamRefused(int(status), code, text)
    raise UpstreamError(words.decode("latin-1") or "the replica did not pass it on")
