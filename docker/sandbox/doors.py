"""Makes servers that listen on localhost only reachable at the container's own address, at the same port.

People start such servers all the time (``vite``, ``next dev``, ``flask run``), and nobody outside the container can
reach them. This program looks at the kernel's tables of sockets, opens a door for each of those ports, and closes it
when its server is gone. It needs Python's standard library only, and says nothing unless it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_SECONDS: Final = 0.25  # a server that has just started is tried by hand a second later at the soonest
LOWEST_PORT: Final = 1024  # the ports that have host names of their own
MOST_DOORS: Final = 256  # a program that listens on thousands of ports is not what people want to see
# Of all doors together. Each takes two descriptors, of which sandboxes have 65536, and up to 64 KiB in each direction
# while its reader is slower than its writer.
MOST_CONNECTIONS: Final = 1024
PIECE_BYTES: Final = 65536
BACKLOG: Final = 128  # a page with hundreds of modules asks for them at once
DIAL_SECONDS: Final = 5.0  # on loopback; longer only if the server's own queue is full

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
# "   0: 0100007F:1F90 00000000:0000 0A …": number, own address and port, peer, state; 0A is listening.
_LISTENING: Final = re.compile(r"^ *\d+: ([0-9A-F]{8,32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A ", re.MULTILINE)
_LOOPBACK: Final = {socket.inet_aton("127.0.0.1"): "127.0.0.1", socket.inet_pton(socket.AF_INET6, "::1"): "::1"}
_WILDCARDS: Final = {bytes(4), bytes(16)}
_MAPPED: Final = bytes(10) + b"\xff\xff"  # how an IPv6 socket writes an IPv4 address
_SIOCGIFADDR: Final = 0x8915  # linux/sockios.h: the address of an interface
_RESET: Final = struct.pack("ii", 1, 0)  # closing with this tells the peer that something was cut

Place = tuple[str, int]


def behind_loopback(tables: Iterable[str]) -> dict[int, str]:
    """The ports that are listened on at 127.0.0.1 or ::1 and nowhere else that counts, with that address.

    Other addresses of loopback do not count: at 127.0.0.11 is the engine's resolver, which is nobody's server.
    """
    found: dict[int, str] = {}
    reachable: set[int] = set()
    for table in tables:
        for written, port_written in _LISTENING.findall(table):
            address, port = _address(written), int(port_written, 16)
            if address in _WILDCARDS:
                reachable.add(port)
            elif address in _LOOPBACK and port >= LOWEST_PORT:
                found.setdefault(port, _LOOPBACK[address])
    return {port: address for port, address in found.items() if port not in reachable}


def _address(written: str) -> bytes:
    """The kernel writes addresses as 32-bit numbers of the machine's own byte order."""
    words = (int(written[at : at + 8], 16) for at in range(0, len(written), 8))
    address = b"".join(struct.pack("=I", word) for word in words)
    return address.removeprefix(_MAPPED) if len(address) == 16 else address


def own_addresses() -> list[str]:
    """The IPv4 addresses by which others reach this machine: one for each interface that has one."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address, or one that has just gone
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith("127.")]


class Doors:
    """The doors that are open. ``most``: how many connections they carry at once, all together."""

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self._open: dict[Place, Door] = {}
        self._seen: set[int] = set()
        self.connections: set[asyncio.Task[None]] = set()

    @property
    def places(self) -> list[Place]:
        """Where they are."""
        return sorted(self._open)

    def arrange(self, servers: dict[int, str], addresses: Iterable[str]) -> None:
        """Open and close doors so that they fit what is listened on now.

        A port is given its door at the second look, so that a program that is listening on one address after the
        other finds all of them free.
        """
        settled = {port: server for port, server in servers.items() if port in self._seen}
        self._seen = set(servers)
        wanted = {(address, port): settled[port] for address in addresses for port in sorted(settled)[:MOST_DOORS]}
        for place in self._open.keys() - wanted.keys():
            self._open.pop(place).close()
        for place, server in wanted.items():
            if place in self._open:
                self._open[place].server = server
            elif (listener := _listen(place)) is not None:
                self._open[place] = Door(self, listener, (server, place[1]))

    def admit(self, client: socket.socket, target: Place) -> None:
        """Carry a connection, or refuse it if there are too many: waiting, it would keep a browser waiting."""
        if len(self.connections) >= self._most:
            _cut(client)
            return
        task = asyncio.create_task(_carry(client, target))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    def close(self) -> None:
        """Close all doors; connections go on."""
        self.arrange({}, ())


class Door:
    """One listening socket, and the server behind it."""

    def __init__(self, doors: Doors, listener: socket.socket, target: Place) -> None:
        self.server, self._port = target
        self._doors = doors
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                client, _ = self._listener.accept()
            except OSError:  # nobody is there any more, or descriptors are short; the next turn tries again
                return
            self._doors.admit(client, (self.server, self._port))

    def close(self) -> None:
        """Close it; its port is free at once."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()


def _listen(place: Place) -> socket.socket | None:
    """A listening socket, or ``None`` where somebody else has the port or the address is gone: see the next look."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        return None
    return listener


async def _carry(client: socket.socket, target: Place) -> None:
    """One connection, to its end. What was cut on one side is cut on the other, never ended as if it were whole."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    with client, socket.socket(family, socket.SOCK_STREAM) as server:
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        directions: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(server, target), DIAL_SECONDS)
            directions = [asyncio.create_task(_pass_on(*pair)) for pair in ((client, server), (server, client))]
            await asyncio.gather(*directions)
        except OSError:  # TimeoutError is one
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)  # until then they use the sockets
            _cut(client)
            _cut(server)


async def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """All bytes, then the end."""
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(source, PIECE_BYTES):
        await loop.sock_sendall(sink, piece)
    sink.shutdown(socket.SHUT_WR)


def _cut(end: socket.socket) -> None:
    """Close a connection so that its peer gets an error rather than an end."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.close()


async def watch(doors: Doors, seconds: float = LOOK_SECONDS) -> None:
    """Look every so many seconds, for ever."""
    complaint = ""
    while True:
        try:
            tables = [table.read_text() for table in _TABLES if table.exists()]
            doors.arrange(behind_loopback(tables), own_addresses())
            complaint = ""
        except OSError as error:
            if str(error) != complaint:
                complaint = str(error)
                print(
                    f"ports on localhost cannot be reached from outside for now: {error}", file=sys.stderr, flush=True
                )
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    asyncio.run(watch(Doors()))
