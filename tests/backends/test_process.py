"""What is special to the process backend, in bubblewrap and without; the rest is in test_contract.py."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from backends.base import Address, BackendRejected, BackendUnavailable
from backends.process import ProcessBackend
from tests.backends.support import (
    BOTH,
    INSTALLATION,
    PASSWORD,
    PROXY_TOKEN,
    WORKSPACE,
    fake_backend,
    read,
    run_inside,
    spec,
    tree,
    until,
)
from tests.support.product import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from backends.isolation import Isolation

A, B = "a" * 16, "b" * 16


@BOTH
async def test_no_secret_stands_on_a_command_line(tmp_path: Path, isolation: Isolation) -> None:
    """Everybody on the machine can read those."""
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        address = await backend.ensure_running(spec())
        assert address.host == "127.0.0.1"
        processes = tree(os.getpid())
        assert sum("launcher.py" in line for line in processes.values()) == 1
        assert not any(PASSWORD in line or PROXY_TOKEN in line for line in processes.values())
        await backend.destroy(A, WORKSPACE)
        assert list((tmp_path / "data" / "sandboxes").iterdir()) == []


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
async def test_where_a_port_is_reached(tmp_path: Path, isolation: Isolation) -> None:
    """The network is the machine's, and there it matters which of the two loopback addresses a server has."""
    serve = "setsid python3 -m http.server --bind {} {} >/dev/null 2>&1 &"
    backend = fake_backend(tmp_path, isolation)
    async with backend.serve():
        ours = await backend.ensure_running(spec())
        port, port6 = free_port(), free_port()
        await run_inside(ours, serve.format("0.0.0.0", port))
        await run_inside(ours, serve.format("::1", port6))
        for number, host in ((port, "127.0.0.1"), (port6, "::1")):
            await until(partial(backend.port_address, A, number))
            assert await backend.port_address(A, number) == Address(host, number)

        async def listed() -> bool:
            return await backend.ports(A) == sorted([port, port6])

        await until(listed)  # a list may be a second old
    assert await backend.ports(A) == []


async def test_the_log_says_how_it_ended(tmp_path: Path) -> None:
    backend = fake_backend(tmp_path, "none")
    async with backend.serve():
        await backend.ensure_running(spec(FAKE_SAY="first run"))
        await backend.pause(A)
        kept = await read(backend, A)
        assert kept.endswith(b"ended with status 143\n")
        await backend.ensure_running(spec(FAKE_SAY="second run"))

        async def added() -> bool:
            """It may answer before what it has written is kept."""
            both = await read(backend, A)
            assert both.startswith(kept)
            return b"second run" in both

        await until(added)  # also in another environment


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
