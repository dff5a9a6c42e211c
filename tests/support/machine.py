"""Somebody's machine: a home directory of its own and, in a process of its own, ``cli-server agent connect``."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import ROOT, find_opencode
from tests.support import leaks
from tests.support.leaks import Secrets, Watched
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SAY_SECONDS = 60.0  # opencode starts on a busy machine
STOP_SECONDS = 30.0  # what is open may finish, then opencode ends


@dataclass
class Machine:
    """One machine. ``env`` comes on top of what a plain login has."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)  # of its opencode
    process: subprocess.Popen[bytes] | None = None
    secrets: Secrets = field(default_factory=Secrets)  # which must not be in what it says

    @property
    def folder(self) -> Path:
        """Where its person works."""
        return self.home / "project"

    @property
    def said(self) -> str:
        """Everything that the agent has said."""
        return (self.home / "agent.log").read_text(errors="replace")

    @property
    def hold(self) -> Path:
        """While this file is there, opencode starts and does nothing yet."""
        return self.home / "hold"

    def _program(self) -> Path:
        path = self.home / "opencode"
        path.write_text(
            f"#!/bin/sh\nwhile [ -e {shlex.quote(str(self.hold))} ]; do sleep 0.05; done\n"
            f'exec {shlex.quote(str(find_opencode() or "opencode"))} "$@"\n'
        )
        path.chmod(0o755)
        return path

    def agent(self, words: Sequence[str]) -> None:
        """Run ``cli-server`` with these words, beside the address of this machine's opencode."""
        self.folder.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "OPENCODE_BIN": str(self._program()),
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            **self.env,
        }
        command = [sys.executable, "-m", "daemon", *words, "--opencode-url", f"http://localhost:{self.port}"]
        with (self.home / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=env, cwd=self.folder, stdout=log, stderr=log)
        self.secrets.settings(self.env)
        self.secrets.add(*(after for word, after in itertools.pairwise(words) if word == "--code"))
        leaks.watch(Watched(f"the agent in {self.home}", self.secrets, self._words, self._ended))

    def connect(self, *words: str) -> None:
        """``agent connect``, until it is connected. Without words it uses what was saved."""
        before = self.said.count("connected:") if (self.home / "agent.log").exists() else 0
        self.agent(["agent", "connect", *words])
        self.until_said("connected:", before + 1)

    def until_said(self, text: str, times: int = 1) -> None:
        """Wait for a line of the agent."""
        deadline = time.monotonic() + SAY_SECONDS
        while self.said.count(text) < times:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} was not said, exit status {self.process.poll()}:\n{self.said}")
            time.sleep(0.05)

    def opencode(self) -> int:
        """The process of the opencode that an agent started here."""
        record = self.home / ".cli-server" / f"opencode-{self.port}.json"
        return int(json.loads(record.read_bytes())["pid"])

    def _words(self) -> str:
        with suppress(OSError, ValueError):
            self._saved(json.loads((self.home / ".cli-server" / "agent.json").read_bytes()))
        return self.said

    def _saved(self, value: object) -> None:
        """The tokens, wherever they are in the file."""
        if isinstance(value, dict):
            self.secrets.add(*(str(one) for name, one in value.items() if name == "tunnelToken"))
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            self._saved(inner)

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Kill the agent with -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def clean_up(self) -> None:
        """End whatever is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        with suppress(OSError, ValueError, KeyError):
            opencode = self.opencode()
            os.killpg(opencode, signal.SIGKILL)
            _wait_for_end(opencode)


@contextmanager
def machine(home: Path, **env: str) -> Iterator[Machine]:
    """A machine, of which nothing is left at the end."""
    home.mkdir()
    made = Machine(home, env)
    try:
        yield made
    finally:
        made.clean_up()


def _wait_for_end(pid: int) -> None:
    """Of a process that was killed: it is not gone, and its port not free, before the kernel has come to it."""
    deadline = time.monotonic() + STOP_SECONDS
    while lives(pid):
        assert time.monotonic() < deadline, f"{pid} does not end"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextmanager
def local_server() -> Iterator[int]:
    """What says of itself that it is a healthy opencode, and is silent when it has nothing to say; its port."""
    command = [sys.executable, "-m", "tests.standins.http_local", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline().rpartition(":")[2].strip(" /\n"))
        finally:
            child.terminate()
