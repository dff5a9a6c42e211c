"""A machine joins, in Chromium and with the real opencode: used like any other sandbox, lost, and found again."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import artifact, chromium
from tests.support.machine import Machine, lives, local_server, machine
from tests.support.opencode_page import OPENCODE_MILLISECONDS, OPERATOR_KEY, prompt, stand_in, terminal, wait_for_page
from tests.support.product import Product, product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.support.visitor import Visitor

pytestmark = [pytest.mark.needs("opencode", "chromium", "postgres"), pytest.mark.timeout(240)]

PICTURES = "tunnel"
PASSWORD = "correct horse battery staple"
SILENT_SECONDS = 45.0  # two pings of each end, and more than the 40 s after which an end that says nothing is given up
SECONDS = 10.0  # for what is to happen "within seconds"


def joined(made: Product, username: str, laptop: Machine) -> tuple[Visitor, str]:
    """Somebody new whose machine is connected; the sandbox's id."""
    visitor = made.visitor()
    workspace = visitor.register(username)
    code = visitor.api("POST", f"/api/workspaces/{workspace}/agent-code", {})["code"]
    laptop.connect("--server", made.url, "--code", code, "--name", f"{username}'s laptop")
    (sandbox,) = visitor.api("GET", f"/api/workspaces/{workspace}/sandboxes")
    visitor.wait_for(sandbox["id"], "running")
    return visitor, str(sandbox["id"])


@dataclass
class Silence:
    """An event stream through a tunnel, on which nothing is said from ``since`` on."""

    stream: http.client.HTTPResponse
    port: int  # of who could say something
    since: float


@dataclass
class World:
    """What the tests share, because it takes long to start."""

    made: Product
    browser: Browser
    upstream: str
    silence: Silence

    def signed_in(self, visitor: Visitor) -> BrowserContext:
        """A visitor's browser."""
        context = self.browser.new_context(viewport={"width": 1200, "height": 760})
        for name, value in visitor.cookies["localhost"].items():
            context.add_cookies([{"name": name, "value": value, "url": self.made.url}])
        return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A daemon that everybody may register with, and a stream that has been silent since it began."""
    folder = tmp_path_factory.mktemp("tunnel")
    with (
        stand_in() as upstream,
        product(folder, REGISTRATION="open") as made,
        machine(folder / "silent") as silent,
        local_server() as silent.port,
        silent_stream(made, silent) as silence,
        chromium() as browser,
    ):
        yield World(made, browser, upstream, silence)


@contextmanager
def silent_stream(made: Product, laptop: Machine) -> Iterator[Silence]:
    """Open an event stream."""
    visitor, sandbox = joined(made, "carl", laptop)
    host = visitor.open(sandbox)
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=SECONDS)
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies[host].items())
    connection.request("GET", "/events", headers={"Host": host, "Cookie": cookie, "Accept": "text/event-stream"})
    stream = connection.getresponse()
    assert stream.status == 200
    assert (stream.readline(), stream.readline()) == (b": open\n", b"\n")
    try:
        yield Silence(stream, laptop.port, time.monotonic())
    finally:
        connection.close()


@pytest.fixture
def laptop(world: World, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose opencode has a model to talk to."""
    with machine(tmp_path / "home", ANTHROPIC_BASE_URL=f"{world.upstream}/v1", ANTHROPIC_API_KEY=OPERATOR_KEY) as made:
        yield made


def register(page: Page, made: Product, username: str) -> None:
    """Create an account on the page."""
    page.goto(f"{made.url}/register")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()


def connect(page: Page, laptop: Machine) -> None:
    """Get a command from the page, run it on the machine as it is, and see the page notice."""
    page.get_by_role("button", name="Connect this machine").click()
    panel = page.get_by_role("dialog")
    panel.get_by_text("Waiting for the machine").wait_for()
    command = panel.locator("pre").filter(has_text="agent connect").inner_text()
    page.screenshot(path=artifact(PICTURES, "1-connect.png"))
    program, *words = shlex.split(command)
    assert program == "cli-server"
    laptop.agent(words)
    panel.locator('[data-status="running"]').wait_for(timeout=OPENCODE_MILLISECONDS)
    page.screenshot(path=artifact(PICTURES, "2-connected.png"))
    page.keyboard.press("Escape")


LISTEN = """() => new Promise((resolve) => {
  window.heard = [];
  window.source = new EventSource("/event");
  window.source.onmessage = (event) => { window.heard.push(JSON.parse(event.data).type); resolve(); };
})"""


def test_a_machine_joins_and_is_used(world: World, laptop: Machine) -> None:
    context = world.browser.new_context(viewport={"width": 1200, "height": 760})
    page = context.new_page()
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    register(page, world.made, "ada")
    connect(page, laptop)
    with context.expect_page() as opened:
        page.get_by_role("link", name="Open ").first.click()
    opencode = opened.value
    prompt(opencode, str(laptop.folder), PICTURES, world.upstream)
    opencode.evaluate(LISTEN)
    terminal(opencode, laptop.folder, PICTURES)
    opencode.wait_for_function("window.heard.some((type) => type.startsWith('pty.'))")
    assert opencode.evaluate("window.source.readyState") == 1, "the event stream is open, and never was closed"
    assert opencode.evaluate("window.heard.filter((type) => type === 'server.connected').length") == 1
    assert errors == []

    (sandbox,) = re.findall(r"oc-(\w+)", opencode.url)
    refuse_a_guest(world, sandbox)
    context.close()
    began = time.monotonic()
    started = laptop.opencode()
    assert laptop.stop() == 0
    assert time.monotonic() - began < SECONDS, "nothing is open any more that could be waited for"
    assert not lives(started), "what the agent started ends with it"


def refuse_a_guest(world: World, sandbox: str) -> None:
    """Contract: guests see the workspace's sandboxes and do not open them."""
    owner, guest = world.made.visitor(), world.made.visitor()
    owner.login("ada", PASSWORD)
    guest.register("guest")
    workspace = owner.api("GET", "/api/workspaces")[0]["id"]
    owner.api("POST", f"/api/workspaces/{workspace}/members", {"username": "guest", "role": "guest"})
    context = world.signed_in(guest)
    page = context.new_page()
    answer = page.goto(f"{world.made.url}/api/sandboxes/{sandbox}/open")
    assert answer is not None
    assert answer.status == 403
    page.screenshot(path=artifact(PICTURES, "8-guest.png"))
    context.close()
    cookies = owner.cookies[owner.open(sandbox)]
    host = f"oc-{sandbox}.localhost"
    guest.cookies[host] = dict.fromkeys(cookies, "guessed")
    assert guest.request("GET", host, "/global/health").status == 401


def test_opencode_and_the_agent_are_killed(world: World, laptop: Machine) -> None:
    visitor, sandbox = joined(world.made, "bea", laptop)
    host = visitor.open(sandbox)
    context = world.signed_in(visitor)
    forgotten, page = context.new_page(), context.new_page()
    forgotten.goto(f"{world.made.url}/api/sandboxes/{sandbox}/open")
    wait_for_page(forgotten)
    opencode = opencode_is_killed(visitor, sandbox, page, laptop)
    laptop.kill()
    visitor.wait_for(sandbox, "offline", seconds=SECONDS)
    problem = visitor.request("GET", host, "/session")
    assert (problem.status, problem.json()["code"]) == (503, "sandbox_offline")
    asked_in_vain(forgotten)
    page.goto(world.made.url)
    page.locator('[data-status="offline"]').first.wait_for()
    page.get_by_text("cli-server agent connect").first.wait_for()
    page.screenshot(path=artifact(PICTURES, "10-offline-in-the-list.png"))
    page.goto(f"http://{host}:{world.made.port}/")
    page.get_by_text("is offline").first.wait_for()
    page.screenshot(path=artifact(PICTURES, "11-offline.png"))
    assert visitor.status(sandbox) == "offline"

    assert lives(opencode), "opencode does what it was doing, though nobody watches"
    laptop.connect()
    assert laptop.opencode() == opencode, "the agent takes care of the one that was left behind"
    visitor.wait_for(sandbox, "running", seconds=SECONDS)
    wait_for_page(page)  # by itself
    page.screenshot(path=artifact(PICTURES, "12-back.png"))
    assert forgotten.evaluate("fetch('/global/health').then((answer) => answer.status)") == 200
    context.close()
    assert laptop.stop() == 0
    assert not lives(opencode), "one that was left behind ends with the agent that found it"
    assert '"level": "error"' not in world.made.log


def opencode_is_killed(visitor: Visitor, sandbox: str, page: Page, laptop: Machine) -> int:
    """Pages say so until the agent has started it again; the new process."""
    host = f"oc-{sandbox}.localhost"
    before = laptop.opencode()
    laptop.hold.touch()
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while lives(before):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    answer = page.goto(f"http://{host}:{visitor.port}/")
    assert answer is not None
    assert answer.status == 502
    page.screenshot(path=artifact(PICTURES, "9-opencode-died.png"))
    problem = visitor.request("GET", host, "/session")
    assert (problem.status, problem.json()["code"]) == (502, "upstream_failed")
    assert visitor.status(sandbox) == "running", "the machine is connected; only its opencode is away"
    laptop.hold.unlink()
    laptop.until_said("started opencode", 2)
    page.get_by_role("link", name="Try again").click()
    wait_for_page(page)
    assert laptop.opencode() != before
    return laptop.opencode()


def asked_in_vain(forgotten: Page) -> None:
    """A tab that nobody looks at goes on asking, and is told so. Earlier answers may be heard of only now."""
    with forgotten.expect_response(lambda response: response.status == 503, timeout=30_000):
        pass


def test_a_stream_on_which_nothing_is_said_stays(world: World) -> None:
    """Lesson: idle tunnels are cut. Real sockets and pings here; a simulated clock makes ten minutes elsewhere."""
    silence = world.silence
    time.sleep(max(0.0, silence.since + SILENT_SECONDS - time.monotonic()))  # silence cannot be hurried
    voice = http.client.HTTPConnection("127.0.0.1", silence.port, timeout=SECONDS)
    voice.request("POST", "/__event", b"still here")
    assert voice.getresponse().status < 300
    voice.close()
    assert silence.stream.readline().strip().endswith(b"still here")
