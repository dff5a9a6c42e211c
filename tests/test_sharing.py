"""Several processes that share the tests, as in ``make test``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_TESTS = """
import os, time, pytest
from pathlib import Path

def note(word):
    with Path({notes!r}).open("a") as notes:
        notes.write(word + "\\n")

@pytest.mark.alone
@pytest.mark.timeout(20)
def test_alone():
    note("begin")
    time.sleep(0.3)
    note("end")

@pytest.mark.parametrize("number", range(100))
def test_beside(number):
    note("other")
    time.sleep(0.01)
"""


def test_nobody_runs_beside_one_that_is_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (tmp_path / "tests").mkdir()
    for name in ("one", "two"):
        (tmp_path / "tests" / f"test_{name}.py").write_text(_TESTS.format(notes=str(notes)))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-p",
        "tests.conftest",
        "-q",
        "-n",
        "2",
    ]
    subprocess.run([*command, "--rootdir", str(tmp_path), str(tmp_path)], cwd=ROOT, check=True, timeout=110)
    words = notes.read_text().split()
    assert words.count("other") == 200
    assert [words[place + 1] for place, word in enumerate(words) if word == "begin"] == ["end", "end"]
