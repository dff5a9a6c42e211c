"""Builds what a machine that joins installs: the agent as a wheel, and as one file that any Python 3.11 runs.

``python scripts/build_agent.py FOLDER`` leaves ``cli_server-VERSION-py3-none-any.whl`` and ``cli-server-agent.pyz``
there. The wheel is the project without what was built into it, the web UI and these files. The one file has the wheel's
default install: what is the server's is left out, and the rest is packed in the form of the standard library's zipapp.
The same sources and versions (requirements/agent.txt) give the same bytes. Nothing compiled may be in it: the build
fails if something is.
"""

from __future__ import annotations

import os
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
ONE_FILE: Final = "cli-server-agent.pyz"
BUILT: Final = ("webroot", "downloads", "__pycache__")  # folders that are no sources
# What pip leaves behind that says where and when it was installed, and programs for a PATH.
LEAVINGS: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL", "entry_points.txt", "top_level.txt")
COMPILED: Final = {".so", ".pyd", ".dll", ".dylib", ".pyc", ".pyo", ".exe", ".a"}
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
EPOCH_SECONDS: Final = "315532800"  # the same, as reproducible-builds.org has it for other people's programs
ENTRY: Final = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("cli-server-agent needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])

from daemon.agent.__main__ import main

main()
"""


def build_wheel(folder: Path) -> Path:
    """The project's wheel. From a copy: a build leaves files in its sources."""
    with tempfile.TemporaryDirectory() as temporary:
        sources = Path(temporary, "sources")
        sources.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, sources)
        for name in OUR_PACKAGES:
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns(*BUILT))
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(sources))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> None:
    """The wheel and its default dependencies, not compiled."""
    target = ("install", "--no-compile", "--target", str(folder))
    pip(*target, "--require-hashes", "--requirement", str(ROOT / "requirements" / "agent.txt"))
    pip(*target, "--upgrade", "--no-deps", str(wheel))  # into a folder that is there


def pip(command: str, *words: str) -> None:
    """Run pip, which says nothing unless it fails."""
    env = os.environ | {"SOURCE_DATE_EPOCH": EPOCH_SECONDS}
    subprocess.run([sys.executable, "-m", "pip", command, "--quiet", *words], env=env, check=True)


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


def put(built: list[Path], folder: Path) -> None:
    """Move the files into the folder, each at once: a server may be handing out the ones before. Older wheels go."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in built:
        new = folder / f".{path.name}.new"
        shutil.copy(path, new)  # perhaps to another disk, where nothing can be moved to at once
        new.replace(folder / path.name)
        print(f"{folder / path.name} ({path.stat().st_size // 1024} KiB)")
    for path in folder.glob("cli_server-*.whl"):
        if path.name not in {one.name for one in built}:
            path.unlink()


def main() -> None:
    """See the module's text."""
    if len(sys.argv) != 2:
        sys.exit("usage: build_agent.py FOLDER")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        wheel = build_wheel(place)
        install(wheel, place / "agent")
        pack(place / "agent", place / ONE_FILE)
        put([wheel, place / ONE_FILE], Path(sys.argv[1]))


if __name__ == "__main__":
    main()
