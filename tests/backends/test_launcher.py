"""The launcher by itself, without a jail."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import backends.launcher
from backends.logreader import last_lines
from tests.backends.support import gone, tree

KEPT = "\n[cli-server] "


def launch(log: Path, command: str, grace: float = 5, directory: str = "/") -> subprocess.Popen[bytes]:
    """A launcher that runs a shell command."""
    program = [sys.executable, "-I", "-S", backends.launcher.__file__]
    words = ["plain", str(grace), str(log), directory, "/bin/sh", "-c", command]
    return subprocess.Popen([*program, *words], stdin=subprocess.PIPE, env={"TEST_TOKEN": "a-long-secret"})


def wait_for_line(log: Path, line: str) -> None:
    """Wait until the command has written ``line``."""
    deadline = time.monotonic() + 30
    while last_lines(str(log), 1) != [line]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill $$", 143)])
def test_status(tmp_path: Path, command: str, status: int) -> None:
    with launch(tmp_path, command) as launcher:
        assert launcher.wait(10) == status
    assert (tmp_path / "opencode.000001.log").read_text().endswith(f" ended with status {status}\n")


def test_a_command_that_cannot_be_run_is_explained(tmp_path: Path) -> None:
    with launch(tmp_path, "true", directory="/no/such/directory") as launcher:
        assert launcher.wait(10) == 127
    assert "No such file or directory" in last_lines(str(tmp_path), 1)[0]


def test_all_output_is_kept_and_secrets_are_not(tmp_path: Path) -> None:
    with launch(
        tmp_path, 'i=0; while [ $i -lt 3000 ]; do echo "line $i $TEST_TOKEN"; i=$((i+1)); done; echo error >&2'
    ) as launcher:
        assert launcher.wait(20) == 0
    lines = (tmp_path / "opencode.000001.log").read_text().splitlines()[1:-1]
    assert lines == [*(f"line {i} [redacted]" for i in range(3000)), "error"]


def test_a_flood_is_bounded(tmp_path: Path) -> None:
    with launch(tmp_path, "head -c 20000000 /dev/zero | tr '\\0' x") as launcher:
        assert launcher.wait(20) == 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * 1024 * 1024


def test_asked_to_end_it_gives_a_grace(tmp_path: Path) -> None:
    with launch(tmp_path, "trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 0.01; done") as launcher:
        wait_for_line(tmp_path, "ready")
        assert launcher.stdin is not None
        launcher.stdin.write(b"T")
        launcher.stdin.flush()
        assert launcher.wait(10) == 4
    assert last_lines(str(tmp_path), 1) == ["asked"]


STUBBORN = "trap '' TERM HUP; (setsid sh -c 'sleep 7777 & sleep 7777' &); echo ready; while :; do sleep 7777; done"


@pytest.mark.parametrize("how", ["byte", "end", "SIGTERM"])
def test_nothing_of_a_stubborn_tree_is_left(tmp_path: Path, how: str) -> None:
    with launch(tmp_path, STUBBORN, grace=0.2) as launcher:
        wait_for_line(tmp_path, "ready")
        while len(processes := tree(launcher.pid)) < 5:
            time.sleep(0.01)
        assert launcher.stdin is not None
        if how == "byte":
            launcher.stdin.write(b"T")
            launcher.stdin.flush()
        elif how == "end":
            launcher.stdin.close()
        else:
            launcher.terminate()
        assert launcher.wait(10) == 137
        assert all(gone(pid) for pid in processes)


def test_what_outlives_the_command_is_killed(tmp_path: Path) -> None:
    log, end = tmp_path / "log", tmp_path / "end"
    log.mkdir()
    with launch(log, f"(setsid sleep 7777 &); while [ ! -e {end} ]; do sleep 0.01; done") as launcher:
        while "sleep 7777 " not in (processes := tree(launcher.pid)).values():
            time.sleep(0.01)
        end.touch()
        assert launcher.wait(10) == 0
    assert all(gone(pid) for pid in processes)


def test_it_is_small(tmp_path: Path) -> None:
    """There is one for each sandbox: no typing, dataclasses, asyncio or site-packages in it."""
    code = "import sys; sys.path.append(sys.argv[1]); import backends.launcher; print(*sys.modules)"
    root = str(Path(backends.launcher.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", code, root]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"typing", "dataclasses", "inspect", "re", "subprocess", "trio", "asyncio", "site"} & set(modules)
