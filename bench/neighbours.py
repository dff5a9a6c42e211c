"""Whom the tunnel is compared with: plain trio-websocket with the same messages, and chisel where it is installed."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contenders import Contender, Door
from bench.measures import Transfer
from bench.processes import cpu_seconds, free_port, process, wait_for_line, wait_for_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders import Upstreams

WEBSOCKET = "trio-websocket"
CHISEL = "chisel"


@dataclass(frozen=True)
class Pair:
    """Two processes that move messages; see ``bench/messages.py``."""

    server: int
    client: subprocess.Popen[str]
    log: Path

    def transfer(self, direction: str, size: int) -> Transfer:
        """Move ``size`` bytes "down" (to the server) or "up"."""
        pids = (self.server, self.client.pid)
        before = [cpu_seconds(pid) for pid in pids]
        assert self.client.stdin is not None
        self.client.stdin.write(f"{direction} {size}\n")
        self.client.stdin.flush()
        taken = float(wait_for_line(self.client, self.log))
        used = tuple(cpu_seconds(pid) - then for pid, then in zip(pids, before, strict=True))
        return Transfer(size / taken, used)


@contextmanager
def websocket_pair(folder: Path) -> Iterator[Pair]:
    """Both ends of plain trio-websocket, connected."""
    log = folder / "messages.log"
    command = [sys.executable, "-m", "bench.messages"]
    with process([*command, "serve"], log=log, talks=True) as server:
        port = wait_for_line(server, log)
        with process([*command, "join", port], log=log, talks=True) as client:
            yield Pair(server.pid, client, log)


def has_chisel() -> bool:
    """Whether the program is on ``PATH``."""
    return shutil.which("chisel") is not None


@contextmanager
def chisel(up: Upstreams) -> Iterator[Contender]:
    """Its server and its client as a reverse tunnel, with a port for each upstream. Both ends are processes in Go."""
    port, small, bulk = free_port(), free_port(), free_port()
    log = up.folder / "chisel.log"
    program = shutil.which("chisel") or "chisel"
    serve = [program, "server", "--reverse", "--host", "127.0.0.1", "--port", str(port)]
    join = [program, "client", f"http://127.0.0.1:{port}"]
    join += [f"R:127.0.0.1:{listen}:127.0.0.1:{target}" for listen, target in ((small, up.nginx), (bulk, up.sink))]
    with process(serve, env={"PATH": os.environ["PATH"], "HOME": str(up.folder)}, log=log) as server:
        wait_for_port(port, server, log)
        with process(join, env={"PATH": os.environ["PATH"], "HOME": str(up.folder)}, log=log) as client:
            wait_for_port(bulk, client, log)
            pids = (server.pid, client.pid)
            yield Contender(CHISEL, Door(small, pids), Door(bulk, pids))
