"""What people install: the default install in an empty environment, and the one file. Both connect."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from daemon.version import version
from tests.agent.standin import HEALTHY, SANDBOX, TOKEN, Answer, StandIn, http_at, stand_in

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
BUILD = "scripts/build_agent.py"
MINUTES = 300  # seconds; pip may have to load everything
# The agent's own dependencies and theirs: all of them pure Python.
NEEDED = {"attrs", "click", "h11", "idna", "outcome", "sniffio", "sortedcontainers", "trio", "wsproto"}
SERVER = ("psycopg", "quart", "hypercorn", "pydantic", "docker", "kubernetes", "structlog", "trio_websocket")
UNREACHABLE = ("NewConnectionError", "Max retries exceeded", "Temporary failure in name resolution")

pytestmark = pytest.mark.timeout(MINUTES)


def _run(command: Sequence[object], folder: Path) -> str:
    """Run it without our environment; what it printed."""
    env = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http", "TMP"))
    }
    env |= {"PATH": os.environ["PATH"], "HOME": str(folder)}
    words = [str(word) for word in command]
    done = subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, timeout=MINUTES, check=False)
    if done.returncode and any(sign in done.stderr for sign in UNREACHABLE):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the package index cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the source tree, so that nothing is found by being near."""
    return tmp_path_factory.mktemp("packaging")


@pytest.fixture(scope="module")
def sources(place: Path) -> Path:
    """A copy of what is packed: nothing changes it while the tests run, and builds leave their files there."""
    copy = place / "sources"
    copy.mkdir()
    for name in ("protocol", "backends", "daemon", "scripts"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def installed(place: Path, sources: Path) -> Path:
    """The programs of an environment that has the default install and nothing else."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, sources], place)
    _run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], place)
    bin_ = place / "venv" / "bin"
    (wheel,) = place.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", bin_ / "python", "install", "--quiet"]
    _run([*pip, "--constraint", ROOT / "constraints.txt", wheel], place)
    return bin_


@pytest.fixture(scope="module")
def one_file(place: Path, sources: Path) -> Path:
    """What ``make agent`` builds."""
    path = place / "dist" / "cli-server-agent.pyz"
    _run([sys.executable, sources / BUILD, path], place)
    return path


async def _connects(command: Sequence[object], home: Path) -> None:
    """Run ``connect`` with a code, then without one, and end each by SIGTERM."""
    async with stand_in(StandIn([Answer(subprotocol=None)])) as server, http_at(HEALTHY) as opencode:
        options = ["connect", "--server", server.url, "--opencode-url", f"http://127.0.0.1:{opencode}"]
        for more in (["--code", "c", "--name", "laptop"], []):
            env = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
            process = await trio.lowlevel.open_process(
                [str(word) for word in (*command, *options, *more)],
                env=env,
                cwd=home,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            said = b""
            with trio.fail_after(30):
                assert process.stdout is not None
                while b"connected: laptop" not in said:
                    piece = await process.stdout.receive_some()
                    assert piece, said.decode()
                    said += piece
                process.send_signal(signal.SIGTERM)
                while piece := await process.stdout.receive_some():
                    said += piece
                assert await process.wait() == 0, said.decode()
            assert TOKEN not in said.decode()
            assert "Traceback" not in said.decode()
    assert [asked.target for asked in server.asked] == ["/api/agent/register", *[f"/api/tunnel/{SANDBOX}"] * 2]


async def test_the_default_install_connects(installed: Path, place: Path) -> None:
    """Contract: the agent installs and starts without the server's dependencies."""
    home = place / "home-of-installed"
    home.mkdir()
    await _connects([installed / "cli-server", "agent"], home)
    listed = _run([installed / "cli-server", "agent", "list"], home)
    assert SANDBOX in listed
    assert TOKEN not in listed


def test_the_default_install_has_nothing_of_the_server(installed: Path, place: Path) -> None:
    code = "import importlib.metadata as m; print(*[d.name.lower() for d in m.distributions()])"
    assert set(_run([installed / "python", "-c", code], place).split()) == {*NEEDED, "cli-server"}
    code = f"import importlib.util as u; print([n for n in {SERVER} if u.find_spec(n)])"
    assert _run([installed / "python", "-c", code], place) == "[]\n"
    assert _run([installed / "cli-server", "version"], place) == f"cli-server {version()}\n"
    assert "connect" in _run([installed / "cli-server", "agent", "--help"], place)


async def test_the_one_file_connects(one_file: Path, place: Path) -> None:
    """``-I -S``: nothing of the environment and of site-packages is there to help."""
    home = place / "home-of-one-file"
    home.mkdir()
    command = [sys.executable, "-I", "-S", one_file]
    assert _run([*command, "--version"], home) == f"cli-server agent {version()}\n"
    await _connects(command, home)
    assert SANDBOX in _run([*command, "list"], home)
    _run([*command, "remove", "--name", "laptop"], home)
    assert not (home / ".cli-server" / "agent.json").exists()


def test_the_one_file_can_be_executed(one_file: Path) -> None:
    assert one_file.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert os.access(one_file, os.X_OK)


def test_the_one_file_is_pure_and_has_nothing_of_the_server(one_file: Path) -> None:
    with zipfile.ZipFile(one_file) as archive:
        names = archive.namelist()
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert names[1:] == sorted(names[1:], key=lambda name: name.split("/"))
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dll", ".pyc"))]
    ours = {"/".join(name.split("/")[:2]) for name in names if name.startswith(("daemon/", "backends/"))}
    assert ours == {"daemon/__init__.py", "daemon/version.py", "daemon/agent", "daemon/wire"}
    others = {name.partition("-")[0].lower() for name in names if ".dist-info/" in name}
    assert others == {*NEEDED, "cli_server"}
    licensed = {name.partition("-")[0].lower() for name in names if ".dist-info/" in name and "LICENSE" in name.upper()}
    assert licensed == others


def test_the_one_file_is_the_same_every_time(one_file: Path, place: Path, sources: Path) -> None:
    again = place / "again.pyz"
    _run([sys.executable, sources / BUILD, again], place)
    assert again.read_bytes() == one_file.read_bytes()


def test_something_compiled_fails_the_build(tmp_path: Path) -> None:
    functions: dict[str, Any] = runpy.run_path(str(ROOT / BUILD))
    (tmp_path / "agent" / "fast").mkdir(parents=True)
    (tmp_path / "agent" / "fast" / "speedups.so").write_bytes(b"\x7fELF")
    with pytest.raises(SystemExit, match=r"compiled files do not run everywhere.*fast/speedups\.so"):
        functions["pack"](tmp_path / "agent", tmp_path / "out.pyz")
    assert not (tmp_path / "out.pyz").exists()
