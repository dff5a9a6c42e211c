"""The ports on which programs in a sandbox serve something: each has a host name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from quart import Blueprint

from backends.base import BackendError
from daemon.api import guard
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.problems import Problem
from daemon.api.sandboxes import LocalSandbox, authorized
from daemon.api.shapes import Shape, answer
from daemon.auth.roles import Action
from daemon.sandboxes import status

if TYPE_CHECKING:
    from quart import Response

log = structlog.get_logger(__name__)

blueprint = Blueprint("ports", __name__)


class Port(Shape):
    """A port and the URL by which a browser reaches it."""

    port: int
    url: str


class Ports(Shape):
    """The ports that are served, in order."""

    ports: list[Port]


@blueprint.get("/api/sandboxes/<sandbox_id>/ports")
@describe({200: Answer("What is served inside now, but for opencode itself.", Ports)}, problems=[403, 404, 409])
async def list_ports(sandbox_id: str) -> Response:
    """Which ports are served inside a cloud sandbox: developers and up."""
    row = await parts().db.run(authorized, sandbox_id, guard.current_user().id, Action.OPEN_SANDBOX)
    if row.type == status.LOCAL:
        raise LocalSandbox
    if row.status != status.RUNNING:
        raise Problem(409, "wrong_status", f"The sandbox is {row.status}; it serves something only while it runs.")
    try:
        found = await parts().backend.ports(row.id)
    except BackendError as error:
        log.warning("ports cannot be listed", sandbox=row.id, reason=str(error))
        detail = "The sandbox cannot be looked into right now; what runs in it goes on. Try again in a moment."
        raise Problem(503, "backend_unavailable", detail) from None
    settings = parts().settings
    return answer(Ports(ports=[Port(port=port, url=settings.host_origin(f"{port}-{row.id}") + "/") for port in found]))
