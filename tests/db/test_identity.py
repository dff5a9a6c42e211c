"""PostgreSQL refuses to be root; the embedded one runs all the same, and lets in nobody but the daemon."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from daemon.db import cluster
from daemon.db.database import Database
from daemon.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.db.tools import DAEMON, ROOT, kept, server_pid, write

# ruff: noqa: ASYNC240 - the files are local and small, and nothing else runs here
NOBODY = 65534  # exists on every Linux
NAMELESS = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has the choice between two identities")
pytestmark = pytest.mark.needs("postgres")


@needs_root
async def test_root_without_a_way_is_told(empty_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_candidates", lambda me, owner: [])
    with pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL does not run as root.*set DATABASE_URL"):
        async with EmbeddedPostgres.open(empty_data_dir):
            pass


def real_uid(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def connects_as(uid: int, conninfo: str) -> str:
    """What another user of the machine is told who tries to connect."""
    script = (
        "import os, sys, psycopg\n"
        f"os.setgroups([]); os.setgid({uid}); os.setuid({uid})\n"
        "try: psycopg.connect(sys.argv[1])\n"
        "except psycopg.OperationalError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, conninfo], capture_output=True, text=True, check=True)
    return done.stdout


@needs_root
@pytest.mark.parametrize("account", ["postgres", "nobody"])
async def test_as_root_it_runs_as_an_ordinary_user(
    data_dir: Path, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And neither that user nor another one can connect."""
    accounts = [entry for entry in pwd.getpwall() if account == "postgres" or entry.pw_name != "postgres"]
    expected = next((entry for entry in accounts if entry.pw_name == account), None)
    if expected is None:
        pytest.skip("there is no user postgres here")
    monkeypatch.setattr(pwd, "getpwall", lambda: accounts)
    data_dir.chmod(0o711)
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        await db.run(write)
        assert real_uid(server_pid(postgres)) == expected.pw_uid
        assert (data_dir / "postgres").stat().st_uid == expected.pw_uid
        assert "Permission denied" in connects_as(1, postgres.conninfo)
        assert "eer authentication failed" in connects_as(expected.pw_uid, postgres.conninfo)


@needs_root
async def test_as_root_below_a_private_directory(data_dir: Path) -> None:
    """It runs in a user namespace: PostgreSQL sees an ordinary user, the files stay root's."""
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        await db.run(write)
        assert Path(f"/proc/{postgres.pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
        assert (data_dir / "postgres").stat().st_uid == 0
        assert "Permission denied" in connects_as(1, postgres.conninfo)


@needs_root
async def test_files_change_hands_with_the_identity(data_dir: Path) -> None:
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        await db.run(write)
    for mode in (0o711, 0o700, 0o711):
        data_dir.chmod(mode)
        async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
            assert await db.run(kept) == ["kept"]


def python_for_everybody() -> str:
    """A Python of our version that ordinary users can run; root's own may stand below /root."""
    version = f"python3.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(OSError):
            subprocess.run([candidate, "-c", ""], check=True, user=NOBODY, group=NOBODY, extra_groups=[])
            return candidate
    pytest.skip(f"ordinary users have no {version} here")


def run_daemon_as(uid: int, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """A daemon that starts, writes its row and ends at once."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = {"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [python_for_everybody(), "-c", DAEMON, str(data_dir)],
        check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env, cwd="/",
        user=uid, group=uid, extra_groups=[],
    )  # fmt: skip


@needs_root
async def test_as_an_ordinary_user(empty_data_dir: Path) -> None:
    def daemon() -> subprocess.CompletedProcess[str]:
        return run_daemon_as(NOBODY, empty_data_dir)

    os.chown(empty_data_dir, NOBODY, NOBODY)
    for _ in range(2):
        done = await trio.to_thread.run_sync(daemon)
        assert done.returncode == 0, done.stderr
    assert (empty_data_dir / "postgres").stat().st_uid == NOBODY
    # Root takes the place of an ordinary user without taking the files away.
    async with EmbeddedPostgres.open(empty_data_dir) as postgres, Database.open(postgres.conninfo) as db:
        assert await db.run(kept) == ["daemon", "daemon"]
        assert real_uid(server_pid(postgres)) == NOBODY
    assert (await trio.to_thread.run_sync(daemon)).returncode == 0
    os.chown(empty_data_dir / "postgres", 0, 0)
    done = await trio.to_thread.run_sync(daemon)
    assert done.returncode != 0
    assert f"{empty_data_dir / 'postgres'} belongs to root; start the daemon as that user or as root" in done.stderr


@needs_root
async def test_as_a_user_without_a_name(empty_data_dir: Path) -> None:
    """Containers are often run under a number that no account has; PostgreSQL insists on a name."""
    os.chown(empty_data_dir, NAMELESS, NAMELESS)
    for _ in range(2):
        done = await trio.to_thread.run_sync(run_daemon_as, NAMELESS, empty_data_dir)
        assert done.returncode == 0, done.stderr
    assert (empty_data_dir / "postgres").stat().st_uid == NAMELESS
