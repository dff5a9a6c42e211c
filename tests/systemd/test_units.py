"""The files of ``docker/systemd``: systemd takes them, and they say what the code does."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from backends import engine, kubecluster, process
from daemon import cli
from daemon.config import SETTINGS, load
from daemon.gateway import limits
from daemon.tunnel import replicas
from tests.conftest import find_program
from tests.support.product import ROOT, Product
from tests.systemd.manager import OPENCODE_BIN
from tests.systemd.test_daemon import ended

if TYPE_CHECKING:
    from pathlib import Path

UNITS = ROOT / "docker" / "systemd"
# Of 100, as systemd counts: no address allow list, a network, and the group of Docker's socket are what is left.
MOST_EXPOSURE = 20
# What a start under memory protection needs (linux/prctl.h), to be what MemoryDenyWriteExecute= makes it.
_PROTECTED = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

systemd = pytest.mark.needs("systemd")


def values(name: str) -> dict[str, list[str]]:
    """The assignments of a unit, by key."""
    found = defaultdict(list)
    for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", (UNITS / name).read_text(), re.MULTILINE):
        found[key].append(value)
    return found


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program of systemd's, wherever it is."""
    program = find_program(command[0])
    assert program is not None
    return subprocess.run(
        [str(program), *command[1:]], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder, with a program that is here."""
    for name in ("cli-server.service", "cli-server.socket"):
        shutil.copy(UNITS / name, tmp_path)
    service = tmp_path / "cli-server.service"
    service.write_text(service.read_text().replace("/opt/cli-server/venv/bin/cli-server", sys.executable))
    return tmp_path


def verify(folder: Path) -> str:
    """What systemd finds wrong with the units."""
    found = [str(folder / name) for name in ("cli-server.service", "cli-server.socket")]
    done = run("systemd-analyze", "verify", "--man=no", *found, SYSTEMD_UNIT_PATH=f"{folder}:")
    return done.stdout + done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


@systemd
def test_systemd_takes_the_units(installed: Path) -> None:
    assert verify(installed) == ""


@systemd
def test_systemd_takes_the_drop_in_for_processes(installed: Path) -> None:
    folder = installed / "cli-server.service.d"
    folder.mkdir()
    shutil.copy(UNITS / "process.conf", folder)
    assert verify(installed) == ""
    (folder / "process.conf").write_text("[Service]\nNoSuchKey=1\n")
    assert "NoSuchKey" in verify(installed), "it is looked at"


@systemd
def test_the_service_is_exposed_to_little(installed: Path) -> None:
    done = run(
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--threshold={MOST_EXPOSURE}",
        "--no-pager",
        str(installed / "cli-server.service"),
    )
    assert done.returncode == 0, done.stdout[-4000:]


@systemd
def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "sysusers.conf"))
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    name, *_, home, shell = line.split(":")
    assert (name, home) == ("cli-server", "/var/lib/cli-server")
    assert shell.endswith("nologin")
    assert {name} == set(values("cli-server.service")["User"]) == set(values("cli-server.service")["Group"])


@systemd
def test_the_folder_of_the_settings_is_closed(tmp_path: Path) -> None:
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(UNITS / "tmpfiles.conf"))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "etc" / "cli-server").stat().st_mode) == 0o700
    (file,) = values("cli-server.service")["EnvironmentFile"]
    assert file == "-/etc/cli-server/cli-server.env"


def test_the_limits_of_the_service_are_those_of_the_code() -> None:
    service = values("cli-server.service")
    assert service["Type"] == ["notify"]
    assert int(service["LimitNOFILE"][0]) >= limits.FILES_OF_CONNECTION * limits.MAX_CONNECTIONS + limits.RESERVED_FILES
    assert int(service["RestartPreventExitStatus"][0]) == cli._WRONG
    seconds = int(service["TimeoutStopSec"][0])
    assert seconds > limits.DRAIN_SECONDS + engine.CHANGE_SECONDS + process._STOP_ALL_SECONDS
    ends = limits.NOTICE_SECONDS + limits.DRAIN_SECONDS + limits.FRESH_SECONDS + kubecluster.CHANGE_SECONDS
    assert seconds > ends + replicas._LAST_SECONDS, "of several replicas, with a database that is away"
    assert f"allow {seconds} before `SIGKILL`" in (ROOT / "docs" / "replicas.md").read_text()
    assert f"Allow {seconds} seconds" in (ROOT / "docs" / "operating.md").read_text()
    assert f"stop_grace_period: {seconds}s" in (ROOT / "docker" / "compose.yaml").read_text()
    assert int(service["CPUWeight"][0]) > 100, "the default, with which it is one among its sandboxes"
    assert service["ExecStart"] == ["/opt/cli-server/venv/bin/cli-server serve"]
    assert f"DATA_DIR=/var/lib/{service['StateDirectory'][0]}" in service["Environment"]


def test_the_socket_is_where_the_proxies_look() -> None:
    (address,) = values("cli-server.socket")["ListenStream"]
    listen = load({}).listen
    assert address == f"{listen.host}:{listen.port}"
    assert f"proxy_pass http://{address};" in (ROOT / "docs/examples/nginx.conf").read_text()
    assert f"reverse_proxy {address} " in (ROOT / "docs/examples/Caddyfile").read_text()


def test_the_environment_file_has_settings_that_exist() -> None:
    text = (UNITS / "cli-server.env").read_text()
    known = {setting.variable for setting in SETTINGS}
    named = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    assert named
    assert set(named) <= known - {"LISTEN", "DATA_DIR"}, "those two are the units'"
    given = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert load(given).main_origin == "https://agents.example.com"
    defaults = dict(re.findall(r"^#([A-Z_]+)=(.+)$", text, re.MULTILINE))
    defaults["DATABASE_URL"] = defaults["DATABASE_URL"].strip('"')
    load({**given, **defaults})
    for setting in SETTINGS:
        if setting.default and setting.variable in defaults:
            assert defaults[setting.variable] == setting.default, "what is commented out shows the default"


def test_the_guide_installs_every_file() -> None:
    guide = (ROOT / "docs" / "install.md").read_text()
    for file in UNITS.iterdir():
        assert f"docker/systemd/{file.name} " in guide or f"docker/systemd/{file.name}\n" in guide, file.name
    for path in (ROOT / "docs" / "examples").iterdir():
        assert f"(examples/{path.name})" in guide
    assert str(values("cli-server.service")["ExecStart"][0]).split()[0] in guide


def test_credentials_are_files_of_secrets() -> None:
    text = (UNITS / "cli-server.service").read_text()
    loaded = re.findall(r"^#LoadCredential=([a-z-]+):/etc/cli-server/\1$", text, re.MULTILINE)
    used = re.findall(r"^#Environment=([A-Z_]+)=%d/([a-z-]+)$", text, re.MULTILINE)
    assert [name for _, name in used] == loaded
    assert {variable for variable, _ in used} <= {each.file_variable for each in SETTINGS if each.secret}


@pytest.mark.needs("postgres")
@pytest.mark.timeout(180)
def test_the_daemon_runs_without_memory_that_can_be_written_and_run(tmp_path: Path, database_url: str) -> None:
    """Kernels since 6.3 can forbid it by themselves, as MemoryDenyWriteExecute= does by a filter."""
    assert values("cli-server.service")["MemoryDenyWriteExecute"] == ["yes"]
    env = {"DATABASE_URL": database_url, "OPENCODE_BIN": OPENCODE_BIN}
    with ended(Product(tmp_path, env, program=("-c", _PROTECTED, "-m", "daemon"))) as made:
        made.start(ready=False)
        assert made.process is not None
        try:
            made.wait_ready()
        except AssertionError:
            if made.process.poll() == 77:
                (pytest.fail if os.environ.get("CI") else pytest.skip)("this kernel cannot forbid it (before 6.3)")
            raise
        made.visitor().register()  # which hashes a password, in C
        assert made.stop() == 0
