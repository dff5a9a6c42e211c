"""One living daemon per data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.datadir import DataDirError, DataDirInUse, lock_data_dir

HOLDER = """
import sys
from pathlib import Path
from daemon.datadir import lock_data_dir
with lock_data_dir(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_made_for_its_owner_only(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path / "a" / "b") as path:
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / "lock").read_text() == f"{os.getpid()}\n"
    with lock_data_dir(path):
        pass


def test_second_daemon_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(DataDirInUse) as caught, lock_data_dir(tmp_path):
            pass
        other.kill()
    assert str(tmp_path) in str(caught.value)
    assert f"process {other.pid}" in str(caught.value)
    assert "\n" not in str(caught.value)
    with lock_data_dir(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("below", [".", "inside"])
def test_not_a_directory(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="is not a directory"), lock_data_dir(tmp_path / "file" / below):
        pass


def test_not_writable() -> None:
    # Not even root can write there.
    with pytest.raises(DataDirError, match="/proc/1/nothing cannot be written"), lock_data_dir(Path("/proc/1/nothing")):
        pass


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with lock_data_dir(tmp_path.relative_to(tmp_path) / "x") as path:
        assert path == tmp_path / "x"
