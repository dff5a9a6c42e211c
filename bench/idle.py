"""What agents cost that are connected and do nothing."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.ours import daemon
from bench.processes import cpu_seconds, descendants, memory, process, wait_for_line

if TYPE_CHECKING:
    from bench.contenders import Upstreams
    from bench.ours import Daemon

_SETTLE_SECONDS = 5.0  # the last statuses are written, the first pings answered
_PATIENCE = 60.0


@dataclass(frozen=True)
class Idle:
    """Private bytes of the daemon for each tunnel. CPU in percent of a core, also before the agents came."""

    memory: float
    cpu: float
    database_cpu: float
    cpu_without: float
    database_cpu_without: float


def _join(ours: Daemon, count: int) -> list[str]:
    """Registrations of so many machines, by the API, as lines of JSON."""
    lines = []
    for number in range(count):
        joining = {"code": ours.code(), "name": f"idle-{number}"}
        lines.append(json.dumps(ours.visitor.api("POST", "/api/agent/register", joining)))
    return lines


def _cpu(ours: Daemon, seconds: float) -> tuple[float, float]:
    """Percent of a core that the daemon uses, and its database, while nobody asks for anything."""
    # The processes of the database that live now: those that come and go in between are not counted.
    database = descendants(ours.pid)
    before = cpu_seconds(ours.pid), sum(map(cpu_seconds, database))
    time.sleep(seconds)
    after = cpu_seconds(ours.pid), sum(map(cpu_seconds, database))
    return (after[0] - before[0]) / seconds * 100, (after[1] - before[1]) / seconds * 100


def _wait_until_running(ours: Daemon, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (up := sum(row["status"] == "running" for row in ours.local_sandboxes().values())) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{up} of {count} tunnels are up after {_PATIENCE:g} s")
        time.sleep(0.5)
    time.sleep(_SETTLE_SECONDS)


def idle_agents(up: Upstreams, count: int, seconds: float) -> Idle:
    """Connect ``count`` agents to a daemon that has carried nothing, so that its memory has no holes to fill."""
    with daemon(up, "idle") as ours:
        lines = _join(ours, count)
        ours.local_sandboxes()
        time.sleep(_SETTLE_SECONDS)
        without = _cpu(ours, seconds)
        before = memory(ours.pid)
        log = ours.folder / "idlers.log"
        with process([sys.executable, "-m", "bench.idlers", str(ours.port)], log=log, talks=True) as agents:
            assert agents.stdin is not None
            agents.stdin.write("\n".join(lines))
            agents.stdin.close()
            wait_for_line(agents, log)
            _wait_until_running(ours, count)
            used = _cpu(ours, seconds)
            grown = (memory(ours.pid) - before) / count
            if sum(row["status"] == "running" for row in ours.local_sandboxes().values()) < count:
                raise RuntimeError("tunnels were lost while they were idle")
    return Idle(grown, *used, *without)
