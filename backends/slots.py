"""What is under way for each sandbox of a backend: one change at a time, and starts that notice a stop."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from backends.disks import require_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


@dataclass(slots=True)
class _Slot:
    lock: trio.Lock = field(default_factory=trio.Lock)  # held while a sandbox is made, changed or ended
    stops: int = 0  # how often it was to be stopped


class Slots:
    """By sandbox. They stay until the daemon ends: a waiter may hold on to one."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}

    @asynccontextmanager
    async def starting(self, sandbox_id: str) -> AsyncGenerator[Callable[[], bool], None]:
        """Nobody else changes the sandbox in this block. What it gives tells, behind it too, of a stop since."""
        slot = self._of(sandbox_id)
        async with slot.lock:
            stops = slot.stops
            yield lambda: slot.stops != stops

    @asynccontextmanager
    async def stopping(self, sandbox_id: str) -> AsyncGenerator[None, None]:
        """The same for a stop, of which starts are told before its turn comes."""
        slot = self._of(sandbox_id)
        slot.stops += 1
        async with slot.lock:
            yield

    def _of(self, sandbox_id: str) -> _Slot:
        return self._slots.setdefault(require_id(sandbox_id), _Slot())
