"""A new user's way through all pages: at a desk and on a phone, in both themes. It keeps pictures."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pytest
from playwright.sync_api import expect

from tests.support.opencode_page import OPENCODE_MILLISECONDS
from tests.web.conftest import PASSWORD, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    from tests.web.conftest import Person

_numbers = itertools.count(1)
_SCHEMES: Final[tuple[Literal["dark", "light"], ...]] = ("dark", "light")  # the last stays until the next look


@dataclass
class Tour:
    """One visitor's window and what they do in it. ``name``: of the pictures' folder."""

    page: Page
    name: str

    def see(self, heading: str, picture: str) -> None:
        """Wait for a page and look at it."""
        expect(self.page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
        self.look(picture)

    def look(self, picture: str) -> None:
        """See :func:`look`; in both themes."""
        for scheme in _SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            look(self.page, f"{self.name}-{scheme}/{picture}")

    def go(self, place: str) -> None:
        """By the rail, which is at the bottom of a phone."""
        self.page.get_by_role("navigation", name="Workspace").get_by_role("link", name=place, exact=True).click()

    def command(self, words: str, name: str | re.Pattern[str] | None = None) -> None:
        """By the palette."""
        self.page.keyboard.press("Control+k")
        self.page.get_by_role("combobox").fill(words)
        self.page.get_by_role("option", name=name or words).first.click()

    @property
    def dialog(self) -> Locator:
        """The open dialog."""
        return self.page.get_by_role("dialog")


@pytest.mark.parametrize("width", [1280, 360])
def test_a_new_user_walks_through_everything(person: Callable[[str], Person], width: int) -> None:
    colleague = person("colleague")
    page = colleague.page("/usage", signed_in=False, width=width, height=740)
    tour = Tour(page, f"tour-{'phone' if width < 768 else 'desk'}")
    username = f"newcomer{next(_numbers)}"
    _register(tour, username)
    _first_sandbox(tour)
    _sandbox_pages(tour)
    _workspace_pages(tour, colleague)
    _everything_else(tour, username)


def _register(tour: Tour, username: str) -> None:
    """From an address that leads nowhere: the start, and from there to where one was going."""
    page = tour.page
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    tour.look("01-nothing-here")
    page.get_by_role("link", name="All sandboxes").click()
    tour.see("Sign in", "02-sign-in")
    page.get_by_label("User name").fill("nobody-here")
    page.get_by_label("Password", exact=True).fill("wrong password")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("User name or password is wrong.")).to_be_visible()
    tour.look("03-refused")
    page.get_by_role("link", name="Create an account").click()
    expect(page.get_by_role("button", name="Create the account")).to_be_visible()
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_text("at least 8 characters", exact=False).last).to_be_visible()
    expect(page.get_by_label("User name")).to_have_value(username)
    tour.see("Create an account", "04-register")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_text("Connect this machine")).to_be_visible()
    tour.see("Sandboxes", "05-first-use")


def _first_sandbox(tour: Tour) -> None:
    """Made, seen to start, opened, and left open in its tab."""
    page = tour.page
    page.get_by_role("button", name="New sandbox").first.click()
    tour.dialog.get_by_label("Name").fill("first steps")
    tour.see("New sandbox", "06-new-sandbox")
    tour.dialog.get_by_role("button", name="Create", exact=True).click()
    expect(page.locator('[data-status="creating"]').first).to_be_visible()
    expect(page.locator('[data-status="running"]').first).to_be_visible(timeout=OPENCODE_MILLISECONDS)
    tour.see("Sandboxes", "07-sandboxes")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=re.compile("^Open first steps")).click()
    opencode = opened.value
    expect(opencode.get_by_text("Add project").or_(opencode.get_by_text("Nothing here yet")).first).to_be_visible(
        timeout=OPENCODE_MILLISECONDS
    )
    assert re.match(r"http://oc-[a-z0-9]{16}\.localhost", opencode.url)
    opencode.close()
    tour.command("first steps", re.compile("first steps"))
    tour.look("08-palette")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")


def _sandbox_pages(tour: Tour) -> None:
    """Overview, ports, log, usage of the sandbox; paused and resumed from there."""
    page = tour.page
    page.get_by_role("link", name="first steps", exact=True).click()
    tour.see("first steps", "09-overview")
    tabs = page.get_by_role("navigation", name="Sandbox", exact=True)
    tabs.get_by_role("link", name="Ports").click()
    expect(page.get_by_text("http.server").first).to_be_visible()
    tour.look("10-ports")
    tabs.get_by_role("link", name="Logs").click()
    expect(page.get_by_text("opencode server listening").first).to_be_visible()
    tour.look("11-logs")
    page.reload()
    expect(page.get_by_text("opencode server listening").first).to_be_visible()
    tabs.get_by_role("link", name="Usage").click()
    expect(page.get_by_text("No LLM calls")).to_be_visible()
    tour.look("12-sandbox-usage")
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Pause").click()
    expect(page.locator('[data-status="paused"]').first).to_be_visible(timeout=OPENCODE_MILLISECONDS)
    tabs.get_by_role("link", name="Overview").click()
    tour.look("13-paused")
    page.get_by_role("button", name="Resume").first.click()
    expect(page.locator('[data-status="running"]').first).to_be_visible(timeout=OPENCODE_MILLISECONDS)


def _workspace_pages(tour: Tour, colleague: Person) -> None:
    """Members, settings, usage; a second workspace, made and deleted."""
    page = tour.page
    tour.go("Usage")
    expect(page.get_by_text("No LLM calls")).to_be_visible()
    tour.see("Usage", "14-usage")
    tour.go("Members")
    page.get_by_label("Add somebody by user name").fill(colleague.username)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("table").get_by_text(colleague.username, exact=True)).to_be_visible()
    tour.see("Members", "15-members")
    tour.go("Settings")
    tour.see("Settings", "16-settings")
    tour.command("New workspace")
    tour.dialog.get_by_label("Name").fill("second")
    tour.dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Connect this machine")).to_be_visible()
    tour.go("Settings")
    page.get_by_role("button", name="Delete the workspace").click()
    tour.dialog.get_by_role("textbox").fill("second")
    tour.look("17-delete-workspace")
    tour.dialog.get_by_role("button", name=re.compile("Delete")).click()
    expect(tour.dialog).to_have_count(0)
    expect(page.get_by_role("link", name="first steps", exact=True)).to_be_visible()


def _everything_else(tour: Tour, username: str) -> None:
    """Connecting a machine, the sessions, deleting, and out."""
    page = tour.page
    page.get_by_role("button", name="Connect a machine").click()
    expect(tour.dialog.get_by_text("Waiting for the machine")).to_be_visible()
    tour.look("18-connect")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("Account")).click()
    tour.look("19-account-menu")
    page.get_by_role("menuitem", name="Where you are signed in").click()
    tour.see("Where you are signed in", "20-sessions")
    tour.command("first steps", re.compile("first steps"))
    page.get_by_role("option", name=re.compile("^Delete")).click()
    delete = tour.dialog.get_by_role("button", name=re.compile("^Delete"))
    expect(delete).to_be_visible()
    tour.look("21-delete-sandbox")
    delete.click()
    expect(tour.dialog).to_have_count(0)
    tour.command("Sign out")
    expect(page.get_by_text("was deleted")).to_have_count(0)  # what was said to the one who left
    tour.see("Sign in", "22-signed-out")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Connect this machine")).to_be_visible()
