"""Finds out whether this machine lets us make jails, by making one, and runs trial commands in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Literal

import trio

from backends.bubblewrap import HOME_INSIDE, Jailer, jail
from backends.environment import environment, etc_files
from backends.furnish import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.furnish import Places

Isolation = Literal["bubblewrap", "none"]

# Where the daemon is root, sandboxes are this user and group. Outside of what distributions give to people (from 1000),
# to systemd's services (61184 to 65519) and to containers (from 100000), and small enough for old tar formats.
SANDBOX_UID = 71000
_UID_INSIDE = 1000  # of an ordinary user's sandboxes, which have a user namespace
_TRIAL_SECONDS = 10.0  # a jail is made in 30 ms; a machine that needs this long is of no use
_OUTPUT_BYTES = 4096  # of a trial's output that are read
_TOP_DIRECTORIES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
USER = "agent"


def find_jailer() -> Jailer | str:
    """What is needed to make jails, or why there is none. Blocking, but short."""
    bwrap = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if bwrap is None:
        return "bubblewrap is not installed"
    root = os.geteuid() == 0
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin") if root else None
    if root and setpriv is None:
        return "the daemon is root and there is no setpriv (util-linux) to change to another user"
    links, directories = [], []
    for path in (f"/{name}" for name in _TOP_DIRECTORIES):
        if os.path.islink(path):
            links.append((os.readlink(path), path))
        elif os.path.isdir(path):
            directories.append(path)
    owner = Owner(SANDBOX_UID, SANDBOX_UID) if root else own_owner()
    uid = SANDBOX_UID if root else _UID_INSIDE
    return Jailer(bwrap, setpriv, owner, uid, uid, tuple(links), tuple(directories))


def own_owner() -> Owner:
    """The daemon's own user: what sandboxes without a jail are."""
    return Owner(os.geteuid(), os.getegid())


def shell() -> str:
    """The shell for terminals."""
    return "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"


def write_etc(jailer: Jailer, places: Places) -> None:
    """Make the sandbox's own files of ``/etc``. Blocking."""
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
            hosts = file.read()
    except FileNotFoundError:
        hosts = "127.0.0.1 localhost\n::1 localhost"
    files = etc_files(user=USER, uid=jailer.uid, gid=jailer.gid, home=HOME_INSIDE, shell=shell(), hosts=hosts)
    for name, content in files.items():
        path = os.path.join(places.etc, name)
        with open(path, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)


async def try_jail(jailer: Jailer, places: Places, hidden: str) -> str | None:
    """Make a jail with the flags of the real ones and write a file in its home. ``None``, or what went wrong."""
    command = jail(jailer, places, None, hidden, ["/bin/sh", "-c", "echo > trial && echo > /data/disk0/trial"])
    env = environment({}, home=HOME_INSIDE, user=USER, shell=shell())
    try:
        status, output = await run_briefly(command, env, "/", _TRIAL_SECONDS)
    except OSError as error:
        return f"{jailer.bwrap} cannot be started: {error.strerror}"
    if status == 0:
        return None
    return f"{jailer.bwrap} ended with status {status}: {output}"


async def run_briefly(command: list[str], env: Mapping[str, str], directory: str, seconds: float) -> tuple[int, str]:
    """Run ``command`` to its end, or kill it after ``seconds``. Its status (-9: killed) and what it wrote.

    The process is started from this thread, not a worker's: what asked to die with its parent dies with the *thread*
    that started it, and workers end when they are idle.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - see above; it takes a few ms
            command,
            env=env,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with trio.move_on_after(seconds):
                await wait_for_exit(process.pid)
        finally:
            process.kill()
            status = process.wait()
        output.seek(0)
        return status, output.read(_OUTPUT_BYTES).decode("utf-8", "replace").strip()


async def wait_for_exit(pid: int) -> None:
    """Return when the child process ``pid`` has ended; it still must be waited for."""
    fd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)
