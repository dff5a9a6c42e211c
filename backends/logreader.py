"""Reads the kept output of a sandbox: once, or along with the writer."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

import trio

from backends.logfile import KEPT_SEGMENTS, OWN_LINE, SEGMENT_BYTES, segment_numbers, segment_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

_READ_BYTES = 65536
_LOOK = 0.25  # seconds between looks for more: at once to a person's eye, and nothing to the machine
_TAIL_BYTES = 8192
_LINE_CHARACTERS = 300  # of each line of a reason
_SKIPPED = OWN_LINE + b"output was skipped here\n"
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class _Reader:
    """A position in the segments. Blocking."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd: int | None = None
        self._number = 0

    def read(self) -> bytes:
        """The next piece; empty if there is no more for now."""
        while True:
            if self._fd is not None:
                data = os.read(self._fd, _READ_BYTES)
                if data:
                    return data
            newer = [number for number in self._numbers() if number > self._number]
            if not newer:
                return b""
            if self._fd is not None:
                data = os.read(self._fd, _READ_BYTES)  # what was written before the writer went on to the next one
                if data:
                    return data
            skipped = self._fd is not None and newer[0] > self._number + 1
            if self._open(newer[0]) and skipped:
                return _SKIPPED

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _numbers(self) -> list[int]:
        try:
            return segment_numbers(self._directory)
        except FileNotFoundError:  # the sandbox was destroyed
            return []

    def _open(self, number: int) -> bool:
        try:
            fd = os.open(segment_path(self._directory, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # the writer was faster; look again
            return False
        self.close()
        self._fd, self._number = fd, number
        return True


async def read_log(directory: str, ended: trio.Event | None) -> AsyncGenerator[bytes, None]:
    """The kept output in ``directory``, oldest first; with ``ended``, what is written until then too."""
    reader = _Reader(directory)
    left = KEPT_SEGMENTS * SEGMENT_BYTES  # a reader without ``ended`` does not run after a busy writer for ever
    try:
        while ended is not None or left > 0:
            over = ended is None or ended.is_set()
            data = await trio.to_thread.run_sync(reader.read)
            if data:
                left -= len(data)
                yield data
            elif over or ended is None:
                return
            else:
                with trio.move_on_after(_LOOK):
                    await ended.wait()
    finally:
        reader.close()


def last_lines(directory: str, count: int) -> list[str]:
    """The last lines of the latest run in ``directory`` without colours and without the launcher's own. Blocking."""
    data = b""
    with contextlib.suppress(FileNotFoundError):
        for number in reversed(segment_numbers(directory)):
            with open(segment_path(directory, number), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                data = file.read() + data
            if len(data) >= _TAIL_BYTES:
                break
    run: list[bytes] = []
    for line in data.splitlines():
        if not line.startswith(OWN_LINE):
            run.append(line)
        elif line.endswith(b"started"):
            run = []
    return plain_lines(run, count)


def plain_lines(lines: Iterable[bytes], count: int) -> list[str]:
    """The last ``count`` of ``lines`` that are not empty, without colours, shortened: fit for a reason. Pure."""
    texts = (_COLOURS.sub("", line.decode("utf-8", "replace")).strip() for line in lines)
    return [text[:_LINE_CHARACTERS] for text in texts if text][-count:]
