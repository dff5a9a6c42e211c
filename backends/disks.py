"""The files of the process backend: each sandbox's home and log, each workspace's disk.

    {root}/sandboxes/{id}/sandbox.json   whose it is: installation and workspace
                          home/          mounted as /home/agent
                          tmp/           mounted as /tmp, emptied at each start
                          etc/           the few files of /etc that are made for the sandbox
                          log/           what opencode wrote
    {root}/workspaces/{id}/disk/         mounted as /data/disk0 in every sandbox of the workspace

Everything here blocks and belongs in a worker thread. What is inside ``home`` and ``disk`` was written by strangers:
no link in there is ever followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from typing import TYPE_CHECKING

from backends.base import BackendRejected
from backends.furnish import Owner, Places, furnish, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ID = re.compile(r"[a-z][a-z0-9]{15}")
_MARK = "sandbox.json"


class ForeignDirectory(Exception):
    """The directory carries another installation's mark."""


def is_id(text: str) -> bool:
    """Whether ``text`` is an identifier."""
    return _ID.fullmatch(text) is not None


def require_id(text: str) -> str:
    """``text`` if it is an identifier: only those ever become part of a path."""
    if not is_id(text):
        raise BackendRejected(f"{text!r} is not an identifier")
    return text


class Disks:
    """All directories below ``root`` that carry the mark of ``installation``."""

    def __init__(self, root: Path, installation: str) -> None:
        self._installation = installation
        self._sandboxes = root / "sandboxes"
        self._workspaces = root / "workspaces"

    def open(self) -> None:
        """Make the two top directories, and finish removals that were interrupted."""
        for top in (self._sandboxes, self._workspaces):
            _make_private(top)
            for path in top.glob(".*"):
                remove_tree(path)

    def prepare(self, sandbox_id: str, workspace_id: str, owner: Owner, *, jailed: bool) -> Places:
        """Make whatever is missing for one sandbox. Its processes must not be running.

        Raises :class:`BackendRejected` if the directory is not this sandbox's, :class:`OSError` if the disk fails.
        """
        base = self._sandboxes / require_id(sandbox_id)
        disk = self.disk(workspace_id)
        base.mkdir(mode=0o700, exist_ok=True)
        self._mark(base, workspace_id)
        return furnish(base, disk, owner, jailed=jailed)

    def disk(self, workspace_id: str) -> Path:
        """Where a workspace's disk is, or would be."""
        return self._workspaces / require_id(workspace_id) / "disk"

    @contextlib.contextmanager
    def scratch(self, owner: Owner, *, jailed: bool) -> Iterator[Places]:
        """Places for a trial that is no sandbox; removed at the end, or by the next :meth:`open`."""
        _make_private(self._sandboxes)
        base = self._sandboxes / f".scratch-{secrets.token_hex(8)}"
        base.mkdir(mode=0o700)
        try:
            yield furnish(base, base / "disk", owner, jailed=jailed)
        finally:
            remove_tree(base)

    def inventory(self) -> dict[str, str]:
        """Workspace by sandbox, of every directory with this installation's mark. :class:`OSError` if in doubt."""
        found = {}
        for path in self._sandboxes.iterdir():
            if _ID.fullmatch(path.name) is None:
                continue
            with contextlib.suppress(ForeignDirectory):
                workspace_id = self._workspace_of(path)
                if workspace_id is not None:
                    found[path.name] = workspace_id
        return found

    def log(self, sandbox_id: str) -> str | None:
        """The directory of the sandbox's kept output, if there is one."""
        path = self._sandboxes / require_id(sandbox_id) / "log"
        return str(path) if path.is_dir() else None

    def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox's home, log and all. Absent is success; one of another installation stays."""
        path = self._sandboxes / require_id(sandbox_id)
        with contextlib.suppress(ForeignDirectory):
            self._workspace_of(path)
            _remove(path)

    def remove_workspace(self, workspace_id: str) -> None:
        """Remove a workspace's disk. Absent is success."""
        _remove(self._workspaces / require_id(workspace_id))

    def _mark(self, base: Path, workspace_id: str) -> None:
        try:
            marked = self._workspace_of(base)
        except ForeignDirectory as error:
            raise BackendRejected(f"{base} belongs to another installation; move it away") from error
        if marked is None:
            _write_whole(base / _MARK, {"installation": self._installation, "workspaceId": workspace_id})
        elif marked != workspace_id:
            raise BackendRejected(f"{base} belongs to the workspace {marked}, not {workspace_id}")

    def _workspace_of(self, base: Path) -> str | None:
        """The workspace in the mark; ``None`` without a mark (its making was interrupted, or it is gone)."""
        try:
            mark = json.loads((base / _MARK).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise OSError(f"{base / _MARK} is damaged") from error
        if mark.get("installation") != self._installation:
            raise ForeignDirectory
        return str(mark["workspaceId"])


def _make_private(top: Path) -> None:
    top.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_whole(path: Path, value: object) -> None:
    """Write all or nothing, also when the power fails."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _remove(path: Path) -> None:
    """Take ``path`` out of sight in one step, so that nobody ever finds half of it, then remove it."""
    doomed = path.with_name(f".removed-{path.name}-{secrets.token_hex(8)}")
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return
    remove_tree(doomed)
