"""The data directory belongs to one living daemon at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class DataDirError(Exception):
    """The data directory cannot be used. One line that names it and what to do."""


class DataDirInUse(DataDirError):
    """Another living daemon uses the data directory."""


@contextmanager
def lock_data_dir(path: Path) -> Iterator[Path]:
    """Make ``path`` (mode 0700) if it is not there and hold its lock for the block; yields the absolute path.

    The kernel drops the lock with the process, however that ends, so there is no stale one. Raises
    :class:`DataDirInUse` if another process holds it, else :class:`DataDirError` if the directory cannot be used.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileExistsError, NotADirectoryError):
        raise DataDirError(f"DATA_DIR {path} is not a directory; choose another one") from None
    except OSError as error:
        raise DataDirError(f"DATA_DIR {path} cannot be written ({error.strerror}); choose another one") from None
    try:
        _lock(fd, path)
        yield path
    finally:
        # The file stays: removing it would let two others lock two different files.
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # 20 bytes hold any process id; it may be missing for the moment between locking and writing.
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise DataDirInUse(
            f"DATA_DIR {path} is used by another cli-server (process {holder}); stop that or choose another DATA_DIR"
        ) from None
    except OSError as error:
        raise DataDirError(f"DATA_DIR {path} cannot be locked ({error.strerror}); choose a local disk") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
