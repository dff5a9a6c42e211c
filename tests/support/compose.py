"""The product as ``docker/compose.yaml`` starts it, on this machine's engine, under a name of its own."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import secrets
import shlex
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.conftest import ROOT, find_compose
from tests.support import leaks
from tests.support.leaks import Secrets, Watched
from tests.support.product import free_port
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILES = (ROOT / "docker" / "compose.yaml", ROOT / "tests" / "images" / "compose.override.yaml")
SOCKET = "/var/run/docker.sock"
LABEL = "cli-server.installation"
PATIENCE = 150.0  # for a sandbox that starts while other tests have the machine: three tries, at worst
COMMAND_SECONDS = 100.0  # of one command to the engine; starting all of it took 15 s
READY_SECONDS = 150.0  # of which it needs 5, where other tests leave it the machine
KEY = "/var/lib/cli-server/secret.key"  # in the server's container
_NUMBERS = itertools.count()


def docker(*arguments: str, check: bool = True) -> str:
    """What a command to the engine says."""
    return _run(["docker", *arguments], check=check)


def inspect(name: str, kind: str = "container") -> Any:
    """All that the engine knows about a ``container``, ``image``, ``network`` or ``volume``."""
    return json.loads(docker(kind, "inspect", name))[0]


def build_standin() -> None:
    """The database's image of tests. The engine remembers it: the second time takes a second."""
    folder = ROOT / "tests" / "images"
    name = "cli-server-tests-postgres:latest"
    _run(["docker", "build", "--network", "host", "-t", name, "-f", f"{folder}/postgres.Dockerfile", str(folder)])


@dataclass
class Composition:
    """One server with its database. ``settings`` is what stands in its ``.env``."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    name: str = field(default_factory=lambda: f"cli-server-test-{os.getpid()}-{next(_NUMBERS)}")
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    key: str = "operators-key-of-a-test"
    secrets: Secrets = field(default_factory=Secrets)  # which must not be in what the containers say
    said: str = ""  # by containers that are gone
    gone: bool = False

    def prepare(self) -> None:
        """Write the settings and the secrets."""
        given = {
            "PORT": str(self.port),
            "DOCKER_GID": str(os.stat(SOCKET).st_gid),
            "SECRETS": str(self.folder / "secrets"),
            # Of its own, and before the names of workspaces' networks: compositions run beside each other.
            "NETWORK": f"a-{self.name}",
            "LOG_LEVEL": "debug",
            **self.settings,
        }
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        (self.folder / "secrets").mkdir(mode=0o700)
        database = f"postgresql://cli-server:{self.password}@postgres:5432/cli-server"
        for name, value in (
            ("database_url", database),
            ("postgres_password", self.password),
            ("anthropic_api_key", self.key),
        ):
            path = self.folder / "secrets" / name
            path.write_text(value + "\n")
            path.chmod(0o644)  # the containers' users are others than ours
        self.secrets.add(self.password, self.key, database)
        name = f"a container of the composition {self.name}"
        leaks.watch(Watched(name, self.secrets, lambda: self.said, lambda: self.gone, self.folder / "secret.key"))

    def run(self, *arguments: str, check: bool = True) -> str:
        """``docker compose …``; what it says."""
        if arguments[0] in ("down", "rm"):
            self._remember()
        return _run([*self._command, *arguments], check=check)

    def shell(self, script: str, folder: Path) -> None:
        """Commands of the docs, in ``folder``. They are written for a composition that has the usual name."""
        ours = script.replace("docker compose", shlex.join(self._command)).replace(
            "cli-server_data", f"{self.name}_data"
        )
        _run(["bash", "-euc", f"cd {shlex.quote(str(folder))}\n{ours}"])

    @property
    def _command(self) -> list[str]:
        command = find_compose()
        assert command is not None
        files = [word for path in FILES for word in ("-f", str(path))]
        env = ["--env-file", str(self.folder / ".env"), "--project-directory", str(ROOT / "docker")]
        return [*command, *files, *env, "-p", self.name]

    def up(self) -> None:
        """Start everything, and wait until it is ready."""
        self.run("up", "-d")
        self.wait()

    def wait(self) -> None:
        """Wait until it is ready."""
        deadline = time.monotonic() + READY_SECONDS
        while self.readiness() != 200:
            assert time.monotonic() < deadline, self.logs[-4000:]
            time.sleep(0.1)

    def readiness(self) -> int:
        """Status of ``/readyz``; 0 if nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz", headers={"Host": f"localhost:{self.port}"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.run("ps", "-q", service).strip()

    @property
    def logs(self) -> str:
        """Everything that the containers have said."""
        return self.run("logs", "--no-color", check=False)

    def _remember(self) -> None:
        """What the containers have said goes with them, and so does the key by which secrets are derived."""
        self.said += self.logs
        docker("cp", f"{self.container('cli-server')}:{KEY}", str(self.folder / "secret.key"), check=False)

    def visitor(self) -> Visitor:
        """A browser without cookies."""
        return Visitor(self.port, patience=PATIENCE, secrets=self.secrets)

    @property
    def installation(self) -> str | None:
        """The id by which this server marks what is its own; ``None`` before it has made a sandbox."""
        networks = inspect(self.container("cli-server"))["NetworkSettings"]["Networks"]
        label = f'{{{{index .Labels "{LABEL}"}}}}'
        # One that a deleted workspace had may go meanwhile.
        found = [docker("network", "inspect", "--format", label, network, check=False).strip() for network in networks]
        return next((installation for installation in found if installation), None)

    def down(self) -> None:
        """Remove everything: the server, its database, and what sandboxes of it are left."""
        installation = self.installation if self.container("cli-server") else None
        if installation is None:
            self.run("down", "--volumes", "--timeout", "5", check=False)
            return
        self.run("stop", "--timeout", "5", check=False)
        mark = ("--filter", f"label={LABEL}={installation}")
        for container in docker("ps", "-aq", *mark).split():
            docker("rm", "-fv", container, check=False)
        self.run("down", "--volumes", "--timeout", "5", check=False)
        for kind in ("volume", "network"):
            for name in docker(kind, "ls", "-q", *mark).split():
                docker(kind, "rm", name, check=False)


def _run(command: list[str], *, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def composed(folder: Path, **settings: str) -> Iterator[Composition]:
    """A server that is ready, removed at the end."""
    build_standin()
    made = Composition(folder, settings)
    made.prepare()
    try:
        made.up()
        yield made
    finally:
        made.down()
        made.gone = True
