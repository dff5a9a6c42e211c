"""A sandbox starts whatever somebody has done to its home, and runs the image's programs, not those of the home."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.images.test_sandbox_image import BASIC, IMAGE, SECONDS, sandbox
from tests.support.compose import docker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("docker", "images")

# As the backend runs it; no network, because nothing here needs one.
CONFINED: Final = (
    *("run", "--rm", "--network", "none", "--init", "--read-only", "--tmpfs", "/tmp", "--user", "1000:1000"),
    *("--workdir", "/home/agent", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


@contextmanager
def home(spoil: str) -> Iterator[str]:
    """A volume with the image's home, to which something was done."""
    volume = f"cli-server-test-home-{os.getpid()}"
    docker("volume", "create", volume)
    try:
        docker(*CONFINED, "--volume", f"{volume}:/home/agent", "--entrypoint", "sh", IMAGE, "-c", spoil)
        yield volume
    finally:
        docker("volume", "rm", volume)


@pytest.mark.parametrize(
    ("spoil", "folder"),
    [
        ("true", "/home/agent/project"),
        ("rmdir ~/project ; rm ~/disk0", "/home/agent/project"),
        ("chmod 000 ~/project", "/home/agent"),
        ("chmod 111 ~/project", "/home/agent"),
        ("rmdir ~/project; touch ~/project", "/home/agent"),
        ("rmdir ~/project; ln -s /nowhere ~/project", "/home/agent"),
        ("rmdir ~/project; ln -s project ~/project", "/home/agent"),
        ("rmdir ~/project; mkfifo ~/project", "/home/agent"),
        ("rmdir ~/project; rm ~/disk0; chmod 500 ~", "/home/agent/project"),
        ("chmod 000 ~", "/home/agent/project"),
    ],
)
def test_the_entry_point_gets_to_the_command(spoil: str, folder: str) -> None:
    with home(spoil) as volume:
        command = [
            *CONFINED,
            "--volume",
            f"{volume}:/home/agent",
            IMAGE,
            "sh",
            "-c",
            "pwd; touch ~/x; readlink ~/disk0",
        ]
        done = subprocess.run(["docker", *command], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [folder, "/data/disk0"]
        assert ("the sandbox does not start in" in done.stderr) == (folder == "/home/agent"), "it says why"


async def test_nothing_in_the_home_takes_the_place_of_what_the_server_runs() -> None:
    """Neither opencode, nor what looks for ports and sizes; in login shells, what people installed goes first."""
    async with sandbox() as box:
        for name in ("opencode", "cat", "du", "timeout", "python3", "ls"):
            program = f"~/.local/bin/{name}"
            box.shell(f"mkdir -p ~/.local/bin; printf '#!/bin/sh\\nexec sleep 1000\\n' >{program}; chmod +x {program}")
        box.shell("chmod 000 ~/project")
        await box.backend.pause(box.spec.id)
        address = await box.backend.ensure_running(box.spec)
        async with httpx.AsyncClient(base_url=f"http://{address.host}:{address.port}", auth=BASIC) as client:
            session = (await client.post("/session", json={}, timeout=SECONDS)).raise_for_status().json()
        assert session["directory"] == "/home/agent"
        assert await box.backend.ports(box.spec.id) == []
        assert (await box.backend.disk_bytes(box.spec.workspace_id) or 0) > 0
        assert box.shell("ps -o args= -C python3").split()[1:3] == ["-I", "-S"], "the doors are ours"
        assert box.shell("bash -lc 'command -v ls'") == "/home/agent/.local/bin/ls\n"
