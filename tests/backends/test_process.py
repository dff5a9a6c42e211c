"""The process backend with a stand-in for opencode, in bubblewrap and without."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from backends.base import Address, Backend, BackendRejected, BackendUnavailable, SandboxGone
from backends.process import ProcessBackend
from tests.backends.support import (
    BOTH,
    INSTALLATION,
    PASSWORD,
    PROXY_TOKEN,
    WORKSPACE,
    fake_backend,
    run_inside,
    spec,
    tree,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backends.isolation import Isolation

A, B = "a" * 16, "b" * 16


async def read(backend: Backend, sandbox_id: str) -> bytes:
    """The whole kept output."""
    async with backend.logs(sandbox_id, follow=False) as pieces:
        return b"".join([piece async for piece in pieces])


@BOTH
async def test_life(tmp_path: Path, isolation: Isolation) -> None:
    backend: Backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        assert await backend.inventory() == {}
        assert await backend.address(A) is None
        address = await backend.ensure_running(spec())
        assert address.host == "127.0.0.1"
        processes = tree(os.getpid())
        assert await backend.ensure_running(spec()) == address
        assert tree(os.getpid()).keys() == processes.keys(), "repeating it changes nothing"
        assert await backend.address(A) == address
        assert not any(PASSWORD in line or PROXY_TOKEN in line for line in processes.values())
        await run_inside(address, "echo kept > ~/kept; echo kept > ~/disk0/kept")

        other = await backend.ensure_running(spec(MORE="1"))
        assert await run_inside(other, "echo $MORE; cat ~/kept") == "1\nkept\n", "a new environment: a new process"
        observed = (await backend.inventory())[A]
        assert (observed.sandbox_id, observed.workspace_id, observed.running) == (A, WORKSPACE, True)

        await backend.pause(A)
        await backend.pause(A)
        assert await backend.address(A) is None
        observed = (await backend.inventory())[A]
        assert (observed.running, observed.detail) == (False, "")
        assert await run_inside(await backend.ensure_running(spec()), "cat ~/kept ~/disk0/kept") == "kept\nkept\n"

        with pytest.raises(BackendUnavailable, match="still runs"):
            await backend.destroy_workspace(WORKSPACE)
        for _ in range(2):
            await backend.destroy(A, WORKSPACE)
            assert await backend.inventory() == {}
        disk = tmp_path / "data" / "workspaces" / WORKSPACE / "disk"
        assert (disk / "kept").exists(), "the disk is the workspace's, not the sandbox's"
        for _ in range(2):
            await backend.destroy_workspace(WORKSPACE)
        assert not disk.exists()
        assert list((tmp_path / "data" / "sandboxes").iterdir()) == []


@BOTH
async def test_opencode_that_dies_at_its_start_says_why(tmp_path: Path, isolation: Isolation) -> None:
    """Lesson: a failed start vanished and nobody learned why."""
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        with pytest.raises(BackendRejected, match="exited with status 3: the disk is on fire"):
            await backend.ensure_running(spec(FAKE_EXIT="3", FAKE_SAY="the disk is on fire"))
        observed = (await backend.inventory())[A]
        assert (observed.running, observed.detail) == (False, "opencode exited with status 3: the disk is on fire")
        assert b"the disk is on fire" in await read(backend, A)
        await backend.ensure_running(spec())
        assert (await backend.inventory())[A].detail == ""


@pytest.mark.parametrize("mood", ["html", "sick", "silent"])
async def test_opencode_that_is_never_healthy(tmp_path: Path, mood: str) -> None:
    """Lesson: a 200 proves nothing, the body must say so. The wait has an end, and leaves nothing running."""
    backend = fake_backend(tmp_path, "none", start_timeout=1.0)
    async with backend.serve():
        with pytest.raises(BackendUnavailable, match="not healthy within 1 s"):
            await backend.ensure_running(spec(FAKE_HEALTH=mood))
        assert not (await backend.inventory())[A].running


async def test_a_pause_does_not_wait_for_a_start(tmp_path: Path) -> None:
    """Lesson: lookups and stops waited behind a lock that was held during something slow."""
    backend = fake_backend(tmp_path, "none")
    async with backend.serve(), trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(BackendUnavailable, match="stopped while it was starting"):
                await backend.ensure_running(spec(FAKE_HEALTH="sick"))

        nursery.start_soon(start)
        await until(lambda: backend.address(A))
        await backend.pause(A)


async def test_a_cancelled_start_leaves_what_the_inventory_shows(tmp_path: Path) -> None:
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.ensure_running, spec(FAKE_HEALTH="sick"))
            await until(lambda: backend.address(A))
            nursery.cancel_scope.cancel()
        assert (await backend.inventory())[A].running
        await backend.ensure_running(spec())
        await backend.destroy(A, WORKSPACE)
        assert await backend.inventory() == {}


async def test_two_who_start_the_same_sandbox_get_the_same(tmp_path: Path) -> None:
    backend = fake_backend(tmp_path, "none")
    found: list[Address] = []

    async def start() -> None:
        found.append(await backend.ensure_running(spec()))

    async with backend.serve():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start)
        assert len(set(found)) == 1
        assert sum("launcher.py" in line for line in tree(os.getpid()).values()) == 1


async def test_a_port_that_a_stranger_takes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesson: a stale address pointed at another tenant, and credentials were sent there."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        ports = [stranger.getsockname()[1]]
        free_port = ProcessBackend._free_port
        monkeypatch.setattr(ProcessBackend, "_free_port", lambda self: ports.pop() if ports else free_port(self))
        backend = fake_backend(tmp_path, "none")
        async with backend.serve():
            address = await backend.ensure_running(spec())
            assert address.port != stranger.getsockname()[1]
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.accept()


@BOTH
async def test_ports_inside(tmp_path: Path, isolation: Isolation) -> None:
    """``{port}-{id}`` hosts reach what this sandbox serves, and no other service of the machine."""
    serve = "setsid python3 -m http.server --bind {} {} >/dev/null 2>&1 &"
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        ours = await backend.ensure_running(spec())
        theirs = await backend.ensure_running(spec(B))
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            assert await backend.port_address(A, stranger.getsockname()[1]) is None
        port, port6 = backend._free_port(), backend._free_port()
        await run_inside(ours, serve.format("0.0.0.0", port))
        await run_inside(ours, serve.format("::1", port6))
        for number, host in ((port, "127.0.0.1"), (port6, "::1")):
            await until(partial(backend.port_address, A, number))
            assert await backend.port_address(A, number) == Address(host, number)
            assert await backend.port_address(B, number) is None
        with socket.create_server(("127.0.0.1", 0)):

            async def listed() -> bool:
                return await backend.ports(A) == sorted([port, port6])

            await until(listed)  # a list may be a second old
        assert await backend.ports(B) == []
        assert await backend.port_address(A, ours.port) is None, "opencode has a host name of its own"
        assert await backend.port_address(A, theirs.port) is None
        await backend.pause(A)
        assert await backend.port_address(A, port) is None
        assert await backend.ports(A) == []
    assert await backend.ports(A) == []


@BOTH
async def test_the_size_of_a_workspace_s_disk(tmp_path: Path, isolation: Isolation) -> None:
    """It is the disk's alone, it follows no link, and a sandbox that was paused has not made it smaller."""
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        assert await backend.disk_bytes(WORKSPACE) == 0
        address = await backend.ensure_running(spec())
        empty = await backend.disk_bytes(WORKSPACE)
        await run_inside(address, "head -c 3000000 /dev/zero > ~/disk0/three; head -c 5000000 /dev/zero > ~/home")
        await run_inside(address, "ln -s /usr ~/disk0/usr; ln -s ~ ~/disk0/home; ln ~/disk0/three ~/disk0/again; sync")
        await backend.pause(A)
        full = await backend.disk_bytes(WORKSPACE)
        assert empty is not None
        assert full is not None
        assert 3_000_000 <= full - empty < 3_100_000
        assert await backend.disk_bytes("v" * 16) == 0
        with pytest.raises(BackendRejected):
            await backend.disk_bytes("../" + WORKSPACE)


async def test_logs(tmp_path: Path) -> None:
    """They follow until the end, hold no secret, and stay after a pause."""
    backend = fake_backend(tmp_path, "none")
    seen = b""
    async with backend.serve():
        with pytest.raises(SandboxGone):
            await read(backend, A)
        address = await backend.ensure_running(spec(FAKE_SAY=f"hello {PASSWORD} {PROXY_TOKEN}"))

        async def follow(pieces: AsyncIterator[bytes]) -> None:
            nonlocal seen
            async for piece in pieces:
                seen += piece

        async with backend.logs(A, follow=True) as pieces, trio.open_nursery() as nursery:
            nursery.start_soon(follow, pieces)
            await until(lambda: b"hello [redacted] [redacted]" in seen)
            await run_inside(address, "echo again > /proc/$PPID/fd/1")
            await until(lambda: b"again" in seen)
            await backend.pause(A)
        assert seen.endswith(b"ended with status 143\n")
        assert await read(backend, A) == seen
        await backend.ensure_running(spec(FAKE_SAY="second run"))
        kept = await read(backend, A)
        assert kept.startswith(seen)
        assert b"second run" in kept
        await backend.destroy(A, WORKSPACE)
        with pytest.raises(SandboxGone):
            await read(backend, A)


async def test_a_follower_may_leave(tmp_path: Path) -> None:
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        await backend.ensure_running(spec())
        async with backend.logs(A, follow=True) as pieces:
            async for _ in pieces:
                break
        with trio.move_on_after(0.1) as scope:
            async with backend.logs(A, follow=True) as pieces:
                async for _ in pieces:
                    pass
        assert scope.cancelled_caught


async def test_what_cannot_be_started(tmp_path: Path) -> None:
    """Each says what to do, and none looks like a passing trouble."""
    (tmp_path / "text").write_text("not a program")
    for name, words in (
        (str(tmp_path / "none"), "was not found; install it"),
        ("no-such-opencode", "was not found on PATH; install it"),
        (str(tmp_path / "text"), "is not an executable file"),
    ):
        backend = ProcessBackend(tmp_path / "data", INSTALLATION, name)
        async with backend.serve():
            for call in (backend.check, lambda backend=backend: backend.ensure_running(spec())):
                with pytest.raises(BackendRejected, match=words):
                    await call()
        assert not any((tmp_path / "data" / "sandboxes").iterdir())
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        with pytest.raises(BackendRejected, match="environment of the sandbox cannot be used"):
            await backend.ensure_running(spec(BAD="a\0b"))
        with pytest.raises(BackendRejected, match="Argument list too long"):
            await backend.ensure_running(spec(LONG="x" * 200_000))
        for wrong in ("../../etc", "A" * 16, "1" * 16, ""):
            with pytest.raises(BackendRejected, match="not an identifier"):
                await backend.ensure_running(spec(wrong))
            with pytest.raises(BackendRejected, match="not an identifier"):
                await backend.destroy(A, wrong)


async def test_an_unusable_data_directory_is_not_an_empty_one(tmp_path: Path) -> None:
    """Lesson: with a hiccup the list was empty, and the clean-up deleted everything."""
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        await backend.ensure_running(spec())
        mark = tmp_path / "data" / "sandboxes" / A / "sandbox.json"
        mark.write_text("{")
        with pytest.raises(BackendUnavailable, match="damaged"):
            await backend.inventory()
        (tmp_path / "data" / "sandboxes").rename(tmp_path / "unmounted")
        with pytest.raises(BackendUnavailable, match="data directory"):
            await backend.inventory()


async def test_nothing_is_started_after_the_end(tmp_path: Path) -> None:
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        pass
    with pytest.raises(BackendUnavailable, match="shutting down"):
        await backend.ensure_running(spec())
