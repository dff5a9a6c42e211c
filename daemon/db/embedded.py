"""The embedded PostgreSQL as a service: made if need be, started, watched, restarted, and stopped with the daemon."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

import psycopg
import structlog
import trio
from psycopg import sql

from daemon.db.cluster import ROLE, SUPERUSER, Cluster, EmbeddedPostgresError, RunDirectory, choose_identity, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

log = structlog.get_logger(__name__)

INITDB_SECONDS = 120.0  # takes 0.5 s; a bound for a slow disk
READY_SECONDS = 300.0  # takes 0.1 s; a recovery reads at most some max_wal_size (256 MB)
READY_POLL = 0.02
FIRST_STARTS = 6  # failures before ours is final, over 6 s; what a killed server left may need a moment to go
FIRST_PAUSE = 0.2  # seconds before a restart; doubled up to
LONGEST_PAUSE = 5.0
STEADY_SECONDS = 60.0  # a server that lived so long is restarted with the first pause again
LOG_CHECK_SECONDS = 600.0

# How to end a server, harder each time, with the seconds for each: a fast shutdown ends all clients and writes a
# checkpoint; an immediate one loses nothing either, but the next start has to recover; the last takes what hangs.
_SHUTDOWN = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 2.0))
_KILL = ((signal.SIGKILL, 2.0),)


class EmbeddedPostgres:
    """PostgreSQL in ``data_dir``, which exists and is locked by us (:func:`daemon.datadir.lock_data_dir`)."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._run_directory: RunDirectory | None = None
        self.pid: int | None = None  # of the server while it answers

    @property
    def conninfo(self) -> str:
        """The connection string, the same over all restarts of the server. Known once it has started."""
        if self._run_directory is None:
            raise RuntimeError("the embedded PostgreSQL has not started")
        return self._run_directory.conninfo()

    @classmethod
    @asynccontextmanager
    async def open(cls, data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
        """The running server for the time of the block. Raises :class:`EmbeddedPostgresError` if it does not start.

        It is stopped after the block, and not together with it: a cancelled block can still write its last words.
        """
        postgres = cls(data_dir)
        failure = None
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            try:
                await nursery.start(partial(postgres._serve_within, scope))
            except EmbeddedPostgresError as error:
                failure = error  # raised below, not in a group
            else:
                scope.shield = True  # its deadline is the end of the block, which is cancelled itself
                try:
                    yield postgres
                finally:
                    scope.cancel()
        if failure is not None:
            raise failure

    async def _serve_within(self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await self.serve(task_status=task_status)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the server, report it when it answers, keep it running until cancelled, and stop it.

        Raises :class:`EmbeddedPostgresError` if it does not start at first; later it is tried for ever. Must be called
        in the main thread, or in one that lives as long (see :func:`daemon.db.cluster.spawn`).
        """
        with _speaking():
            cluster = Cluster(self._data_dir, await trio.to_thread.run_sync(choose_identity, self._data_dir))
            await _end_leftover(cluster)
            with cluster.open_log() as output, _run_directory(cluster) as run:
                await trio.to_thread.run_sync(cluster.take_ownership)
                if not cluster.exists:
                    await _initdb(cluster, output)
                self._run_directory = run
                await self._keep_running(cluster, run, output, task_status)

    async def _keep_running(
        self, cluster: Cluster, run: RunDirectory, output: IO[bytes], task_status: trio.TaskStatus[None]
    ) -> None:
        started = False
        failures = 0
        while True:
            begin = trio.current_time()
            try:
                async with _process(cluster.server_command(run), output, _SHUTDOWN) as process:
                    await _ready(process, cluster, run)
                    self.pid = process.pid
                    log.info("embedded postgresql runs", pid=process.pid, identity=cluster.identity.word)
                    if not started:
                        task_status.started()
                        started = True
                    reason = f"it ended with status {await _watch(process, cluster)}"
            except (EmbeddedPostgresError, OSError) as error:  # OSError: no process could be made just now
                if not started and failures + 1 == FIRST_STARTS:
                    raise
                reason = str(error)
            finally:
                self.pid = None
            failures = 1 if trio.current_time() - begin > STEADY_SECONDS else failures + 1
            pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
            log.warning("embedded postgresql is started again", reason=reason, pause=pause)
            await trio.sleep(pause)
            run.clear_socket()


class _Process:
    """A child process that Trio can wait for without a thread."""

    def __init__(self, command: list[str], output: IO[bytes]) -> None:
        self.log_start = os.fstat(output.fileno()).st_size  # where in the log its own output begins
        self._popen = spawn(command, output)
        self.pid = self._popen.pid
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:  # no descriptor left: what cannot be watched must not run
            self._popen.kill()
            self._popen.wait()
            raise

    def poll(self) -> int | None:
        """Its exit status, or ``None`` while it lives."""
        return self._popen.poll()

    async def wait(self) -> int:
        """Its exit status when it has ended; negative for a signal. One task at a time."""
        await trio.lowlevel.wait_readable(self.pidfd)
        return self._popen.wait()

    def close(self) -> None:
        """Forget it. It has ended, or nothing more can be done."""
        self._popen.poll()
        os.close(self.pidfd)


@asynccontextmanager
async def _process(
    command: list[str], output: IO[bytes], ending: tuple[tuple[signal.Signals, float], ...]
) -> AsyncIterator[_Process]:
    process = _Process(command, output)
    try:
        yield process
    finally:
        try:
            await _end(process.pidfd, ending)
        finally:
            process.close()


async def _end(pidfd: int, ending: tuple[tuple[signal.Signals, float], ...]) -> None:
    """Send one signal after the other until the process is gone. Takes at most the sum of their seconds."""
    for number, seconds in ending:
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return
        gone = False
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            await trio.lowlevel.wait_readable(pidfd)
            gone = True
        if gone:
            return
    log.error("embedded postgresql does not end, not even when killed")


async def _end_leftover(cluster: Cluster) -> None:
    """End the server of a former daemon, which the kernel told to shut down when that one was killed."""
    pid = cluster.server_pid()
    if pid is None:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Asked only now that the descriptor holds the process: from here on the id cannot become another one's.
        ours = cluster.is_server(pid)
        if ours:
            log.info("waiting for the former embedded postgresql to end", pid=pid)
            await _end(pidfd, _SHUTDOWN)
        elif ours is False:
            cluster.forget_pid(pid)
    finally:
        os.close(pidfd)


async def _initdb(cluster: Cluster, output: IO[bytes]) -> None:
    log.info("making the embedded database", directory=str(cluster.directory))
    status: int | None = None
    fresh, command = await trio.to_thread.run_sync(cluster.begin_initdb)
    async with _process(command, output, _KILL) as process:
        try:
            with trio.move_on_after(INITDB_SECONDS):
                status = await process.wait()
        finally:
            if status is None:
                os.killpg(process.pid, signal.SIGKILL)  # with its children, in the session that spawn() made
    if status != 0:
        raise EmbeddedPostgresError(f"initdb failed (status {status}): {cluster.last_words(process.log_start)}")
    cluster.end_initdb(fresh)


async def _ready(process: _Process, cluster: Cluster, run: RunDirectory) -> None:
    """Wait until the server takes connections, and see that our role and database exist."""
    with trio.move_on_after(READY_SECONDS) as scope:
        while cluster.ready_pid() != process.pid:
            if (status := process.poll()) is not None:
                raise EmbeddedPostgresError(
                    f"the embedded PostgreSQL did not start (status {status}): {cluster.last_words(process.log_start)}"
                )
            await trio.sleep(READY_POLL)
    if scope.cancelled_caught:
        raise EmbeddedPostgresError(f"the embedded PostgreSQL was not ready in {READY_SECONDS:g} s")
    try:
        await trio.to_thread.run_sync(_make_database, run.conninfo(user=SUPERUSER, dbname="postgres"))
    except psycopg.Error as error:
        reason = str(error).partition("\n")[0]
        raise EmbeddedPostgresError(f"the embedded PostgreSQL did not take us in: {reason}") from error


def _make_database(conninfo: str) -> None:
    """The daemon's role owns its database and nothing else: an injected statement must not reach the server's files."""
    name = sql.Identifier(ROLE)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=10) as conn:
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone():
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,)).fetchone():
            conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))


async def _watch(process: _Process, cluster: Cluster) -> int:
    """The exit status of the server when it has ended; until then its log is kept within bounds."""
    while True:
        with trio.move_on_after(LOG_CHECK_SECONDS):
            return await process.wait()
        await trio.to_thread.run_sync(cluster.bound_log)


@contextmanager
def _speaking() -> Iterator[None]:
    """Turn what the system refuses into the one error that callers show to people."""
    try:
        yield
    except OSError as error:
        raise EmbeddedPostgresError(f"the embedded PostgreSQL cannot run: {error}") from error


@contextmanager
def _run_directory(cluster: Cluster) -> Iterator[RunDirectory]:
    """The socket's directory, noted in ``DATA_DIR/postgres.socket`` for ``psql -h``, and to remove it after a crash."""
    note = cluster.data_dir / "postgres.socket"
    if note.exists():
        RunDirectory.remove_former(note)
    run = RunDirectory.make(cluster.identity)
    try:
        note.write_text(f"{run.socket_dir}\n")
        yield run
    finally:
        run.remove()
        note.unlink(missing_ok=True)
