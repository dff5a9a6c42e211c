"""``GET /api/server``: what the web UI needs to know of this server before it offers something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from quart import Blueprint

from daemon import values
from daemon.api import downloads
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.sandbox_shapes import cpu_text
from daemon.api.shapes import Shape, answer
from daemon.version import version

if TYPE_CHECKING:
    from quart import Response

blueprint = Blueprint("about", __name__)


class ServerLimits(Shape):
    """The most that a sandbox may have, which is also what it gets, and the idle timeout where none was given."""

    cpu: str
    memory: str
    idle_timeout: str


class AgentDownloads(Shape):
    """Where the agent is downloaded from, as paths on the main site; null where it was not built."""

    wheel: str | None
    file: str | None


class Server(Shape):
    """This server."""

    version: str
    backend: str
    limits: ServerLimits
    agent: AgentDownloads


@blueprint.get("/api/server")
@describe({200: Answer("This server.", Server)})
async def get_server() -> Response:
    """Version, limits, and what can be downloaded here."""
    settings = parts().settings
    limits = ServerLimits(
        cpu=cpu_text(settings),
        memory=values.size_text(settings.agent_memory_limit),
        idle_timeout=values.duration_text(settings.idle_timeout),
    )
    agent = await trio.to_thread.run_sync(_agent)
    return answer(Server(version=version(), backend=settings.backend, limits=limits, agent=agent))


def _agent() -> AgentDownloads:
    there = downloads.DOWNLOADS
    return AgentDownloads(wheel=there.path(downloads.wheel_name()), file=there.path(downloads.ONE_FILE))
