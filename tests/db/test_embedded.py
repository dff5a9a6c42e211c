"""The embedded PostgreSQL lives as long as its daemon, comes back when it is killed, and loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio

from daemon.db import cluster, embedded
from daemon.db.database import Database
from daemon.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.db.tools import DAEMON, ROOT, eventually, kept, server_pid, write

if TYPE_CHECKING:
    from daemon.db.database import Connection

# ruff: noqa: ASYNC240 - the files are local and small, and nothing else runs here
pytestmark = pytest.mark.needs("postgres")


def alive(pid: int) -> bool:
    """Whether ``pid`` runs (a zombie that an idle init left does not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def start_daemon(data_dir: Path) -> tuple[subprocess.Popen[str], int]:
    """A daemon in a process of its own, and the process id of its PostgreSQL."""
    command = [sys.executable, "-c", DAEMON, str(data_dir)]
    daemon = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert daemon.stdout is not None
    for line in daemon.stdout:
        if line.strip().isdecimal():
            return daemon, int(line)
    raise AssertionError(f"the daemon ended with {daemon.wait()}")


def kill_daemon(daemon: subprocess.Popen[str]) -> None:
    daemon.kill()
    daemon.communicate()


async def test_starts_stops_and_keeps(empty_data_dir: Path) -> None:
    async with EmbeddedPostgres.open(empty_data_dir) as postgres, Database.open(postgres.conninfo) as db:
        await db.run(write)
        pid = server_pid(postgres)
        socket_dir = Path((empty_data_dir / "postgres.socket").read_text().strip())
        assert socket_dir.stat().st_mode & 0o777 == 0o700
    assert not alive(pid)
    assert not socket_dir.parent.exists()
    assert sorted(path.name for path in empty_data_dir.iterdir()) == ["postgres", "postgres.log"]
    async with EmbeddedPostgres.open(empty_data_dir) as postgres, Database.open(postgres.conninfo) as db:
        assert await db.run(kept) == ["kept"]


async def test_killed_server_comes_back(data_dir: Path) -> None:
    """The first operation afterwards works, on the same pool and the same address, and what was committed is there."""
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        await db.run(write)
        conninfo = postgres.conninfo
        for _ in range(2):
            pid = server_pid(postgres)
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda pid=pid: postgres.pid not in (pid, None))  # type: ignore[misc]
            assert await db.run(kept) == ["kept"]
        assert postgres.conninfo == conninfo


async def test_killed_daemon_leaves_no_server(data_dir: Path) -> None:
    """PostgreSQL ends by itself, and the next daemon finds everything."""
    daemon, pid = start_daemon(data_dir)
    former = Path((data_dir / "postgres.socket").read_text().strip()).parent
    assert former.exists()
    kill_daemon(daemon)
    await eventually(lambda: not alive(pid))
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        assert await db.run(kept) == ["daemon"]
        assert not former.exists()


async def test_next_daemon_waits_for_the_former_server(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends it, should it hang."""
    monkeypatch.setattr(embedded, "_SHUTDOWN", ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 5.0)))
    daemon, pid = start_daemon(data_dir)
    os.kill(pid, signal.SIGSTOP)
    kill_daemon(daemon)
    assert alive(pid)
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        assert not alive(pid)
        assert await db.run(kept) == ["daemon"]


async def test_daemon_ends_its_server(data_dir: Path) -> None:
    daemon, pid = start_daemon(data_dir)
    with trio.fail_after(30):
        await trio.to_thread.run_sync(daemon.communicate)
    assert daemon.returncode == 0
    assert not alive(pid)


async def test_second_daemon_is_refused(data_dir: Path) -> None:
    daemon, pid = start_daemon(data_dir)
    command = [sys.executable, "-c", DAEMON, str(data_dir)]
    second = await trio.run_process(command, check=False, capture_stderr=True, cwd=ROOT)
    assert second.returncode != 0
    assert f"{data_dir} is used by another cli-server (process {daemon.pid})".encode() in second.stderr
    assert alive(pid)
    await trio.to_thread.run_sync(daemon.communicate)


async def test_it_stops_after_its_block(data_dir: Path) -> None:
    """What is cancelled together with everything else can still write, in its own short time."""
    with trio.CancelScope() as everything:
        async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
            everything.cancel()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await trio.sleep(0.05)
                await db.run(write)
            await trio.lowlevel.checkpoint()
    assert everything.cancelled_caught
    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        assert await db.run(kept) == ["kept"]


async def test_cancelled_while_starting(empty_data_dir: Path) -> None:
    """At any moment of it: nothing runs on, and the next start works."""
    for moment in (0.0, 0.03, 0.1, 0.3, 0.5):
        with trio.move_on_after(moment):
            async with EmbeddedPostgres.open(empty_data_dir):
                pass
        assert not (empty_data_dir / "postgres.socket").exists()
    # What was killed together with its parent may need a moment more.
    await eventually(lambda: not any(_is_server_below(empty_data_dir, one) for one in Path("/proc").glob("[0-9]*")))
    async with EmbeddedPostgres.open(empty_data_dir):
        pass


def _is_server_below(data_dir: Path, process: Path) -> bool:
    try:
        return str(data_dir).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


async def test_a_reused_process_id_does_not_keep_it_from_starting(data_dir: Path) -> None:
    """After a restart of a container, the same few process ids belong to other programs."""
    async with EmbeddedPostgres.open(data_dir):
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:], ""]))
    async with EmbeddedPostgres.open(data_dir):
        pass


async def test_a_process_id_that_is_gone(data_dir: Path) -> None:
    async with EmbeddedPostgres.open(data_dir):
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    # Ended and reaped above. Its own directory is in the file.
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([*lines, ""]))
    async with EmbeddedPostgres.open(data_dir):
        pass


async def test_another_major_version_is_refused(empty_data_dir: Path) -> None:
    (empty_data_dir / "postgres").mkdir(0o700)
    (empty_data_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="was made by PostgreSQL 16, this cli-server carries 18"):
        async with EmbeddedPostgres.open(empty_data_dir):
            pass


async def test_a_server_that_cannot_start_says_why(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "FIRST_STARTS", 2)
    async with EmbeddedPostgres.open(data_dir):
        pass
    with (data_dir / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(
        EmbeddedPostgresError, match=r"did not start \(status 1\).*errors.*see .*postgres.log"
    ) as caught:
        async with EmbeddedPostgres.open(data_dir):
            pass
    assert "\n" not in str(caught.value)


async def test_missing_programs_are_told(empty_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "MAJOR", 99)
    cluster.programs.cache_clear()
    with pytest.raises(EmbeddedPostgresError, match="set DATABASE_URL"):
        cluster.programs()
    cluster.programs.cache_clear()


async def test_nothing_of_the_daemons_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "operators-key")
    async with EmbeddedPostgres.open(data_dir) as postgres:
        environment = Path(f"/proc/{postgres.pid}/environ").read_bytes()
    assert b"operators-key" not in environment
    assert environment.startswith(b"LC_ALL=C\0")


async def test_the_daemons_role_is_no_superuser(data_dir: Path) -> None:
    """An injected statement does not reach the server's files or run its programs."""

    def copy(conn: Connection) -> None:
        conn.execute("COPY (SELECT 1) TO PROGRAM 'id'")

    async with EmbeddedPostgres.open(data_dir) as postgres, Database.open(postgres.conninfo) as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await db.run(copy)


async def test_no_network_and_short_socket(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = data_dir / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    async with EmbeddedPostgres.open(data_dir) as postgres:
        path = f"{psycopg.conninfo.conninfo_to_dict(postgres.conninfo)['host']}/.s.PGSQL.5432"
        assert Path(path).is_socket()
        assert len(path) < 108
        with socket.socket() as tcp, pytest.raises(ConnectionRefusedError):
            tcp.connect(("127.0.0.1", 5432))


def test_the_log_is_bounded(empty_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_LOG_LIMIT", 10)
    place = cluster.Cluster(empty_data_dir, cluster.Identity("same", 0, 0, "root"))
    with place.open_log() as output:
        output.write(b"a long line\n")
        output.flush()
        place.bound_log()
        output.write(b"after\n")
    assert place.log_path.read_bytes() == b"after\n"
    assert (empty_data_dir / "postgres.log.1").read_bytes() == b"a long line\n"
    assert place.log_path.stat().st_mode & 0o777 == 0o600


async def test_another_server_is_left_alone(data_dir: Path, made_database: Path) -> None:
    """A process id that was reused by a PostgreSQL of somebody else."""
    async with EmbeddedPostgres.open(data_dir) as postgres:
        pid = server_pid(postgres)
        identity = cluster.choose_identity(made_database.parent)
        assert cluster.Cluster(data_dir, identity).is_server(pid) is True
        assert cluster.Cluster(made_database.parent, identity).is_server(pid) is False
        assert cluster.Cluster(data_dir, identity).is_server(os.getpid()) is False
