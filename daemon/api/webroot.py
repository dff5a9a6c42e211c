"""The built web UI on the disk: which file answers for a name, and in which encoding.

The build (``webui/``) leaves ``index.html``, some files beside it, and ``assets/`` with names that carry a hash of
what is in them; beside most of them lie ``name.br`` and ``name.gz``, so that nothing is compressed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon.api.kept_files import KeptFiles

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# What may be served, and as what, whatever the machine's own table says. Compressed siblings have no kind of their own,
# and index.html has addresses instead of a name.
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
INDEX: Final = "index.html"
# By how well they compress.
_SUFFIXES: Final = {"br": ".br", "gzip": ".gz"}
# One name, no folder, nothing hidden, and no longer than file systems take with a sibling's suffix (255).
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True, slots=True)
class Served:
    """A file in one encoding, ``""`` for none. ``etag``, without quotes, is of these very bytes."""

    kind: str
    encoding: str
    etag: str
    body: bytes = field(repr=False)


class Webroot:
    """The folder of the build. Files are kept in memory, some 2 MB in all, and read anew when they have changed.

    Methods touch the disk: call them in a thread.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = KeptFiles()

    @property
    def built(self) -> bool:
        """Whether there is a web UI at all."""
        return (self.folder / INDEX).is_file()

    def index(self, accepted: Mapping[str, float]) -> Served | None:
        """The page itself; ``None`` where the web UI was not built."""
        return self._serve(self.folder / INDEX, "text/html; charset=utf-8", accepted)

    def find(self, name: str, accepted: Mapping[str, float], *, asset: bool = False) -> Served | None:
        """The file of this name, in ``assets/`` or beside the page; ``None`` if there is none that may be served."""
        kind = KINDS.get(Path(name).suffix)
        if kind is None or not _NAME.fullmatch(name):
            return None
        return self._serve(self.folder / "assets" / name if asset else self.folder / name, kind, accepted)

    def _serve(self, path: Path, kind: str, accepted: Mapping[str, float]) -> Served | None:
        plain = self._files.read(path)
        if plain is None:
            return None  # whatever a forgotten sibling says
        siblings = {name: self._files.read(path.with_name(path.name + suffix)) for name, suffix in _SUFFIXES.items()}
        found = {name: file for name, file in siblings.items() if file is not None}
        encoding = choose(accepted, found)
        chosen = found.get(encoding, plain)
        return Served(kind, encoding, chosen.etag, chosen.body)


def choose(accepted: Mapping[str, float], there: Collection[str]) -> str:
    """Of the encodings that are there, the one that the client likes best (RFC 9110, 12.5.3); ``""`` for none.

    ``accepted``: what ``Accept-Encoding`` says, in lower case, with its q values. A client that forbids even the plain
    file gets it all the same if there is nothing else: it can read that, and an error would help it less.
    """
    every = accepted.get("*", 0.0)
    liked = {name: accepted.get(name, every) for name in _SUFFIXES if name in there}
    # One that does not name the plain file takes it, and would rather have what it names.
    plain = accepted.get("identity", 0.0)
    best = max(liked, key=lambda name: liked[name], default="")
    return best if best and liked[best] > 0 and liked[best] >= plain else ""
