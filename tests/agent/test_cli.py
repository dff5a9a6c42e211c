"""The commands of the agent: their lines, their exit codes, and that no token is ever printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from click.testing import CliRunner, Result

from daemon import cli
from daemon.agent import __main__ as one_file
from daemon.agent.credentials import Credentials, Registration
from tests.agent.standin import HEALTHY, Answer, StandIn, http_at, stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
ONE = Registration("https://a.example", "s1", "token-1", "w1", "one")
TWO = Registration("https://b.example:8443", "s2", "token-2", "w2", "the second")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.main, ["agent", *arguments])
    assert "token-" not in result.output
    return result


def _save(home: Path) -> Credentials:
    credentials = Credentials(home / ".cli-server")
    credentials.put_first(TWO)
    credentials.put_first(ONE)
    return credentials


def test_list(home: Path) -> None:
    assert _invoke("list").stderr == "this machine is not registered with a server\n"
    _save(home)
    result = _invoke("list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "NAME        SERVER                  SANDBOX  WORKSPACE",
        "one         https://a.example       s1       w1",
        "the second  https://b.example:8443  s2       w2",
    ]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--name", "one"], [TWO]),
        (["--name", "s2"], [ONE]),
        (["--server", "https://B.example:8443/"], [ONE]),
        (["--server", "https://a.example", "--name", "one"], [TWO]),
        (["--all"], []),
    ],
)
def test_remove(home: Path, arguments: list[str], left: list[Registration]) -> None:
    credentials = _save(home)
    result = _invoke("remove", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("removed ")
    assert credentials.load() == left


def test_the_only_one_is_removed_without_being_named(home: Path) -> None:
    credentials = _save(home)
    _invoke("remove", "--name", "one")
    result = _invoke("remove")
    assert (result.exit_code, credentials.load()) == (0, []), result.output
    assert result.stdout.startswith(f"removed {TWO.name} ({TWO.sandbox_id})")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "say which registration: --name, --server or --all"),
        (["--name", "three"], 1, "there is no such registration"),
        (["--server", "https://a.example", "--name", "the second"], 1, "there is no such registration"),
        (["--server", "a.example"], 2, "--server does not begin with"),
    ],
)
def test_remove_what_is_not_there(home: Path, arguments: list[str], code: int, says: str) -> None:
    credentials = _save(home)
    result = _invoke("remove", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("cli-server: ")
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert credentials.load() == [ONE, TWO]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--server", "a.example"], 2, "cli-server: --server does not begin with"),
        (["--server", "https://a.example", "--opencode-url", "https://x"], 2, "cli-server: --opencode-url does not"),
        (["--server", "https://a.example"], 1, "stopped: this machine is not registered with https://a.example"),
        (["--code", "x"], 2, "stopped: a code is for one server; name it with --server"),
    ],
)
def test_connect_with_what_cannot_be(arguments: list[str], code: int, says: str) -> None:
    result = _invoke("connect", *arguments)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_variable_is_exit_code_2(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(home)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    result = _invoke("connect", "--server", "https://a.example")
    assert result.exit_code == 2
    assert "stopped: SSL_CERT_FILE names /nowhere/ca.pem, which cannot be read" in result.stderr


def test_a_broken_file_is_one_line(home: Path) -> None:
    (home / ".cli-server").mkdir()
    (home / ".cli-server" / "agent.json").write_text("{")
    for arguments in (["list"], ["remove", "--all"]):
        result = _invoke(*arguments)
        assert result.exit_code == 1
        assert "move it away" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_help_names_everything() -> None:
    output = _invoke("connect", "--help").output
    for flag in ("--server", "--code", "--name", "--opencode-url", "--no-auto-start", "http://localhost:4096"):
        assert flag in output


def test_windows_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(one_file, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="py -m pip install cffi"):
        one_file.main()


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    """A server of version 1, which says nothing by itself."""
    async with stand_in(StandIn([Answer(subprotocol=None)])) as made:
        yield made


async def _connect(home: Path, server: StandIn, opencode: int, *more: str) -> trio.Process:
    options = ["--server", server.url, "--opencode-url", f"http://127.0.0.1:{opencode}", *more]
    return await trio.lowlevel.open_process(
        [sys.executable, "-m", "daemon", "agent", "connect", *options],
        env={"PATH": os.defpath, "HOME": str(home)}, cwd=ROOT, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
async def test_a_signal_ends_it_with_0(home: Path, server: StandIn, name: str) -> None:
    async with http_at(HEALTHY) as opencode:
        process = await _connect(home, server, opencode, "--code", "c", "--name", "n")
        await server.until(lambda: len(server.tunnels) == 1, 30)
        process.send_signal(getattr(signal, name))
        with trio.fail_after(30):
            assert await process.wait() == 0
    assert process.stderr is not None
    said = bytes(await process.stderr.receive_some(1 << 16)).decode()
    await process.stderr.aclose()
    assert "Traceback" not in said


async def test_a_registration_that_was_removed_is_exit_code_1(home: Path, server: StandIn) -> None:
    server.answers = [Answer(404, {"detail": "No such sandbox."})]
    async with http_at(HEALTHY) as opencode:
        process = await _connect(home, server, opencode, "--code", "c", "--name", "n")
        assert process.stderr is not None
        said = b""
        with trio.fail_after(30):
            while piece := await process.stderr.receive_some():
                said += piece
            assert await process.wait() == 1
        await process.stderr.aclose()
    last = said.decode().splitlines()[-1]
    assert f"stopped: n was removed from {server.url} (No such sandbox); to connect again get a code" in last
    assert "Traceback" not in said.decode()


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", partial(_raise, RuntimeError("no home")))
    result = _invoke("list")
    assert result.exit_code == 1
    assert "there is no home directory; set HOME" in result.stderr


def _raise(error: Exception) -> None:
    raise error
