"""The containers of sandboxes on a Docker engine: finding, making, ending them, and saying why one ended."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from docker import APIClient
from docker.errors import NotFound

from backends.base import BackendError, BackendRejected, BackendUnavailable, Observed, SandboxGone
from backends.containers import LABEL_SANDBOX, LABEL_SPEC, LABEL_WORKSPACE, container_body
from backends.disks import is_id
from backends.engine import Conflict
from backends.logfile import Redactor, secrets_in
from backends.logreader import plain_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.base import SandboxSpec
    from backends.containers import DockerOptions, Names, Network
    from backends.engine import Engine

_KILLED: Final = 137  # 128 + SIGKILL, as shells count
_ENDED: Final = 143  # 128 + SIGTERM
_BROKEN: Final = ("dead", "removing")
_MIB: Final = 2**20
_REMOVED: Final = "its container was removed"


@dataclass(frozen=True, slots=True)
class Box:
    """A container of ours, as it is on the engine. ``image`` is the image's id."""

    id: str
    image: str
    state: str
    name: str
    labels: Mapping[str, str]
    networks: Mapping[str, Mapping[str, Any]]

    @property
    def sandbox_id(self) -> str:
        """Whose it is; empty for one that measures a disk."""
        return self.labels.get(LABEL_SANDBOX, "")

    @property
    def workspace_id(self) -> str:
        """Whose it is, too."""
        return self.labels.get(LABEL_WORKSPACE, "")

    @property
    def alive(self) -> bool:
        """Whether there are processes in it, frozen ones too."""
        return self.state in ("running", "restarting", "paused")

    @property
    def address(self) -> str | None:
        """Its address in the workspace's network; ``None`` if it does not run. Somebody may have put it in others."""
        if self.state != "running":
            return None
        return next((str(found["IPAddress"]) for found in self._own_networks if found.get("IPAddress")), None)

    @property
    def _own_networks(self) -> list[Mapping[str, Any]]:
        start = self.name.removesuffix(f"-{self.sandbox_id}")
        return [found for name, found in self.networks.items() if name in (start, f"{start}-proxy")]

    def is_in(self, network: Network) -> bool:
        """Whether it was made for this very network; one of the same name may be another."""
        found = self.networks.get(network.name)
        return found is not None and found.get("NetworkID") in (network.id, "")


class Boxes:
    """All containers of one installation."""

    def __init__(self, engine: Engine, options: DockerOptions, names: Names, stop_grace: float) -> None:
        self._engine = engine
        self._options = options
        self._names = names
        self._stop_grace = max(1, round(stop_grace))  # the engine takes whole seconds
        self._details: dict[str, str] = {}  # why a container has ended, by its id; "" if we ended it
        self._cores = 0

    async def all(self, **wanted: str) -> list[Box]:
        """What carries this installation's label, and what is ``wanted``: ``workspace=``, ``sandbox=``."""
        boxes = await self._engine.look(_containers, self._names.filters(**wanted))
        return [box for box in boxes if self._names.ours(box.labels, **wanted) and self._is_whole(box)]

    def _is_whole(self, box: Box) -> bool:
        """Containers have the labels of their image: one that was made from a sandbox's is no sandbox."""
        if not is_id(box.workspace_id):
            return False
        named = self._names.container(box.workspace_id, box.sandbox_id)
        return not box.sandbox_id or (is_id(box.sandbox_id) and box.name == named)

    async def find(self, sandbox_id: str) -> Box | None:
        """The sandbox's container. Somebody may have made another one with its labels: then the one that runs."""
        return min(await self.all(sandbox=sandbox_id), key=lambda box: box.state != "running", default=None)

    async def body(self, spec: SandboxSpec, network: Network, *, daemon_inside: bool) -> dict[str, Any]:
        """What the sandbox's container is to be."""
        cores = await self._engine_cores()
        return container_body(spec, self._options, self._names, network, cores=cores, daemon_inside=daemon_inside)

    async def usable(
        self, spec: SandboxSpec, body: Mapping[str, Any], network: Network, image: str | None
    ) -> Box | None:
        """The sandbox's container if it fits; all that do not are removed. ``image``: the newest, if it is there."""
        wanted = body["Labels"][LABEL_SPEC]
        found = None
        for box in await self.all(sandbox=spec.id):
            fits = box.labels.get(LABEL_SPEC) == wanted and box.is_in(network) and (image or box.image) == box.image
            if found is None and fits and box.state not in _BROKEN:
                found = box
            else:
                await self.stop(box)
                await self.remove(box.id)
        return found

    async def create(self, spec: SandboxSpec, body: Mapping[str, Any]) -> str:
        """Make the sandbox's container; its id."""
        name = self._names.container(spec.workspace_id, spec.id)
        try:
            made = await self._engine.change(lambda client: client.create_container_from_config(body, name))
        except Conflict as error:
            made = await self._engine.look(APIClient.inspect_container, name)
            labels = made["Config"].get("Labels") or {}  # with those of its image
            if not body["Labels"].items() <= labels.items():  # else the answer to our own request was lost
                if self._names.ours(labels, sandbox=spec.id):
                    raise BackendUnavailable("the sandbox's former container is still there") from error
                raise BackendRejected(
                    f"a container named {name} is there and is not of this installation; remove or rename it"
                ) from error
        return str(made["Id"])

    async def start(self, container_id: str, *, frozen: bool = False) -> None:
        """Start it; running already is success."""
        self._details.pop(container_id, None)
        try:
            if frozen:
                await self._engine.change(APIClient.unpause, container_id)
            await self._engine.change(APIClient.start, container_id)
        except SandboxGone as error:
            raise BackendUnavailable(f"the sandbox could not be started: {error}") from error

    async def stop(self, box: Box) -> None:
        """SIGTERM, a grace, SIGKILL. Stopped or gone is success."""
        self._details[box.id] = ""
        if not box.alive:
            return
        try:
            if box.state == "paused":
                await self._engine.change(APIClient.unpause, box.id)
            await self._engine.wait_for(APIClient.stop, box.id, timeout=self._stop_grace)
        except SandboxGone:
            return

    async def remove(self, container_id: str) -> None:
        """Remove it with the volumes that only it has, which its image may ask for. Gone is success."""
        try:
            await self._engine.change(APIClient.remove_container, container_id, v=True, force=True)
        except SandboxGone:
            pass
        except Conflict as error:
            if "already in progress" not in str(error):
                raise
        self._details.pop(container_id, None)

    async def observe(self, homes: Mapping[str, str]) -> dict[str, Observed]:
        """What exists, by sandbox. ``homes``: workspace by sandbox of those that have a home."""
        seen = {
            sandbox_id: Observed(sandbox_id, workspace_id, running=False, detail=_REMOVED)
            for sandbox_id, workspace_id in homes.items()
        }
        boxes = [box for box in await self.all() if box.sandbox_id]
        for box in sorted(boxes, key=lambda box: box.state == "running"):  # of two the one that runs
            running = box.state in ("running", "restarting")
            detail = "" if running else await self._detail(box)
            seen[box.sandbox_id] = Observed(box.sandbox_id, box.workspace_id, running=running, detail=detail)
        return seen

    async def _detail(self, box: Box) -> str:
        if box.state == "paused":
            return "its container was frozen by hand"
        if box.state == "created":
            return "its container was never started"
        if box.id not in self._details:
            try:
                self._details[box.id] = await self.describe(box.id, 1)
            except SandboxGone:
                return _REMOVED
        return self._details[box.id]

    async def describe(self, container_id: str, lines: int) -> str:
        """ "opencode exited with status 1: its last lines"."""
        about = await self._engine.look(APIClient.inspect_container, container_id)
        state, status = about["State"], int(about["State"]["ExitCode"])
        if state.get("OOMKilled") and status == _KILLED:
            memory = int(about["HostConfig"]["Memory"]) // _MIB
            return f"opencode was ended because the sandbox needs more than its {memory} MiB of memory"
        if status in (_KILLED, _ENDED):
            return f"opencode was ended from outside (status {status}); the Docker engine may have been restarted"
        error = " ".join(str(state.get("Error") or "").split())
        words = [error] if error else await self.last_lines(container_id, lines)
        return f"opencode exited with status {status}" + (f": {' | '.join(words)}" if words else "")

    async def last_lines(self, container_id: str, count: int) -> list[str]:
        """Of its output. None if it is not to be had: a reason is worth telling without it, too."""
        try:
            data: bytes = await self._engine.look(APIClient.logs, container_id, tail=count)
            redactor = await self.redactor(container_id)
        except BackendError:
            return []
        return plain_lines((redactor.feed(data) + redactor.flush()).splitlines(), count)

    async def redactor(self, container_id: str) -> Redactor:
        """Takes the sandbox's secrets out of its output."""
        about = await self._engine.look(APIClient.inspect_container, container_id)
        pairs = (entry.partition("=") for entry in about["Config"].get("Env") or [])
        return Redactor(secrets_in({name: value for name, _, value in pairs}))

    async def _engine_cores(self) -> int:
        if not self._cores:
            self._cores = int((await self._engine.look(APIClient.info))["NCPU"])
        return self._cores


def _containers(client: APIClient, filters: Mapping[str, list[str]]) -> list[Box]:
    """What may run is asked for by itself.

    The engine's list is a copy that it cannot renew while its disk is full: what ends then stays in it as running for
    good, with an address that another one has by now.
    """
    found = []
    for listed in client.containers(all=True, filters=filters):
        if listed["State"] == "exited":
            found.append(_listed(listed))
            continue
        with suppress(NotFound):  # it was removed meanwhile
            found.append(_inspected(client.inspect_container(listed["Id"])))
    return found


def _inspected(found: Mapping[str, Any]) -> Box:
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    labels, name = found["Config"].get("Labels") or {}, found["Name"].removeprefix("/")
    return Box(found["Id"], found["Image"], found["State"]["Status"], name, labels, networks)


def _listed(found: Mapping[str, Any]) -> Box:
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    name = min(found.get("Names") or ["/"], key=len).removeprefix("/")  # links have longer ones
    return Box(found["Id"], found["ImageID"], found["State"], name, found.get("Labels") or {}, networks)
