"""Becomes the identity under which PostgreSQL runs, ties its life to the daemon's, and executes it.

Run as a script by :mod:`daemon.db.cluster` (``python -I -S pg_exec.py …``), with the standard library only. It is small
on purpose: for a moment it runs with the daemon's rights.

    pg_exec.py probe IDENTITY PATH…                     exit 0 if IDENTITY can execute or search every PATH
    pg_exec.py run IDENTITY PARENT SIGNAL PROGRAM ARG…  execute PROGRAM; it gets SIGNAL when the process PARENT ends

IDENTITY is ``same``, ``user:UID:GID`` (become that user; root only) or ``map:UID:GID`` (in a new user namespace, where
our own user appears as UID, so that a program that refuses root accepts it while its files stay ours outside).
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000  # <linux/sched.h>
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_NO_NEW_PRIVS = 38
EXIT_REFUSED = 71  # EX_OSERR of sysexits.h: the system refused; PostgreSQL's own statuses are 1 and 2


def become(identity: str, libc: ctypes.CDLL) -> None:
    """Take on ``identity``; raises :class:`OSError` where the system refuses."""
    kind, _, ids = identity.partition(":")
    if kind == "same":
        return
    uid, gid = (int(part) for part in ids.split(":"))
    if kind == "user":
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        return
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call(libc, "unshare", CLONE_NEWUSER)
    # A map of one line with the writer's own ids is what user_namespaces(7) allows without further rights; for the
    # group it asks to give up setgroups(2) first.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {outer_uid} 1")
    _write("/proc/self/gid_map", f"{gid} {outer_gid} 1")


def main(argv: list[str]) -> int:
    """Do what the module's docstring says; returns only if that failed or was a probe."""
    libc = ctypes.CDLL(None, use_errno=True)
    mode, identity, *rest = argv
    try:
        become(identity, libc)
        if mode == "probe":
            return 0 if all(os.access(path, os.X_OK) for path in rest) else 1
        parent, signal, program, *arguments = rest
        os.umask(0o077)
        _call(libc, "prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # After the change of user, which resets it; execve(2) keeps it.
        _call(libc, "prctl", PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != int(parent):
            return EXIT_REFUSED  # the daemon ended before we asked to be told
        os.execv(program, [program, *arguments])
    except OSError as error:
        print(f"pg_exec: {error}", file=sys.stderr)
    return EXIT_REFUSED


def _call(libc: ctypes.CDLL, name: str, *arguments: int) -> None:
    if getattr(libc, name)(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
