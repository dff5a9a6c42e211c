"""Makes and removes the directories of one sandbox. Blocking; no link inside a home or disk is followed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DISK_INSIDE = "/data/disk0"
_START = "project"
_STICKY = 0o1777  # what programs expect of /tmp; only its owner ever reaches it


@dataclass(frozen=True, slots=True)
class Owner:
    """The user and group, as this machine numbers them, that a sandbox's processes have."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one sandbox on this machine; ``start`` is the one in ``home`` where opencode is started.

    ``start`` is "project", or "" (home itself) if the sandbox has put something else under that name.
    """

    home: str
    tmp: str
    etc: str
    log: str
    disk: str
    start: str


def furnish(base: Path, disk: Path, owner: Owner, *, jailed: bool) -> Places:
    """Make whatever is missing below ``base``, and ``disk``. The sandbox's processes must not be running.

    opencode starts in ``~/project``, a directory of the sandbox's own: two agents of one workspace do not write over
    each other unless they are told to work on the shared disk, and an agent that searches its directory does not wade
    through the caches in home. The shared disk is one step away by the link ``~/disk0``, which, without a jail, is
    the only name that it has.
    """
    home, tmp = base / "home", base / "tmp"
    remove_tree(tmp)
    for path in (home, tmp, disk):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give(path, owner)
    for path in (base / "etc", base / "log"):
        path.mkdir(mode=0o755, exist_ok=True)
    tmp.chmod(_STICKY)
    _link(home / "disk0", DISK_INSIDE if jailed else str(disk), (DISK_INSIDE, str(disk)), owner)
    start = _START if _own_directory(home / _START, owner) else ""
    return Places(str(home), str(tmp), str(base / "etc"), str(base / "log"), str(disk), start)


def _own_directory(path: Path, owner: Owner) -> bool:
    """Make ``path`` if nothing is there. Whether it is a real directory then."""
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        return stat.S_ISDIR(path.lstat().st_mode)
    os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    return True


def _link(path: Path, target: str, ours: tuple[str, ...], owner: Owner) -> None:
    """Make the link ``path`` to ``target``; replace it only where it is one of ``ours``."""
    with contextlib.suppress(OSError):  # not a link, or not there
        if os.readlink(path) in ours:
            path.unlink()
    with contextlib.suppress(FileExistsError):
        path.symlink_to(target)
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def _give(top: Path, owner: Owner) -> None:
    """Give ``top`` and all below to ``owner``, unless it has it: after a change between jail and none, or of user."""
    found = top.lstat()
    if (found.st_uid, found.st_gid) == (owner.uid, owner.gid):
        return
    for _, names, files, directory in os.fwalk(top, follow_symlinks=False):
        for name in (*names, *files):
            os.chown(name, owner.uid, owner.gid, dir_fd=directory, follow_symlinks=False)
    os.chown(top, owner.uid, owner.gid, follow_symlinks=False)  # last: until then the next start does it all again


def remove_tree(path: Path) -> None:
    """Remove ``path`` with everything below; absent is success. Links are removed, never followed.

    A sandbox may nest thousands of directories, or make them unreadable for their owner. So every directory is moved to
    the top before it is emptied: no depth takes stack, open files or names longer than the system allows.
    """
    if path.is_symlink():
        path.unlink()
        return
    if not path.exists():
        return
    waiting = [str(path)]
    while waiting:
        directory = waiting.pop()
        os.chmod(directory, 0o700)
        with os.scandir(directory) as found:
            entries = list(found)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)  # its owner must be able to write to what is moved
                waiting.append(str(path / f".{secrets.token_hex(8)}"))
                os.rename(entry.path, waiting[-1])
            else:
                os.unlink(entry.path)
        if directory != str(path):
            os.rmdir(directory)
    path.rmdir()
