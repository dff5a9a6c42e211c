"""Which processes belong to whom, read from ``/proc``. Used by the launcher too: it imports next to nothing."""

from __future__ import annotations

import os
import signal


def parent_of(pid: int) -> int | None:
    """The parent of ``pid``; ``None`` if there is no such process, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold anything, parentheses and spaces included.
    state, parent = stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[:2]
    return None if state in (b"Z", b"X") else int(parent)


def processes() -> list[int]:
    """Every process that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(root: int) -> list[tuple[int, int]]:
    """``(pid, parent)`` of every living process below ``root``, parents before their children, ``root`` left out."""
    children: dict[int, list[int]] = {}
    for pid in processes():
        parent = parent_of(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found: list[tuple[int, int]] = []
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for pid in children.get(parent, ()):
            found.append((pid, parent))
            waiting.append(pid)
    return found


def signal_child(pid: int, parent: int, number: int) -> None:
    """Send a signal to ``pid`` if it still is a child of ``parent``; a number that was given out anew is left alone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if parent_of(pid) == parent:
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
