"""Removes the disks of deleted workspaces, once their last sandbox is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from backends.base import BackendError
from daemon.db.database import DatabaseUnavailable
from daemon.sandboxes.deadlines import Deadlines, within
from daemon.sandboxes.duty import Duty
from daemon.store import deletion

if TYPE_CHECKING:
    from backends.base import Backend
    from daemon.db.database import Database

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 5.0  # notifications may be lost
_DUTY_SECONDS: Final = 4 * _LOOK_SECONDS  # of several replicas, this one asks the backend
_AGAIN_SECONDS: Final = 60.0  # until another try with a disk that cannot be removed


class WorkspaceDisks:
    """A service beside the life cycle: a disk that cannot be removed holds up nobody's sandbox."""

    def __init__(self, db: Database, backend: Backend, deadlines: Deadlines, replica: str | None = None) -> None:
        self._duty = Duty(db, "workspace disks", replica, _DUTY_SECONDS)
        self._db = db
        self._backend = backend
        self._deadlines = deadlines
        self._wake = trio.Event()
        self._not_before: dict[str, float] = {}

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Look when woken, and every few seconds, until cancelled."""
        while True:
            self._wake = trio.Event()
            try:
                await self.once()
            except DatabaseUnavailable as error:
                log.warning("deleted workspaces cannot be read", reason=str(error))
                await trio.sleep(_LOOK_SECONDS)
            with trio.move_on_after(_LOOK_SECONDS):
                await self._wake.wait()

    async def once(self) -> None:
        """Remove what can be removed. Raises :class:`DatabaseUnavailable`."""
        if not await self._duty.is_ours():
            return
        emptied = await self._db.run(deletion.emptied_workspaces)
        self._not_before = {id_: at for id_, at in self._not_before.items() if id_ in emptied}
        for workspace_id in emptied:
            if trio.current_time() >= self._not_before.get(workspace_id, 0.0) and await self._remove(workspace_id):
                await self._db.run(deletion.remove_workspace, workspace_id)

    async def _remove(self, workspace_id: str) -> bool:
        try:
            async with within(self._deadlines.destroy, "the removal"):
                await self._backend.destroy_workspace(workspace_id)
        except BackendError as error:
            log.warning("workspace's disk is not removed yet", workspace=workspace_id, reason=str(error))
        except Exception:  # a defect of a backend keeps one disk, not the service
            log.exception("workspace's disk is not removed", workspace=workspace_id)
        else:
            return True
        self._not_before[workspace_id] = trio.current_time() + _AGAIN_SECONDS
        return False
