"""The stand-in's echo as a browser reaches it: through a daemon's gateway, a tunnel and an agent, each a process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.product import ROOT, product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Echo:
    """Where an echo is: what :func:`tests.autobahn.run.fuzz` asks for."""

    url: str
    connect: str
    headers: dict[str, str]


@contextmanager
def process(command: list[str], **env: str) -> Iterator[subprocess.Popen[str]]:
    """One of our programs, for as long as it is needed."""
    whole = {"PATH": os.environ["PATH"], **env}
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=whole,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def through_the_tunnel(folder: Path) -> Iterator[Echo]:
    """Everything started, and a developer signed in at the sandbox's host."""
    (folder / "laptop").mkdir()
    with (
        product(folder) as made,
        process(["tests.standins.http_local"]) as local,
    ):
        assert local.stdout is not None
        address = local.stdout.readline().strip()
        visitor = made.visitor()
        workspace = visitor.register()
        code = visitor.api("POST", f"/api/workspaces/{workspace}/agent-code", {})["code"]
        words = ["daemon", "agent", "connect", "--server", made.url, "--code", code, "--opencode-url", address]
        with process(words, HOME=str(folder / "laptop")) as agent:
            assert agent.stdout is not None
            while "connected:" not in (line := agent.stdout.readline()):
                assert line, "the agent ended"
            [sandbox] = visitor.api("GET", f"/api/workspaces/{workspace}/sandboxes")
            visitor.wait_for(sandbox["id"], "running")
            host = visitor.open(sandbox["id"])
            cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies[host].items())
            headers = {"Cookie": cookie, "Origin": f"http://{host}:{made.port}"}
            yield Echo(f"ws://{host}:{made.port}/ws", f"127.0.0.1:{made.port}", headers)
