"""How much of a disk a folder takes, as ``du`` counts it, within bounds: what is inside was written by strangers.

Allocated blocks, each file once however many names it has, no link followed and no other file system entered. Blocks.
"""

from __future__ import annotations

import math
import os
import stat
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

Disk = TypeVar("Disk")

# A person waits for the answer in a dialog, and it is a courtesy there.
MOST_SECONDS: Final = 3.0
# Those take one second from memory; from a disk that turns, the time ends first. Some checkouts with all that their
# builds need have 100,000. It also bounds what is remembered of files with several names, to some 20 MB.
MOST_ENTRIES: Final = 250_000
# Each level holds a descriptor open, of which a process has 1,024 by default. Package managers nest some dozen deep.
DEEPEST: Final = 128
_AT_ONCE: Final = 2  # disks; each keeps a core busy
_WAIT_SECONDS: Final = 2 * MOST_SECONDS  # for one's turn and the answer: others may be measured before
# A size is believed for so many times as long as it took to find, so that whoever asks for one again and again keeps no
# more than a tenth of a core busy by it. What took no time is found anew.
_BELIEVED_TIMES: Final = 10
_NO_TIME: Final = 0.1  # seconds
_REMEMBERED: Final = 256  # disks
_BLOCK: Final = 512  # bytes; the unit of st_blocks, whatever the file system's own (stat(2))
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Measures(Generic[Disk]):
    """Measures disks for whoever asks, few at a time and none twice at once. ``measure`` does it for one."""

    def __init__(self, measure: Callable[[Disk], Awaitable[int | None]]) -> None:
        self._measure = measure
        self._limiter = trio.CapacityLimiter(_AT_ONCE)
        self._turns: dict[Disk, trio.Lock] = {}
        self._found: dict[Disk, tuple[float, int | None]] = {}  # until when it is believed, and what it is

    async def size(self, disk: Disk) -> int | None:
        """What ``measure`` says, as of a moment ago; ``None``, too, if others keep us busy."""
        with trio.move_on_after(_WAIT_SECONDS):
            turn = self._turns.setdefault(disk, trio.Lock())
            try:
                async with turn:
                    return await self._size(disk)
            finally:
                if not turn.statistics().tasks_waiting and not turn.locked():
                    self._turns.pop(disk, None)
        return None

    async def _size(self, disk: Disk) -> int | None:
        until, size = self._found.get(disk, (-math.inf, None))
        if trio.current_time() < until:
            return size
        async with self._limiter:
            began = trio.current_time()
            size = await self._measure(disk)
            took = trio.current_time() - began
        if took > _NO_TIME:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[disk] = (trio.current_time() + took * _BELIEVED_TIMES, size)
        return size


async def measured(disk: Path) -> int | None:
    """:func:`allocated` in a thread. A disk that hangs keeps its thread, and nobody who waits for it."""
    return await trio.to_thread.run_sync(allocated, disk, abandon_on_cancel=True)


class _TooMuch(Exception):
    """The bounds are reached."""


def allocated(
    top: Path, *, most_entries: int = MOST_ENTRIES, most_seconds: float = MOST_SECONDS, deepest: int = DEEPEST
) -> int | None:
    """Bytes allocated for ``top`` and everything below it; 0 if it does not exist.

    ``None`` beyond the bounds, and if something was made unreadable. What vanishes meanwhile is not counted. Raises
    :class:`OSError` if the disk fails.
    """
    try:
        return _Walk(most_entries, time.monotonic() + most_seconds, deepest).measure(str(top))
    except FileNotFoundError:
        return 0
    except (_TooMuch, PermissionError):
        return None


class _Walk:
    def __init__(self, entries_left: int, deadline: float, deepest: int) -> None:
        self._entries_left = entries_left
        self._deadline = deadline
        self._deepest = deepest
        self._seen: set[int] = set()  # inodes that have more than one name

    def measure(self, top: str) -> int:
        fd = os.open(top, _DIRECTORY)
        try:
            about = os.fstat(fd)
            return about.st_blocks * _BLOCK + self._inside(fd, about.st_dev, 1)
        finally:
            os.close(fd)

    def _inside(self, directory: int, device: int, depth: int) -> int:
        """What the entries of an open directory take. By descriptors: names on the way may change while we look."""
        total = 0
        with os.scandir(directory) as entries:
            for entry in entries:
                self._spend()
                try:
                    about = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if about.st_dev != device or self._counted(about):
                    continue
                total += about.st_blocks * _BLOCK
                if stat.S_ISDIR(about.st_mode):
                    total += self._below(entry.name, directory, device, depth)
        return total

    def _below(self, name: str, parent: int, device: int, depth: int) -> int:
        if depth >= self._deepest:
            raise _TooMuch
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):  # gone, or a link by now
            return 0
        try:
            return self._inside(fd, device, depth + 1) if os.fstat(fd).st_dev == device else 0
        finally:
            os.close(fd)

    def _spend(self) -> None:
        self._entries_left -= 1
        if self._entries_left < 0 or time.monotonic() > self._deadline:
            raise _TooMuch

    def _counted(self, about: os.stat_result) -> bool:
        """Whether this file was counted by another name. Directories have one name only."""
        if about.st_nlink < 2 or stat.S_ISDIR(about.st_mode):
            return False
        before = len(self._seen)
        self._seen.add(about.st_ino)
        return len(self._seen) == before
