"""Connections to one upstream: those that are idle are kept for a moment and used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from daemon.wire import limits
from daemon.wire.exchange import UpstreamError, UpstreamTimeout
from daemon.wire.sockets import SocketStream, TLSStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PlainOrTLS = SocketStream | TLSStream


class ConnectionPool:
    """Connections to one address. ``connect`` opens a connection and raises :class:`OSError` if it cannot."""

    def __init__(self, connect: Callable[[], Awaitable[PlainOrTLS]]) -> None:
        self._connect = connect
        self._idle: list[tuple[float, PlainOrTLS]] = []  # when it became idle; the newest last
        self._closed = False

    def take_idle(self) -> PlainOrTLS | None:
        """A connection that is open and was used lately.

        What the upstream sent unasked lies in the socket, and would be taken for the next answer: so each is asked.
        """
        oldest = trio.current_time() - limits.IDLE_UPSTREAM_SECONDS
        while self._idle:
            since, stream = self._idle.pop()
            if since >= oldest and stream.still_open():
                return stream
            stream.close()
        return None

    def put_idle(self, stream: PlainOrTLS) -> None:
        """Keep a connection for the next exchange."""
        now = trio.current_time()
        while len(self._idle) >= limits.MAX_IDLE_UPSTREAM:
            self._idle.pop(0)[1].close()
        if self._closed:
            stream.close()
        else:
            self._idle.append((now, stream))

    def prune(self) -> None:
        """Close what is too old to be used again."""
        oldest = trio.current_time() - limits.IDLE_UPSTREAM_SECONDS
        while self._idle and self._idle[0][0] < oldest:
            self._idle.pop(0)[1].close()

    @property
    def unused(self) -> bool:
        """Whether no connection is kept."""
        return not self._idle

    async def run(self) -> None:
        """Prune for ever: after a burst there may be many of them, and nobody who asks for one."""
        while True:
            await trio.sleep(limits.IDLE_UPSTREAM_SECONDS)
            self.prune()

    async def connect(self) -> PlainOrTLS:
        """A new connection. Raises :class:`UpstreamError`."""
        try:
            return await self._connect()
        except TimeoutError as error:
            raise UpstreamTimeout(str(error)) from error
        except OSError as error:
            raise UpstreamError(f"cannot connect: {error}") from error

    def close(self) -> None:
        """Close the idle connections; exchanges under way go on and are not kept."""
        self._closed = True
        for _, stream in self._idle:
            stream.close()
        self._idle.clear()
