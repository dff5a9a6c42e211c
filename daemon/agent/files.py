"""The agent's folder, ``~/.cli-server``: nobody else's, and files in it change whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

from daemon.agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

POSIX = os.name == "posix"  # elsewhere a home directory is private by its own rules
_OTHERS = 0o077


def private_folder(path: Path) -> None:
    """Make the folder, or take it away from others. Raises :class:`AgentError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if POSIX and path.stat().st_mode & _OTHERS:
            path.chmod(0o700)
    except OSError as error:
        raise AgentError(f"{path} cannot be used: {error.strerror}; it must be a folder of yours") from None


def tighten(path: Path) -> bool:
    """Take a file away from others; whether that was necessary."""
    if not POSIX or not path.stat().st_mode & _OTHERS:
        return False
    path.chmod(0o600)
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` in the file's place: after a power cut there is the old one or the new one. Raises OSError."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if POSIX:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
