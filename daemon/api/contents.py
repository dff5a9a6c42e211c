"""What a workspace holds: what somebody who deletes it would lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from quart import Blueprint

from backends.base import BackendError
from daemon.api import guard
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.shapes import Shape, answer
from daemon.sandboxes.status import CLOUD, LOCAL
from daemon.store import workspaces

if TYPE_CHECKING:
    from quart import Response

log = structlog.get_logger(__name__)

blueprint = Blueprint("contents", __name__)


class Contents(Shape):
    """How many sandboxes there are, without those that are being deleted, and how large the shared disk is.

    ``diskBytes`` is null where it cannot be told within some seconds.
    """

    cloud_sandboxes: int
    local_sandboxes: int
    disk_bytes: int | None


@blueprint.get("/api/workspaces/<workspace_id>/contents")
@describe({200: Answer("What the workspace holds.", Contents)}, problems=[404])
async def get_contents(workspace_id: str) -> Response:
    """What goes with a workspace when it is deleted."""
    counts = await parts().db.run(workspaces.count_sandboxes, workspace_id, guard.current_user().id)
    try:
        size = await parts().backend.disk_bytes(workspace_id)
    except BackendError as error:
        log.warning("a workspace's disk cannot be measured", workspace=workspace_id, reason=str(error))
        size = None
    found = Contents(cloud_sandboxes=counts.get(CLOUD, 0), local_sandboxes=counts.get(LOCAL, 0), disk_bytes=size)
    return answer(found)
