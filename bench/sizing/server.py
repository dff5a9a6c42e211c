"""A PostgreSQL with the product's own settings that tells how long each statement took, and what a step cost it."""

from __future__ import annotations

import re
import signal
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psycopg

from bench.processes import cpu_seconds, descendants, memory
from daemon.db.cluster import ROLE, SUPERUSER, Cluster, RunDirectory, choose_identity, spawn
from daemon.db.migrate import migrate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.db.database import Connection

_START_SECONDS: Final = 60.0
# Durations go into the server's log; values do not, because an array of 2,000 ids would cost more than its statement.
_TELLING: Final = {"log_min_duration_statement": "0", "log_parameter_max_length": "0"}
_LINE: Final = re.compile(r"duration: ([\d.]+) ms  (?:(parse|bind|execute) [^:]*|(statement)): (.*)")
_ENDS: Final = ("BEGIN", "COMMIT", "ROLLBACK")
_LONGEST: Final = 300  # characters by which a statement is told from others


@dataclass(slots=True)
class Statement:
    """How often it ran, and the milliseconds that it took the server in all."""

    count: int = 0
    ms: float = 0.0


@dataclass(slots=True)
class Cost:
    """What happened in the database during a step. ``cpu``: seconds, of all its processes that lived through it."""

    seconds: float = 0.0
    wal: int = 0
    cpu: float = 0.0
    transactions: int = 0
    by_statement: dict[str, Statement] = field(default_factory=dict)

    @property
    def statements(self) -> int:
        """Without those that begin and end transactions."""
        return sum(one.count for one in self.by_statement.values())

    @property
    def ms(self) -> float:
        """What all of them took."""
        return sum(one.ms for one in self.by_statement.values())


@dataclass(slots=True)
class Server:
    """It runs. ``admin`` is a superuser's connection, which leaves no trace in what is counted."""

    conninfo: str
    admin: Connection
    pid: int
    log: Path

    @contextmanager
    def watch(self) -> Iterator[Cost]:
        """Count what happens in the block."""
        cost = Cost()
        offset, wal, processes = self.log.stat().st_size, self._wal(), descendants(self.pid)
        cpu, began = sum(map(cpu_seconds, processes)), time.perf_counter()
        yield cost
        cost.seconds = time.perf_counter() - began
        cost.cpu = sum(map(cpu_seconds, set(processes) & set(descendants(self.pid)))) - cpu
        cost.wal = self._wal() - wal
        with self.log.open("rb") as file:
            file.seek(offset)
            read_log(file.read().decode(errors="replace"), cost)

    def _wal(self) -> int:
        row = self.admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return int(row[0])

    def number(self, query: str) -> float:
        """The one number that a query tells."""
        row = self.admin.execute(query.encode()).fetchone()
        assert row is not None
        return float(row[0])

    def memory(self) -> int:
        """Private bytes of all its processes; the shared buffers come on top."""
        return memory(self.pid) + sum(map(memory, descendants(self.pid)))


def read_log(log: str, cost: Cost) -> None:
    """Add what a piece of the server's log tells of."""
    found: dict[str, Statement] = defaultdict(Statement)
    for match in _LINE.finditer(log):
        ms, step, _, text = match.groups()
        if text.startswith(_ENDS):
            cost.transactions += text.startswith("COMMIT")
            continue
        one = found[text[:_LONGEST]]
        one.ms += float(ms)
        one.count += step in (None, "execute")
    cost.by_statement = dict(found)


def median(costs: list[Cost]) -> Cost:
    """The one in the middle, by its time."""
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """With an empty database of the product's schema, for the time of the block."""
    cluster = Cluster(folder, choose_identity(folder))
    with cluster.open_log() as log:
        fresh, command = cluster.begin_initdb()
        if spawn(command, log).wait(_START_SECONDS):
            raise RuntimeError(cluster.last_words())
        cluster.end_initdb(fresh)
        run = RunDirectory.make(cluster.identity)
        process = spawn(cluster.server_command(run, **_TELLING), log)
    try:
        with _connected(run.conninfo(user=SUPERUSER, dbname="postgres"), process, cluster) as first:
            first.execute(f"CREATE ROLE {ROLE} LOGIN".encode())
            first.execute(f"CREATE DATABASE {ROLE} OWNER {ROLE}".encode())
        migrate(run.conninfo())
        with _connected(run.conninfo(user=SUPERUSER), process, cluster) as admin:
            admin.execute("SET log_min_duration_statement = -1")
            yield Server(run.conninfo(), admin, process.pid, cluster.log_path)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        finally:
            process.kill()
            run.remove()


def _connected(conninfo: str, process: subprocess.Popen[bytes], cluster: Cluster) -> Connection:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return psycopg.connect(conninfo, autocommit=True)
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(cluster.last_words()) from None
            time.sleep(0.02)
