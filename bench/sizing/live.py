"""The daemon in a process of its own, with all the tunnels, while nobody asks for anything, and under load."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.processes import cpu_seconds, free_port, memory, process, wait_for_line, wait_for_port
from bench.sizing.load import Call, Found, Kind, Plan, read_found
from bench.sizing.size import ident, secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.sizing.server import Cost, Server
    from bench.sizing.size import Size

_PATIENCE: Final = 120.0
_FILES: Final = 20_000  # of each process: one or two for each connection
_REPORT_SECONDS: Final = 11.0  # after which PostgreSQL's sessions have told their counters
_FEWEST_CHANGED: Final = 8
_DATABASE: Final = "pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Rest:
    """While nobody asks for anything: seconds of the daemon's CPU for each second, and its private bytes."""

    cpu: float
    memory: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Loaded:
    """Under load. ``cpu``: seconds of the daemon's CPU for each second; ``commits``: as PostgreSQL counts them."""

    cpu: float
    memory: int
    cost: Cost
    found: Found
    seconds: float
    commits: float
    connections: int
    files: int
    database_memory: int


@dataclass(frozen=True, slots=True)
class Live:
    """All of it. ``arrival``: seconds until every machine was running."""

    alone: Rest
    tunnels: Rest
    arrival: float
    loaded: Loaded
    after: int  # private bytes of the daemon, some seconds after the load


@dataclass(frozen=True, slots=True)
class _Daemon:
    port: int
    pid: int
    folder: Path


@contextmanager
def _daemon(server: Server, size: Size, upstream: int, folder: Path) -> Iterator[_Daemon]:
    port = free_port()
    log = folder / "daemon.log"
    env = {
        "PATH": os.environ["PATH"],
        "LISTEN": f"127.0.0.1:{port}",
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": server.conninfo,
        "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "BENCH_UPSTREAM": str(upstream),
        "SIZING_SANDBOXES": str(size.sandboxes),
        "SIZING_RUNNING": str(size.running),
        "SIZING_WORKSPACES": str(size.workspaces),
        "LOG_LEVEL": "warning",
    }
    with process([sys.executable, "-m", "bench.sizing.crowd"], env=env, log=log) as child:
        wait_for_port(port, child, log)
        yield _Daemon(port, child.pid, folder)
    said = log.read_text()
    if "Traceback" in said:
        raise RuntimeError(f"the daemon had an error: {said[-3000:]}")


def _rest(server: Server, daemon: _Daemon, settle: float, seconds: float) -> Rest:
    time.sleep(settle)
    before = cpu_seconds(daemon.pid)
    with server.watch() as cost:
        time.sleep(seconds)
    return Rest((cpu_seconds(daemon.pid) - before) / seconds, memory(daemon.pid), cost)


@contextmanager
def _agents(server: Server, size: Size, daemon: _Daemon, upstream: int) -> Iterator[float]:
    """Every machine's agent, connected; the seconds that it took.

    Those that are in use have a process of their own, as each has in reality: the clocks of the others would stop it.
    """
    began = time.perf_counter()
    with (
        _some_agents(size, daemon, upstream, range(size.active)),
        _some_agents(size, daemon, upstream, range(size.active, size.machines)),
    ):
        _wait_for_machines(server, size.machines)
        yield time.perf_counter() - began


@contextmanager
def _some_agents(size: Size, daemon: _Daemon, upstream: int, numbers: range) -> Iterator[None]:
    log = daemon.folder / f"agents-{numbers.start}.log"
    lines = [
        json.dumps({
            "server": "", "sandboxId": ident("machine", number), "tunnelToken": secret("tunnel", number),
            "workspaceId": ident("workspace", number % size.workspaces), "name": f"machine {number}",
        })
        for number in numbers
    ]  # fmt: skip
    command = [sys.executable, "-m", "bench.idlers", str(daemon.port), str(upstream)]
    with process(command, log=log, talks=True) as agents:
        assert agents.stdin is not None
        agents.stdin.write("\n".join(lines))
        agents.stdin.close()
        wait_for_line(agents, log)
        yield
        if agents.poll() is not None:
            raise RuntimeError(f"the agents ended: {log.read_text()[-2000:]}")


def _wait_for_machines(server: Server, count: int) -> None:
    query = "SELECT count(*) FROM sandboxes WHERE type = 'local' AND status = 'running'"
    deadline = time.monotonic() + _PATIENCE
    while (up := server.number(query)) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{up:g} of {count} machines are running after {_PATIENCE:g} s")
        time.sleep(0.05)


def plan(size: Size, port: int, upstream: int) -> Plan:
    """Pages of sandboxes and of machines, the API, changes, and the streams that all of them hold."""
    pages = {kind: [_page(size, port, kind, number) for number in range(size.active)] for kind in _PAGES}
    calls = [_api(size, port, number, path) for number in range(size.active) for path in _api_paths(size, number)]
    changes = [
        _api(size, port, number, f"/api/sandboxes/{ident('sandbox', number)}/{order}", "POST")
        for order in ("pause", "resume")
        for number in range(size.active, size.active + _changed(size))
    ]
    kinds = [
        Kind("through tunnels", port, size.rate, pages["machine"]),
        Kind("to sandboxes", port, size.rate, pages["sandbox"]),
        Kind("API", port, size.api_rate, calls),
        Kind("changes", port, size.change_rate, changes),
        Kind("upstream", upstream, size.direct_rate, [Call("opencode", "", "/session")]),
    ]
    events = [Call(page.host, page.cookie, "/event") for kind in _PAGES for page in pages[kind]]
    streams = [_api(size, port, number, "/api/events") for number in range(size.streams)]
    return Plan(size.seconds, kinds, port, [*events, *streams])


_PAGES: Final = ("machine", "sandbox")


def _changed(size: Size) -> int:
    """Sandboxes that are paused and resumed: so many that each has long been paused when it is resumed."""
    return max(_FEWEST_CHANGED, int(size.change_rate * size.seconds / 2))


def _page(size: Size, port: int, kind: str, number: int) -> Call:
    """A page of opencode's in a browser of its creator."""
    id_ = ident("machine" if kind == "machine" else "sandbox", number)
    return Call(f"oc-{id_}.localhost:{port}", f"cli_server_sandbox={secret(kind, number)}", "/session?limit=50")


def _api(size: Size, port: int, number: int, path: str, method: str = "GET") -> Call:
    """A call of the API by whoever made the sandbox of this number."""
    session = secret("session", number % size.users)
    return Call(f"localhost:{port}", f"cli_server_session={session}", path, method)


def _api_paths(size: Size, number: int) -> Iterator[str]:
    yield "/api/workspaces"
    yield f"/api/workspaces/{ident('workspace', number % size.workspaces)}/sandboxes"
    yield f"/api/sandboxes/{ident('sandbox', number)}"


def _load(server: Server, size: Size, daemon: _Daemon, upstream: int) -> Loaded:
    log = daemon.folder / "load.log"
    with process([sys.executable, "-m", "bench.sizing.load"], log=log, talks=True) as child:
        assert child.stdin is not None
        child.stdin.write(plan(size, daemon.port, upstream).text())
        child.stdin.close()
        wait_for_line(child, log)
        commits, cpu = server.number(f"SELECT xact_commit FROM {_DATABASE}"), cpu_seconds(daemon.pid)
        with server.watch() as cost:
            time.sleep(size.seconds)
        cpu = cpu_seconds(daemon.pid) - cpu
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'cli_server'"
        connections, files = server.number(query), len(os.listdir(f"/proc/{daemon.pid}/fd"))
        now, database = memory(daemon.pid), server.memory()
        found = read_found(wait_for_line(child, log))
    time.sleep(min(_REPORT_SECONDS, size.seconds))
    commits = server.number(f"SELECT xact_commit FROM {_DATABASE}") - commits
    return Loaded(
        cpu / size.seconds, now, cost, found, size.seconds, commits, int(connections),
        files, database,
    )  # fmt: skip


def live(server: Server, size: Size, upstream: int, folder: Path) -> Live:
    """One daemon through all of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _FILES), hard))  # children have it from us
    with _daemon(server, size, upstream, folder) as daemon:
        alone = _rest(server, daemon, size.settle_seconds / 4, size.rest_seconds / 2)
        with _agents(server, size, daemon, upstream) as arrival:
            tunnels = _rest(server, daemon, size.settle_seconds, size.rest_seconds)
            loaded = _load(server, size, daemon, upstream)
            _wait_for_machines(server, size.machines)
            return Live(alone, tunnels, arrival, loaded, memory(daemon.pid))
