"""The process backend with the real opencode."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trio_websocket

from backends.process import ProcessBackend
from tests.backends.support import INSTALLATION, PASSWORD, WORKSPACE, gone, spec, tree, until

if TYPE_CHECKING:
    from pathlib import Path

    from backends.base import Address

pytestmark = [pytest.mark.needs("opencode")]
A, B = "a" * 16, "b" * 16
GRACE = 1.0  # seconds; with terminals open, opencode 1.18.33 now and then hangs when it is told to end


def client(address: Address, password: str = PASSWORD) -> httpx.AsyncClient:
    """An HTTP client of one opencode."""
    base = f"http://{address.host}:{address.port}"
    return httpx.AsyncClient(base_url=base, auth=("opencode", password), trust_env=False, timeout=20)


async def in_terminal(address: Address, command: str) -> str:
    """What a terminal of opencode's says to ``command``."""
    async with client(address) as http:
        made = (await http.post("/pty", json={})).json()
    url = f"ws://{address.host}:{address.port}/pty/{made['id']}/connect"
    token = b"Basic " + base64.b64encode(f"opencode:{PASSWORD}".encode())
    said = ""
    # Whether opencode says good-bye in time is not what is asked here.
    with contextlib.suppress(trio_websocket.DisconnectionTimeout):
        async with trio_websocket.open_websocket_url(
            url, extra_headers=[(b"Authorization", token)], disconnect_timeout=0.5
        ) as socket:
            await socket.send_message(f"{command}; echo the-'end'\n")
            with trio.fail_after(20):
                while "the-end" not in said:
                    message = await socket.get_message()
                    said += message if isinstance(message, str) else message.decode(errors="replace")
    return said


@pytest.mark.needs("bubblewrap")
async def test_two_sandboxes(tmp_path: Path, opencode_program: Path) -> None:
    """Start, use, pause and resume; the disk is shared, the homes are not."""
    backend = ProcessBackend(tmp_path / "data", INSTALLATION, str(opencode_program), stop_grace=GRACE)
    async with backend.serve():
        assert backend.isolation == "bubblewrap", "this machine has bubblewrap, and it was not used"
        await backend.check()
        found: dict[str, Address] = {}

        async def start(sandbox_id: str) -> None:
            found[sandbox_id] = await backend.ensure_running(spec(sandbox_id))

        async with trio.open_nursery() as nursery:
            for sandbox_id in (A, B):
                nursery.start_soon(start, sandbox_id)

        async with client(found[A]) as http, client(found[A], "wrong") as stranger:
            assert (await http.get("/global/health")).json()["healthy"] is True
            assert (await stranger.get("/global/health")).status_code == 401
            paths = (await http.get("/path")).json()
            assert (paths["home"], paths["directory"]) == ("/home/agent", "/home/agent/project")
            title = (await http.post("/session", json={"title": "kept in the home"})).json()["title"]

        said = await in_terminal(found[A], "id -un; pwd; echo shared > /data/disk0/file; which opencode; ls /root")
        for words in ("agent", "/home/agent/project", "/opt/opencode/bin/opencode", "cannot access"):
            assert words in said
        assert "shared" in await in_terminal(found[B], "cat /data/disk0/file")

        processes = tree(os.getpid())
        await backend.pause(A)
        assert await backend.address(A) is None
        assert not all(gone(pid) for pid in processes), "the other one runs on"
        await start(A)
        async with client(found[A]) as http:
            assert title in json.dumps((await http.get("/session")).json())
        await backend.destroy(B, WORKSPACE)
        assert set(await backend.inventory()) == {A}


async def test_its_death_is_noticed_and_its_terminals_go_with_it(tmp_path: Path, opencode_program: Path) -> None:
    """Without a jail here; with one, the kernel does it (see test_ends.py)."""
    backend = ProcessBackend(tmp_path / "data", INSTALLATION, str(opencode_program), isolation="none", stop_grace=GRACE)
    async with backend.serve():
        address = await backend.ensure_running(spec())
        assert "disk0" in await in_terminal(address, "ls ~")
        async with client(address) as http:
            await http.post(
                "/pty", json={"command": "/bin/sh", "args": ["-c", "trap '' TERM HUP; sleep 7777; sleep 7777"]}
            )
        await until(lambda: any("sleep 7777" in line for line in tree(os.getpid()).values()))
        processes = tree(os.getpid())
        (program,) = (pid for pid, line in processes.items() if line.split()[0].endswith("/opencode"))
        os.kill(program, 9)
        await until(lambda: all(gone(pid) for pid in processes))

        async def noticed() -> bool:
            return (await backend.inventory())[A].detail.startswith("opencode exited with status 137: opencode server")

        await until(noticed)
        assert await backend.address(A) is None
