"""The list of sandboxes: making, pausing, renaming and deleting them, by pointer, keyboard and palette."""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.rows import count_calls, put_sandbox
from tests.web.conftest import first_of, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, Route

    from tests.web.conftest import Person, Site

STARTS = 60_000  # milliseconds; opencode takes 3 to 8 s, on a busy machine more
PENDING_MS = 100
# Clicks on a button and says how long it took until the page showed a text.
_SHOWN_AFTER = """([button, text]) => new Promise((resolve) => {
  const start = performance.now();
  const look = () => document.body.innerText.includes(text) && resolve(performance.now() - start);
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  button.click();
})"""
REASON = "the image cannot be pulled: registry.example.com/agent:7 is not found"


def row(page: Page, name: str) -> Locator:
    """The row of a sandbox."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def home(someone: Person) -> str:
    """The path of their own workspace's list."""
    return f"/w/{someone.workspace}/sandboxes"


def more(page: Page, name: str, item: str) -> None:
    """Choose from the menu of a row."""
    page.get_by_role("button", name=f"More for {name}").click()
    page.get_by_role("menuitem", name=item).click()


def test_a_sandbox_from_first_use_to_its_end(person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page()
    main = page.get_by_role("main")
    expect(main.get_by_role("button", name=re.compile("^New sandbox"))).to_be_visible()
    assert main.get_by_role("button").count() == 2  # the two choices, and nothing else
    look(page, "first-use")

    # Wrong values are said beside their fields, and nothing that was typed is lost.
    main.get_by_role("button", name=re.compile("^New sandbox")).click()
    expect(page.get_by_role("textbox", name="Name")).to_be_focused()
    page.get_by_role("textbox", name="Name").fill("alpha")
    page.get_by_label("Size").select_option("own")
    page.get_by_label("Processor cores").fill("4000")
    page.get_by_role("button", name="Create").click()
    cores = page.get_by_label("Processor cores")
    expect(cores).to_have_attribute("aria-invalid", "true")
    expect(cores).to_have_accessible_description(re.compile("above this server's limit"))
    expect(page.get_by_role("textbox", name="Name")).to_have_value("alpha")
    look(page, "create-sandbox")
    cores.fill("1")
    page.get_by_label("Pause when idle").select_option("1h")
    page.get_by_role("button", name="Create").click()
    alpha = row(page, "alpha")
    expect(alpha).to_be_focused()
    expect(alpha.get_by_text(re.compile("Creating|Running"))).to_be_visible()
    expect(alpha.get_by_text(ada.username)).to_be_visible()
    made = ada.api.api("GET", f"/api/workspaces/{ada.workspace}/sandboxes")
    assert [(one["cpu"], one["idleTimeout"]) for one in made] == [("1", "1h")]

    expect(alpha.get_by_role("link", name="Open")).to_be_visible(timeout=STARTS)
    look(page, "sandboxes-one")
    _opens(page, alpha)
    _pauses_by_palette_and_resumes(page, alpha)
    _renamed_and_deleted(ada, page)


def _opens(page: Page, alpha: Locator) -> None:
    with page.context.expect_page() as opened:
        alpha.get_by_role("link", name="Open").click()
    expect(opened.value).to_have_url(re.compile(r"^http://oc-[a-z0-9]{16}\.localhost:\d+/"), timeout=STARTS)
    opened.value.close()
    with page.context.expect_page() as by_key:
        alpha.press("Control+Enter")
    by_key.value.close()


def _pauses_by_palette_and_resumes(page: Page, alpha: Locator) -> None:
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search and commands")).to_be_focused()
    page.keyboard.type("alp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("option").first).to_have_text("Open")
    look(page, "palette-sandbox")
    page.keyboard.type("pau")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(alpha.get_by_text("Paused")).to_be_visible(timeout=STARTS)
    resume = alpha.get_by_role("button", name="Resume alpha")
    resume.click()
    expect(alpha.get_by_role("link", name="Open")).to_be_visible(timeout=STARTS)
    expect(alpha).to_be_focused()  # what was clicked is gone, and its row has the focus


def _renamed_and_deleted(ada: Person, page: Page) -> None:
    other = ada.page(home(ada), same_browser=True)
    more(page, "alpha", "Rename")
    expect(page.get_by_role("textbox", name="Name")).to_be_focused()
    page.keyboard.type("beta")  # all of the old name is selected
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="More for beta")).to_be_focused()
    expect(row(other, "beta")).to_be_visible()

    more(page, "beta", "Delete")
    dialog = page.get_by_role("dialog", name="Delete beta?")
    expect(dialog).to_contain_text("Its home goes with it")
    expect(dialog).to_contain_text("The shared disk, /data/disk0, stays")
    expect(dialog).to_contain_text("It is running")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    look(page, "delete-sandbox")
    dialog.get_by_role("button", name="Delete").click()
    for tab in (page, other):
        expect(tab.get_by_role("button", name=re.compile("^Connect this machine"))).to_be_visible(timeout=STARTS)


@pytest.fixture
def team(site: Site, person: Callable[[str], Person]) -> Person:
    """Somebody with ten sandboxes in several statuses."""
    ada = person("ada")
    user = ada.api.api("GET", "/api/auth/me")["id"]
    columns = {"created_by": user}
    put_sandbox(site.product, ada.workspace, "broken", status="failed", status_reason=REASON, **columns)
    put_sandbox(site.product, ada.workspace, "laptop", type="local", status="offline", **columns)
    for number in range(1, 8):
        put_sandbox(site.product, ada.workspace, f"experiment-{number}")
    long = "the one whose name goes on and on, as names do that say what is done in it: " + "x" * 20
    busy = put_sandbox(site.product, ada.workspace, long, **columns)
    count_calls(site.product, ada.workspace, busy, 12)
    return ada


def test_the_list_says_what_is_wrong_and_what_to_do(team: Person) -> None:
    page = team.page(home(team))
    broken = row(page, "broken")
    expect(broken).to_contain_text(REASON)
    expect(broken.get_by_role("button", name="Try again broken")).to_be_visible()
    laptop = row(page, "laptop")
    expect(laptop).to_contain_text("cli-server agent connect")
    expect(laptop.get_by_role("button", name="Resume")).to_have_count(0)
    expect(page.get_by_role("img", name="12 LLM calls in the last 24 hours")).to_be_visible()
    look(page, "sandboxes")
    page.emulate_media(color_scheme="dark")
    look(page, "sandboxes-dark")
    broken.get_by_role("link", name="Logs").click()
    expect(page).to_have_url(re.compile(r"/sandboxes/[a-z0-9]{16}/logs$"))


def test_the_filter_and_the_counts(team: Person) -> None:
    page = team.page(home(team))
    page.get_by_role("button", name="Failed 1").click()
    expect(page.get_by_role("row")).to_have_count(2)  # with the head
    page.get_by_role("button", name="All 10").click()
    page.get_by_role("searchbox").fill(f"{team.username} laptop")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("searchbox").fill("nothing like it")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("row")).to_have_count(11)


def test_by_the_keyboard_alone(team: Person) -> None:
    page = team.page(home(team))
    last = row(page, "experiment-7")
    row(page, "experiment-6").focus()
    page.keyboard.press("ArrowUp")
    expect(last).to_be_focused()
    page.keyboard.press("Space")
    expect(last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    bar = page.get_by_role("region", name="The selected sandboxes")
    expect(bar).to_contain_text("3 selected")
    page.keyboard.press("Escape")
    expect(bar).to_have_count(0)
    page.keyboard.press("Control+a")
    expect(bar.get_by_role("button", name="Resume 9")).to_be_visible()
    expect(bar.get_by_role("button", name="Pause")).to_have_count(0)
    look(page, "sandboxes-selected")
    page.keyboard.press("Escape")

    row(page, "experiment-6").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    bar.get_by_role("button", name="Delete 2").press("Enter")
    dialog = page.get_by_role("dialog", name="Delete 2 sandboxes?")
    expect(dialog).to_contain_text("experiment-5")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row(page, "experiment-5")).to_have_count(0, timeout=STARTS)
    expect(row(page, "experiment-6")).to_have_count(0)
    page.wait_for_function("document.activeElement !== document.body")  # once the rows are drawn

    row(page, "experiment-4").focus()
    page.keyboard.press("ArrowRight")  # to the first control of the row, and back
    expect(page.get_by_role("checkbox", name="Select experiment-4")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/sandboxes/[a-z0-9]{16}$"))


def test_what_was_asked_shows_at_once_and_is_not_shown_as_done(team: Person) -> None:
    page = team.page(home(team))
    held: list[Route] = []
    page.route("**/api/sandboxes/*/resume", lambda route: held.append(route))
    broken = row(page, "broken")
    button = broken.get_by_role("button", name="Try again")
    waited: list[float] = []
    for _ in range(3):  # a machine that is busy for a moment spoils one of them
        waited.append(page.evaluate(_SHOWN_AFTER, [button.element_handle(), "Resuming…"]))
        expect(broken.locator("[data-status=failed]")).to_be_visible()
        first_of(held, page).abort()  # the connection breaks
        held.clear()
        expect(broken.get_by_role("alert")).to_contain_text("so it is not known whether this was done")
        if len(waited) == 1:
            look(page, "sandboxes-fault")
        broken.get_by_role("button", name="Close the message").click()
        expect(broken.get_by_role("alert")).to_be_empty()
    assert statistics.median(waited) < PENDING_MS, waited


def test_the_palette_finds_everything(team: Person) -> None:
    page = team.page(home(team))
    page.get_by_role("button", name="Search and commands").click()
    box = page.get_by_role("combobox")
    look(page, "palette")
    box.fill("nothing like it")
    expect(page.get_by_role("dialog")).to_contain_text("Nothing here matches")
    box.fill("resume experiment-3")
    expect(page.get_by_role("option")).to_have_text("Resume: experiment-3")
    box.fill("experiment-3")
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")  # back to everything
    box.fill("rename experiment-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Rename experiment-3")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Search and commands")).to_be_focused()
    page.keyboard.press("Control+k")
    box.fill("dark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("Control+k")
    box.fill("audit")
    expect(page.get_by_role("option")).to_have_count(0)  # for admins
    box.fill("members")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/members$"))


def test_a_guest_sees_and_changes_nothing(team: Person, person: Callable[[str], Person]) -> None:
    guest = person("guest")
    members = f"/api/workspaces/{team.workspace}/members"
    team.api.api("POST", members, {"username": guest.username, "role": "guest"})
    page = guest.page(home(team))
    expect(row(page, "broken")).to_contain_text(REASON)
    main = page.get_by_role("main")
    expect(main.get_by_role("checkbox")).to_have_count(0)
    expect(main.get_by_role("grid").get_by_role("button")).to_have_count(0)
    expect(main.get_by_role("button", name="New sandbox")).to_have_count(0)
    look(page, "sandboxes-guest")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("broken")
    page.keyboard.press("Enter")
    expect(page.get_by_role("option")).to_have_text(["Go to its page"])


def test_a_guest_of_an_empty_workspace_reads_who_can(person: Callable[[str], Person]) -> None:
    ada, guest = person("ada"), person("guest")
    ada.api.api("POST", f"/api/workspaces/{ada.workspace}/members", {"username": guest.username, "role": "guest"})
    page = guest.page(home(ada))
    expect(page.get_by_text("Its owners, maintainers and developers can make sandboxes")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)


def test_on_a_phone(team: Person) -> None:
    page = team.page(home(team), width=360, height=740)
    expect(row(page, "broken")).to_contain_text(REASON)
    _look_in_both(page, "sandboxes-phone")
    page.get_by_role("button", name="New sandbox").click()
    expect(page.get_by_label("Pause when idle")).to_be_visible()
    _look_in_both(page, "create-sandbox-phone")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Search and commands").click()
    expect(page.get_by_role("option").first).to_be_visible()
    _look_in_both(page, "palette-phone")


def _look_in_both(page: Page, name: str) -> None:
    look(page, name)
    page.emulate_media(color_scheme="dark")
    look(page, f"{name}-dark")
    page.emulate_media(color_scheme="light")
