"""What a person does first, in Chromium, with sandboxes in containers; and what is there after a pause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.chromium import artifact, chromium
from tests.support.engine import docker_product
from tests.support.first_steps import PASSWORD, START_MILLISECONDS, create_and_open, register
from tests.support.opencode_page import OPERATOR_KEY, prompt, stand_in, type_into_terminal
from tests.support.product import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.support.engine import DockerProduct
    from tests.support.visitor import Visitor

pytestmark = pytest.mark.needs("chromium", "webui")

PROJECT = "/home/agent/project"
PICTURES = "docker"
MILLISECONDS = 30_000  # for what takes the page tenths of a second, on a busy machine


def test_from_registration_to_usage(tmp_path: Path) -> None:
    with (
        stand_in() as upstream,
        docker_product(tmp_path, ANTHROPIC_API_KEY=OPERATOR_KEY, ANTHROPIC_BASE_URL=upstream) as made,
        chromium() as browser,
    ):
        context = browser.new_context(viewport={"width": 1200, "height": 760})
        context.set_default_timeout(MILLISECONDS)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        register(page, made.url)
        visitor = made.visitor()
        visitor.login("ada", PASSWORD)
        opencode = create_and_open(page, context)
        workspace = visitor.api("GET", "/api/workspaces")[0]["id"]
        sandbox = visitor.api("GET", f"/api/workspaces/{workspace}/sandboxes")[0]["id"]
        prompt(opencode, PROJECT, PICTURES, upstream)
        type_into_terminal(opencode, lambda: made.shell(sandbox, f"cat {PROJECT}/typed", check=False), PICTURES)
        opencode.close()
        _pages_of_the_sandbox(page, made, sandbox)
        _usage(page, visitor, workspace)
        _paused_and_resumed(page, made, sandbox)
        assert errors == []


def _pages_of_the_sandbox(page: Page, made: DockerProduct, sandbox: str) -> None:
    """Servers inside, whether they listen for everybody or for their own machine, and the log."""
    for address, port in (("127.0.0.1", 8001), ("0.0.0.0", 8002)):
        serve = f"python3 -m http.server --bind {address} --directory {PROJECT} {port}"
        made.engine.docker("exec", "--detach", made.container(sandbox), *serve.split())
    page.bring_to_front()
    page.get_by_role("link", name="first steps", exact=True).click()
    tabs = page.get_by_role("navigation", name="Sandbox", exact=True)
    tabs.get_by_role("link", name="Ports").click()
    for port in (8001, 8002):
        expect(page.get_by_text(f"{port}", exact=True).first).to_be_visible(timeout=MILLISECONDS)
    page.screenshot(path=artifact(PICTURES, "8-ports.png"))
    for port in (8001, 8002):
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=re.compile(f"{port}")).first.click()
        # The file that the terminal has written.
        expect(opened.value.get_by_role("link", name="typed")).to_be_visible(timeout=MILLISECONDS)
        assert opened.value.url.startswith(f"http://{port}-{sandbox}.localhost:{made.port}/")
        opened.value.close()
    tabs.get_by_role("link", name="Logs").click()
    expect(page.get_by_text("opencode server listening").first).to_be_visible(timeout=MILLISECONDS)
    page.screenshot(path=artifact(PICTURES, "9-logs.png"))


def _usage(page: Page, visitor: Visitor, workspace: str) -> None:
    usage = visitor.used(workspace, 2)  # the answer and the title
    page.get_by_role("link", name="Usage", exact=True).first.click()
    page.get_by_role("cell", name=f"{usage['inputTokens']:,}").first.wait_for()


def _paused_and_resumed(page: Page, made: DockerProduct, sandbox: str) -> None:
    """By the page. What was written is there, and opencode's session with its answer is, too."""
    made.shell(sandbox, "echo kept >/data/disk0/there && echo kept >~/here")
    before = made.container(sandbox)
    visitor = made.visitor()
    visitor.login("ada", PASSWORD)
    page.get_by_role("link", name="Sandboxes", exact=True).first.click()
    page.get_by_role("link", name="first steps", exact=True).click()
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Pause").click()
    expect(page.locator('[data-status="paused"]').first).to_be_visible(timeout=MILLISECONDS)
    assert not made.engine.inspect(before)["State"]["Running"]
    page.get_by_role("button", name="Resume").first.click()
    expect(page.locator('[data-status="running"]').first).to_be_visible(timeout=START_MILLISECONDS)
    assert made.container(sandbox) == before
    assert made.shell(sandbox, "cat /data/disk0/there ~/here ~/project/typed") == "kept\nkept\nte42rm\n"
    host = visitor.open(sandbox)
    said = [
        visitor.request("GET", host, f"/session/{session['id']}/message").body.decode()
        for session in visitor.request("GET", host, "/session").json()
    ]
    assert any("Hello from the stand-in" in messages for messages in said)
    assert visitor.request("GET", visitor.open(sandbox, f"{free_port()}-{sandbox}"), "/").status == 502
