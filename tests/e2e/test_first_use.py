"""What a person does first, in Chromium, with the real opencode and a stand-in for the Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.support.chromium import artifact, chromium
from tests.support.opencode_page import OPENCODE_MILLISECONDS, OPERATOR_KEY, prompt, stand_in, terminal
from tests.support.product import Product, product
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.needs("opencode", "chromium", "postgres"), pytest.mark.timeout(300)]

PASSWORD = "correct horse battery staple"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Product]:
    """A fresh product with the stand-in as upstream."""
    with stand_in() as upstream, product(tmp_path, ANTHROPIC_API_KEY=OPERATOR_KEY, ANTHROPIC_BASE_URL=upstream) as made:
        yield made


def register(page: Page, made: Product) -> None:
    """Create the first account on the page."""
    page.goto(made.url)
    page.get_by_role("link", name="Create an account").click()
    page.get_by_text("this account becomes the admin").wait_for()
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.screenshot(path=artifact("first-use", "1-register.png"))
    page.get_by_role("button", name="Create the account").click()


def create_and_open(page: Page, context: BrowserContext) -> Page:
    """Make a sandbox and open it once it runs; opencode's page."""
    page.get_by_role("button", name="New sandbox").click()
    page.get_by_role("dialog").get_by_label("Name").fill("first steps")
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_text("Creating").first.wait_for()
    page.screenshot(path=artifact("first-use", "2-creating.png"))
    page.get_by_text("Running").first.wait_for(timeout=OPENCODE_MILLISECONDS)
    page.screenshot(path=artifact("first-use", "3-running.png"))
    with context.expect_page() as opened:
        page.get_by_role("link", name="Open first steps").click()
    return opened.value


def test_from_registration_to_usage(running: Product) -> None:
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1200, "height": 760})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        register(page, running)
        opencode = create_and_open(page, context)
        (home,) = (running.data_dir / "sandboxes").glob("*/home")
        jailed = missing("bubblewrap") is None
        prompt(
            opencode,
            "/home/agent/project" if jailed else str(home / "project"),
            "first-use",
            running.env["ANTHROPIC_BASE_URL"],
        )
        terminal(opencode, home / "project", "first-use")
        page.bring_to_front()
        usage = usage_of(running)
        page.get_by_role("link", name="Usage", exact=True).click()
        page.get_by_role("cell", name=f"{usage['inputTokens']:,}").first.wait_for()
        page.screenshot(path=artifact("first-use", "8-usage.png"))
        closed_to_others(browser, running)
        assert errors == []


def usage_of(running: Product) -> dict[str, int]:
    """What the sandbox used, once it is in the books."""
    visitor = Visitor(running.port)
    visitor.login("ada", PASSWORD)
    workspace = visitor.api("GET", "/api/workspaces")[0]["id"]
    usage = visitor.used(workspace, 2)  # the answer and the title
    assert usage["inputTokens"] > 0
    assert usage["outputTokens"] > 0
    return usage


def closed_to_others(browser: Browser, running: Product) -> None:
    """The first user registered; whoever comes then is told why they cannot."""
    page = browser.new_page()
    page.goto(running.url)
    page.get_by_role("heading", name="Sign in").wait_for()
    page.get_by_text("lets its first user register, and has one").wait_for()
    assert page.get_by_role("link", name="Create an account").count() == 0
    page.screenshot(path=artifact("first-use", "9-closed.png"))
    page.close()


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
        with page.expect_response("**/global/health"):  # the tab goes on asking every ten seconds
            pass
        assert visitor.status(sandbox) == "paused", "what a forgotten tab asks for resumes nothing"
        page.goto(f"http://oc-{sandbox}.localhost:{made.port}/")
        page.get_by_text("resuming").first.wait_for()
        page.screenshot(path=artifact("states", "resuming.png"))
        page.get_by_text("Add project").wait_for(timeout=OPENCODE_MILLISECONDS)
        assert visitor.status(sandbox) == "running", "a person who comes back finds it running"
        log = visitor.api("GET", "/api/admin/audit?action=sandbox&limit=4")["entries"]
        told = [(entry["action"], (entry["actor"] or {}).get("username")) for entry in log]
        assert told == [
            ("sandbox.resumed", "ada"),
            ("sandbox.paused", None),
            ("sandbox.opened", "ada"),
            ("sandbox.created", "ada"),
        ]
        assert [entry["ip"] for entry in log] == ["127.0.0.1", "", "127.0.0.1", "127.0.0.1"]
