"""What a machine that is to join installs, for everybody: the agent as one file, and as a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from quart import Blueprint, Response, request
from quart_schema import hide
from werkzeug.exceptions import NotFound

from daemon.api.kept_files import KeptFiles
from daemon.version import version

if TYPE_CHECKING:
    from daemon.api.kept_files import KeptFile

blueprint = Blueprint("downloads", __name__)

ONE_FILE: Final = "cli-server-agent.pyz"
# Both are zip files in the end; a browser is to save them, and not to unpack them or show what is in them.
_KIND: Final = "application/octet-stream"


class Downloads:
    """The folder that ``scripts/build_agent.py`` fills. Methods touch the disk: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = KeptFiles()

    def find(self, name: str) -> KeptFile | None:
        """The file of this name; ``None`` if it was not built, or is no download."""
        return self._files.read(self.folder / name) if name in (ONE_FILE, wheel_name()) else None

    def path(self, name: str) -> str | None:
        """Where a file is downloaded from; ``None`` if it was not built."""
        return f"/agent/{name}" if (self.folder / name).is_file() else None


def wheel_name() -> str:
    """The wheel of this very version; pip reads the name."""
    return f"cli_server-{version()}-py3-none-any.whl"


DOWNLOADS = Downloads(Path(__file__).parents[1] / "downloads")


@blueprint.get("/agent/<name>")
@hide
async def download(name: str) -> Response:
    """A file. Its name stays while its content changes, so whoever has it asks whether it still is the same."""
    found = await trio.to_thread.run_sync(DOWNLOADS.find, name)
    if found is None:
        raise NotFound
    response = Response(found.body, 200, {"Cache-Control": "no-cache"}, content_type=_KIND)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.set_etag(found.etag)
    await response.make_conditional(request)
    return response
