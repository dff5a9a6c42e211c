"""The kinds of backends that the contract is tested with, and what of theirs one can see from outside.

Each test has a kind of its own, with an installation of its own. ``clean_up`` at the end of a test takes away what the
test left by the backend's own means, and fails if they do not reach all of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import docker
import docker.errors

from backends.containers import LABEL_INSTALLATION, LABEL_SANDBOX, LABEL_WORKSPACE, DockerOptions
from backends.docker import DockerBackend
from backends.process import ProcessBackend
from daemon.ids import new_id
from tests.backends.cluster_kind import Kubernetes
from tests.backends.fake_image import fake_image
from tests.backends.support import INSTALLATION, fake_program, tree
from tests.sandboxes.fakes import Good

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backends.base import Backend
    from backends.isolation import Isolation

SOCKET: Final = "/var/run/docker.sock"
GRACE: Final = 1.0  # seconds; the fake ends at once, and what is stubborn shall not hold up a test


class Kind(Protocol):
    """One kind of backend, set up for one test."""

    name: str
    limits_enforced: bool
    keeps_at_rest: bool  # whether the output and the size of a disk are to be had while nothing runs

    def backend(self, *, start_timeout: float = 30) -> Backend:
        """A backend whose opencode is the fake. Another one, made later, finds what the first has left."""
        ...

    def homes(self) -> set[str]:
        """Ids of sandboxes that have a home."""
        ...

    def disks(self) -> set[str]:
        """Ids of workspaces that have a disk."""
        ...

    def at_work(self) -> set[str]:
        """What runs at the moment: as many for the same sandboxes, and others once one was started anew."""
        ...

    async def clean_up(self) -> None:
        """Take everything away, by the means of the backend."""
        ...


@dataclass
class Process:
    """The backend ``process``, in bubblewrap or without."""

    folder: Path
    isolation: Isolation
    name: str = "process"
    limits_enforced: bool = False
    keeps_at_rest: bool = True

    def backend(self, *, start_timeout: float = 30) -> Backend:
        program = str(fake_program(self.folder))
        return ProcessBackend(
            self.folder / "data",
            INSTALLATION,
            program,
            isolation=self.isolation,
            start_timeout=start_timeout,
            stop_grace=GRACE,
        )

    def homes(self) -> set[str]:
        return _names(self.folder / "data" / "sandboxes")

    def disks(self) -> set[str]:
        return _names(self.folder / "data" / "workspaces")

    def at_work(self) -> set[str]:
        return {f"{pid} {line}" for pid, line in tree(os.getpid()).items()}

    async def clean_up(self) -> None:
        """The directory goes with the test, and tests/backends/conftest.py sees that no process is left."""


@dataclass
class Docker:
    """The backend ``docker`` on the machine's engine, or at what stands before it."""

    image: str
    host: str = f"unix://{SOCKET}"
    installation: str = field(default_factory=new_id)
    name: str = "docker"
    limits_enforced: bool = True
    keeps_at_rest: bool = True
    client: Any = field(default_factory=lambda: docker.APIClient(base_url=f"unix://{SOCKET}", timeout=60))
    undo: list[Callable[[], object]] = field(default_factory=list)  # what a test made beside the backend

    def backend(self, *, start_timeout: float = 30, **options: Any) -> DockerBackend:
        settings = {"image": self.image, "host": self.host, **options}
        return DockerBackend(
            DockerOptions(**settings), self.installation, start_timeout=start_timeout, stop_grace=GRACE
        )

    def homes(self) -> set[str]:
        return {found["Labels"][LABEL_SANDBOX] for found in self.volumes() if LABEL_SANDBOX in found["Labels"]}

    def disks(self) -> set[str]:
        return {found["Labels"][LABEL_WORKSPACE] for found in self.volumes() if LABEL_SANDBOX not in found["Labels"]}

    def at_work(self) -> set[str]:
        # The engine's list is a copy, which may have one as running for a moment after its stop was answered.
        states = {found["Id"]: self.client.inspect_container(found["Id"])["State"] for found in self.containers()}
        return {f"{name} {state['StartedAt']}" for name, state in states.items() if state["Running"]}

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        """What the engine lists with this installation's label."""
        return cast("list[dict[str, Any]]", self.client.containers(**{"all": True, **options, **self._filters}))

    def volumes(self) -> list[dict[str, Any]]:
        """What the engine lists with this installation's label."""
        return self.client.volumes(**self._filters)["Volumes"] or []

    def networks(self) -> list[dict[str, Any]]:
        """What the engine lists with this installation's label."""
        return cast("list[dict[str, Any]]", self.client.networks(**self._filters))

    def container(self, sandbox_id: str) -> dict[str, Any]:
        """All that the engine says of the one container of a sandbox."""
        (found,) = (found for found in self.containers() if found["Labels"].get(LABEL_SANDBOX) == sandbox_id)
        return cast("dict[str, Any]", self.client.inspect_container(found["Id"]))

    def named(self) -> set[str]:
        """Everything whose name has the installation's id in it, whatever its labels."""
        names = [name for found in self.client.containers(all=True) for name in found["Names"]]
        names += [found["Name"] for found in self.client.volumes()["Volumes"] or []]
        names += [found["Name"] for found in self.client.networks()]
        return {name for name in names if self.installation in name}

    async def clean_up(self) -> None:
        """By the backend, and then by hand, so that a failure leaves nothing behind either."""
        try:
            for undo in reversed(self.undo):
                undo()
            await self._by_the_backend()
            left = {found["Id"] for found in self.containers()} | self.named()
            assert not left, "the backend does not show or not remove this"
        finally:
            self._by_hand()
            self.client.close()

    async def _by_the_backend(self) -> None:
        backend = DockerBackend(DockerOptions(image=self.image), self.installation, stop_grace=GRACE)
        labels = [found["Labels"] for found in (*self.containers(), *self.volumes(), *self.networks())]
        async with backend.serve():
            shown = await backend.inventory()
            sandboxes = {found[LABEL_SANDBOX] for found in labels if LABEL_SANDBOX in found}
            assert sandboxes == shown.keys(), "the inventory shows all there is, and nothing else"
            for sandbox_id, seen in shown.items():
                await backend.destroy(sandbox_id, seen.workspace_id)
            for workspace_id in {found[LABEL_WORKSPACE] for found in labels}:
                await backend.destroy_workspace(workspace_id)

    def _by_hand(self) -> None:
        for found in self.containers():
            self.client.remove_container(found["Id"], force=True, v=True)
        for found in self.volumes():
            self.client.remove_volume(found["Name"])
        for found in self.networks():
            self.client.remove_network(found["Id"])

    @property
    def _filters(self) -> dict[str, Any]:
        return {"filters": {"label": f"{LABEL_INSTALLATION}={self.installation}"}}


@dataclass
class Fake:
    """The fake that the tests of the life cycle use: it must behave as the real ones do."""

    name: str = "fake"
    limits_enforced: bool = False
    keeps_at_rest: bool = True
    made: Good = field(default_factory=Good)

    def backend(self, *, start_timeout: float = 30) -> Backend:
        return self.made

    def homes(self) -> set[str]:
        return set(self.made.existing)

    def disks(self) -> set[str]:
        raise AssertionError("it has none")

    def at_work(self) -> set[str]:
        return {name for name, seen in self.made.existing.items() if seen.running}

    async def clean_up(self) -> None:
        """It goes with the test."""


def make_kind(name: str, folder: Path) -> Kind:
    """By the name that a test's parameter has."""
    match name:
        case "none" | "bubblewrap":
            return Process(folder, name)
        case "docker":
            return Docker(fake_image())
        case "k8s" | "k8s-v1alpha1" | "k8s-bad-day":
            return Kubernetes(folder, name)
    return Fake()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
