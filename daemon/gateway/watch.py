"""One task that looks after all connections: their deadlines, and clients that hang up while they are served.

Deadlines by a cancel scope per read and write would cost a tenth of a small request. An edge-triggered epoll set costs
one system call per connection and tells of a hang-up even while nobody reads the socket.
"""

from __future__ import annotations

import math
import select
from typing import TYPE_CHECKING, Final

import trio

from daemon.gateway import limits

if TYPE_CHECKING:
    from daemon.gateway.client import Client

TICK_SECONDS: Final = 0.25  # precision of the deadlines; they are tens of seconds
_EVENTS: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLET
_PROBES: Final = 3  # how often a silent half-closed client is asked; a lost segment is repeated by TCP itself


class Watch:
    """Knows every connection. ``async with`` is not needed: :meth:`run` is its service, :meth:`close` its end."""

    def __init__(self) -> None:
        self.clients: dict[int, Client] = {}  # by file descriptor
        self._half_closed: dict[int, tuple[float, int]] = {}  # when to ask next, and how often we asked
        self._epoll = select.epoll()

    def add(self, client: Client) -> None:
        """Begin to look after a connection."""
        fd = client.stream.socket.fileno()
        self.clients[fd] = client
        self._epoll.register(fd, _EVENTS)

    def remove(self, client: Client) -> None:
        """The connection is about to be closed."""
        fd = client.stream.socket.fileno()
        if self.clients.pop(fd, None) is not None:
            self._half_closed.pop(fd, None)
            self._epoll.unregister(fd)

    def make_room(self) -> bool:
        """Close the connection that has waited longest for a request; false if all are busy.

        One that never had a request goes first: whoever opens thousands of them and says nothing, or half a head, keeps
        nobody else out. The others are browsers between two requests, which connect anew.
        """
        chosen: Client | None = None
        for client in self.clients.values():  # the oldest first
            if client.waits and client.fresh:
                chosen = client
                break
            if chosen is None and client.waits:
                chosen = client
        if chosen is None:
            return False
        chosen.expire()
        return True

    def revoke(self, key: tuple[str, ...]) -> int:
        """Cut every stream that lives by ``key``; how many those were."""
        cut = [client for client in self.clients.values() if key in client.revoked_by]
        for client in cut:
            client.scope.cancel()
        return len(cut)

    def live_keys(self) -> set[tuple[str, ...]]:
        """The keys by which streams live now."""
        return {key for client in self.clients.values() for key in client.revoked_by}

    async def run(self) -> None:
        """Look after the connections until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_hang_ups)
            nursery.start_soon(self._watch_deadlines)

    async def _watch_hang_ups(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0, 256):
                client = self.clients.get(fd)
                if client is None:
                    continue
                if client.busy and (events & select.EPOLLERR or (events & select.EPOLLHUP and not client.said_all)):
                    client.scope.cancel()  # a hang-up after our own end is only the client's: it may have more to say
                else:
                    self._half_closed[fd] = (trio.current_time() + limits.PROBE_AFTER_SECONDS, 0)

    async def _watch_deadlines(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            now = trio.current_time()
            for client in self.clients.values():
                if client.overdue(now):
                    client.expire()
            for fd, (due, count) in list(self._half_closed.items()):
                if due <= now:
                    count += self.clients[fd].ask_whether_there()
                    pause = TICK_SECONDS * 2**count if count <= _PROBES else math.inf
                    self._half_closed[fd] = (now + pause, count)

    def close(self) -> None:
        """Let go of the epoll set."""
        self._epoll.close()
