"""However a sandbox ends, or its daemon: nothing of it is left running."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import trio

from backends.leftovers import marked
from tests.backends.support import BOTH, INSTALLATION, fake_backend, gone, spec, start_process, tree, until

if TYPE_CHECKING:
    from pathlib import Path

    from backends.isolation import Isolation

A, B = "a" * 16, "b" * 16


def got_away(root: int) -> bool:
    """Whether what a stubborn fake starts is there: it does not wait for that."""
    return sum("sleep 7777" in line for line in tree(root).values()) >= 2


@BOTH
async def test_a_pause_ends_the_whole_tree(tmp_path: Path, isolation: Isolation) -> None:
    """Children that fork twice, leave their session and ignore SIGTERM end as well."""
    backend = fake_backend(tmp_path, isolation, stop_grace=0.3)
    async with backend.serve():
        await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        await until(lambda: got_away(os.getpid()))
        processes = tree(os.getpid())
        await backend.pause(A)
        assert all(gone(pid) for pid in processes)


@BOTH
async def test_leaving_ends_all_sandboxes_and_keeps_their_disks(tmp_path: Path, isolation: Isolation) -> None:
    backend = fake_backend(tmp_path, isolation)
    with trio.CancelScope() as scope:  # a daemon that ends is a daemon that is cancelled
        async with backend.serve():
            for sandbox_id in (A, B):
                await backend.ensure_running(spec(sandbox_id))
            processes = tree(os.getpid())
            scope.cancel()
            await trio.sleep_forever()
    assert processes
    assert all(gone(pid) for pid in processes)
    async with fake_backend(tmp_path, isolation).serve() as _:
        pass
    assert sorted(path.name for path in (tmp_path / "data" / "sandboxes").iterdir()) == [A, B]


@BOTH
async def test_a_daemon_killed_with_9_leaves_nothing(tmp_path: Path, isolation: Isolation) -> None:
    """Lesson of the issue: sandboxes are never left behind by a daemon that was killed."""
    command = [sys.executable, "-m", "tests.backends.victim", str(tmp_path), isolation]
    with await start_process(command) as victim:
        assert victim.stdout is not None
        line = b"the log's lines, then the one that is waited for"
        while line and not line.startswith(b"serving"):
            line = await trio.to_thread.run_sync(victim.stdout.readline)
        await until(lambda: got_away(victim.pid))
        processes = tree(victim.pid)
        victim.kill()
    await until(lambda: all(gone(pid) for pid in processes))


@BOTH
async def test_leftovers_of_an_earlier_daemon_are_ended_first(tmp_path: Path, isolation: Isolation) -> None:
    """And only those: a process with another installation's mark, or with a part of ours, stays."""
    data = str(tmp_path / "data")
    ours = {"CLI_SERVER_INSTALLATION": INSTALLATION, "CLI_SERVER_DATA": data, "CLI_SERVER_SANDBOX": A}
    others = [
        {**ours, "CLI_SERVER_INSTALLATION": INSTALLATION + "2"},
        {**ours, "CLI_SERVER_DATA": data + "2"},
        {"CLI_SERVER_INSTALLATION": INSTALLATION},
        {"SOMETHING": f"CLI_SERVER_INSTALLATION={INSTALLATION}"},
    ]
    stubborn = ["/bin/sh", "-c", "trap '' TERM; sleep 7777; sleep 7777"]
    left = await start_process(stubborn, {**ours, "PATH": os.environ["PATH"]})
    strangers = [await start_process(["sleep", "7777"], {**env, "PATH": os.environ["PATH"]}) for env in others]
    try:
        await until(lambda: tree(left.pid))
        below = tree(left.pid)
        async with fake_backend(tmp_path, isolation).serve():
            assert left.wait(10) == -signal.SIGKILL  # it has ended; the kernel may say so a moment later
            await until(lambda: all(gone(pid) for pid in below))
            assert [stranger.poll() for stranger in strangers] == [None] * len(others)
    finally:
        for process in (left, *strangers):
            with process:
                process.kill()


@BOTH
async def test_a_killed_launcher_takes_its_sandbox_along(tmp_path: Path, isolation: Isolation) -> None:
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        await until(lambda: got_away(os.getpid()))
        processes = tree(os.getpid())
        (launcher,) = (pid for pid, line in processes.items() if "launcher.py" in line)
        os.kill(launcher, signal.SIGKILL)
        await until(lambda: all(gone(pid) for pid in processes))
        await until(lambda: not marked({"CLI_SERVER_DATA": str(tmp_path / "data")}))


@BOTH
async def test_opencode_that_dies_later_is_observed(tmp_path: Path, isolation: Isolation) -> None:
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        address = await backend.ensure_running(spec())
        for pid, line in tree(os.getpid()).items():
            if "serve --hostname" in line and "bwrap" not in line and "launcher.py" not in line:
                os.kill(pid, signal.SIGKILL)

        async def ended() -> bool:
            return not (await backend.inventory())[A].running

        await until(ended)
        assert (await backend.inventory())[A].detail == "opencode exited with status 137: fake opencode is starting"
        assert await backend.address(A) is None
        assert await backend.ensure_running(spec()) != address
