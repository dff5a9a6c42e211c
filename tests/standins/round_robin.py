"""A load balancer: TCP on loopback, each connection to the next server that says it is ready.

Every tenth of a second it asks each server for ``/readyz``; one that says anything but 200, or refuses, gets no new
connection, and those that it has go on. One that says nothing in time is asked three times before it counts as not
ready, as load balancers do. A server that refuses a connection is passed over.
What it does not do: it knows no HTTP beyond that question, has no TLS, keeps nobody with the server of before, and
repeats nothing.
"""

from __future__ import annotations

import http.client
import select
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOOK_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 1.0
_SILENCES: Final = 3  # a machine that is busy may keep all servers from answering in time
_PIECE: Final = 1 << 16


class RoundRobin:
    """The balancer. ``given`` counts the connections that each server got."""

    def __init__(self, port: int, servers: Sequence[int]) -> None:
        self.port = port
        self.only: int | None = None  # the server that gets all connections, ready or not
        self.given = dict.fromkeys(servers, 0)
        self._servers = list(servers)
        self._ready = set(servers)
        self._turn = 0
        self._ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=256)
        self._threads = [
            threading.Thread(target=self._accept, daemon=True),
            *(threading.Thread(target=self._look, args=(server,), daemon=True) for server in servers),
        ]

    @contextmanager
    def running(self) -> Iterator[RoundRobin]:
        """For the time of the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            for thread in self._threads:
                thread.join(5)

    def _look(self, server: int) -> None:
        silences = 0
        while not self._ended.wait(_LOOK_SECONDS):
            ready = _is_ready(server)
            silences = silences + 1 if ready is None else 0
            if ready:
                self._ready.add(server)
            elif ready is False or silences >= _SILENCES:
                self._ready.discard(server)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                if self._ended.is_set():
                    return
                continue  # the client was gone before it was taken
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            target = self._connect()
            if target is None:
                return
            with target:
                for sock in (client, target):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=_copy, args=(target, client), daemon=True)
                watch = threading.Thread(target=_watch, args=(client, target, back), daemon=True)
                back.start()
                watch.start()
                _copy(client, target, last_words=True)
                back.join()
                watch.join()

    def _connect(self) -> socket.socket | None:
        for _ in self._servers:
            server = self.only or self._servers[self._turn % len(self._servers)]
            self._turn += 1
            if server not in self._ready and not self.only:
                continue
            with suppress(OSError):
                found = socket.create_connection(("127.0.0.1", server), _ANSWER_SECONDS)
                found.settimeout(None)
                self.given[server] += 1
                return found
        return None


def _is_ready(server: int) -> bool | None:
    """What it says; None if it says nothing in time."""
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz", headers={"Host": "localhost", "Connection": "close"})
        return connection.getresponse().status == 200
    except TimeoutError:
        return None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _watch(client: socket.socket, target: socket.socket, back: threading.Thread) -> None:
    """A client that is gone altogether, which may show only when something is sent to it, takes its other end along."""
    poller = select.poll()
    poller.register(client, 0)  # errors are told in any case
    while back.is_alive():
        # A hang-up alone may be two ends that were said in peace, with bytes that nobody has read yet.
        if any(event & select.POLLERR for _, event in poller.poll(20)):
            with suppress(OSError):
                target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                target.shutdown(socket.SHUT_RDWR)
            return


def _copy(source: socket.socket, sink: socket.socket, *, last_words: bool = False) -> None:
    """One direction. An end is passed on as an end; a break ends both.

    ``last_words``: a sink that takes nothing more may have said something before. The other direction brings that, and
    ends behind it.
    """
    try:
        data = b"\0"
        while data:
            data = source.recv(_PIECE)
            try:
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                if last_words:
                    return
                raise
    except OSError:
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
