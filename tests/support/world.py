"""A world outside of this machine: a network namespace at the other end of a cable, with a server in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# For documentation, RFC 5737: nobody has them. Four addresses for each world, by the process that made it.
_NETWORK: Final = "198.51.100"
_SECONDS: Final = 30.0  # for a command, while other tests have the machine
PORT: Final = 8000
NAMES_PORT: Final = 53
# Answers each connection at PORT; writes down each question for a name that comes.
_SERVER: Final = """
import socket, sys, threading
address, questions = sys.argv[1:]
def names():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    while True:
        with open(questions, "ab") as file:
            file.write(sock.recv(4096) + b"\\n")
threading.Thread(target=names, daemon=True).start()
server = socket.create_server((address, 8000))
print("ready", flush=True)
while True:
    with server.accept()[0] as client:
        client.sendall(b"world")
"""


@dataclass(frozen=True)
class World:
    """What is out there."""

    address: str
    questions_file: Path

    @property
    def questions(self) -> bytes:
        """What came to its name server, as it came: a name has its parts behind one another, with their lengths."""
        return self.questions_file.read_bytes() if self.questions_file.exists() else b""


def as_root(*command: str) -> list[str]:
    """A command that only root may give."""
    return list(command) if os.geteuid() == 0 else ["sudo", "-n", *command]


def _run(*command: str, check: bool = True) -> None:
    done = subprocess.run(as_root(*command), capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world with a server, taken down at the end. This machine routes to it as to any other."""
    number = os.getpid() % 64
    name, near, far = f"world{number}", f"{_NETWORK}.{4 * number + 1}", f"{_NETWORK}.{4 * number + 2}"
    _run("ip", "link", "del", f"{name}-near", check=False)  # of a run that was killed
    _run("ip", "netns", "del", name, check=False)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", f"{name}-near", "type", "veth", "peer", "name", f"{name}-far", "netns", name)
        _run("ip", "address", "add", f"{near}/30", "dev", f"{name}-near")
        _run("ip", "link", "set", f"{name}-near", "up")
        inside = ("ip", "netns", "exec", name)
        _run(*inside, "ip", "address", "add", f"{far}/30", "dev", f"{name}-far")
        _run(*inside, "ip", "link", "set", f"{name}-far", "up")
        _run(*inside, "ip", "route", "add", "default", "via", near)
        questions = folder / "questions"
        command = as_root(*inside, sys.executable, "-c", _SERVER, far, str(questions))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                assert server.stdout.readline() == "ready\n"
                _wait_for_the_cable(near, far)
                yield World(far, questions)
            finally:
                server.terminate()
    finally:
        _run("ip", "link", "del", f"{name}-near", check=False)  # the namespace would take its time with it
        _run("ip", "netns", "del", name)


def _wait_for_the_cable(near: str, far: str) -> None:
    """The first packets may be lost while addresses are looked for."""
    deadline = time.monotonic() + _SECONDS
    look = ["bash", "-c", f"timeout 1 cat </dev/tcp/{far}/{PORT}"]
    while subprocess.run(look, capture_output=True, check=False).stdout != b"world":
        assert time.monotonic() < deadline, f"{far} is not reached from {near}"
