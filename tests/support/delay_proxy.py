"""A long wire: a TCP proxy on loopback that delays each direction, and can freeze and cut.

The delay costs no throughput, as on a real long wire: bytes are read as soon as they come and written a fixed time
later, and up to 64 MiB may be under way in each direction. A side that ends gets its end delivered after its last byte.
What it does not do: it loses nothing, reorders nothing, and knows no bandwidth.

    python -m tests.support.delay_proxy 127.0.0.1:0 127.0.0.1:8080 50

prints where it listens, delays by 50 ms one way, and takes commands by the line on its standard input: ``freeze``,
``thaw``, ``cut``, ``refuse``, ``accept``, ``delay 20`` and ``count``; each is answered by a line. In a test::

    proxy = DelayProxy("127.0.0.1", port, 0.05)
    host, port = await nursery.start(proxy.serve)
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_UNDER_WAY: Final = 64 << 20  # bytes in each direction; 20 MB/s at a round trip of 3 s, or 1.2 GB/s at 100 ms
_PIECE: Final = 1 << 18  # bytes of one read
_ABORT: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset


class DelayProxy:
    """The proxy. ``up`` and ``down`` count what was delivered to the target and back."""

    def __init__(self, host: str, port: int, seconds: float, *, most: int = MOST_UNDER_WAY) -> None:
        """To ``host`` and ``port``, with ``seconds`` of delay one way, so that a round trip takes twice as long."""
        self.seconds = seconds
        self.up = 0
        self.down = 0
        self.accepted = 0
        self.refusing = False  # a new connection is reset
        self.address = ("", 0)
        self._target = (host, port)
        self._most = most
        self._frozen = False
        self._thawed = trio.Event()
        self._pairs: set[_Pair] = set()

    @property
    def open_connections(self) -> int:
        """Connections that have not ended."""
        return len(self._pairs)

    @property
    def under_way(self) -> int:
        """Bytes that were taken and not delivered yet, in both directions."""
        return sum(way.size for pair in self._pairs for way in pair.ways)

    def freeze(self) -> None:
        """From now on no byte moves; connections stay, and new ones are accepted and stay as silent."""
        if not self._frozen:
            self._frozen, self._thawed = True, trio.Event()

    def thaw(self) -> None:
        """Bytes move again; those that were under way arrive at once if their time has come."""
        self._frozen = False
        self._thawed.set()

    def cut(self) -> None:
        """Reset every connection, on both sides; what was under way is lost."""
        for pair in self._pairs:
            pair.cut()

    async def moving(self) -> None:
        """Wait while frozen."""
        while self._frozen:
            await self._thawed.wait()

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve for ever; started with its address."""
        with socket.create_server((host, port), backlog=1024) as listening:
            listening.setblocking(False)
            self.address = listening.getsockname()[:2]
            task_status.started(self.address)
            async with trio.open_nursery() as nursery:
                while True:
                    await trio.lowlevel.wait_readable(listening)
                    try:
                        client, _ = listening.accept()
                    except (BlockingIOError, ConnectionError):
                        continue
                    nursery.start_soon(self._connect, client)

    async def _connect(self, client: socket.socket) -> None:
        self.accepted += 1
        with client:
            client.setblocking(False)
            await self.moving()
            target = None if self.refusing else await _dial(*self._target)
            if target is None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                return
            with target:
                pair = _Pair(client, target, self, self._most)
                self._pairs.add(pair)
                try:
                    await pair.run()
                finally:
                    self._pairs.discard(pair)


async def _dial(host: str, port: int) -> socket.socket | None:
    """A connection to the target, or ``None`` if nobody is there."""
    sock = trio.socket.socket()
    try:
        await sock.connect((host, port))
        return socket.socket(fileno=sock.detach())
    except OSError:
        return None
    finally:
        sock.close()


class _Pair:
    """One connection through the proxy: both its sockets, and the two ways between them."""

    def __init__(self, client: socket.socket, target: socket.socket, proxy: DelayProxy, most: int) -> None:
        self._sockets = (client, target)
        self._scope = trio.CancelScope()
        self._proxy = proxy
        self.ways = (_Way(client, target, proxy, self._went_up, most), _Way(target, client, proxy, self._came, most))
        for sock in self._sockets:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _went_up(self, count: int) -> None:
        self._proxy.up += count

    def _came(self, count: int) -> None:
        self._proxy.down += count

    def cut(self) -> None:
        """Reset both sides."""
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._scope.cancel()

    async def run(self) -> None:
        """Until both ways have ended, or one side was reset."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for way in self.ways:
                    nursery.start_soon(self._guard, way.read)
                    nursery.start_soon(self._guard, way.write)

    async def _guard(self, task: Callable[[], object]) -> None:
        try:
            await task()  # type: ignore[misc]
        except OSError:
            self.cut()


class _Way:
    """One direction. Sockets are asked without waiting, so that nothing moves between freezing and thawing."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, proxy: DelayProxy, count: Callable[[int], None], most: int
    ) -> None:
        self.size = 0
        self._source = source
        self._sink = sink
        self._proxy = proxy
        self._count = count
        self._most = most
        self._under_way: deque[tuple[float, bytes]] = deque()  # (when it came, what); empty at the end
        self._filled = trio.Event()
        self._emptied = trio.Event()

    async def read(self) -> None:
        """Take what comes."""
        while True:
            while self.size >= self._most:
                self._emptied = trio.Event()
                await self._emptied.wait()
            await trio.lowlevel.wait_readable(self._source)
            await self._proxy.moving()
            try:
                data = self._source.recv(_PIECE)
            except BlockingIOError:
                continue
            self._under_way.append((trio.current_time(), data))
            self.size += len(data)
            self._filled.set()
            if not data:
                return

    async def write(self) -> None:
        """Deliver each piece when its time has come."""
        while True:
            while not self._under_way:
                self._filled = trio.Event()
                await self._filled.wait()
            came, data = self._under_way[0]
            await trio.sleep_until(came + self._proxy.seconds)
            if not data:
                await self._proxy.moving()
                self._sink.shutdown(socket.SHUT_WR)
                return
            view = memoryview(data)
            while view:
                await self._proxy.moving()
                try:
                    sent = self._sink.send(view)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._sink)
                    continue
                self._count(sent)
                view = view[sent:]
            self._under_way.popleft()
            self.size -= len(data)
            self._emptied.set()


def _obey(proxy: DelayProxy, line: str) -> str:
    """Do what a line of standard input says; the answer."""
    command, _, value = line.strip().partition(" ")
    match command:
        case "freeze":
            proxy.freeze()
        case "thaw":
            proxy.thaw()
        case "cut":
            proxy.cut()
        case "refuse" | "accept":
            proxy.refusing = command == "refuse"
        case "delay":
            proxy.seconds = float(value) / 1000
        case "count":
            return f"up={proxy.up} down={proxy.down} open={proxy.open_connections} under_way={proxy.under_way}"
        case _:
            return f"unknown: {line.strip()}"
    return "ok"


async def _main(listen: str, target: str, milliseconds: float) -> None:
    host, _, port = target.rpartition(":")
    proxy = DelayProxy(host, int(port), milliseconds / 1000)
    listen_host, _, listen_port = listen.rpartition(":")
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(proxy.serve, listen_host or "127.0.0.1", int(listen_port))
        sys.stdout.write(f"{bound[0]}:{bound[1]}\n")
        sys.stdout.flush()
        async for line in trio.wrap_file(sys.stdin):
            sys.stdout.write(f"{_obey(proxy, line)}\n")
            sys.stdout.flush()


def main() -> None:
    """Run it by itself. It stays when its standard input ends."""
    if len(sys.argv) != 4:
        sys.exit("usage: python -m tests.support.delay_proxy LISTEN TARGET MS")
    trio.run(_main, sys.argv[1], sys.argv[2], float(sys.argv[3]))


if __name__ == "__main__":
    main()
