"""How much of a disk a folder takes, as ``du`` counts it, within bounds: what is inside was written by strangers.

Allocated blocks, each file once however many names it has, no link followed and no other file system entered. Blocks.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# A person waits for the answer in a dialog, and it is a courtesy there.
MOST_SECONDS: Final = 3.0
# Those take one second from memory; from a disk that turns, the time ends first. Some checkouts with all that their
# builds need have 100,000. It also bounds what is remembered of files with several names, to some 20 MB.
MOST_ENTRIES: Final = 250_000
# Each level holds a descriptor open, of which a process has 1,024 by default. Package managers nest some dozen deep.
DEEPEST: Final = 128
_BLOCK: Final = 512  # bytes; the unit of st_blocks, whatever the file system's own (stat(2))
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
