"""The composition of ``docker/compose.yaml`` in use: a sandbox from its creation to its end, and a server made anew."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.conftest import ROOT
from tests.support.chromium import chromium
from tests.support.compose import Composition, composed
from tests.support.engine import Engine, until
from tests.support.first_steps import PASSWORD, create_and_open, register
from tests.support.opencode_page import ANSWER, type_into_terminal
from tests.support.opencode_page import prompt as ask_in_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.visitor import Visitor

pytestmark = pytest.mark.needs("docker-compose")

ENGINE: Final = Engine()
UPSTREAM: Final = "anthropic-stand-in"
PROJECT: Final = "/home/agent/project"
PICTURES: Final = "compose"
KINDS: Final = ("container", "volume", "network")


@contextmanager
def stand_in(server: Composition, network: str) -> Iterator[None]:
    """The Messages API beside the server, in the server's own image, which has all that it needs."""
    program = ("-m", "tests.standins.anthropic", "--host", "0.0.0.0", "--port", "8000")
    options = ("--key", server.key, "--word-delay", "0.05")
    container = ENGINE.docker(
        *("run", "--detach", "--name", f"{network}-stand-in", "--network", network, "--network-alias", UPSTREAM),
        *("--workdir", "/standin"),
        *("--volume", f"{ROOT / 'tests'}:/standin/tests:ro", "--entrypoint", "python3", "cli-server:latest"),
        *(*program, *options),
    ).strip()
    try:
        until(lambda: "http://" in ENGINE.docker("logs", container), 60, lambda: ENGINE.docker("logs", container))
        yield
    finally:
        ENGINE.remove("container", container)


def from_here(server: Composition) -> str:
    """The URL of its Messages API on this machine."""
    network = server.settings["NETWORK"]
    found = ENGINE.inspect(f"{network}-stand-in")["NetworkSettings"]["Networks"][network]
    return f"http://{found['IPAddress']}:8000"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """A server with a network of its own, whose name comes before those of the workspaces."""
    folder = tmp_path_factory.mktemp("compose")
    network = f"cli-{folder.name}-{time.time_ns()}"
    with (
        composed(folder, NETWORK=network, ANTHROPIC_BASE_URL=f"http://{UPSTREAM}:8000") as made,
        stand_in(made, network),
    ):
        yield made


def prompt(visitor: Visitor, sandbox_id: str) -> str:
    """What the model says to a greeting, by way of opencode and the server's proxy."""
    host = visitor.open(sandbox_id)
    headers = {"Content-Type": "application/json"}
    made = visitor.request("POST", host, "/session", body=b"{}", headers=headers)
    assert made.status == 200, made.body
    session = made.json()["id"]
    model = {"providerID": "anthropic", "modelID": "claude-sonnet-4-5"}
    body = json.dumps({"parts": [{"type": "text", "text": "hello"}], "model": model}).encode()
    answer = visitor.request("POST", host, f"/session/{session}/message", body=body, headers=headers, seconds=60)
    return str(answer.json())


def state(sandbox_id: str) -> Any:
    """What the engine knows of the sandbox's one container."""
    (container,) = ENGINE.labelled("container", sandbox=sandbox_id)
    found = ENGINE.inspect(container)
    return found["Id"], found["State"]["StartedAt"]


@pytest.mark.needs("chromium", "webui")
def test_a_person_in_the_browser(server: Composition) -> None:
    """An account, a sandbox, a prompt that is answered word by word, and opencode's terminal."""
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1200, "height": 760})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        register(page, f"http://localhost:{server.port}")
        opencode = create_and_open(page, context)
        ask_in_page(opencode, PROJECT, PICTURES, from_here(server))
        visitor = server.visitor()
        visitor.login("ada", PASSWORD)
        (sandbox,) = visitor.api("GET", f"/api/workspaces/{visitor.api('GET', '/api/workspaces')[0]['id']}/sandboxes")
        (container,) = ENGINE.labelled("container", sandbox=sandbox["id"])
        typed = ("exec", container, "cat", f"{PROJECT}/typed")
        type_into_terminal(opencode, lambda: ENGINE.docker(*typed, check=False), PICTURES)
        assert errors == []


def test_a_sandbox_from_its_creation_to_its_end(server: Composition) -> None:
    visitor = server.visitor()
    workspace = visitor.register()
    sandbox = visitor.running(workspace)
    assert ANSWER in prompt(visitor, sandbox)
    visitor.used(workspace, 1)

    visitor.api("POST", f"/api/sandboxes/{sandbox}/pause")
    visitor.wait_for(sandbox, "paused")
    visitor.api("POST", f"/api/sandboxes/{sandbox}/resume")
    visitor.wait_for(sandbox, "running")
    assert ANSWER in prompt(visitor, sandbox)

    before = state(sandbox)
    server.run("rm", "--stop", "--force", "cli-server")
    assert state(sandbox) == before, "it runs on without the server"
    server.up()
    assert state(sandbox) == before, "and with the next one"
    assert visitor.status(sandbox) == "running"
    assert ANSWER in prompt(visitor, sandbox), "which is in the workspace's network again as soon as it is ready"

    installation = server.installation
    assert installation is not None
    visitor.api("DELETE", f"/api/workspaces/{workspace}")
    deadline = time.monotonic() + 60
    while left := [name for kind in KINDS for name in ENGINE.labelled(kind, installation=installation)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
