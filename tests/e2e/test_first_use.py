"""What a person does first, in Chromium, with the real opencode and a stand-in for the Messages API."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import artifact, chromium
from tests.support.product import ROOT, Product, product
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.needs("opencode", "chromium", "postgres"), pytest.mark.timeout(300)]

OPERATOR_KEY = "sk-ant-the-operators-own-key"
PASSWORD = "correct horse battery staple"
ANSWER = "Hello from the stand-in, which answers word by word."
OPENCODE_MILLISECONDS = 60_000  # its start, on a busy machine


@contextmanager
def stand_in() -> Iterator[str]:
    """The Messages API in a process of its own; its URL."""
    command = [sys.executable, "-m", "tests.standins.anthropic", "--port", "0", "--key", OPERATOR_KEY]
    with subprocess.Popen([*command, "--word-delay", "0.2"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.terminate()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Product]:
    """A fresh product with the stand-in as upstream."""
    with stand_in() as upstream, product(tmp_path, ANTHROPIC_API_KEY=OPERATOR_KEY, ANTHROPIC_BASE_URL=upstream) as made:
        yield made


def register(page: Page, made: Product) -> None:
    """Create the first account on the page."""
    page.goto(made.url)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.screenshot(path=artifact("first-use", "1-register.png"))
    page.get_by_role("button", name=re.compile("create", re.IGNORECASE)).first.click()


def create_and_open(page: Page, context: BrowserContext) -> Page:
    """Make a sandbox and open it once it runs; opencode's page."""
    page.get_by_placeholder("Name").fill("first steps")
    page.get_by_role("button", name="New sandbox").click()
    page.get_by_text("creating").wait_for()
    page.screenshot(path=artifact("first-use", "2-creating.png"))
    link = page.get_by_role("link", name="Open")
    page.get_by_text("running").wait_for(timeout=OPENCODE_MILLISECONDS)
    page.screenshot(path=artifact("first-use", "3-running.png"))
    with context.expect_page() as opened:
        link.click()
    return opened.value


def prompt(page: Page) -> None:
    """Ask, and watch the answer come word by word."""
    page.get_by_text("Nothing here yet").or_(page.get_by_text("Add project")).first.wait_for(
        timeout=OPENCODE_MILLISECONDS
    )
    page.screenshot(path=artifact("first-use", "4-opencode.png"))
    origin = re.match(r"https?://[^/]+", page.url)
    assert origin is not None
    page.goto(f"{origin[0]}/{_directory()}/session")
    editor = page.locator('[contenteditable="true"]').first
    editor.click()
    page.keyboard.type("hello there")
    _send(page)
    page.get_by_text("Hello from").first.wait_for(timeout=OPENCODE_MILLISECONDS)
    partial = page.locator("body").inner_text()
    assert ANSWER not in partial, "the first words are shown before the last ones are there"
    page.screenshot(path=artifact("first-use", "5-answering.png"))
    page.get_by_text(ANSWER).first.wait_for()
    page.screenshot(path=artifact("first-use", "6-answered.png"))


def _send(page: Page) -> None:
    """Press Enter until opencode's page takes it: it does not before it has loaded its providers."""
    deadline = time.monotonic() + OPENCODE_MILLISECONDS / 1000
    while "/ses_" not in page.url:
        assert time.monotonic() < deadline
        page.keyboard.press("Enter")
        page.wait_for_timeout(3000)


def _directory() -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(b"/home/agent/project").decode().rstrip("=")


def terminal(page: Page, home: Path) -> None:
    """Type into opencode's terminal; what it does is seen on the disk, for the terminal is drawn and not text."""
    with page.expect_websocket() as socket:
        page.keyboard.press("Control+`")
    assert "/pty/" in socket.value.url
    marker = home / "project" / "typed"
    deadline = time.monotonic() + 30
    while not marker.exists():
        assert time.monotonic() < deadline
        page.locator("canvas").first.click()
        page.keyboard.type("echo te$((40+2))rm | tee typed\n")
        page.wait_for_timeout(1000)
    assert marker.read_text() == "te42rm\n"
    page.screenshot(path=artifact("first-use", "7-terminal.png"))


def test_from_registration_to_usage(running: Product) -> None:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1200, "height": 760})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        register(page, running)
        opencode = create_and_open(page, context)
        prompt(opencode)
        (home,) = (running.data_dir / "sandboxes").glob("*/home")
        terminal(opencode, home)
        page.bring_to_front()
        page.reload()
        page.locator("details.usage summary").click()
        page.locator("details.usage tbody tr").first.wait_for()
        page.screenshot(path=artifact("first-use", "8-usage.png"))
        assert errors == []
        visitor = Visitor(running.port)
        visitor.login("ada", PASSWORD)
        workspace = visitor.api("GET", "/api/workspaces")[0]["id"]
        usage = visitor.api("GET", f"/api/workspaces/{workspace}/usage")["totals"]
        assert usage["requests"] >= 2, "the answer and the title"
        assert usage["inputTokens"] > 0
        assert usage["outputTokens"] > 0


def test_a_forgotten_tab_does_not_keep_a_sandbox_awake(tmp_path: Path) -> None:
    """Lesson: an open tab by itself is no witness. The real page, idle, for longer than the timeout."""
    with product(tmp_path, IDLE_TIMEOUT="12s") as made, chromium() as browser:
        visitor = made.visitor()
        sandbox = visitor.running(visitor.register())
        context = browser.new_context()
        for name, value in visitor.cookies["localhost"].items():
            context.add_cookies([{"name": name, "value": value, "url": made.url}])
        page = context.new_page()
        page.goto(f"{made.url}/api/sandboxes/{sandbox}/open")
        page.get_by_text("Add project").wait_for(timeout=OPENCODE_MILLISECONDS)
        visitor.wait_for(sandbox, "paused", seconds=60)
        page.wait_for_timeout(12_000)  # the tab goes on asking for opencode's health every ten seconds
        assert visitor.status(sandbox) == "paused", "what a forgotten tab asks for resumes nothing"
        page.goto(f"http://oc-{sandbox}.localhost:{made.port}/")
        page.get_by_text("resuming").first.wait_for()
        page.screenshot(path=artifact("states", "resuming.png"))
        page.get_by_text("Add project").wait_for(timeout=OPENCODE_MILLISECONDS)
        assert visitor.status(sandbox) == "running", "a person who comes back finds it running"
