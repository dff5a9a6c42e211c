"""Twenty sandboxes at once on a small machine: each runs or says why not, and the API stays quick meanwhile."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.engine import docker_product

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.visitor import Visitor

MANY: Final = 20
ENOUGH: Final = 15  # all were seen to run; a machine busy with other things may be too slow for some
BETWEEN_SECONDS: Final = 0.05
SLOWEST: Final = 0.2  # seconds, at the 99th percentile: the bar that the product sets itself
ALL_SECONDS: Final = 200.0


class Asking:
    """Asks for the list of workspaces all the time, and notes how long each answer took, in seconds."""

    def __init__(self, visitor: Visitor) -> None:
        self.took: list[float] = []
        self.faults: list[str] = []
        self._visitor = visitor
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._over.wait(BETWEEN_SECONDS):
            began = time.monotonic()
            try:
                self._visitor.api("GET", "/api/workspaces")
            except (OSError, AssertionError) as error:
                self.faults.append(repr(error))
            self.took.append(time.monotonic() - began)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def percentile(self, share: float) -> float:
        """The time within which this share of the answers came."""
        return sorted(self.took)[min(len(self.took) - 1, int(len(self.took) * share))]


def settled(sandboxes: list[dict[str, Any]]) -> bool:
    """Whether none is on its way any more."""
    return all(sandbox["status"] in ("running", "failed") for sandbox in sandboxes)


@pytest.mark.alone  # the API's answers are timed
@pytest.mark.timeout(400)
def test_twenty_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with docker_product(tmp_path, AGENT_MEMORY_LIMIT="768Mi") as made:
        visitor = made.visitor()
        workspace = visitor.register()
        other = made.visitor()
        other.cookies.update(visitor.cookies)
        began = time.monotonic()
        with Asking(other) as asking:
            for _ in range(MANY):
                visitor.create(workspace)
            while not settled(found := visitor.api("GET", f"/api/workspaces/{workspace}/sandboxes")):
                assert time.monotonic() - began < ALL_SECONDS, [sandbox["status"] for sandbox in found]
                time.sleep(0.5)
        took = time.monotonic() - began
        assert len(found) == MANY
        assert all(sandbox["statusReason"] for sandbox in found if sandbox["status"] == "failed"), found
        assert len(made.engine.labelled("container", installation=made.installation)) == MANY
        running = [sandbox["id"] for sandbox in found if sandbox["status"] == "running"]
        assert len(running) >= ENOUGH, found
        for sandbox_id in running:
            host = visitor.open(sandbox_id)
            assert visitor.request("GET", host, "/global/health").json()["healthy"] is True
        assert not asking.faults
        slow = asking.percentile(0.99)
        with capsys.disabled():
            print(
                f"\n{len(running)} of {MANY} run after {took:.1f} s; {len(asking.took)} answers meanwhile, "
                f"median {1000 * asking.percentile(0.5):.0f} ms, 99th percentile {1000 * slow:.0f} ms"
            )
        assert slow < SLOWEST
