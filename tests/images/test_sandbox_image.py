"""The sandbox's image in the hands of the real backend, with the confinement that every sandbox has."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
import pytest
import trio

from backends.containers import DockerOptions, Names
from backends.docker import DockerBackend
from daemon.ids import new_id
from tests.backends.support import PASSWORD, spec
from tests.support.compose import docker, inspect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backends.base import Address, SandboxSpec

IMAGE: Final = "cli-server-sandbox:latest"
SECONDS: Final = 60.0  # opencode is healthy after 2.5 s on a machine that does nothing else
BASIC: Final = ("opencode", PASSWORD)
# A server as people start them, on localhost only.
SITE: Final = "python3 -m http.server --bind 127.0.0.1 --directory /data/disk0 8000"

pytestmark = pytest.mark.needs("docker", "images")


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that runs."""

    backend: DockerBackend
    spec: SandboxSpec
    address: Address
    container: str

    def shell(self, command: str) -> str:
        """What a shell of the agent's says."""
        return docker("exec", self.container, "sh", "-c", command)


@asynccontextmanager
async def sandbox() -> AsyncIterator[Sandbox]:
    """One sandbox of an installation of its own, taken away at the end."""
    installation = new_id()
    wanted = spec(new_id(), workspace_id=new_id())
    backend = DockerBackend(DockerOptions(image=IMAGE), installation, start_timeout=SECONDS)
    async with backend.serve():
        try:
            address = await backend.ensure_running(wanted)
            yield Sandbox(backend, wanted, address, Names(installation).container(wanted.workspace_id, wanted.id))
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SECONDS):
                await backend.destroy(wanted.id, wanted.workspace_id)
                await backend.destroy_workspace(wanted.workspace_id)


async def test_opencode_runs_as_the_agent_with_its_tools() -> None:
    async with sandbox() as box:
        async with httpx.AsyncClient(base_url=f"http://{box.address.host}:{box.address.port}", auth=BASIC) as client:
            session = (await client.post("/session", json={}, timeout=SECONDS)).raise_for_status().json()
        assert session["directory"] == "/home/agent/project", "opencode does not search a home"
        assert box.shell("id -u; id -g; id -un; echo $HOME") == "1000\n1000\nagent\n/home/agent\n"
        assert box.shell("stat -c %u:%g /home/agent /data/disk0 /home/agent/project").split() == ["1000:1000"] * 3
        assert box.shell("readlink ~/disk0 && touch ~/disk0/there && ls /data/disk0") == "/data/disk0\nthere\n"
        assert box.shell("touch /usr/local/bin/x 2>&1 || true").strip().endswith("Read-only file system")
        for tool in ("git --version", "rg --version", "curl --version", "python3 --version", "less --version", "ps"):
            assert box.shell(tool), tool


async def test_what_opencode_installs_at_its_first_start_is_there() -> None:
    """Else each new one spends as long again on fetching it, or on trying to, where it has no way out."""
    async with sandbox() as box:
        plugin = "~/.config/opencode/node_modules/@opencode-ai/plugin/package.json"
        wanted = json.loads(box.shell("cat ~/.config/opencode/package.json"))["dependencies"]["@opencode-ai/plugin"]
        version = box.shell("opencode --version").strip()
        assert wanted == version
        assert json.loads(box.shell(f"cat {plugin}"))["version"] == version
        assert box.shell("readlink ~/.config/opencode/node_modules"), "the home takes no copy"


async def test_a_server_on_localhost_is_reached_at_the_same_port() -> None:
    async with sandbox() as box:
        assert await box.backend.ports(box.spec.id) == []
        docker("exec", "--detach", box.container, *SITE.split())
        box.shell("echo hello >/data/disk0/index.html")
        address = None
        with trio.fail_after(SECONDS):
            while address is None:
                address = await box.backend.port_address(box.spec.id, 8000)
                await trio.sleep(0.05)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{address.host}:8000/", timeout=SECONDS)).text == "hello\n"
        with trio.fail_after(SECONDS):
            while await box.backend.ports(box.spec.id) != [8000]:  # noqa: ASYNC110 - a list may be a second old
                await trio.sleep(0.1)
        assert box.shell("ps -o ppid= -C python3 --sort pid | head -1").strip() == "1", "init looks after the doors"


async def test_it_ends_at_once_when_it_is_asked_to() -> None:
    async with sandbox() as box:
        with trio.fail_after(SECONDS):
            await box.backend.pause(box.spec.id)
        assert inspect(box.container)["State"]["ExitCode"] != 137, "it was not killed, for which it has ten seconds"


def test_the_image_holds_its_part_of_the_bargain() -> None:
    """What docs/docker.md demands of images that others make, too."""
    config = inspect(IMAGE, "image")["Config"]
    assert config["User"] == "agent"
    assert config["WorkingDir"] == "/home/agent"
    assert config["Entrypoint"]
    assert "Healthcheck" not in config
    assert not {"/home/agent", "/data/disk0"} & set(config.get("Volumes") or {}), "the server says which volumes"
    assert not [line for line in config["Env"] if "KEY" in line or "TOKEN" in line or "PASSWORD" in line]
