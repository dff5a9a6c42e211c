"""Which process listens where, asked of the kernel.

Credentials and users' requests are sent to a local port only after this says that the listener is a process of the
very sandbox: a port that was given out once may be anybody's by now.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio

from backends.proctree import descendants

_LISTEN = "0A"  # TCP_LISTEN of the kernel's tcp_states.h
_FOUND_FOR = 5.0  # seconds that a listener is believed; its socket is looked at each time all the same
_ABSENT_FOR = 0.25  # seconds: a burst of requests to a port where nothing listens costs four scans each second
_REMEMBERED = 256  # ports of one sandbox

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
    found = {}
    suffix = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = file.readlines()[1:]
        except FileNotFoundError:  # no IPv6
            continue
        for line in lines:
            fields = line.split(maxsplit=10)
            if fields[3] == _LISTEN and fields[1].endswith(suffix):
                found[int(fields[9])] = _address(fields[1].partition(":")[0])
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
    if not sockets:
        return None
    owned: dict[int, tuple[int, int]] = {}
    for pid, _ in descendants(root):
        for fd, inode in _sockets_of(pid):
            if inode in sockets:
                owned.setdefault(inode, (pid, fd))
    candidates = sorted(owned, key=lambda inode: (sockets[inode].version, not sockets[inode].is_loopback))
    for inode in candidates:
        host = _reached_at(sockets[inode])
        if not any(_competes(sockets[other], host) for other in sockets.keys() - owned.keys()):
            return Listener(host, port, *owned[inode], inode)
    return None


def _competes(address: IPv4Address | IPv6Address, host: str) -> bool:
    """Whether a socket bound to ``address`` might get a connection to ``host``."""
    return address.version == ip_address(host).version and (address.is_unspecified or str(address) == host)


def _sockets_of(pid: int) -> list[tuple[int, int]]:
    """``(fd, inode)`` of each socket of a process; nothing if it is gone or hides."""
    found = []
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append((int(name), int(target[8:-1])))
    return found


class Listeners:
    """Looks for the listeners among the descendants of one process, and remembers for a moment what it found."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._found: dict[int, tuple[float, Listener | None]] = {}
        self._lock = trio.Lock()

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

    def _recall(self, port: int) -> tuple[bool, Listener | None]:
        found_at, listener = self._found.get(port, (float("-inf"), None))
        age = trio.current_time() - found_at
        if listener is None:
            return age < _ABSENT_FOR, None
        return age < _FOUND_FOR and listener.still_there(), listener
