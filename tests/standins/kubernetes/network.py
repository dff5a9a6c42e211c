"""The network of a pod: what listens in it is reached at the pod's address, a loopback address of its own.

As root a pod has a network namespace with loopback only. What listens in it on all addresses or on the pod's own is
looked up some times a second, and gets a listener outside, at the pod's address, that passes connections on. What
listens on 127.0.0.1 inside is not reached, as in a real pod. Out of the pod leads only what the test has opened
(``Cluster.reach``); network policies are NOT enforced. Without root the network is shared: programs are told the pod's
address instead of 0.0.0.0, and other ports of the machine are seen inside.
"""

from __future__ import annotations

import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from tests.standins.kubernetes.jail import IS_ROOT

_NEWNET: Final = 0x40000000  # of setns
_LISTEN: Final = "0A"  # a state in /proc/net/tcp
_PIECE: Final = 65536
_LOOK: Final = 0.03  # seconds
_BREAKS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
_libc = ctypes.CDLL(None, use_errno=True)


def socket_inside(pid: int | None) -> socket.socket:
    """A socket of the pod's network. ``pid`` is that of a process in it."""
    if not IS_ROOT or pid is None:
        return socket.socket()
    own, target = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/proc/{pid}/ns/net"))
    try:
        if _libc.setns(target, _NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return socket.socket()
        finally:
            assert _libc.setns(own, _NEWNET) == 0
    finally:
        os.close(own)
        os.close(target)


async def connect(pid: int | None, address: str, port: int) -> trio.SocketStream:
    """A connection to what listens inside. Raises :class:`OSError`."""
    sock = trio.socket.from_stdlib_socket(socket_inside(pid))
    try:
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def listening(pid: int, address: str) -> dict[int, str]:
    """By port, where inside it is reached; only what is reachable from outside a real pod."""
    found: dict[int, str] = {}
    own = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                where, _, port = local.partition(":")
                if state == _LISTEN and (not where.strip("0") or where == own or where.endswith(f"FFFF0000{own}")):
                    found[int(port, 16)] = "127.0.0.1" if not where.strip("0") else address
    return found


class PodNetwork:
    """The doors of one pod."""

    def __init__(self, address: str, pid: int) -> None:
        self._address, self._pid = address, pid
        self._doors: dict[int, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._looking = trio.Lock()  # who comes second finds the doors that the first has opened

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what listens inside, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while IS_ROOT:
                await self.look()
                await trio.sleep(_LOOK)

    async def look(self) -> None:
        """Open and close doors as of now."""
        if self._nursery is None or not IS_ROOT:
            return
        async with self._looking:
            found = listening(self._pid, self._address)
            for port in self._doors.keys() - found.keys():
                self._doors.pop(port).cancel()
            for port in found.keys() - self._doors.keys():
                with suppress(OSError):
                    self._doors[port] = await self._nursery.start(self._door, port, found[port])

    async def _door(self, port: int, inside: str, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        (listener,) = await trio.open_tcp_listeners(port, host=self._address)
        with trio.CancelScope() as scope:
            task_status.started(scope)

            async def pass_on(stream: trio.SocketStream) -> None:
                async with stream:
                    with suppress(*_BREAKS):
                        await joined(stream, await connect(self._pid, inside, port))

            await trio.serve_listeners(pass_on, [listener])

    async def way_out(self, inside: tuple[str, int], to: tuple[str, int]) -> None:
        """What is at ``to`` outside is reached at ``inside`` in the pod."""
        if not IS_ROOT:
            return
        sock = socket_inside(self._pid)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(inside)
        sock.listen(64)

        async def pass_on(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(*_BREAKS):
                    await joined(stream, await trio.open_tcp_stream(*to))

        await trio.serve_listeners(pass_on, [trio.SocketListener(trio.socket.from_stdlib_socket(sock))])


async def joined(one: trio.SocketStream, other: trio.SocketStream) -> None:
    """Pass on in both directions until both have ended, or one breaks."""
    async with other, trio.open_nursery() as nursery:
        nursery.start_soon(_pump, one, other, nursery.cancel_scope)
        nursery.start_soon(_pump, other, one, nursery.cancel_scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(_PIECE):
            await sink.send_all(data)
        await sink.send_eof()
    except _BREAKS:
        scope.cancel()
