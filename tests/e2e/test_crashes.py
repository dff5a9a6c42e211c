"""Daemon, opencode and PostgreSQL killed with -9: nothing is lost, nothing runs that should not, nothing is stuck."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.product import ROOT, Product, processes_of, product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.visitor import Visitor

pytestmark = [pytest.mark.needs("opencode", "postgres"), pytest.mark.timeout(240)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Product]:
    """The product with the real opencode."""
    with product(tmp_path) as made:
        yield made


def stubborn(folder: Path) -> str:
    """A stand-in that takes the whole grace period to end, so that pausing and deleting can be seen."""
    return str(shutil.copy(ROOT / "tests/standins/hostile_opencode.py", folder / "stubborn-opencode"))


def opencodes(made: Product, sandbox_id: str) -> list[int]:
    """Processes that serve this sandbox."""
    found = {}
    for pid in processes_of(made.folder):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            mounts = Path(f"/proc/{pid}/mountinfo").read_bytes()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if (
            any(word.endswith(b"opencode") for word in words[:2])
            and b"serve" in words
            and sandbox_id.encode() in mounts
        ):
            found[pid] = parent
    # What it starts is called as itself for a moment, until it has become another program.
    return [pid for pid, parent in found.items() if parent not in found]


def wait_until_quiet(made: Product) -> None:
    """A daemon that was killed leaves nothing: its children end within seconds."""
    deadline = time.monotonic() + 60
    while left := processes_of(made.folder):
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.2)


def crash(made: Product) -> None:
    """Kill the daemon, see that nothing is left, start it again."""
    made.kill()
    wait_until_quiet(made)
    made.start()


def home(made: Product, sandbox_id: str) -> Path:
    """The sandbox's home on the disk."""
    return made.data_dir / "sandboxes" / sandbox_id / "home"


def usable(visitor: Visitor, sandbox_id: str) -> bool:
    """Whether opencode itself answers through its host."""
    host = visitor.open(sandbox_id)
    answer = visitor.request("GET", host, "/global/health")
    return answer.status == 200 and answer.json()["healthy"] is True


def test_killed_while_creating(running: Product) -> None:
    visitor = running.visitor()
    sandbox = visitor.create(visitor.register())
    assert visitor.status(sandbox) == "creating"
    crash(running)
    visitor.wait_for(sandbox, "running")
    assert usable(visitor, sandbox)
    assert len(opencodes(running, sandbox)) == 1


def test_killed_while_running_and_resuming(running: Product) -> None:
    visitor = running.visitor()
    sandbox = visitor.running(visitor.register())
    (home(running, sandbox) / "marker").write_text("kept")
    crash(running)
    visitor.wait_for(sandbox, "running")  # it comes back by itself: it was in use

    visitor.api("POST", f"/api/sandboxes/{sandbox}/pause")
    visitor.wait_for(sandbox, "paused")
    assert opencodes(running, sandbox) == []
    visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")
    assert visitor.status(sandbox) == "resuming"
    crash(running)
    visitor.wait_for(sandbox, "running")
    assert (home(running, sandbox) / "marker").read_text() == "kept"
    assert usable(visitor, sandbox)
    assert len(opencodes(running, sandbox)) == 1


def test_killed_while_pausing_and_deleting(tmp_path: Path) -> None:
    with product(tmp_path, OPENCODE_BIN=stubborn(tmp_path)) as made:
        visitor = made.visitor()
        sandbox = visitor.running(visitor.register())
        (home(made, sandbox) / "marker").write_text("kept")
        visitor.api("POST", f"/api/sandboxes/{sandbox}/pause")
        assert visitor.status(sandbox) == "pausing"
        crash(made)
        visitor.wait_for(sandbox, "paused")
        assert (home(made, sandbox) / "marker").read_text() == "kept"

        visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")
        visitor.wait_for(sandbox, "running")
        visitor.api("DELETE", f"/api/sandboxes/{sandbox}")
        assert visitor.status(sandbox) in ("deleting", "gone")
        crash(made)
        visitor.wait_for(sandbox, "gone")
        assert not home(made, sandbox).exists()
        assert opencodes(made, sandbox) == []


def test_opencode_killed_under_the_daemon(running: Product) -> None:
    visitor = running.visitor()
    sandbox = visitor.running(visitor.register())
    (home(running, sandbox) / "marker").write_text("kept")
    before = opencodes(running, sandbox)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while not (visitor.status(sandbox) == "running" and set(opencodes(running, sandbox)) - set(before)):
        assert time.monotonic() < deadline, visitor.api("GET", f"/api/sandboxes/{sandbox}")
        time.sleep(0.2)
    assert usable(visitor, sandbox)
    assert (home(running, sandbox) / "marker").read_text() == "kept"


def test_postgresql_killed_under_the_daemon(running: Product) -> None:
    visitor = running.visitor()
    workspace = visitor.register()
    sandbox = visitor.running(workspace)
    before = opencodes(running, sandbox)
    postmaster = int((running.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    said = len(running.log)
    os.kill(postmaster, signal.SIGKILL)
    deadline = time.monotonic() + 60
    # Its children outlive it by a moment, in which all seems well.
    while "embedded postgresql runs" not in running.log[said:] or running.readiness() != 200:
        assert time.monotonic() < deadline, running.log[-3000:]
        time.sleep(0.1)
    assert visitor.status(sandbox) == "running"
    assert opencodes(running, sandbox) == before, "a database that restarts is no reason to restart a sandbox"
    assert usable(visitor, sandbox)
    visitor.api("PATCH", f"/api/workspaces/{workspace}", {"name": "renamed"})  # and it can be written to


def test_sigterm_leaves_nothing_running(running: Product) -> None:
    visitor = running.visitor()
    visitor.running(visitor.register())
    assert running.stop() == 0
    assert processes_of(running.folder) == []
