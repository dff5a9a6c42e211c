"""A Docker engine in a test's hands, by its own command; and the product whose sandboxes are containers of it."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from backends.containers import LABEL_INSTALLATION, Names
from daemon.db.migrate import installation_id
from tests.support.product import Product
from tests.support.rows import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.visitor import Visitor

IMAGE: Final = "cli-server-sandbox:latest"
_COMMAND_SECONDS: Final = 100.0  # of one command; an engine that starts many containers takes its time
_KINDS: Final = {"container": ("ps", "-aq", "--no-trunc"), "volume": ("volume", "ls", "-q"),
                 "network": ("network", "ls", "-q", "--no-trunc")}  # fmt: skip
_REMOVE: Final = {"container": ("rm", "-fv"), "volume": ("volume", "rm", "-f"), "network": ("network", "rm")}
_PATIENCE: Final = 150.0  # for a sandbox that starts while other tests have the machine: three tries, at worst
_LAST_WORDS: Final = 6000  # bytes: some thirty lines of the log
_GONE_SECONDS: Final = 150.0  # until deleted workspaces have gone: twenty sandboxes have to be stopped


class CommandFailed(AssertionError):
    """A command to the engine failed; the text is what it said."""


@dataclass(frozen=True)
class Engine:
    """The engine at ``host``."""

    host: str = "unix:///var/run/docker.sock"

    def docker(
        self, *arguments: str, check: bool = True, stdin: str | None = None, seconds: float = _COMMAND_SECONDS
    ) -> str:
        """What a command to the engine says. Raises :class:`CommandFailed`."""
        done = subprocess.run(
            ["docker", "-H", self.host, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            input=stdin,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise CommandFailed(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def inspect(self, name: str, kind: str = "container") -> Any:
        """All that the engine knows about a ``container``, ``image``, ``network`` or ``volume``."""
        return json.loads(self.docker(kind, "inspect", name))[0]

    def labelled(self, kind: str, **labels: str) -> list[str]:
        """The ids (of volumes the names) of what carries the labels, ``installation="…"`` for example."""
        filters = [word for name, value in labels.items() for word in ("--filter", f"label=cli-server.{name}={value}")]
        return self.docker(*_KINDS[kind], *filters).split()

    def remove(self, kind: str, *names: str) -> None:
        """Remove them, whatever they do at the moment. Gone is success."""
        if names:
            self.docker(*_REMOVE[kind], *names, check=False)


@dataclass
class DockerProduct(Product):
    """A daemon on this machine with ``BACKEND=docker``."""

    engine: Engine = field(default_factory=Engine)
    visitors: list[Visitor] = field(default_factory=list)

    @cached_property
    def installation(self) -> str:
        """What marks everything that is its own."""
        with database(self) as conn:
            return installation_id(conn)

    @property
    def names(self) -> Names:
        """What its things are called."""
        return Names(self.installation)

    def visitor(self) -> Visitor:
        """A browser without cookies. It is used at the end to delete what it made."""
        self.visitors.append(super().visitor())
        self.visitors[-1].patience = _PATIENCE
        return self.visitors[-1]

    def containers(self, sandbox_id: str) -> list[str]:
        """The ids of a sandbox's containers, ended ones too."""
        return self.engine.labelled("container", installation=self.installation, sandbox=sandbox_id)

    def container(self, sandbox_id: str) -> str:
        """The id of the sandbox's one container."""
        (found,) = self.containers(sandbox_id)
        return found

    def home(self, sandbox_id: str) -> bool:
        """Whether it has a home."""
        return self.names.home(sandbox_id) in self.engine.labelled("volume", sandbox=sandbox_id)

    def shell(self, sandbox_id: str, command: str, *, check: bool = True, stdin: str | None = None) -> str:
        """What the agent's shell says, in the sandbox."""
        return self.engine.docker(
            "exec", "-i", self.container(sandbox_id), "sh", "-c", command, check=check, stdin=stdin or ""
        )

    def left(self) -> dict[str, list[str]]:
        """What carries its label, by kind."""
        return {kind: self.engine.labelled(kind, installation=self.installation) for kind in _KINDS}

    def delete_everything(self) -> None:
        """As their owners do, and see that nothing is left of it on the engine."""
        for visitor in self.visitors:
            if visitor.username:
                for workspace in visitor.api("GET", "/api/workspaces", expect=(200, 401)):
                    if isinstance(workspace, dict) and workspace["role"] == "owner":
                        visitor.api("DELETE", f"/api/workspaces/{workspace['id']}", expect=(204, 404))
        until(
            lambda: not any(self.left().values()),
            _GONE_SECONDS,
            lambda: f"workspaces were deleted, and this stays: {self.described()}",
        )

    def described(self) -> list[str]:
        """Names of everything that carries its label."""
        mark = ("--filter", f"label={LABEL_INSTALLATION}={self.installation}", "--format")
        containers = self.engine.docker("ps", "-a", *mark, "{{.Names}} {{.Status}}").splitlines()
        return containers + self.left()["volume"] + self.engine.docker("network", "ls", *mark, "{{.Name}}").split()

    def remove_by_hand(self) -> None:
        """Whatever the product thinks of it, so that a failure leaves nothing behind."""
        for kind, found in self.left().items():
            self.engine.remove(kind, *found)

    def last_words(self) -> str:
        """What the daemon and its sandboxes said last."""
        said = [self.log[-_LAST_WORDS:], *self.described()]
        for container in self.left()["container"]:
            said.append(self.engine.docker("logs", "--tail", "20", container, check=False)[-_LAST_WORDS:])
        return "\n".join(said)


def until(condition: Callable[[], bool], seconds: float, what: Callable[[], object]) -> None:
    """Wait for it; ``what`` tells what there is instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@contextmanager
def docker_product(folder: Path, *, engine: Engine | None = None, **env: str) -> Iterator[DockerProduct]:
    """A running daemon with real sandboxes. At the end its workspaces are deleted, and nothing may be left of them."""
    engine = engine or Engine()
    settings = {"BACKEND": "docker", "DOCKER_HOST": engine.host, "AGENT_IMAGE": IMAGE, **env}
    made = DockerProduct(folder, settings, engine=engine)
    try:
        made.start()
        assert made.installation
        yield made
        made.delete_everything()
    except BaseException:
        print(made.last_words())  # pytest shows it with the failure; afterwards the containers are gone
        raise
    finally:
        made.close()
        made.remove_by_hand()
