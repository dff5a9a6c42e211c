"""The agent on a system that is not Unix, as near as this one comes to it: what such a system lacks is taken away."""

from __future__ import annotations

import subprocess
import sys

from tests.arch.code import ROOT, modules
from tests.arch.test_imports import AGENT, UNIX_ONLY

# Trio and the like know by themselves where they run, and are imported before.
_PROGRAM = """
import importlib, os, signal, socket, sys
import click, h11, trio, wsproto, ssl, subprocess, tempfile
missing, *names = sys.argv[1:]
for name in missing.split(","):
    sys.modules[name] = None
for part, gone in (
    (socket, ("AF_UNIX", "MSG_DONTWAIT", "TCP_NOTSENT_LOWAT")),
    (signal, ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGCHLD")),
    (os, ("fork", "geteuid", "getuid", "killpg", "setsid", "splice", "uname", "chown", "O_NONBLOCK", "O_CLOEXEC")),
):
    for name in gone:
        delattr(part, name)
for name in names:
    importlib.import_module(name)
"""


def test_the_agent_is_imported_without_what_only_unix_has() -> None:
    names = [module.name for module in modules(*AGENT) if not module.name.endswith(".__main__")]
    assert "daemon.wire.sockets" in names
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, ",".join(sorted(UNIX_ONLY)), "daemon.version", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
