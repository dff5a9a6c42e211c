"""One running sandbox as the daemon holds it: its launcher process and the life line to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from backends.base import BackendUnavailable
from backends.isolation import wait_for_exit
from backends.sockets import Listeners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.confinement import Run

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_END_SECONDS = 10.0  # beyond the grace, for SIGKILL to take effect on a machine that is busy


@dataclass(slots=True)
class Child:
    """A launcher that was started. Everything of its sandbox is gone when ``ended`` is set."""

    process: subprocess.Popen[bytes]
    lifeline: int
    workspace_id: str
    port: int
    fingerprint: str
    grace: float
    log: str
    stopping: bool = False  # we end it: nobody needs to be told why it ended
    detail: str = ""
    ended: trio.Event = field(default_factory=trio.Event)
    watching: trio.CancelScope = field(default_factory=partial(trio.CancelScope, shield=True))
    listeners: Listeners = field(init=False)

    def __post_init__(self) -> None:
        self.listeners = Listeners(self.process.pid)

    @property
    def status(self) -> int | None:
        """opencode's exit status, 128 + signal if one killed it; ``None`` while it runs."""
        return self.process.returncode

    @property
    def launcher_killed(self) -> bool:
        """Whether the launcher itself was killed, so that nobody waited for the end of its sandbox's processes."""
        return self.process.returncode is not None and self.process.returncode < 0

    async def wait(self) -> None:
        """Wait for the launcher's exit, which says that nothing of the sandbox is left, and take its status."""
        try:
            await wait_for_exit(self.process.pid)
            self.process.wait()
        finally:
            os.close(self.lifeline)  # from here on the launcher ends by itself, if it has not
            self.lifeline = -1

    async def stop(self) -> None:
        """End the whole process tree: SIGTERM, the grace, SIGKILL. Raises :class:`BackendUnavailable` if it stays."""
        self.stopping = True
        if self.lifeline >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self.lifeline, b"T")
        with trio.move_on_after(self.grace + _END_SECONDS):
            await self.ended.wait()
            return
        raise BackendUnavailable("the processes of the sandbox do not end; the machine may be overloaded")


def launch(run: Run, env: Mapping[str, str], grace: float) -> tuple[subprocess.Popen[bytes], int]:
    """Start a launcher for ``run`` with ``env``. Its process, and the end of the life line that is ours.

    Raises :class:`OSError`, or :class:`ValueError` for an environment that no process can have. The secrets are in
    ``env`` only: an argument vector is readable by everybody on the machine.
    """
    mode = "jailed" if run.jailed else "plain"
    launcher = [sys.executable, "-I", "-S", _LAUNCHER, mode, str(grace), run.log, run.directory]
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [*launcher, *run.command],
            env=env,
            cwd="/",
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the daemon's terminal is not for the sandboxes
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return process, write_end
