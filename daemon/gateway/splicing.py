"""Moving a body between two sockets inside the kernel: splice(2) through a pipe, without a copy to us."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import trio

from daemon.gateway import limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

_FLAGS = getattr(os, "SPLICE_F_MOVE", 1) | getattr(os, "SPLICE_F_NONBLOCK", 2)
AVAILABLE = hasattr(os, "splice")
_TURNS = 8  # rounds of up to PIPE_SIZE between turns of the scheduler


async def splice(
    source: socket, target: socket, count: int, moved: Callable[[int], None], turn: Callable[[bool], None]
) -> bool:
    """Move ``count`` bytes. ``moved`` is told the bytes of each step that reached ``target``.

    ``turn`` is told for whom we wait next: true for ``source``, false for ``target``; deadlines hang on that.
    False: there was no file descriptor for a pipe, and nothing was moved.
    Raises :class:`EOFError` if ``source`` ends before, :class:`OSError` if either socket breaks.
    """
    try:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with contextlib.suppress(OSError):  # over the user's pipe quota: 64 KiB stay, and it only goes slower
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, limits.PIPE_SIZE)
        rounds = 0
        while count:
            turn(True)
            filled = await _fill(source, writer, count)
            turn(False)
            await _drain(reader, target, filled, moved)
            count -= filled
            rounds += 1
            if rounds % _TURNS == 0:
                await trio.lowlevel.checkpoint()
    finally:
        os.close(reader)
        os.close(writer)
    return True


async def _fill(source: socket, pipe: int, most: int) -> int:
    while True:
        try:
            got = os.splice(source.fileno(), pipe, min(most, limits.PIPE_SIZE), flags=_FLAGS)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(source)
            continue
        if not got:
            raise EOFError("the body ended early")
        return got


async def _drain(pipe: int, target: socket, count: int, moved: Callable[[int], None]) -> None:
    while count:
        try:
            sent = os.splice(pipe, target.fileno(), count, flags=_FLAGS)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(target)
            continue
        count -= sent
        moved(sent)
