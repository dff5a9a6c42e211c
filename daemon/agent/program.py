"""The opencode that the agent starts: finding the program, starting it, and ending all of its processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import trio

from daemon.agent.errors import AgentError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from daemon.agent.health import Login

# From SIGTERM to SIGKILL; opencode ends in a fraction of a second.
GRACE: Final = 5.0
_LOOK: Final = 0.1
_LAST_BYTES: Final = 4096
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def find_program(environ: Mapping[str, str]) -> str:
    """The path of opencode. Raises :class:`AgentError` saying how to get one."""
    given = environ.get("OPENCODE_BIN", "").strip()
    found = shutil.which(os.path.expanduser(given or "opencode"), path=environ.get("PATH"))
    if found is not None:
        return os.path.abspath(found)
    if given:
        raise AgentError(f"OPENCODE_BIN names {shown(given)}, which is no program that can be run")
    raise AgentError(
        "opencode was not found on PATH; install it (npm install -g opencode-ai), or set OPENCODE_BIN to the program"
    )


def command_of(program: str, host: str, port: int) -> list[str]:
    """The command line. It holds no secret: everybody on this machine can read it."""
    return [program, "serve", "--hostname", host, "--port", str(port)]


def environment_of(environ: Mapping[str, str], login: Login) -> dict[str, str]:
    """The agent's own environment, and what keeps others on this machine out of opencode."""
    return {**environ, "OPENCODE_SERVER_USERNAME": login.user, "OPENCODE_SERVER_PASSWORD": login.password}


async def start(command: list[str], environ: Mapping[str, str], log: Path) -> trio.Process:
    """Start opencode in a process group of its own, so that Ctrl-C in the terminal is the agent's. Raises OSError."""
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(environ), **options
        )
    finally:
        os.close(output)


async def end(process: trio.Process) -> None:
    """End it and what it started, within ``GRACE`` and a moment, also while the agent is being cancelled."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * GRACE):
        signal_group(process.pid)
        with trio.move_on_after(GRACE):
            await process.wait()
        signal_group(process.pid, kill=True)
        await process.wait()


async def end_group(pid: int) -> None:
    """As :func:`end`, for an opencode that is not our child: an earlier agent, which was killed, started it."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * GRACE):
        signal_group(pid)
        with trio.move_on_after(GRACE):
            while group_lives(pid):  # noqa: ASYNC110 - nobody tells us
                await trio.sleep(_LOOK)
        signal_group(pid, kill=True)


def signal_group(pid: int, *, kill: bool = False) -> None:
    """Ask the process group to end, or end it. A group that is gone is no error."""
    if sys.platform == "win32":
        # There is no SIGTERM; the one way that takes the children along is this program.
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, timeout=GRACE, check=False)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL if kill else signal.SIGTERM)


def group_lives(pid: int) -> bool:
    """Whether a process of the group is left (on Windows: unknown, so no)."""
    if sys.platform == "win32":
        return False
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def last_words(log: Path) -> str:
    """The last line that opencode wrote, fit to be shown; empty if there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LAST_BYTES))
        lines = _ESCAPES.sub(b"", file.read()).decode("utf-8", "replace").splitlines()
        return next((shown(line) for line in reversed(lines) if line.strip()), "")
    return ""
