"""Starting what is measured, and reading from the operating system what it used."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TICK = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60.0  # initdb on a cold disk, node's start


def cpu_seconds(pid: int) -> float:
    """User and system time that the process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def descendants(pid: int) -> list[int]:
    """The processes below this one that live now."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []  # it has just ended
    return children + [below for child in children for below in descendants(child)]


def memory(pid: int) -> int:
    """Private resident bytes of the process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def peak_memory(pid: int) -> int:
    """The most resident bytes since :func:`reset_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def reset_peak(pid: int) -> None:
    """Begin to count the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


# Below those that the kernel gives out by itself, from 32,768 on: whoever asks for any port could get such a one before
# it is used; and below those of the tests.
_PORTS = range(15_000, 20_000)
_turns = itertools.count(random.randrange(len(_PORTS)))


def free_port() -> int:
    """A port that nobody listens on now, and that is given to nobody else."""
    for turn in itertools.islice(_turns, len(_PORTS)):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", _PORTS[turn % len(_PORTS)]))
            return int(sock.getsockname()[1])
    raise RuntimeError("all ports are taken")


@contextmanager
def process(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path, talks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A child process that ends with the block; what it says goes to ``log``, or with ``talks`` to who started it."""
    pipe = subprocess.PIPE if talks else None
    with log.open("ab") as output:
        # A session of its own: wrappers, such as the one of PyPI's node, do not pass a signal on.
        child = subprocess.Popen(
            command, env=env, stdin=pipe, stdout=pipe or output, stderr=output, text=True, start_new_session=True
        )
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def wait_for_line(child: subprocess.Popen[str], log: Path) -> str:
    """The next line that a child says. Raises :class:`RuntimeError` with the log if it ends without."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"{child.args!r} ended: {log.read_text()[-2000:]}")
    return line.strip()


def wait_for_port(port: int, child: subprocess.Popen[str], log: Path) -> None:
    """Return once somebody listens on ``port``. Raises :class:`RuntimeError` with the log if the child ends before."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args!r} ended with {child.returncode}: {log.read_text()[-2000:]}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{child.args!r} does not listen on {port} after {_START_SECONDS:g} s")
