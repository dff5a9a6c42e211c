"""Files that are served again and again: in memory with a hash each, and read anew when they have changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What is in a file. ``etag``, without quotes, is of these very bytes."""

    signature: tuple[int, ...]
    etag: str
    body: bytes = field(repr=False)


class KeptFiles:
    """For folders whose files are few and small. Its method touches the disk: call it in a thread."""

    def __init__(self) -> None:
        self._kept: dict[Path, KeptFile] = {}

    def read(self, path: Path) -> KeptFile | None:
        """The file and a hash of it; ``None`` if there is none.

        Its time and size would not do as an ETag: a package may set all times alike, and what was built anew often has
        the same size, because only hashes in it differ.
        """
        try:
            about = path.stat()
            signature = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            kept = self._kept.get(path)
            if kept is None or kept.signature != signature:
                body = path.read_bytes()
                kept = self._kept[path] = KeptFile(signature, hashlib.sha256(body).hexdigest()[:32], body)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._kept.pop(path, None)
            return None
        return kept
