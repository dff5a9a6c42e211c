"""Finds and ends processes of this installation that outlived their daemon. Everything else is left alone."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import structlog
import trio

from backends.proctree import descendants, processes, signal_child

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

_ORDERLY = 3.0  # seconds for the launchers, which need a round or two of SIGKILL and no more
_FORCED = 5.0  # seconds more; what is still there then waits in the kernel, and nobody can end it
_LOOK = 0.05  # seconds between looks


def marked(marks: Mapping[str, str]) -> list[int]:
    """The processes whose environment, as they were started, has every one of ``marks``; never this one."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    return [pid for pid in processes() if pid != os.getpid() and wanted <= _environment(pid)]


def _environment(pid: int) -> set[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return set(file.read().split(b"\0"))
    except OSError:  # gone, or somebody else's
        return set()


def _signal_marked(marks: Mapping[str, str], number: int) -> int:
    """Send a signal to each marked process (SIGKILL: and to all below it). How many marked ones there are."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = marked(marks)
    for pid in found:
        if number == signal.SIGKILL:
            for child, parent in descendants(pid):
                signal_child(child, parent, number)
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            try:
                if wanted <= _environment(pid):  # else the number was given out anew
                    signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)
    return len(found)


async def end_marked(marks: Mapping[str, str]) -> None:
    """End every process that has ``marks``: a launcher ends its tree on SIGTERM, the rest is killed."""
    count = await trio.to_thread.run_sync(_signal_marked, marks, signal.SIGTERM)
    if not count:
        return
    log.warning("ending processes that an earlier daemon left behind", count=count)
    for number, seconds in ((0, _ORDERLY), (signal.SIGKILL, _FORCED)):
        with trio.move_on_after(seconds):
            while True:
                if not await trio.to_thread.run_sync(_signal_marked, marks, number):
                    return
                await trio.sleep(_LOOK)
    log.error("processes of an earlier daemon could not be ended", pids=marked(marks))
