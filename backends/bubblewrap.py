"""The argument vector of bubblewrap for one sandbox. Pure: what is true of the machine comes in.

Inside there is a file system of its own: ``/usr`` and a few files of ``/etc`` read-only, the home, ``/tmp`` and the
workspace's disk writable, and nothing else of the machine. Process numbers, System V IPC and the host name are the
sandbox's own; the network is the machine's, because opencode is reached over it. No capability is left.

A daemon that is root turns the sandbox into an unprivileged user before anything of it runs. It does not map root to
another name by a user namespace instead: such a process still is uid 0 to the kernel, and can write files below
``/proc/sys``. An ordinary user's daemon needs the user namespace to be allowed to do all this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from backends.furnish import DISK_INSIDE

if TYPE_CHECKING:
    from backends.furnish import Owner, Places
    from backends.program import Program

HOME_INSIDE = "/home/agent"
HOST_NAME = "sandbox"
_SHARED_MEMORY = 256 * 1024 * 1024  # bytes; it is memory. Browsers want more than Docker's 64 MiB
ETC_MADE = ("group", "hosts", "passwd", "profile")
_ETC_SHARED = (
    *("alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts"),
    *("gai.conf", "host.conf", "inputrc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic"),
    *("mime.types", "nsswitch.conf", "os-release", "pki", "profile.d", "protocols", "resolv.conf", "services"),
    *("shells", "ssl", "terminfo", "timezone"),
)


@dataclass(frozen=True, slots=True)
class Jailer:
    """How this machine makes jails: the programs, and the user that a sandbox is.

    ``setpriv`` is set where the daemon is root. ``owner`` is that user as the machine numbers it, ``uid`` and ``gid``
    are what the sandbox itself sees. ``links`` are (target, path) of top directories that are links into ``/usr``,
    ``directories`` those that are not.
    """

    bwrap: str
    setpriv: str | None
    owner: Owner
    uid: int
    gid: int
    links: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]


def jail(jailer: Jailer, places: Places, program: Program | None, hidden: str, command: list[str]) -> list[str]:
    """The whole command line that runs ``command`` in its jail. It holds no secret: everybody can read it.

    ``hidden`` is the daemon's data directory, covered in case that it is below something that is shown.
    """
    return [
        jailer.bwrap,
        *_namespaces(jailer),
        *_system(jailer),
        *("--bind", places.tmp, "/tmp", "--bind", places.home, HOME_INSIDE),
        *_directories(DISK_INSIDE),
        *("--bind", places.disk, DISK_INSIDE),
        *_etc(places.etc),
        *_program(program),
        *_cover(hidden, ["/usr", *jailer.directories, *(target for _, target in (program.binds if program else ()))]),
        *("--remount-ro", "/", "--chdir", f"{HOME_INSIDE}/{places.start}".rstrip("/"), "--"),
        *_unprivileged(jailer),
        *command,
    ]


def _namespaces(jailer: Jailer) -> list[str]:
    shared = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", HOST_NAME]
    shared += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # Leftovers are recognised by the processes outside. The sandbox's id stays: people build URLs with it.
    for mark in ("CLI_SERVER_INSTALLATION", "CLI_SERVER_DATA"):
        shared += ["--unsetenv", mark]
    if jailer.setpriv is None:
        return ["--unshare-user", "--uid", str(jailer.uid), "--gid", str(jailer.gid), *shared]
    # For setpriv, which gives them up; and bubblewrap, still root then, must get into the home of another user.
    needed = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_DAC_READ_SEARCH")
    return [*shared, *(word for capability in needed for word in ("--cap-add", capability))]


def _system(jailer: Jailer) -> list[str]:
    found = ["--proc", "/proc", "--dev", "/dev"]
    found += ["--perms", "1777", "--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm"]
    for path in ("/run", "/var", "/home"):
        found += _directories(path)
    for path in ("/usr", *jailer.directories):
        found += ["--ro-bind", path, path]
    for target, path in (("/tmp", "/var/tmp"), *jailer.links):
        found += ["--symlink", target, path]
    return found


def _program(program: Program | None) -> list[str]:
    found: list[str] = []
    for source, target in program.binds if program else ():
        found += [*_directories(str(PurePosixPath(target).parent)), "--ro-bind", source, target]
    for target, path in program.links if program else ():
        found += [*_directories(str(PurePosixPath(path).parent)), "--symlink", target, path]
    return found


def _cover(hidden: str, shown: list[str]) -> list[str]:
    below = any(PurePosixPath(hidden).is_relative_to(path) for path in shown)
    return ["--tmpfs", hidden] if below else []


def _etc(made: str) -> list[str]:
    found = _directories("/etc")
    for name in _ETC_SHARED:
        found += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name in ETC_MADE:
        found += ["--ro-bind", f"{made}/{name}", f"/etc/{name}"]
    return found


def _directories(path: str) -> list[str]:
    """Make ``path`` and what is above it; bubblewrap's own would be closed to everyone but root."""
    found: list[str] = []
    for directory in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)][1:]:
        found += ["--perms", "0755", "--dir", str(directory)]
    return found


def _unprivileged(jailer: Jailer) -> list[str]:
    """What stands before the command where the daemon is root: turn into the user, give up everything."""
    if jailer.setpriv is None:
        return []
    become = [jailer.setpriv, "--reuid", str(jailer.uid), "--regid", str(jailer.gid), "--clear-groups"]
    return [*become, "--inh-caps", "-all", "--ambient-caps", "-all", "--bounding-set", "-all", "--"]
