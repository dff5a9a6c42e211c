"""Workspaces and their members, as two people see them side by side."""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.web.conftest import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, Response

    from tests.web.conftest import Person

SECONDS = 1.0  # what one does, the other sees by then


@dataclass
class Stopwatch:
    """How long after one browser had its answer the other one showed it.

    The second begins when the whole answer to the act is there, and ends when Chromium, which looks at each frame,
    finds the element; so the way of the test's own commands is in it. A machine that is busy for a moment spoils one
    measurement: each act must be seen in the time of any other expectation, and the median within the second.
    """

    delays: list[float] = field(default_factory=list)

    def run(self, page: Page, method: str, act: Callable[[], object], seen: Locator) -> None:
        """Do it, and wait until it is seen."""

        def ours(response: Response) -> bool:
            return response.request.method == method and "/api/" in response.url

        with page.expect_response(ours) as waiting:
            act()
        response = waiting.value
        response.finished()
        assert response.ok, response.url
        since = time.monotonic()
        seen.wait_for()
        self.delays.append(time.monotonic() - since)

    def check(self) -> None:
        """The median is within the second."""
        assert statistics.median(self.delays) < SECONDS, self.delays


def _row(page: Page, username: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_text(username, exact=True))


def test_what_one_does_the_other_sees_within_a_second(person: Callable[[str], Person]) -> None:
    ada, bob = person("ada"), person("bob")
    watch = Stopwatch()
    hers = ada.page(f"/w/{ada.workspace}/members")
    his = bob.page("/", width=360, height=740, scheme="dark")
    expect(his.get_by_role("button", name="Workspace")).to_be_visible()
    name = hers.get_by_label("Add somebody by user name")

    # Added: the workspace is in his list. What cannot be done is told beside the name.
    his.get_by_role("button", name="Workspace").click()
    for wrong, words in (("nobody-of-this-name", "There is no user of this name."), (ada.username, "member already")):
        name.fill(wrong)
        hers.get_by_role("button", name="Add").click()
        expect(name).to_have_accessible_description(re.compile(words))
        expect(name).to_have_value(wrong)
    name.fill(bob.username)
    hers.get_by_label("Role", exact=True).select_option("Guest")
    mine = his.get_by_role("menuitemcheckbox", name=f"{ada.username}'s workspace")
    watch.run(hers, "POST", hers.get_by_role("button", name="Add").click, mine)
    expect(name).to_have_value("")
    expect(name).to_be_focused()
    mine.click()
    look(hers, "members")

    # A guest has no controls that he may not use.
    his.get_by_role("link", name="Settings").click()
    expect(his.get_by_role("button", name="Leave the workspace")).to_be_visible()
    expect(his.get_by_role("textbox")).to_have_count(0)
    expect(his.get_by_role("button", name="Delete the workspace")).to_have_count(0)
    look(his, "settings-guest-phone-dark")

    # A new role: the controls are there, and what is typed into them is kept.
    role = hers.get_by_label(f"Role of {bob.username}")
    watch.run(hers, "PUT", lambda: role.select_option("Maintainer"), his.get_by_label("Name"))
    expect(role).to_have_value("maintainer")

    # Renamed by him.
    his.get_by_label("Name").fill("The team")
    renamed = hers.get_by_role("button", name="Workspace The team")
    watch.run(his, "PATCH", his.get_by_role("button", name="Rename").click, renamed)
    expect(his.get_by_role("status").filter(has_text="Renamed.")).to_be_visible()
    his.get_by_role("link", name="Members").click()
    expect(his.get_by_role("row")).to_have_count(3)
    # A maintainer neither changes roles nor removes an owner, and adds only those below.
    expect(his.get_by_role("combobox")).to_have_count(1)
    assert his.get_by_label("Role", exact=True).locator("option").all_inner_texts() == ["Guest", "Developer"]
    expect(his.get_by_role("button", name="Remove")).to_have_count(0)
    look(his, "members-phone-dark")

    # Removed: his page says so, and leads on.
    hers.get_by_role("button", name=f"Remove {bob.username}").click()
    dialog = hers.get_by_role("dialog")
    expect(dialog).to_contain_text("Sandboxes that they made stay")
    told = his.get_by_role("heading", name="You are no longer in “The team”")
    watch.run(hers, "DELETE", dialog.get_by_role("button", name="Remove").click, told)
    expect(dialog).to_have_count(0)
    expect(_row(hers, bob.username)).to_have_count(0)
    expect(his.get_by_text(ada.username)).to_have_count(0)
    look(his, "removed-phone-dark")
    his.get_by_role("link", name=f"Go to “{bob.username}'s workspace”").click()
    expect(his).to_have_url(re.compile(f"/w/{bob.workspace}/sandboxes"))
    watch.check()


def test_a_workspace_from_its_beginning_to_its_end(person: Callable[[str], Person]) -> None:
    ada, bob = person("ada"), person("bob")
    hers = ada.page()
    hers.get_by_role("button", name="Workspace").click()
    hers.get_by_role("menuitem", name="New workspace").click()
    dialog = hers.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_be_focused()
    look(hers, "create-workspace")
    dialog.get_by_label("Name").fill("Work & play")
    dialog.get_by_label("Name").press("Enter")
    expect(hers.get_by_role("button", name="Workspace Work & play")).to_be_visible()
    expect(dialog).to_have_count(0)
    workspace = hers.url.split("/w/")[1].split("/")[0]
    assert workspace != ada.workspace

    ada.api.api("POST", f"/api/workspaces/{workspace}/members", {"username": bob.username, "role": "developer"})
    code = ada.api.api("POST", f"/api/workspaces/{workspace}/agent-code")["code"]
    ada.api.api("POST", "/api/agent/register", {"code": code, "name": "laptop"})

    # The last owner stays, and the reason stands where the act was.
    hers.get_by_role("link", name="Settings").click()
    hers.get_by_role("button", name="Leave the workspace").click()
    dialog.get_by_role("button", name="Leave").click()
    expect(dialog.get_by_role("alert")).to_have_text("A workspace needs an owner; make another member one first.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(hers.get_by_role("button", name="Leave the workspace")).to_be_focused()
    hers.get_by_role("link", name="Members").click()
    hers.get_by_label(f"Role of {ada.username}").select_option("Guest")
    expect(dialog).to_contain_text("You give up being an owner")
    dialog.get_by_role("button", name="Become a guest").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A workspace needs an owner")
    hers.keyboard.press("Escape")
    expect(hers.get_by_label(f"Role of {ada.username}")).to_have_value("owner")

    # Deleted, after the name was typed, while the other one looks at it with a dialog open.
    his = bob.page(f"/w/{workspace}/members")
    his.get_by_role("button", name="Leave").click()
    hers.get_by_role("link", name="Settings").click()
    hers.get_by_role("button", name="Delete the workspace").click()
    expect(dialog).to_contain_text("It has no cloud sandboxes. Deleted with it for good: the disk, which is empty.")
    expect(dialog).to_contain_text("1 machine is disconnected; what is on it stays.")
    confirm = dialog.get_by_role("button", name="Delete the workspace")
    expect(confirm).to_be_disabled()
    dialog.get_by_role("textbox").fill("Work and play")
    expect(confirm).to_be_disabled()
    look(hers, "delete-workspace")
    dialog.get_by_role("textbox").fill("Work & play")
    confirm.click()
    expect(his.get_by_role("heading", name="“Work & play” was deleted")).to_be_visible()
    expect(his.get_by_role("dialog")).to_have_count(0)
    look(his, "workspace-deleted")
    expect(hers).to_have_url(re.compile(f"/w/{ada.workspace}/sandboxes"))
    expect(hers.get_by_text("“Work & play” was deleted.", exact=True)).to_be_visible()

    # Who comes with an old address learns that there is nothing; who leaves all, how to begin again.
    his.reload()
    expect(his.get_by_role("heading", name="There is no such workspace")).to_be_visible()
    bob.api.api("DELETE", f"/api/workspaces/{bob.workspace}")
    his.get_by_role("link", name="To your sandboxes").click()
    expect(his.get_by_role("heading", name="You are in no workspace")).to_be_visible()
    look(his, "no-workspace")
    his.get_by_role("main").get_by_role("button", name="New workspace").click()
    his.get_by_role("dialog").get_by_label("Name").fill("Again")
    his.get_by_role("dialog").get_by_role("button", name="Create the workspace").click()
    expect(his.get_by_role("button", name="Workspace Again")).to_be_visible()


def test_leaving(person: Callable[[str], Person]) -> None:
    ada, bob = person("ada"), person("bob")
    ada.api.api("POST", f"/api/workspaces/{ada.workspace}/members", {"username": bob.username, "role": "owner"})
    hers = ada.page(f"/w/{ada.workspace}/members")
    his = bob.page(f"/w/{ada.workspace}/members")
    _row(his, bob.username).get_by_role("button", name="Leave").click()
    look(his, "leave")
    leave = his.get_by_role("dialog").get_by_role("button", name="Leave")
    leave.click()
    expect(_row(hers, bob.username)).to_have_count(0)
    expect(his).to_have_url(re.compile(f"/w/{bob.workspace}/sandboxes"))
    expect(his.get_by_text(f"You left “{ada.username}'s workspace”.", exact=True)).to_be_visible()
