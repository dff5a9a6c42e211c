"""The volumes of sandboxes and workspaces on a Docker engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from docker import APIClient

from backends.base import BackendRejected, SandboxGone
from backends.containers import LABEL_SANDBOX, LABEL_WORKSPACE, measuring_body
from backends.disks import is_id
from backends.diskuse import Measures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.containers import DockerOptions, Names
    from backends.engine import Engine

_MEASURE_SECONDS: Final = 3.0  # a person waits for the answer in a dialog, and it is a courtesy there
_LOOK: Final = 0.1  # seconds between looks at the program; most disks take less
_REMOVE_SECONDS: Final = 10.0  # for the container that measured, whoever is in a hurry


class Volumes:
    """Makes, measures and removes them."""

    def __init__(self, engine: Engine, options: DockerOptions, names: Names) -> None:
        self._engine = engine
        self._options = options
        self._names = names
        self._measures = Measures(self._measure)

    async def ensure(self, workspace_id: str, sandbox_id: str) -> None:
        """The sandbox's home and the workspace's disk. Raises :class:`BackendRejected` if a name is somebody else's."""
        await self._ensure(self._names.home(sandbox_id), self._names.labels(workspace_id, sandbox_id))
        await self._ensure(self._names.disk(workspace_id), self._names.labels(workspace_id))

    async def remove_home(self, sandbox_id: str) -> None:
        """Remove a sandbox's home. Absent is success."""
        await self._remove(self._names.home(sandbox_id), sandbox=sandbox_id)

    async def remove_disk(self, workspace_id: str) -> None:
        """Remove a workspace's disk. Absent is success."""
        await self._remove(self._names.disk(workspace_id), workspace=workspace_id)

    async def homes(self) -> dict[str, str]:
        """Workspace by sandbox, of every home of this installation."""
        found = await self._engine.look(APIClient.volumes, filters=self._names.filters())
        labels = (volume.get("Labels") or {} for volume in found.get("Volumes") or [])
        return {
            found[LABEL_SANDBOX]: found[LABEL_WORKSPACE]
            for found in labels
            if self._names.ours(found) and is_id(found.get(LABEL_SANDBOX, "")) and is_id(found.get(LABEL_WORKSPACE, ""))
        }

    async def disk_bytes(self, workspace_id: str) -> int | None:
        """See :meth:`backends.base.Backend.disk_bytes`."""
        return await self._measures.size(workspace_id)

    async def _ensure(self, name: str, labels: Mapping[str, str]) -> None:
        made = await self._engine.change(APIClient.create_volume, name, labels=dict(labels))
        if (made.get("Labels") or {}) != labels:
            raise BackendRejected(
                f"a volume named {name} is there and is not of this installation; move its content away and remove it"
            )

    async def _remove(self, name: str, **wanted: str) -> None:
        try:
            found = await self._engine.look(APIClient.inspect_volume, name)
            if self._names.ours(found.get("Labels"), **wanted):
                await self._engine.change(APIClient.remove_volume, name)
        except SandboxGone:
            return

    async def _measure(self, workspace_id: str) -> int | None:
        """By a program in a container: the engine's files may be on another machine than the daemon's."""
        try:
            await self._engine.look(APIClient.inspect_volume, self._names.disk(workspace_id))
        except SandboxGone:
            return 0
        body = measuring_body(self._options, self._names, workspace_id, _MEASURE_SECONDS)
        try:
            made = await self._engine.change(APIClient.create_container_from_config, body)
        except SandboxGone:  # no image
            return None
        try:
            await self._engine.change(APIClient.start, made["Id"])
            return await self._result(made["Id"])
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _REMOVE_SECONDS):
                await self._engine.change(APIClient.remove_container, made["Id"], force=True)

    async def _result(self, container_id: str) -> int | None:
        with trio.move_on_after(2 * _MEASURE_SECONDS):
            state: dict[str, Any] = {"Running": True}
            while state["Running"]:
                await trio.sleep(_LOOK)
                state = (await self._engine.look(APIClient.inspect_container, container_id))["State"]
            said: bytes = await self._engine.look(APIClient.logs, container_id, stderr=False)
            number = said.split(maxsplit=1)[:1]
            return int(number[0]) if state["ExitCode"] == 0 and number else None
        return None
