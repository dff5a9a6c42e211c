"""What the page says while a sandbox waits for its image, and when there is none."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.chromium import artifact, chromium
from tests.support.engine import IMAGE, Engine, docker_product
from tests.support.first_steps import NAME, START_MILLISECONDS, register

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("chromium", "webui")

MILLISECONDS = 30_000
ENGINE = Engine()


def test_the_page_says_what_a_start_waits_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as registry:  # takes connections, and answers nothing
        image = f"127.0.0.1:{registry.getsockname()[1]}/team/sandbox:1"
        ENGINE.docker("tag", IMAGE, image)
        with docker_product(tmp_path, AGENT_IMAGE=image) as made, chromium() as browser:
            ENGINE.docker("rmi", image)
            page = browser.new_context(viewport={"width": 1200, "height": 760}).new_page()
            register(page, made.url)
            page.get_by_role("button", name="New sandbox").click()
            page.get_by_role("dialog").get_by_label("Name").fill(NAME)
            page.get_by_role("button", name="Create", exact=True).click()
            waiting = page.get_by_text(re.compile(f"(waiting for|fetching) the image {image}"))
            expect(waiting).to_be_visible(timeout=MILLISECONDS)
            page.screenshot(path=artifact("docker", "waiting-list.png"))
            page.get_by_role("link", name=NAME, exact=True).click()
            expect(page.get_by_role("heading", name=NAME)).to_be_visible(timeout=MILLISECONDS)
            expect(waiting).to_be_visible(timeout=MILLISECONDS)
            page.screenshot(path=artifact("docker", "waiting-page.png"))
            registry.close()
            expect(page.get_by_text("cannot be fetched")).to_be_visible(timeout=START_MILLISECONDS)
            expect(waiting).to_have_count(0)
            page.screenshot(path=artifact("docker", "waiting-failed.png"))
            visitor = made.visitor()
            visitor.login("ada")  # who deletes everything at the end
