"""cli-server as a contender: a daemon with sign-in, grant and activity on, and agents that are connected to it."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contenders import Contender, Door
from bench.processes import free_port, process, wait_for_port
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders import Upstreams

PLAIN = "cli-server"
TUNNEL = "cli-server, tunnel"


@dataclass(frozen=True)
class Daemon:
    """A daemon that runs, and its first user, who is signed in."""

    port: int
    pid: int
    visitor: Visitor
    workspace: str
    folder: Path

    def local_sandboxes(self) -> dict[str, dict[str, str]]:
        """The machines that have joined, by name."""
        listed = self.visitor.api("GET", f"/api/workspaces/{self.workspace}/sandboxes")
        return {row["name"]: row for row in listed if row["isLocal"]}

    def code(self) -> str:
        """A code for one machine."""
        return str(self.visitor.api("POST", f"/api/workspaces/{self.workspace}/agent-code")["code"])


@contextmanager
def daemon(up: Upstreams, name: str) -> Iterator[Daemon]:
    """One daemon with a database of its own."""
    port = free_port()
    folder = up.folder / name
    folder.mkdir(mode=0o755)
    log = folder / "daemon.log"
    env = {
        "PATH": os.environ["PATH"],
        "LISTEN": f"127.0.0.1:{port}",
        "DATA_DIR": str(folder / "data"),
        "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "BENCH_UPSTREAM": str(up.nginx),
        "REGISTRATION": "first-user",
        "LOG_LEVEL": "warning",
    }
    with process([sys.executable, "-m", "bench.daemon"], env=env, log=log) as child:
        wait_for_port(port, child, log)
        visitor = Visitor(port)
        yield Daemon(port, child.pid, visitor, visitor.register(), folder)


def _door(ours: Daemon, sandbox: str, label: str, *more: int) -> Door:
    """The way to a sandbox host, with the headers with which requests pass. ``more``: processes behind the daemon."""
    visitor = ours.visitor
    host = visitor.open(sandbox, label)
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies[host].items())
    return Door(ours.port, (ours.pid, *more), (("Host", f"{host}:{visitor.port}"), ("Cookie", cookie)))


def plain(ours: Daemon, up: Upstreams) -> Contender:
    """A sandbox on the daemon's machine: the gateway alone."""
    sandbox = ours.visitor.running(ours.workspace)
    return Contender(PLAIN, _door(ours, sandbox, f"oc-{sandbox}"), _door(ours, sandbox, f"{up.sink}-{sandbox}"))


@contextmanager
def _agent(ours: Daemon, name: str, port: int) -> Iterator[tuple[str, int]]:
    """An agent of its own registration that leads to a port; the sandbox and the process."""
    home = ours.folder / name
    home.mkdir()
    log = home / "agent.log"
    command = [sys.executable, "-m", "daemon.agent", "connect", "--server", f"http://127.0.0.1:{ours.port}"]
    command += ["--code", ours.code(), "--name", name, "--opencode-url", f"http://127.0.0.1:{port}", "--no-auto-start"]
    with process(command, env={"PATH": os.environ["PATH"], "HOME": str(home)}, log=log) as child:
        while name not in ours.local_sandboxes():
            if child.poll() is not None:
                raise RuntimeError(f"the agent ended: {log.read_text()[-2000:]}")
        sandbox = ours.local_sandboxes()[name]["id"]
        ours.visitor.wait_for(sandbox, "running")
        yield sandbox, child.pid


@contextmanager
def tunnelled(ours: Daemon, up: Upstreams) -> Iterator[Contender]:
    """The same upstreams behind agents. An agent leads to one port, so there are two: for small GETs and for bulk."""
    with ExitStack() as stack:
        doors = []
        for name, port in (("small", up.nginx), ("bulk", up.sink)):
            sandbox, pid = stack.enter_context(_agent(ours, name, port))
            doors.append(_door(ours, sandbox, f"oc-{sandbox}", pid))
        yield Contender(TUNNEL, doors[0], doors[1])
