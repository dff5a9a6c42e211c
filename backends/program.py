"""Finds the opencode program and what it needs to run where only ``/usr`` is visible."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from backends.base import BackendRejected

PROGRAM_DIRECTORY = "/opt/opencode/bin"  # where the jail shows it
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_SHOWN = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/")  # is in the jail under its own name
_HEAD_BYTES = 256  # the kernel looks at that much of a first line
_INSTALL = "install it (npm install -g opencode-ai) or set OPENCODE_BIN to the program"


@dataclass(frozen=True, slots=True)
class Program:
    """The opencode program.

    ``path`` is what was found, links not resolved; ``inside`` the same program in the jail. ``binds`` are (source,
    target) of the files and directories that the jail must show, read-only; ``links`` are (target, path) of links.
    """

    path: str
    inside: str
    binds: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...] = ()


def find_program(name: str) -> Program:
    """Look for ``name``, a path or a name on ``PATH``. Raises :class:`BackendRejected` saying what to do."""
    found = shutil.which(os.path.expanduser(name))
    if found is None:
        there = os.path.exists(os.path.expanduser(name))
        problem = "is not an executable file" if there else "was not found" + ("" if "/" in name else " on PATH")
        raise BackendRejected(f"the opencode program {name!r} {problem}; {_INSTALL}")
    path = os.path.abspath(found)
    real = os.path.realpath(path)
    try:
        head = _head(real)
    except OSError as error:
        raise BackendRejected(f"the opencode program {real} cannot be read: {error.strerror}; {_INSTALL}") from error
    if not head.startswith(b"#!"):
        inside = f"{PROGRAM_DIRECTORY}/opencode"
        return Program(path, inside, ((real, inside),))
    return _script(path, real, head)


def _script(path: str, real: str, head: bytes) -> Program:
    """A script stays under its own name, with the packages around it, because it looks for its siblings."""
    binds = [(_package(real), _package(real))]
    words = head[2:].split(b"\n")[0].decode("utf-8", "surrogateescape").split()
    interpreter = words[0] if words else ""
    if os.path.basename(interpreter) == "env":
        wanted = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        # The system's own is what env would find in the jail anyway.
        found = shutil.which(wanted, path=":".join(SYSTEM_PATH)) or shutil.which(wanted)
        binds += _interpreter(real, wanted, found, SYSTEM_PATH, f"{PROGRAM_DIRECTORY}/{wanted}")
    else:
        shown = (os.path.dirname(interpreter),) if interpreter.startswith(_SHOWN) else ()
        binds += _interpreter(real, interpreter, interpreter, shown, interpreter)
    needed = tuple(bind for bind in binds if not bind[1].startswith(_SHOWN))
    return Program(path, real, needed, ((real, f"{PROGRAM_DIRECTORY}/opencode"),))


def _interpreter(
    script: str, name: str, found: str | None, shown: tuple[str, ...], target: str
) -> list[tuple[str, str]]:
    """How the jail gets the interpreter of ``script``: nothing to do in a ``shown`` directory, else its one file."""
    if found is None or not os.path.isfile(found):
        raise BackendRejected(f"the opencode program {script} needs {name!r}, which was not found; {_INSTALL}")
    real = os.path.realpath(found)
    if real.startswith(_SHOWN) and os.path.dirname(found) in shown:
        return []
    if _head(real).startswith(b"#!"):
        raise BackendRejected(
            f"the opencode program {script} needs {name!r}, and {found} is itself a script; "
            "set OPENCODE_BIN to opencode's native program"
        )
    return [(real, target)]


def _package(script: str) -> str:
    """What must be shown around a script: the outermost ``node_modules``, else the file alone (it may be in a home)."""
    parts = Path(script).parts
    if "node_modules" in parts:
        return str(Path(*parts[: parts.index("node_modules") + 1]))
    return script


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD_BYTES)
