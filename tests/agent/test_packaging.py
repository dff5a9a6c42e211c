"""What people install: the default install in an empty environment, and the one file. Both connect.

Both are also downloaded from a server, by the commands that its page shows.
"""

from __future__ import annotations

import filecmp
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
from tests.support.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.visitor import Visitor

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
    # What is on this machine is not fetched through a proxy.
    env |= {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_PROXY": "localhost", "no_proxy": "localhost"}
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
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "agent.txt", copy / "requirements")
    return copy


@pytest.fixture(scope="module")
def built(place: Path, sources: Path) -> Path:
    """The folder of what people download. What was built before is neither packed again nor left there."""
    for folder in ("webroot", "downloads"):
        (sources / "daemon" / folder).mkdir(exist_ok=True)
        (sources / "daemon" / folder / "built-before.txt").write_text("x")
    dist = place / "dist"
    dist.mkdir()
    for name in ("cli_server-0.0.1-py3-none-any.whl", "cli-server-agent.pyz", "other-1.0-py3-none-any.whl"):
        (dist / name).write_text("x")
    _run([sys.executable, sources / BUILD, dist], place)
    return dist


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The agent as a wheel."""
    return built / f"cli_server-{version()}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(place: Path, wheel: Path) -> Path:
    """The programs of an environment that has the default install and nothing else."""
    _run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], place)
    bin_ = place / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", bin_ / "python", "install", "--quiet"]
    _run([*pip, "--require-hashes", "--requirement", ROOT / "requirements" / "agent.txt"], place)
    _run([*pip, "--no-deps", wheel], place)
    return bin_


@pytest.fixture(scope="module")
def one_file(built: Path) -> Path:
    """The agent as one file."""
    return built / "cli-server-agent.pyz"


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


def test_both_are_the_same_every_time(one_file: Path, wheel: Path, place: Path, sources: Path) -> None:
    again = place / "again"
    _run([sys.executable, sources / BUILD, again], place)
    assert sorted(path.name for path in again.iterdir()) == sorted([one_file.name, wheel.name])
    for path in (one_file, wheel):
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_the_folder_has_this_version_and_what_is_not_ours(built: Path, one_file: Path, wheel: Path) -> None:
    """A server hands out what is in it: a wheel of an older version would stay there for ever."""
    names = {one_file.name, wheel.name, "other-1.0-py3-none-any.whl"}
    assert {path.name for path in built.iterdir()} == names


def test_the_wheel_has_all_sources_and_nothing_that_was_built(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"daemon/cli.py", "daemon/agent/cli.py", "protocol/session.py", "daemon/pages/tokens.css"} <= names
    assert not [name for name in names if "built-before" in name or name.startswith("daemon/webroot/")]


@pytest.fixture(scope="module")
def server(place: Path, sources: Path, built: Path) -> Iterator[Product]:
    """A real server of these sources that has both to download."""
    for path in built.iterdir():
        shutil.copy(path, sources / "daemon" / "downloads")
    start = sources / "start.py"
    start.write_text("from daemon.cli import main\nmain()\n")
    made = Product(place, program=(str(start),))  # Python finds what is beside the program first
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def ada(server: Product) -> Visitor:
    """Somebody whose page shows the commands."""
    visitor = server.visitor()
    visitor.register()
    return visitor


async def _joins(command: Sequence[object], home: Path, server: Product, ada: Visitor) -> None:
    """Run ``connect`` with a code of this server's until its list shows the machine running."""
    (workspace,) = ada.api("GET", "/api/workspaces")
    made = ada.api("POST", f"/api/workspaces/{workspace['id']}/agent-code")
    async with http_at(HEALTHY) as opencode:
        options = ["--server", server.url, "--code", made["code"], "--opencode-url", f"http://127.0.0.1:{opencode}"]
        process = await trio.lowlevel.open_process(
            [str(word) for word in (*command, "connect", "--name", home.name, *options)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
            cwd=home,
            stdout=subprocess.DEVNULL,
        )
        try:
            with trio.fail_after(30):
                while True:
                    boxes = ada.api("GET", f"/api/workspaces/{workspace['id']}/sandboxes")
                    if [box["status"] for box in boxes if box["name"] == home.name] == ["running"]:
                        break
                    await trio.sleep(0.1)
        finally:
            process.terminate()
            await process.wait()


@pytest.mark.needs("postgres")
async def test_what_the_page_says_about_pip_is_true(server: Product, ada: Visitor, place: Path) -> None:
    """``python3 -m pip install URL``, in an environment of its own."""
    home = place / "home-of-pip"
    home.mkdir()
    python = home / "venv" / "bin" / "python"
    _run([sys.executable, "-m", "venv", home / "venv"], home)
    _run([python, "-m", "pip", "install", f"{server.url}{ada.api('GET', '/api/server')['agent']['wheel']}"], home)
    assert _run([python.with_name("cli-server"), "version"], home) == f"cli-server {version()}\n"
    await _joins([python.with_name("cli-server"), "agent"], home, server, ada)


@pytest.mark.needs("postgres")
async def test_what_the_page_says_about_the_one_file_is_true(
    server: Product, ada: Visitor, place: Path, one_file: Path
) -> None:
    """``curl -fLO URL``, and nothing but Python."""
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("curl is missing; apt-get install curl")
    home = place / "home-of-curl"
    home.mkdir()
    path = ada.api("GET", "/api/server")["agent"]["file"]
    _run(["curl", "-fLO", "--no-progress-meter", server.url + path], home)
    assert filecmp.cmp(home / one_file.name, one_file, shallow=False)
    await _joins([sys.executable, "-I", "-S", one_file.name], home, server, ada)


def test_something_compiled_fails_the_build(tmp_path: Path) -> None:
    functions: dict[str, Any] = runpy.run_path(str(ROOT / BUILD))
    (tmp_path / "agent" / "fast").mkdir(parents=True)
    (tmp_path / "agent" / "fast" / "speedups.so").write_bytes(b"\x7fELF")
    with pytest.raises(SystemExit, match=r"compiled files do not run everywhere.*fast/speedups\.so"):
        functions["pack"](tmp_path / "agent", tmp_path / "out.pyz")
    assert not (tmp_path / "out.pyz").exists()
