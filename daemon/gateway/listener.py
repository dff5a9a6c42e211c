"""The one public listener."""

from __future__ import annotations

import errno
import resource
import socket
from collections import Counter
from typing import TYPE_CHECKING

import structlog
import trio

from daemon.gateway import limits
from daemon.gateway.client import Client
from daemon.gateway.connection import Service, serve_connection
from daemon.gateway.origin import is_within, plain_address
from daemon.gateway.replies import problem, reply_bytes
from daemon.gateway.watch import Watch
from daemon.wire.sockets import SocketStream

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

_BACKLOG = 1024  # bursts of a whole team's browsers at a restart
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_SECONDS = 0.1  # when the system is out of files: long enough to close some
_MADE_FREE = 16  # connections that then make way: to serve one may take three files


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for an address; an empty host is every address, both families. Raises :class:`OSError`."""
    if not host and socket.has_dualstack_ipv6():
        return [socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)]
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    for family, _, _, _, address in found:
        if port == 0 and opened:
            break
        opened.append(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
    return opened


def connection_limit() -> int:
    """Raise the soft limit of open files to the hard one, and say how many connections that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.FILES_OF_CONNECTION * limits.MAX_CONNECTIONS + limits.RESERVED_FILES
    files = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(16, min(limits.MAX_CONNECTIONS, (files - limits.RESERVED_FILES) // limits.FILES_OF_CONNECTION))


def _sandbox(peer: object, service: Service) -> str:
    """The address of a sandbox that connects; empty for everybody else."""
    if not service.never_trusted or not isinstance(peer, tuple):
        return ""
    address = plain_address(peer[0])
    return address if is_within(address, service.never_trusted) else ""


class Listener:
    """Accepts connections and serves each in a task of its own."""

    def __init__(self, service: Service, sockets: list[socket.socket], *, most: int) -> None:
        self.service = service
        self.watch = Watch()
        self._most = most
        self._sockets = [trio.socket.from_stdlib_socket(sock) for sock in sockets]
        self._open = 0
        self._doors: dict[trio.socket.SocketType, Service] = {}
        self._from_sandboxes: Counter[str] = Counter()  # connections, by the sandbox's address
        self._nurseries: tuple[trio.Nursery, trio.Nursery] | None = None  # of acceptors, of connections
        self._accepting = trio.CancelScope()
        self._connections = trio.CancelScope()
        self._drained = trio.Event()

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return self._open

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`drain` is called, then until the connections ended or their deadline passed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch.run)
                with self._connections:
                    async with trio.open_nursery() as connections:
                        with self._accepting:
                            async with trio.open_nursery() as acceptors:
                                self._nurseries = acceptors, connections
                                for sock in self._sockets:
                                    acceptors.start_soon(self._accept, sock, connections, self.service)
                                task_status.started()
                                await trio.sleep_forever()
                        self._close_idle()
                nursery.cancel_scope.cancel()
        finally:
            self._stop_listening()
            self.watch.close()
        self._drained.set()

    def open_door(self, sock: socket.socket, service: Service) -> Callable[[], None] | None:
        """Accept at one more listening socket, for ``service``, until the function that is returned is called.

        Connections count and are drained like all others. The socket is closed in the end, whatever happens; at once,
        and nothing is returned, while the listener does not run.
        """
        door = trio.socket.from_stdlib_socket(sock)
        if self._nurseries is None or self.service.draining:
            door.close()
            return None
        acceptors, connections = self._nurseries
        scope = trio.CancelScope()
        self._doors[door] = service

        def shut() -> None:
            scope.cancel()
            self._doors.pop(door, None)
            door.close()

        async def accept() -> None:
            with scope:
                await self._accept(door, connections, service)

        acceptors.start_soon(accept, name="door")
        return shut

    async def drained(self) -> None:
        """Wait for the end of :meth:`run`."""
        await self._drained.wait()

    def step_aside(self) -> None:
        """Serve on, and let each answer end its connection: whoever comes again had better go elsewhere."""
        for service in (self.service, *self._doors.values()):
            service.draining = True
        for client in self.watch.clients.values():
            client.last = True

    def drain(self, seconds: float) -> None:
        """Accept nothing more; idle connections end now, busy ones after their answer or after ``seconds``."""
        self.step_aside()
        self._connections.deadline = trio.current_time() + seconds
        self._accepting.cancel()
        self._stop_listening()

    def _stop_listening(self) -> None:
        for sock in (*self._sockets, *self._doors):
            sock.close()
        self._doors.clear()

    def _close_idle(self) -> None:
        for client in self.watch.clients.values():
            client.last = True
            if client.idle and client.fresh:
                client.read_deadline = trio.current_time() + limits.FRESH_SECONDS
            elif client.idle:
                client.expire()

    async def _accept(self, listening: trio.socket.SocketType, connections: trio.Nursery, service: Service) -> None:
        while True:
            try:
                accepted, peer = await listening.accept()
            except OSError as error:
                if error.errno in _FULL:
                    for _ in range(_MADE_FREE):
                        self.watch.make_room()
                    log.warning("cannot accept a connection", reason=str(error))
                    await trio.sleep(_PAUSE_SECONDS)
                elif error.errno == errno.EBADF:
                    return
                continue  # the client was gone before we took it
            sock = socket.socket(fileno=accepted.detach())
            sandbox = _sandbox(peer, service)
            full = self._open >= self._most and not self.watch.make_room()
            if full or self._from_sandboxes[sandbox] >= limits.MAX_CONNECTIONS_OF_SANDBOX:
                self._turn_away(sock)
            else:
                self._open += 1
                if sandbox:
                    self._from_sandboxes[sandbox] += 1
                connections.start_soon(self._serve, sock, peer, service, name="connection")

    def _turn_away(self, sock: socket.socket) -> None:
        """One connection too many: say so, without a task and without waiting."""
        self.service.ledger.refused("too_many_connections")
        busy = problem(503, "too_many_connections", "The server has too many open connections; try again soon.")
        busy.headers.append((b"retry-after", b"5"))
        with sock:
            sock.setblocking(False)
            try:
                sock.send(reply_bytes(busy, head_only=False, close=True))
            except OSError as error:
                log.debug("connection turned away", reason=str(error))

    async def _serve(self, sock: socket.socket, peer: object, service: Service) -> None:
        try:
            client = self._client(sock, peer)
        except OSError:  # reset before we looked at it
            sock.close()
            self._count_off(peer, service)
            return
        self.watch.add(client)
        clean = False
        try:
            clean = await serve_connection(client, service)
        finally:
            self._count_off(peer, service)
            self.watch.remove(client)  # before the number of the descriptor is free for the next connection
            if clean:
                client.stream.close()
            else:
                client.stream.reset()

    def _count_off(self, peer: object, service: Service) -> None:
        self._open -= 1
        if sandbox := _sandbox(peer, service):
            self._from_sandboxes[sandbox] -= 1
            if not self._from_sandboxes[sandbox]:
                del self._from_sandboxes[sandbox]

    def _client(self, sock: socket.socket, peer: object) -> Client:
        stream = SocketStream(sock)
        address = plain_address(peer[0]) if isinstance(peer, tuple) else "127.0.0.1"
        local = sock.getsockname()
        return Client(stream, address, plain_address(local[0]) if isinstance(local, tuple) else "127.0.0.1")
