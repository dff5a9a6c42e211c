"""Which process listens where, asked of the kernel.

Credentials and users' requests are sent to a local port only after this says that the listener is a process of the
very sandbox: a port that was given out once may be anybody's by now.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from typing import TYPE_CHECKING

import trio

from backends.proctree import descendants

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

_LISTEN = "0A"  # TCP_LISTEN of the kernel's tcp_states.h
_FOUND_FOR = 5.0  # seconds that a listener is believed; its socket is looked at each time all the same
_ABSENT_FOR = 0.25  # seconds: a burst of requests to a port where nothing listens costs four scans each second
_REMEMBERED = 256  # ports of one sandbox
LEAST_PORT = 1024  # contract, section 4: {port}-{id} hosts begin there
_MOST_PORTS = 256  # in a list: people start a handful of servers, and nobody reads more
# Open files that are looked at for a list, half a second's work; a sandbox with an editor, a build and a browser has
# some thousand.
_MOST_FILES = 100_000
_LISTED_FOR = 1.0  # seconds that a list is believed: pages that ask again and again share one scan each second

_scans = trio.CapacityLimiter(2)  # a scan is all computing, and the machine has other things to do


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and the process that has it."""

    host: str  # where it is reached from this machine
    port: int
    pid: int
    fd: int
    inode: int

    def still_there(self) -> bool:
        """Whether that process still has that socket. Quick enough to be asked before each connection."""
        try:
            return os.readlink(f"/proc/{self.pid}/fd/{self.fd}") == f"socket:[{self.inode}]"
        except OSError:
            return False


def _address(field: str) -> IPv4Address | IPv6Address:
    """An address as the kernel writes it: words of 32 bits in the machine's own byte order."""
    words = [int(field[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(field), 8)]
    address = ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def listening(port: int) -> dict[int, IPv4Address | IPv6Address]:
    """The sockets of this machine that listen on ``port``: address by inode."""
    return {inode: _address(field.partition(":")[0]) for inode, field in _listening(f":{port:04X}")}


def _listening(suffix: str = "") -> list[tuple[int, str]]:
    """Inode and local address, "0100007F:1F90", of the sockets of this machine that listen where it ends so."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = file.readlines()[1:]
        except FileNotFoundError:  # no IPv6
            continue
        for line in lines:
            fields = line.split(maxsplit=10)
            if fields[3] == _LISTEN and fields[1].endswith(suffix):
                found.append((int(fields[9]), fields[1]))
    return found


def listeners(tables: str) -> list[tuple[IPv4Address | IPv6Address, int]]:
    """Address and port of what listens by the kernel's ``tables``, as they are read from ``/proc/net/tcp``. Pure."""
    found = []
    for line in tables.splitlines():
        fields = line.split(maxsplit=4)
        if len(fields) > 3 and fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            found.append((_address(address), int(port, 16)))
    return found


def _reached_at(address: IPv4Address | IPv6Address) -> str:
    """Where a client on this machine reaches a socket that is bound to ``address``."""
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)


def find_listener(root: int, port: int) -> Listener | None:
    """The listener on ``port`` among the descendants of the process ``root``; IPv4 first.

    ``None`` also if a stranger listens beside it, so that nobody can know whom a connection would reach.
    """
    sockets = listening(port)
    return _choose(port, sockets, _owned(root, sockets)) if sockets else None


def find_ports(root: int) -> list[int]:
    """The ports from :data:`LEAST_PORT` for which :func:`find_listener` would find one, in order."""
    sockets: dict[int, dict[int, IPv4Address | IPv6Address]] = {}
    port_of: dict[int, int] = {}
    for inode, field in _listening():
        address, _, digits = field.partition(":")
        port = int(digits, 16)
        if port >= LEAST_PORT:
            sockets.setdefault(port, {})[inode] = _address(address)
            port_of[inode] = port
    owned = _owned(root, port_of, _MOST_FILES) if port_of else {}
    ports = sorted({port_of[inode] for inode in owned})
    return [port for port in ports if _choose(port, sockets[port], owned) is not None][:_MOST_PORTS]


def _owned(root: int, inodes: Container[int], most: int | None = None) -> dict[int, tuple[int, int]]:
    """Which of the sockets are of descendants of ``root``: pid and fd by inode. ``most``: files that are looked at."""
    owned: dict[int, tuple[int, int]] = {}
    files = ((pid, fd) for pid, _ in descendants(root) for fd in _files_of(pid))
    for pid, fd in islice(files, most):
        inode = _socket_at(pid, fd)
        if inode is not None and inode in inodes:
            owned.setdefault(inode, (pid, fd))
    return owned


def _choose(
    port: int, sockets: Mapping[int, IPv4Address | IPv6Address], owned: Mapping[int, tuple[int, int]]
) -> Listener | None:
    """Of the ``sockets`` on ``port`` the one to connect to; ``owned``: pid and fd of those that are the sandbox's."""
    strangers = sockets.keys() - owned.keys()
    ours = sorted(
        sockets.keys() & owned.keys(), key=lambda inode: (sockets[inode].version, not sockets[inode].is_loopback)
    )
    for inode in ours:
        host = _reached_at(sockets[inode])
        if not any(_competes(sockets[other], host) for other in strangers):
            return Listener(host, port, *owned[inode], inode)
    return None


def _competes(address: IPv4Address | IPv6Address, host: str) -> bool:
    """Whether a socket bound to ``address`` might get a connection to ``host``."""
    return address.version == ip_address(host).version and (address.is_unspecified or str(address) == host)


def _files_of(pid: int) -> list[int]:
    """The descriptors of a process; none if it is gone or hides."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def _socket_at(pid: int, fd: int) -> int | None:
    """The inode of the socket that the descriptor is, if it is one."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return None
    return int(target[8:-1]) if target.startswith("socket:[") else None


class Listeners:
    """Looks for the listeners among the descendants of one process, and remembers for a moment what it found."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._listed: tuple[float, list[int]] = float("-inf"), []
        self._found: dict[int, tuple[float, Listener | None]] = {}
        self._lock = trio.Lock()
        self._listing = trio.Lock()

    async def find(self, port: int) -> Listener | None:
        """The listener on ``port``, as of now."""
        known, listener = self._recall(port)
        if known:
            return listener
        async with self._lock:  # requests that came together share one scan
            known, listener = self._recall(port)
            if known:
                return listener
            listener = await trio.to_thread.run_sync(find_listener, self._root, port, limiter=_scans)
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[port] = (trio.current_time(), listener)
            return listener

    async def ports(self) -> list[int]:
        """As :func:`find_ports`, as of a moment ago."""
        async with self._listing:
            listed_at, ports = self._listed
            if trio.current_time() - listed_at >= _LISTED_FOR:
                ports = await trio.to_thread.run_sync(find_ports, self._root, limiter=_scans)
                self._listed = trio.current_time(), ports
            return ports

    def _recall(self, port: int) -> tuple[bool, Listener | None]:
        found_at, listener = self._found.get(port, (float("-inf"), None))
        age = trio.current_time() - found_at
        if listener is None:
            return age < _ABSENT_FOR, None
        return age < _FOUND_FOR and listener.still_there(), listener
