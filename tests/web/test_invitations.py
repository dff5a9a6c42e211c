"""Links by which somebody joins a workspace, from their making to their end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.web.conftest import PASSWORD, look, make_product
from tests.web.test_admin import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.support.product import Product
    from tests.web.conftest import Person, Site

NOWHERE = "/invite#clisi_0123456789012345678901234567890123456789012"


def _invite(page: Page, role: str, uses: int = 1) -> str:
    """Make a link on the members page; what it is."""
    page.get_by_role("button", name="Invite by link").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Role").select_option(role)
    dialog.get_by_label("How many people").fill(str(uses))
    dialog.get_by_role("button", name="Make the link").click()
    shown = dialog.locator("pre")
    expect(shown).to_have_text(re.compile(r"/invite#[\w-]{40,}$"))
    return shown.inner_text()


def _done(page: Page) -> None:
    page.get_by_role("dialog").get_by_role("button", name="Done").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def _secret_is_nowhere(page: Page, link: str) -> None:
    """Not in the address, not in what is shown, and not in what other tabs could read."""
    secret = link.partition("#")[2]
    assert secret not in page.url
    assert secret not in page.content()
    assert secret not in page.evaluate("JSON.stringify([{...localStorage}, document.cookie, history.state])")


def _is_given_up(page: Page, link: str) -> None:
    """Used, it is not kept by its own tab either."""
    assert link.partition("#")[2] not in page.evaluate("JSON.stringify({...sessionStorage})")


def test_who_has_an_account_joins_by_a_link(site: Site, person: Callable[[str], Person]) -> None:
    ada, bob = person("ada"), person("bob")
    hers = ada.page(f"/w/{ada.workspace}/members")
    hers.get_by_role("button", name="Invite by link").click()
    look(hers, "invite-by-link")
    hers.keyboard.press("Escape")
    link = _invite(hers, "Maintainer", uses=3)
    look(hers, "invite-link")
    _done(hers)
    line = row(hers, "in 7 days")
    expect(line).to_contain_text("Maintainer")
    expect(line).to_contain_text(ada.username)
    expect(line.get_by_role("cell", name="3", exact=True)).to_be_visible()
    look(hers, "members-invitations")

    # Not signed in: by the sign-in page and back, with nothing of the link in any address.
    his = bob.page("/", signed_in=False, width=360, height=740, scheme="dark")
    his.goto(link)
    expect(his.get_by_role("heading", name=f"Join “{ada.username}'s workspace”")).to_be_visible()
    expect(his).to_have_url(f"{site.url}/invite")
    _secret_is_nowhere(his, link)
    look(his, "invite-phone-dark")
    his.get_by_role("link", name="Sign in").click()
    expect(his.get_by_role("link", name="Create one with your invitation")).to_be_visible()
    _secret_is_nowhere(his, link)
    his.get_by_label("User name").fill(bob.username)
    his.get_by_label("Password", exact=True).fill(PASSWORD)
    his.get_by_role("button", name="Sign in").click()
    join = his.get_by_role("button", name=f"Join as {bob.username}")
    expect(join).to_be_visible()
    his.reload()
    look(his, "invite-signed-in-phone-dark")
    join.click()
    expect(his).to_have_url(f"{site.url}/w/{ada.workspace}/sandboxes")
    expect(his.get_by_text(f"You joined “{ada.username}'s workspace”.", exact=True)).to_be_visible()
    _is_given_up(his, link)
    expect(hers.get_by_label(f"Role of {bob.username}")).to_have_value("maintainer")
    expect(line.get_by_role("cell", name="2", exact=True)).to_be_visible()

    # Once more, in the same tab: a member is told so, and nothing is used.
    his.goto(link)
    join.click()
    expect(his.get_by_role("note")).to_contain_text("You are a member of")
    expect(his).to_have_url(f"{site.url}/invite")
    # A maintainer sees it, and cannot withdraw what was given by an owner to maintainers.
    his.goto(f"{site.url}/w/{ada.workspace}/members")
    expect(row(his, "Maintainer").filter(has_text="in 7 days")).to_be_visible()
    expect(his.get_by_role("button", name="Withdraw")).to_have_count(0)
    look(his, "members-invitations-phone-dark")

    # Withdrawn: nobody joins by it any more.
    hers.get_by_role("button", name="Withdraw the invitation").click()
    hers.get_by_role("dialog").get_by_role("button", name="Withdraw").click()
    expect(hers.get_by_role("heading", name="Open invitations")).to_have_count(0)
    eve = person("eve").page()
    eve.goto(link)
    expect(eve.get_by_role("heading", name="This invitation cannot be used")).to_be_visible()
    look(eve, "invite-gone")


def test_what_is_no_invitation(site: Site, person: Callable[[str], Person]) -> None:
    page = person("ada").page("/invite")
    expect(page.get_by_role("heading", name="There is no invitation here")).to_be_visible()
    # The whole of the link, pasted over it: no page is loaded, only the fragment is new.
    page.evaluate("there => location.assign(there)", site.url + NOWHERE)
    expect(page.get_by_role("heading", name="This invitation cannot be used")).to_be_visible()
    expect(page).to_have_url(f"{site.url}/invite")
    page.get_by_role("link", name="To your workspaces").click()
    expect(page.get_by_role("heading", name="Sandboxes")).to_be_visible()


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Product]:
    """A server where nobody can register but its first user, who has."""
    product = make_product(tmp_path, {})
    product.start()
    try:
        yield product
    finally:
        product.stop()


def test_a_newcomer_registers_by_a_link_where_nobody_else_can(closed: Product, browser: Browser) -> None:
    first = closed.visitor()
    workspace = first.register("ada")
    made = first.api("POST", f"/api/workspaces/{workspace}/invitations", {"role": "guest"})
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{closed.url}/register")
    expect(page.get_by_text("This server lets its first user register, and has one.")).to_be_visible()
    page.goto(made["url"])
    expect(page.get_by_role("heading", name="Join “ada's workspace”")).to_be_visible()
    look(page, "invite-newcomer")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    create = page.get_by_role("button", name="Create the account and join")
    create.click()
    expect(page.get_by_label("User name")).to_have_accessible_description(re.compile("Somebody has this user name"))
    page.get_by_label("User name").fill("bob")
    create.click()
    expect(page).to_have_url(f"{closed.url}/w/{workspace}/sandboxes")
    expect(page.get_by_role("button", name="Account bob")).to_be_visible()
    _is_given_up(page, made["url"])
    assert [one["role"] for one in first.api("GET", f"/api/workspaces/{workspace}/members")] == ["owner", "guest"]
    page.context.close()
