"""The first steps of a person in Chromium: an account, a sandbox, and opencode's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

PASSWORD: Final = "correct horse battery staple"
NAME: Final = "first steps"
START_MILLISECONDS: Final = 150_000  # a sandbox's start on a busy machine


def register(page: Page, url: str) -> None:
    """Create the first account, ada's."""
    page.goto(url)
    page.get_by_role("link", name="Create an account").click()
    page.get_by_text("this account becomes the admin").wait_for()  # the page before has a field of that name, too
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    page.get_by_role("button", name="New sandbox").first.wait_for()


def create_and_open(page: Page, context: BrowserContext) -> Page:
    """Make the sandbox :data:`NAME` and open it once it runs; opencode's page."""
    page.get_by_role("button", name="New sandbox").click()
    page.get_by_role("dialog").get_by_label("Name").fill(NAME)
    page.get_by_role("button", name="Create", exact=True).click()
    page.locator('[data-status="running"]').first.wait_for(timeout=START_MILLISECONDS)
    with context.expect_page() as opened:
        page.get_by_role("link", name=f"Open {NAME}").click()
    return opened.value
