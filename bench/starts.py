"""``make bench ARGS=starts``: how long a person waits for a sandbox, and where the time goes.

The neighbour is the engine's own command with the same image: ``docker run`` and ``docker start`` until opencode says
that it is healthy.
"""

from __future__ import annotations

import base64
import http.client
import json
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.tables import Results, bars, machine
from tests.support.engine import IMAGE, DockerProduct, Engine, docker_product
from tests.support.product import product

if TYPE_CHECKING:
    from tests.support.product import Product
    from tests.support.visitor import Visitor

ROUNDS: Final = 5
HAND: Final = "docker run, docker start"
DOCKER: Final = "cli-server, docker"
PROCESS: Final = "cli-server, process"
COLD: Final = "cold start, s"
RESUME: Final = "resume, s"
PAUSE: Final = "pause, s"
_PASSWORD: Final = "password-of-the-benchmark"
_LOOK_SECONDS: Final = 0.02
_MOST_SECONDS: Final = 60.0
_NAME: Final = "cli-server-bench-starts"
_FLAGS: Final = (
    "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--init", "--memory=2g", "--cpus=2",
    "--pids-limit=512", "--tmpfs=/tmp:exec", "--tmpfs=/run", "--env", f"OPENCODE_SERVER_PASSWORD={_PASSWORD}",
)  # fmt: skip


def _healthy(host: str) -> bool:
    basic = base64.b64encode(f"opencode:{_PASSWORD}".encode()).decode()
    connection = http.client.HTTPConnection(host, 4096, timeout=0.25)
    try:
        connection.request("GET", "/global/health", headers={"Authorization": f"Basic {basic}"})
        return json.loads(connection.getresponse().read()).get("healthy") is True
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait(engine: Engine) -> None:
    host = next(iter(engine.inspect(_NAME)["NetworkSettings"]["Networks"].values()))["IPAddress"]
    deadline = time.monotonic() + _MOST_SECONDS
    while not _healthy(host):
        if time.monotonic() > deadline:
            raise RuntimeError(engine.docker("logs", _NAME)[-1000:])
        time.sleep(_LOOK_SECONDS)


def by_hand(engine: Engine, results: Results) -> None:
    """One round of the neighbour."""
    serve = ("opencode", "serve", "--hostname", "0.0.0.0", "--port", "4096")
    volume = f"{_NAME}-home"
    engine.docker("network", "create", _NAME)
    began = time.monotonic()
    try:
        engine.docker(
            "create", "--name", _NAME, *_FLAGS, "--network", _NAME, "--volume", f"{volume}:/home/agent", IMAGE, *serve
        )
        results.add("cold start: container made after, s", HAND, time.monotonic() - began)
        engine.docker("start", _NAME)
        results.add("cold start: container started after, s", HAND, time.monotonic() - began)
        _wait(engine)
        results.add(COLD, HAND, time.monotonic() - began)
        began = time.monotonic()
        engine.docker("stop", _NAME)
        results.add(PAUSE, HAND, time.monotonic() - began)
        began = time.monotonic()
        engine.docker("start", _NAME)
        _wait(engine)
        results.add(RESUME, HAND, time.monotonic() - began)
    finally:
        engine.remove("container", _NAME)
        engine.remove("volume", volume)
        engine.remove("network", _NAME)


def ours(made: Product, visitor: Visitor, workspace: str, column: str, results: Results) -> None:
    """One round of the product, by its API: from the request until the status is there."""
    asked, began = time.time(), time.monotonic()
    sandbox = visitor.create(workspace)
    _until(visitor, sandbox, "running")
    results.add(COLD, column, time.monotonic() - began)
    if isinstance(made, DockerProduct):
        about = made.engine.inspect(made.container(sandbox))
        results.add("cold start: container made after, s", column, _moment(about["Created"]) - asked)
        results.add("cold start: container started after, s", column, _moment(about["State"]["StartedAt"]) - asked)
    for order, status, row in (("pause", "paused", PAUSE), ("resume", "running", RESUME)):
        began = time.monotonic()
        visitor.api("POST", f"/api/sandboxes/{sandbox}/{order}")
        _until(visitor, sandbox, status)
        results.add(row, column, time.monotonic() - began)
    visitor.api("DELETE", f"/api/sandboxes/{sandbox}")
    visitor.wait_for(sandbox, "gone")


def _until(visitor: Visitor, sandbox_id: str, status: str) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while (found := visitor.status(sandbox_id)) != status:
        if found == "failed" or time.monotonic() > deadline:
            raise RuntimeError(visitor.api("GET", f"/api/sandboxes/{sandbox_id}")["statusReason"])
        time.sleep(_LOOK_SECONDS)


def _moment(text: object) -> float:
    """Seconds since 1970 of the engine's nanoseconds."""
    return datetime.fromisoformat(f"{str(text)[:26].rstrip('Z')}+00:00").timestamp()


def main() -> None:
    """Measure and print tables in Markdown."""
    results = Results()
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cli-server-bench-"))) for _ in range(2)]
        contenders: list[tuple[str, Product, Visitor, str]] = []
        for name, made in (
            (DOCKER, stack.enter_context(docker_product(folders[0]))),
            (PROCESS, stack.enter_context(product(folders[1]))),
        ):
            visitor = made.visitor()
            contenders.append((name, made, visitor, visitor.register()))
        for turn in range(ROUNDS):
            print(f"round {turn + 1} of {ROUNDS}", flush=True)
            by_hand(Engine(), results)
            for name, made, visitor, workspace in contenders:
                ours(made, visitor, workspace, name, results)
    print(f"\n{machine()}; medians of {ROUNDS}\n")
    print(results.table([HAND, DOCKER, PROCESS]), end="\n\n")
    ratios = [
        (f"{row.removesuffix(', s')}, × the engine's own command", results.ratio(row, DOCKER, HAND), "≤ 1.5")
        for row in (COLD, RESUME)
    ]
    print(bars(ratios))
