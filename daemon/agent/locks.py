"""Locks between processes, which the system takes back when their holder dies. They are advice, and tell no secrets."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from daemon.agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE: Final = 5.0  # seconds for another agent to write one small file
_LOOK: Final = 0.01


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock until it is closed; ``None`` if another process has it. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if _try(fd):
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _try(fd: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    else:
        import fcntl

        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock for a moment. Raises :class:`AgentError` if another process does not let go of it."""
    give_up = time.monotonic() + _PATIENCE
    while (fd := try_lock(path)) is None:
        if time.monotonic() > give_up:
            raise AgentError(f"another process holds {path} for longer than it should; end it and try again")
        time.sleep(_LOOK)
    try:
        yield
    finally:
        os.close(fd)
