"""What one can do about one's own account: API tokens, and accounts elsewhere that sign one in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.visitor import Visitor
from tests.web.conftest import look
from tests.web.test_admin import change, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Person, Site


def _by(site: Site, token: str, path: str) -> int:
    """The status of a script's call with the token."""
    script = Visitor(site.port)
    return script.request("GET", "localhost", path, headers={"Authorization": f"Bearer {token}"}).status


def test_an_api_token_from_its_making_to_its_end(site: Site, person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page()
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="API tokens").click()
    expect(page.get_by_role("heading", name="You have no tokens")).to_be_visible()
    look(page, "tokens-none")
    page.get_by_role("button", name="New token").click()
    dialog = page.get_by_role("dialog")
    create = dialog.get_by_role("button", name="Create the token")
    expect(dialog.get_by_label("Name")).to_be_focused()
    expect(create).to_be_disabled()
    expect(dialog.get_by_role("checkbox", name="Admin")).to_have_count(0)
    dialog.get_by_label("Name").fill("nightly build")
    expect(dialog.get_by_label("Expires after")).to_have_value("90d")
    dialog.get_by_role("checkbox", name="Read").uncheck()
    expect(create).to_be_disabled()
    dialog.get_by_role("checkbox", name="Read").check()
    dialog.get_by_role("checkbox", name="Open sandboxes").check()
    look(page, "token-new")
    create.click()

    # Its secret is shown once; neither Escape nor a click beside takes it away before it is copied.
    shown = dialog.locator("pre").first
    expect(shown).to_have_text(re.compile(r"^clis_[\w-]{43}$"))
    token = shown.inner_text()
    page.keyboard.press("Escape")
    page.mouse.click(5, 5)
    expect(shown).to_have_text(token)
    example = dialog.locator("pre").last
    expect(example).to_have_text(f'curl -H "Authorization: Bearer $CLI_SERVER_TOKEN" {site.url}/api/workspaces')
    look(page, "token-made")
    assert _by(site, token, "/api/workspaces") == 200
    dialog.get_by_role("button", name="Done").click()
    line = row(page, "nightly build")
    expect(line).to_contain_text("Read, Open sandboxes")
    expect(line).to_contain_text("in 90 days")
    page.reload()
    expect(line).to_contain_text("just now")
    assert token not in page.content()
    look(page, "tokens")

    page.get_by_role("button", name="Revoke nightly build").click()
    expect(dialog).to_contain_text("cut off at once")
    dialog.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("heading", name="You have no tokens")).to_be_visible()
    expect(dialog).to_have_count(0)
    assert _by(site, token, "/api/workspaces") == 401


def test_a_token_for_the_admin_pages(site: Site, person: Callable[[str], Person]) -> None:
    boss = person("boss")
    change(site, boss, isAdmin=True)
    page = boss.page("/account/tokens", width=360, height=740, scheme="dark")
    page.get_by_role("button", name="New token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("a script with a name that is rather long for the width of a telephone")
    dialog.get_by_role("checkbox", name="Read").uncheck()
    dialog.get_by_role("checkbox", name="Admin").check()
    look(page, "token-new-phone-dark")
    dialog.get_by_role("button", name="Create the token").click()
    expect(dialog.locator("pre").last).to_contain_text("/api/admin/users")
    look(page, "token-made-phone-dark")
    token = dialog.locator("pre").first.inner_text()
    assert (_by(site, token, "/api/admin/users"), _by(site, token, "/api/workspaces")) == (200, 403)
    dialog.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name="Revoke a script with a name")).to_be_visible()
    look(page, "tokens-phone-dark")


def test_accounts_elsewhere_where_there_are_none(person: Callable[[str], Person]) -> None:
    """With a real provider: tests/signin/test_browser.py."""
    page = person("ada").page("/account/sessions", width=360, height=740)
    page.get_by_role("navigation", name="Account").get_by_role("link", name="Sign-in").click()
    expect(page.get_by_role("heading", name="How you sign in")).to_be_visible()
    expect(page.get_by_text("You sign in with your password.")).to_be_visible()
    expect(page.get_by_role("button", name="Link")).to_have_count(0)
    look(page, "identities-none-phone")
