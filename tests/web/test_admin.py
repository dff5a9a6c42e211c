"""The admin pages: who may see them, what they do to people, and what the audit log says of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import expect

from tests.web.conftest import first_of, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, Route

    from tests.web.conftest import Person, Site

PAGES = ("workspaces", "sandboxes", "audit")


@pytest.fixture
def boss(site: Site, person: Callable[[str], Person]) -> Person:
    """An admin with pages."""
    boss = person("boss")
    change(site, boss, isAdmin=True)
    return boss


def change(site: Site, who: Person, **wanted: bool) -> None:
    """What the first user does to others by the API."""
    user = next(one for one in site.admin.api("GET", "/api/admin/users") if one["username"] == who.username)
    site.admin.api("PATCH", f"/api/admin/users/{user['id']}", wanted)


def row(page: Page, text: str) -> Locator:
    """The row of a table that has this text."""
    return page.locator("tbody tr").filter(has_text=text)


def ask(page: Page, name: str, verb: str) -> None:
    """Choose from somebody's menu, and confirm."""
    page.get_by_role("button", name=f"Change {name}").click()
    page.get_by_role("menuitem", name=verb).click()
    page.get_by_role("dialog").get_by_role("button", name=verb).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_who_is_disabled_is_out_at_once(boss: Person, person: Callable[[str], Person]) -> None:
    bob = person("bob")
    theirs = bob.page(f"/w/{bob.workspace}/members")
    expect(theirs.get_by_role("heading", name="Members")).to_be_visible()
    page = boss.page("/admin/users")
    expect(row(page, boss.username)).to_contain_text("you")
    expect(page.get_by_role("button", name=f"Change {boss.username}")).to_have_count(0)
    page.get_by_role("searchbox").fill(bob.username)
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name=f"Change {bob.username}").click()
    page.get_by_role("menuitem", name="Disable").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nothing is deleted")
    look(page, "admin-disable")
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(row(page, bob.username)).to_contain_text("Disabled")
    # Their open page goes to where one signs in, and knows where they were.
    expect(theirs).to_have_url(re.compile(r"/login\?.*members"))
    ask(page, bob.username, "Enable")
    expect(row(page, bob.username)).not_to_contain_text("Disabled")
    page.goto(f"{boss.site.url}/admin/audit?actor={boss.username}")
    expect(row(page, "enabled").first).to_contain_text(f"{boss.username} enabled {bob.username} again")
    expect(row(page, "disabled").first).to_contain_text("2 sessions ended")


def test_rights_come_and_go_under_an_open_page(boss: Person, person: Callable[[str], Person]) -> None:
    bob = person("bob")
    theirs = bob.page("/admin/users")
    expect(theirs.get_by_role("heading", name="There is no such page")).to_be_visible()
    expect(theirs.get_by_role("link", name="Audit log")).to_have_count(0)
    page = boss.page("/admin/users")
    ask(page, bob.username, "Make admin")
    expect(row(page, bob.username)).to_contain_text("Admin")
    expect(theirs.get_by_role("heading", name="Users")).to_be_visible()
    ask(page, bob.username, "Take away admin")
    expect(theirs.get_by_role("heading", name="There is no such page")).to_be_visible()
    for name in PAGES:
        theirs.goto(f"{bob.site.url}/admin/{name}")
        expect(theirs.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_a_refusal_is_said_where_it_was_asked(site: Site, boss: Person, person: Callable[[str], Person]) -> None:
    bob = person("bob")
    page = boss.page(f"/admin/users?q={bob.username}")
    page.get_by_role("button", name=f"Change {bob.username}").click()
    page.get_by_role("menuitem", name="Disable").click()
    page.route("**/api/admin/users/*", lambda route: route.abort())
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("it is not known whether this was done")
    page.unroute("**/api/admin/users/*")
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(row(page, bob.username)).to_contain_text("Disabled")


def test_the_lists_follow_what_others_do(site: Site, boss: Person, person: Callable[[str], Person]) -> None:
    bob = person("bob")
    page = boss.page(f"/admin/workspaces?q={bob.username}")
    expect(row(page, f"{bob.username}'s workspace")).to_be_visible()
    bob.api.api("PATCH", f"/api/workspaces/{bob.workspace}", {"name": f"Team of {bob.username}"})
    expect(row(page, f"Team of {bob.username}")).to_be_visible()
    page.goto(f"{site.url}/admin/sandboxes?q={bob.username}")
    expect(page.get_by_role("heading", name=re.compile("^No sandbox"))).to_be_visible()
    sandbox = bob.api.create(bob.workspace, name="alpha")
    expect(row(page, "alpha")).to_contain_text("Creating")
    expect(row(page, "alpha")).to_contain_text("Running", timeout=60_000)
    expect(row(page, "alpha")).to_contain_text(f"Team of {bob.username}")
    expect(page.get_by_role("link", name="alpha")).to_have_count(0)  # admins see it, and may not go in
    bob.api.api("DELETE", f"/api/sandboxes/{sandbox}")
    expect(row(page, "alpha")).to_have_count(0, timeout=60_000)
    page.goto(f"{site.url}/admin/audit?actor={bob.username}")
    expect(page.locator("tbody tr").first).to_contain_text(f"{bob.username} deleted sandbox alpha")
    expect(page.locator("tbody tr").first.locator("time")).to_have_attribute("title", re.compile(r"\d:\d\d"))


def test_the_audit_log_is_filtered_and_goes_back(site: Site, boss: Person, person: Callable[[str], Person]) -> None:
    bob = person("bob")
    for number in range(55):
        bob.api.api("PATCH", f"/api/workspaces/{bob.workspace}", {"name": f"Name {number}"})
    page = boss.page("/admin/audit")
    page.get_by_label("What happened").select_option("workspace.renamed")
    page.get_by_label("Who").fill(bob.username)
    expect(page).to_have_url(re.compile(f"actor={bob.username}"))
    expect(page.locator("tbody tr").first).to_contain_text("renamed the workspace Name 53 to Name 54")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Load older").click()
    expect(page.locator("tbody tr")).to_have_count(55)
    expect(page.get_by_text("These are all that are kept.")).to_be_visible()
    # What happens now comes in at the top, and nothing that was loaded goes.
    bob.api.api("PATCH", f"/api/workspaces/{bob.workspace}", {"name": "The last"})
    expect(page.locator("tbody tr").first).to_contain_text("Name 54 to The last")
    expect(page.locator("tbody tr")).to_have_count(56)
    page.get_by_label("Who").fill("nobody-at-all")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No entry matches")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name=bob.username, exact=True).first.click()
    expect(page.get_by_label("Who")).to_have_value(bob.username)
    page.get_by_label("What happened").select_option("user.registered")
    expect(page.locator("tbody tr")).to_have_count(1)
    # An empty choice is none.
    page.get_by_label("What happened").select_option("Everything")
    expect(page.locator("tbody tr").first).to_contain_text("The last")


def test_a_name_that_is_typed_before_the_list_of_users_has_come(boss: Person, person: Callable[[str], Person]) -> None:
    bob = person("bob")
    page = boss.page("/favicon.svg")
    held: list[Route] = []
    page.route("**/api/admin/users", lambda route: held.append(route))
    page.goto(boss.site.url + "/admin/audit")
    page.get_by_label("Who").fill(bob.username)
    expect(page.get_by_label("Who")).to_be_focused()
    assert "actor" not in page.url
    first_of(held, page)
    for route in held:
        route.continue_()
    page.unroute("**/api/admin/users")
    expect(page).to_have_url(re.compile(f"actor={bob.username}"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_how_the_pages_look(site: Site, boss: Person, width: int, scheme: Literal["light", "dark"]) -> None:
    code = boss.api.api("POST", f"/api/workspaces/{boss.workspace}/agent-code")["code"]
    site.product.visitor().api("POST", "/api/agent/register", {"code": code, "name": "a-machine"})
    page = boss.page("/admin/users", width=width, height=740, scheme=scheme)
    phone = width < 768
    # On a phone the rail has no room for them, so they stand above the page.
    places = page.get_by_role("navigation", name="Admin" if phone else "Workspace")
    for name in ("Users", "Workspaces", "Sandboxes" if phone else "All sandboxes", "Audit log"):
        places.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
        expect(page.locator("tbody tr").first).to_be_visible()
        look(page, f"admin-{name.lower().replace(' ', '-')}-{width}")


def test_the_log_of_a_workspace(person: Callable[[str], Person]) -> None:
    """Owners see who did what in it, and what was refused; nobody else does."""
    ada, bob = person("ada"), person("bob")
    ada.api.api("POST", f"/api/workspaces/{ada.workspace}/members", {"username": bob.username, "role": "guest"})
    ada.api.api("POST", f"/api/workspaces/{ada.workspace}/invitations", {"role": "developer", "uses": 3})
    bob.api.api("PATCH", f"/api/workspaces/{ada.workspace}", {"name": "mine"}, expect=(403,))
    page = ada.page(f"/w/{ada.workspace}/settings")
    page.get_by_role("link", name="Open the audit log").click()
    expect(row(page, "made a link to join")).to_contain_text("for 3 people")
    refused = row(page, f"{bob.username} was refused a request on {ada.username}'s workspace")
    expect(refused).to_contain_text("PATCH /api/workspaces/{workspaceId}")
    look(page, "workspace-audit")
    page.get_by_label("How it ended").select_option("Refused")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(refused).to_be_visible()
    page.reload()
    expect(page.get_by_label("How it ended")).to_have_value("refused")
    expect(page.locator("tbody tr")).to_have_count(1)
    # Whose accounts and tokens do what is none of the workspace's.
    kinds = page.get_by_label("What happened").locator("option").all_inner_texts()
    assert "Invitations: all" in kinds
    assert "Sign-ins: all" not in kinds
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    page.get_by_label("How it ended").select_option("In any way")
    expect(row(page, "made a link to join")).to_be_visible()
    look(page, "workspace-audit-phone-dark")
    theirs = bob.page(f"/w/{ada.workspace}/settings/audit")
    expect(theirs.get_by_role("heading", name="There is no such page")).to_be_visible()
