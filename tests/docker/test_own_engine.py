"""The engine itself goes away, comes back, is killed, or has no room left. It is one that nobody else uses.

opencode is the fake one, which is small and starts at once: what is looked at is who notices, and what they do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest

from backends.containers import DockerOptions
from backends.docker import DockerBackend
from daemon.ids import new_id
from tests.backends.fake_image import fake_image
from tests.backends.support import WORKSPACE, spec
from tests.support.engine import DockerProduct, docker_product, until
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.product import ROOT, START_SECONDS
from tests.support.visitor import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.visitor import Visitor

pytestmark = pytest.mark.needs("root", "dockerd")

A, B = "a" * 16, "b" * 16
NETWORKS: Final = "10.214.0.0/16"
# Until the reconciler has seen that the containers ended, and has started them again, on a busy machine: it looks every
# five seconds.
BACK_SECONDS: Final = 90.0
AT_ONCE_SECONDS: Final = 3.0  # for an answer that waits for nothing


@dataclass(frozen=True)
class Place:
    """An engine, the product on it, and somebody who uses it."""

    own: OwnEngine
    made: DockerProduct
    visitor: Visitor
    workspace: str

    def inside(self, sandbox_id: str, command: str) -> str:
        """What a shell command in the sandbox says, by way of the gateway."""
        host = self.visitor.open(sandbox_id)
        answer = self.visitor.request("GET", host, f"/run?command={quote(command)}")
        assert answer.status == 200, answer.body[:300]
        return answer.body.decode()

    def usable(self, sandbox_id: str) -> None:
        """Wait until it runs and answers."""
        deadline = time.monotonic() + BACK_SECONDS
        host = f"oc-{sandbox_id}.localhost"
        while not (self._answers(host) and self.visitor.status(sandbox_id) == "running"):
            row = self.visitor.api("GET", f"/api/sandboxes/{sandbox_id}")
            assert time.monotonic() < deadline, row
            time.sleep(0.1)

    def _answers(self, host: str) -> bool:
        """A request is cut if its sandbox turns out to be gone while it waits."""
        with suppress(ConnectionError):
            return self.visitor.request("GET", host, "/global/health").status == 200
        return False

    def delete(self, *sandboxes: str) -> None:
        """Delete them, and wait until nothing of them is left on the engine."""
        for sandbox_id in sandboxes:
            self.visitor.api("DELETE", f"/api/sandboxes/{sandbox_id}")
        for sandbox_id in sandboxes:
            self.visitor.wait_for(sandbox_id, "gone")
            assert not self.made.containers(sandbox_id)
            assert not self.made.home(sandbox_id)

    def wait_for_log(self, words: str, after: str) -> None:
        """Wait until the daemon says it once more."""
        deadline = time.monotonic() + BACK_SECONDS
        while words not in self.made.log[len(after) :]:
            assert time.monotonic() < deadline, f"it never says {words}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    with own_engine(fake_image()) as engine:
        yield engine


def settings(own: OwnEngine) -> dict[str, str]:
    """Beside the data directory."""
    return {"DOCKER_HOST": own.engine.host, "AGENT_IMAGE": fake_image(), "AGENT_NETWORKS": NETWORKS}


@pytest.fixture(scope="module")
def place(own: OwnEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("own-engine")
    with docker_product(folder, engine=own.engine, **settings(own)) as made:
        visitor = made.visitor()
        yield Place(own, made, visitor, visitor.register())


@pytest.mark.parametrize("end", [OwnEngine.stop, OwnEngine.kill], ids=["stopped", "killed"])
def test_an_engine_that_is_restarted(place: Place, end: Callable[[OwnEngine], None]) -> None:
    visitor, made = place.visitor, place.made
    one, two = visitor.create(place.workspace), visitor.create(place.workspace)
    for sandbox in (one, two):
        visitor.wait_for(sandbox, "running")
    # The engine gives out the lowest address that is free: the first gets another one at each start.
    visitor.api("POST", f"/api/sandboxes/{one}/pause")
    visitor.wait_for(one, "paused")
    three = visitor.running(place.workspace)
    visitor.api("POST", f"/api/sandboxes/{one}/resume")
    visitor.wait_for(one, "running")
    sandboxes = [one, two, three]
    before = {sandbox: made.container(sandbox) for sandbox in sandboxes}
    for sandbox in sandboxes:
        place.inside(sandbox, f"echo {sandbox} >~/name; echo {sandbox} >>~/disk0/names")
    log = made.log
    with place.own.away(end):
        for sandbox in sandboxes:
            began = time.monotonic()
            answer = visitor.request("GET", f"oc-{sandbox}.localhost", "/", headers=PAGE)
            assert answer.status in (502, 503)
            assert time.monotonic() - began < AT_ONCE_SECONDS
        if end is OwnEngine.kill:
            place.wait_for_log("nothing is reconciled", log)
            assert {visitor.status(sandbox) for sandbox in sandboxes} == {"running"}, "nobody knows better"
        rows = visitor.api("GET", f"/api/workspaces/{place.workspace}/sandboxes")
        # One that ends may have told of containers that it had ended already.
        assert {row["status"] for row in rows} <= {"running", "resuming"}
        until(lambda: made.readiness() == 503, 30, lambda: made.log[-2000:])  # an answer may be a second old
    for sandbox in sandboxes:
        place.usable(sandbox)
        assert made.containers(sandbox) == [before[sandbox]]
        assert place.inside(sandbox, "cat ~/name") == f"{sandbox}\n", "at its own address, with its own home"
    assert set(sandboxes) <= set(place.inside(two, "cat ~/disk0/names").split())
    made.wait_ready()
    place.delete(*sandboxes)


def test_a_full_disk(place: Place) -> None:
    visitor, made = place.visitor, place.made
    well, paused = visitor.create(place.workspace), visitor.create(place.workspace)
    for sandbox in (well, paused):
        visitor.wait_for(sandbox, "running")
    place.inside(paused, "echo kept >~/kept")
    with place.own.full():
        fresh, gone = visitor.create(place.workspace), visitor.create(place.workspace)
        for sandbox in (fresh, gone):
            visitor.wait_for(sandbox, "failed")
            reason = visitor.api("GET", f"/api/sandboxes/{sandbox}")["statusReason"]
            assert "the Docker engine's disk is full; make room on its machine" in reason
            assert not made.containers(sandbox), "nothing half made"
        place.delete(gone)
        assert visitor.status(well) == "running"
        assert place.inside(well, "echo here") == "here\n"
        visitor.api("POST", f"/api/sandboxes/{paused}/pause")
        visitor.wait_for(paused, "paused")
    for sandbox in (fresh, paused):
        visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")
    for sandbox in (fresh, paused):
        visitor.wait_for(sandbox, "running")
        place.inside(sandbox, f"echo {sandbox} >~/name")
    for sandbox in (fresh, paused):
        assert place.inside(sandbox, "cat ~/name") == f"{sandbox}\n"
        assert len(made.containers(sandbox)) == 1
    assert place.inside(paused, "cat ~/kept") == "kept\n"
    place.delete(well, paused, fresh)


async def test_what_ended_while_the_disk_was_full(own: OwnEngine) -> None:
    """The engine goes on listing it as running, at an address that it gives to the next one. It is not believed."""
    options = DockerOptions(fake_image(), own.engine.host, networks=IPv4Network(NETWORKS))
    backend = DockerBackend(options, new_id(), stop_grace=1)
    async with backend.serve():
        address = await backend.ensure_running(spec(A))
        with own.full():
            await backend.pause(A)
            assert await backend.address(A) is None
            assert not (await backend.inventory())[A].running
        assert await backend.ensure_running(spec(B)) == address
        assert await backend.address(A) is None
        assert {found.sandbox_id for found in (await backend.inventory()).values() if found.running} == {B}
        assert await backend.ensure_running(spec(A)) != address
        for sandbox in (A, B):
            await backend.destroy(sandbox, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)


def test_a_daemon_that_is_started_without_an_engine(own: OwnEngine, tmp_path: Path) -> None:
    with own.away():
        made = DockerProduct(tmp_path, {"BACKEND": "docker", **settings(own)}, engine=own.engine)
        made.start(ready=False)
        try:
            visitor = made.visitor()
            _says_what_is_missing(made, visitor)
            workspace = visitor.register()
            early = visitor.create(workspace)
            visitor.wait_for(early, "failed")
            assert (
                "the Docker engine cannot be reached" in visitor.api("GET", f"/api/sandboxes/{early}")["statusReason"]
            )
        except BaseException:
            made.close()
            raise
    try:
        made.wait_ready()
        visitor.api("POST", f"/api/sandboxes/{early}/resume")
        place = Place(own, made, visitor, workspace)
        for sandbox in (early, visitor.create(workspace)):
            visitor.wait_for(sandbox, "running")
            assert place.inside(sandbox, "echo here") == "here\n"
        made.delete_everything()
    finally:
        made.close()


def _says_what_is_missing(made: DockerProduct, visitor: Visitor) -> None:
    """To whoever asks it, and to the operator who asks why."""
    deadline = time.monotonic() + START_SECONDS
    while made.readiness() == 0:
        assert time.monotonic() < deadline, made.log[-3000:]
        time.sleep(0.1)
    answer = visitor.request("GET", "localhost", "/readyz")
    assert (answer.status, answer.json()["detail"]) == (503, "backend: failed")
    assert visitor.request("GET", "localhost", "/healthz").status == 200
    env = {"PATH": os.environ["PATH"], "HOME": str(made.folder), "LISTEN": f"127.0.0.1:{made.port}", **made.env}
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "doctor", "--data-dir", str(made.data_dir)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = (line for line in done.stdout.splitlines() if "backend:" in line)
    assert line.startswith("FAIL  backend: the Docker engine cannot be reached"), line
    assert f"{made.engine.host.removeprefix('unix://')}: start the Docker engine" in line
    assert done.returncode == 1
