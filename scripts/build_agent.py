"""Builds ``cli-server-agent.pyz``: the agent and all that it needs in one file that any Python 3.11 runs.

``python scripts/build_agent.py OUTPUT``. pip installs the project with its default dependencies into a folder; what is
the server's is left out, and the rest is packed in the form of the standard library's zipapp. The same sources and
versions (constraints.txt) give the same bytes. Nothing compiled may be in it: the build fails if something is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
# Of our own packages; a folder with all below it, or a file.
OURS: Final = ("protocol", "daemon/__init__.py", "daemon/version.py", "daemon/agent", "daemon/wire")
OUR_PACKAGES: Final = ("protocol", "backends", "daemon")
# What pip leaves behind that says where and when it was installed, and programs for a PATH.
LEAVINGS: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL", "entry_points.txt", "top_level.txt")
COMPILED: Final = {".so", ".pyd", ".dll", ".dylib", ".pyc", ".pyo", ".exe", ".a"}
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
ENTRY: Final = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("cli-server-agent needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])

from daemon.agent.__main__ import main

main()
"""


def install(folder: Path) -> None:
    """The project and its default dependencies, not compiled. From a copy: a build leaves files in its sources."""
    with tempfile.TemporaryDirectory() as temporary:
        sources = Path(temporary, "sources")
        sources.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, sources)
        for name in OUR_PACKAGES:
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder)]
        subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(sources)], check=True)


def wanted(path: Path) -> bool:
    """Whether a file belongs into the archive; ``path`` is relative to it."""
    if path.parts[0] in OUR_PACKAGES:
        return any(path.is_relative_to(one) for one in OURS)
    if path.parts[0] == "bin" or {"tests", "_tests"} & set(path.parts):
        return False
    return not (path.parent.suffix == ".dist-info" and path.name in LEAVINGS)


def pack(folder: Path, output: Path) -> None:
    """One file, the same for the same content. Raises :class:`SystemExit` if some of it runs on some machines only."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if wanted(name)]
    compiled = [name.as_posix() for name in names if name.suffix in COMPILED]
    if compiled:
        sys.exit(f"compiled files do not run everywhere, and these are such: {', '.join(compiled)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr(_entry("__main__.py"), ENTRY)
            for name in names:
                archive.writestr(_entry(name.as_posix()), (folder / name).read_bytes())
    output.chmod(0o755)


def _entry(name: str) -> zipfile.ZipInfo:
    """A member without the marks of the machine that it was made on."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # as on Unix
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def main() -> None:
    """See the module's text."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / "cli-server-agent.pyz"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "agent")
        install(folder)
        pack(folder, output)
    print(f"{output} ({output.stat().st_size // 1024} KiB)")


if __name__ == "__main__":
    main()
