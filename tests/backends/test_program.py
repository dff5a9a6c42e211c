"""Finding opencode, and what it needs where only /usr is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backends.base import BackendRejected
from backends.program import find_program

if TYPE_CHECKING:
    from pathlib import Path

INSIDE = "/opt/opencode/bin/opencode"


def make(path: Path, content: bytes) -> str:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)


def test_a_native_program_is_shown_alone(tmp_path: Path) -> None:
    real = make(tmp_path / "real" / "opencode.exe", b"\x7fELF")
    link = tmp_path / "opencode"
    link.symlink_to(real)
    found = find_program(str(link))
    assert (found.path, found.inside, found.binds) == (str(link), INSIDE, ((real, INSIDE),))


def test_a_name_is_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = make(tmp_path / "opencode", b"\x7fELF")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("opencode").path == real


def test_a_script_is_shown_alone_because_it_may_be_in_a_home(tmp_path: Path) -> None:
    script = make(tmp_path / "bin" / "opencode", b"#!/bin/sh\n")
    found = find_program(script)
    assert (found.inside, found.binds, found.links) == (script, ((script, script),), ((script, INSIDE),))


def test_a_script_of_a_package_is_shown_with_the_packages_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "node_modules"
    script = make(
        packages / ".pnpm" / "o" / "node_modules" / "opencode-ai" / "bin" / "opencode", b"#!/usr/bin/env -S no\n"
    )
    interpreter = make(tmp_path / "bin" / "no", b"\x7fELF")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_program(script).binds == ((str(packages), str(packages)), (interpreter, "/opt/opencode/bin/no"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"#!/usr/bin/env no-such-interpreter\n", "needs 'no-such-interpreter', which was not found"),
        (b"#!/no/such/interpreter -x\n", "needs '/no/such/interpreter', which was not found"),
        (b"#!\n", "needs '', which was not found"),
        (b"#!/usr/bin/env shim\n", "is itself a script; set OPENCODE_BIN"),
    ],
)
def test_an_interpreter_that_cannot_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, words: str
) -> None:
    make(tmp_path / "shims" / "shim", b"#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    with pytest.raises(BackendRejected, match=words):
        find_program(make(tmp_path / "opencode", head))
