"""The product as its users run it: ``cli-server serve`` in a process of its own, and ways to hurt it."""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import find_opencode
from tests.support import leaks
from tests.support.leaks import Secrets, Watched
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60.0  # initdb on a busy machine
STOP_SECONDS = 40.0


# Below those that the kernel gives out by itself, from 32,768 on: whoever asks for any port could get such a one next.
# Each of up to four processes that share the tests has some of its own. Another run of the tests begins somewhere else.
_PORTS = 3000
_FIRST = 20_000 + _PORTS * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4)
_turns = itertools.count(random.randrange(_PORTS))


def free_port() -> int:
    """A port that nobody listens on now, and that is given to nobody else."""
    for turn in itertools.islice(_turns, _PORTS):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", _FIRST + turn % _PORTS))
            return int(sock.getsockname()[1])
    raise AssertionError("all ports are taken")


@dataclass
class Product:
    """One daemon on its own data directory and port; ``env`` is its whole environment but ``PATH``.

    ``program``: what Python runs, before the command. ``fds``: descriptors that it inherits, by the same numbers.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    program: tuple[str, ...] = ("-m", "daemon")
    fds: tuple[int, ...] = ()
    secrets: Secrets = field(default_factory=Secrets)  # which must not be in its log

    @property
    def data_dir(self) -> Path:
        """Where it keeps its files."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The main site."""
        return f"http://{self.domain}:{self.port}"

    @property
    def domain(self) -> str:
        """The main site's host."""
        return self.env.get("BASE_DOMAIN", "localhost")

    @property
    def log(self) -> str:
        """Everything it has said."""
        return (self.folder / "daemon.log").read_text(errors="replace")

    def start(self, *, ready: bool = True) -> None:
        """Start it and wait until it is ready."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LISTEN": f"127.0.0.1:{self.port}",
            "DATA_DIR": str(self.data_dir),
            "OPENCODE_BIN": str(find_opencode() or "opencode"),
            "METRICS_LISTEN": "off",
            "LOG_LEVEL": "debug",
            "OPERATOR_CANARY": "canary-of-the-daemons-environment",
            **({"BASE_SCHEME": "http", "PUBLIC_PORT": str(self.port)} if "BASE_DOMAIN" in self.env else {}),
            **self.env,
        }
        with (self.folder / "daemon.log").open("ab") as log:
            command = [sys.executable, *self.program, "serve"]
            self.process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log, pass_fds=self.fds)
        self.secrets.settings(env)
        key = self.data_dir / "secret.key"
        leaks.watch(Watched(f"the daemon in {self.folder}", self.secrets, lambda: self.log, self._ended, key))
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait for ``/readyz``."""
        deadline = time.monotonic() + START_SECONDS
        while self.readiness() != 200:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"not ready, exit status {self.process.poll()}:\n{self.log[-4000:]}")
            time.sleep(0.1)

    def readiness(self) -> int:
        """Status of ``/readyz``; 0 if nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz", headers={"Host": f"{self.domain}:{self.port}"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> int:
        """SIGTERM, as systemd does; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Kill it with -9: it has no last word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def visitor(self) -> Visitor:
        """A browser without cookies."""
        return Visitor(self.port, self.domain, secrets=self.secrets)


@contextmanager
def product(folder: Path, **env: str) -> Iterator[Product]:
    """A running daemon with these settings, stopped at the end."""
    made = Product(folder, env)
    try:
        made.start()
        yield made
    finally:
        made.close()


def processes_of(folder: Path) -> list[int]:
    """Processes whose command, environment, folder or mounts speak of ``folder``: a daemon's there, and its jails'."""
    found = []
    needle = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            said = b"".join((entry / name).read_bytes() for name in ("cmdline", "environ", "mountinfo"))
            cwd = os.readlink(entry / "cwd").encode()
        except OSError:
            continue
        if needle in said or cwd.startswith(needle):
            found.append(int(entry.name))
    return found
