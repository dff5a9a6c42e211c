"""Which ports are served inside a container, by the kernel's tables as a program inside reads them.

What the program says is the sandbox's word: it may have replaced or stopped the program, or write into its output. So
the answer has a bound in bytes and in time, and nobody else waits for it.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio
from docker import APIClient

from backends.base import BackendUnavailable, SandboxGone
from backends.engine import Conflict
from backends.enginestream import answer, output
from backends.sockets import LEAST_PORT, listeners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.engine import Engine

COMMAND: Final = ("/bin/cat", "/proc/net/tcp", "/proc/net/tcp6")
_MOST: Final = 256  # people start a handful of servers, and nobody reads more
_MOST_BYTES: Final = 2**20  # of the tables: 150 for each socket, and a sandbox with 5,000 connections is a busy one
_SECONDS: Final = 5.0  # a tenth of one on an idle machine
_BELIEVED: Final = 1.0  # seconds; pages that ask again and again share one look
_AT_ONCE: Final = 4  # looks; each starts a program
_REMEMBERED: Final = 256  # containers


def served(tables: str, hidden: int) -> list[int]:
    """The ports from 1024 at which the container is reached, in order, without ``hidden``. Pure.

    Not what listens on loopback only: the engine's resolver, which is in every container, and servers whose door
    (``docker/sandbox/doors.py``) is not open yet, or that have none in this image.
    """
    found = {port for address, port in listeners(tables) if not address.is_loopback}
    return sorted(port for port in found if port >= LEAST_PORT and port != hidden)[:_MOST]


class ServedPorts:
    """Looks into containers, and remembers for a moment what it found."""

    def __init__(self, engine: Engine, hidden: int) -> None:
        self._engine = engine
        self._hidden = hidden
        self._limiter = trio.CapacityLimiter(_AT_ONCE)
        self._turns: dict[str, trio.Lock] = {}
        self._found: dict[str, tuple[float, Sequence[int]]] = {}

    async def of(self, container_id: str) -> Sequence[int]:
        """The ports that are served in a running container, as of a moment ago; none if it has ended meanwhile."""
        turn = self._turns.setdefault(container_id, trio.Lock())
        try:
            with trio.move_on_after(_SECONDS):
                async with turn:
                    return await self._recent(container_id)
        finally:
            if not turn.statistics().tasks_waiting and not turn.locked():
                self._turns.pop(container_id, None)
        raise BackendUnavailable("the sandbox did not say in time which ports are served")

    async def _recent(self, container_id: str) -> Sequence[int]:
        until, ports = self._found.get(container_id, (float("-inf"), ()))
        if trio.current_time() < until:
            return ports
        async with self._limiter:
            try:
                tables = await self._tables(container_id)
            except (SandboxGone, Conflict):
                return []
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        ports = served(tables.decode("ascii", "replace"), self._hidden)
        self._found[container_id] = (trio.current_time() + _BELIEVED, ports)
        return ports

    async def _tables(self, container_id: str) -> bytes:
        made = await self._engine.look(APIClient.exec_create, container_id, list(COMMAND), stderr=False)
        order = json.dumps({"Detach": False, "Tty": False}).encode()
        said = bytearray()
        request = answer(self._engine.host, "POST", f"/exec/{made['Id']}/start", params={}, body=order)
        async with request as pieces, aclosing(output(pieces)) as written:
            async for piece in written:
                said += piece
                if len(said) > _MOST_BYTES:
                    raise BackendUnavailable("the sandbox says too much about its ports")
        return bytes(said)
