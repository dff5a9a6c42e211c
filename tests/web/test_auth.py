"""Signing in and out, registering, and the list of places where one is signed in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.web.conftest import PASSWORD, look, make_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Route

    from tests.support.product import Product
    from tests.web.conftest import Person, Site

ENDED = "Your session ended."
# What the page shows for as little as a second, looked at in the page itself, at each frame.
_WAITS = r"""() => /You can try again in \d+ s\./.test(document.querySelector('[role=timer]')?.textContent)
    && document.querySelector('button[type=submit]').disabled"""


def _fill(page: Page, username: str, password: str) -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill(password)


def _sign_in(page: Page, username: str, password: str = PASSWORD) -> None:
    _fill(page, username, password)
    page.get_by_role("button", name="Sign in").click()


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Sign out").click()


def test_after_sign_in_one_is_where_one_was_going(site: Site, person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page(f"/w/{ada.workspace}/members", width=360, height=740, scheme="dark", signed_in=False)
    expect(page).to_have_url(re.compile(r"/login\?next="))
    look(page, "login-phone-dark")

    _sign_in(page, ada.username, "not the password")
    expect(page.get_by_role("alert")).to_have_text("User name or password is wrong.")
    expect(page.get_by_label("User name")).to_have_value(ada.username)
    field = page.get_by_label("Password", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_value("not the password")

    page.get_by_role("button", name="Show the password").click()
    expect(field).to_have_attribute("type", "text")
    # A keyboard's lamp cannot be switched from outside; the event is what a browser makes of it.
    field.evaluate("e => e.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, modifierCapsLock: true}))")
    expect(page.get_by_text("Caps Lock is on.")).to_be_visible()

    field.fill(PASSWORD)
    field.press("Enter")
    expect(page).to_have_url(f"{site.url}/w/{ada.workspace}/members")
    expect(page.get_by_role("heading", name="Members")).to_be_visible()

    # Whoever is signed in already is led on, and nowhere else than on this site.
    page.goto(f"{site.url}/login?next=%2Faccount%2Fsessions")
    expect(page.get_by_role("heading", name="Where you are signed in")).to_be_visible()
    page.goto(f"{site.url}/login?next=%2F%5Cevil.example")
    expect(page).to_have_url(f"{site.url}/w/{ada.workspace}/sandboxes")


def test_the_servers_own_addresses_are_reached_too(site: Site, person: Callable[[str], Person]) -> None:
    """A sandbox's address sends who is not signed in here, with the way back that only the server knows."""
    ada = person("ada")
    target = "/api/sandboxes/nosuchsandbox000/open"
    page = ada.page(target, signed_in=False)
    assert parse_qs(urlsplit(page.url).query)["next"] == [target]
    _sign_in(page, ada.username)
    expect(page).to_have_url(site.url + target)


def test_other_tabs_follow(site: Site, person: Callable[[str], Person]) -> None:
    """Out in one tab is out in all; in as somebody else shows nothing of the one before, in any of them."""
    ada, bob = person("ada"), person("bob")
    page = ada.page(f"/w/{ada.workspace}/members")
    other = ada.page("/account/sessions", same_browser=True)
    expect(other.get_by_role("heading", name="Where you are signed in")).to_be_visible()

    _sign_out(page)
    expect(page.get_by_label("User name")).to_be_visible()
    expect(page.get_by_text(ENDED)).to_have_count(0)
    expect(other.get_by_text(ENDED)).to_be_visible()
    look(other, "login-ended")
    page.go_back()
    expect(page).to_have_url(re.compile(r"/login\?.*members"))
    expect(page.get_by_label("User name")).to_be_visible()
    expect(page.get_by_text(ada.username)).to_have_count(0)

    _sign_in(page, bob.username)
    expect(page.get_by_role("heading", name="There is no such workspace")).to_be_visible()
    expect(other.get_by_role("heading", name="Where you are signed in")).to_be_visible()
    for tab in (page, other):
        expect(tab.get_by_role("button", name=f"Account {bob.username}")).to_be_visible()
        expect(tab.get_by_text(ada.username)).to_have_count(0)

    # Without signing out first: the tab that shows another's pages loads anew.
    answer = page.evaluate(
        """async ([username, password]) => (await fetch("/api/auth/login", {method: "POST",
            headers: {"Content-Type": "application/json"}, body: JSON.stringify({username, password})})).status""",
        [ada.username, PASSWORD],
    )
    assert answer == 200
    expect(page.get_by_role("button", name=f"Account {ada.username}")).to_be_visible()
    expect(other.get_by_text(bob.username)).to_have_count(0)


def test_too_many_attempts_count_down(site: Site, person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page("/login", signed_in=False)
    _fill(page, ada.username, "not the password")
    stranger = site.product.visitor()
    wrong = {"username": ada.username, "password": "not the password"}
    while stranger.api("POST", "/api/auth/login", wrong, expect=(401, 429))["status"] == 401:
        pass
    timer = page.get_by_role("timer")
    button = page.get_by_role("button", name="Sign in")
    # Each try that comes after the block doubles the next one, so that one of them is met.
    for _ in range(8):
        with page.expect_response("**/api/auth/login") as answer:
            button.click()
        if answer.value.status == 429:
            break
        expect(button).not_to_have_attribute("aria-busy", "true")
    page.wait_for_function(_WAITS)
    expect(page.get_by_role("alert")).to_contain_text("Your account is not locked.")
    expect(timer).to_have_text("You can try again now.")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    button.click()
    expect(page).to_have_url(f"{site.url}/w/{ada.workspace}/sandboxes")


def test_register(site: Site, person: Callable[[str], Person]) -> None:
    """Each mistake is told at its place, and what was typed stays."""
    ada = person("ada")
    page = ada.page("/login?next=%2Faccount%2Fsessions", signed_in=False)
    page.get_by_role("link", name="Create an account").click()
    expect(page.get_by_text("At least 8 characters")).to_be_visible()
    look(page, "register")
    _fill(page, "-new", "short")
    page.get_by_label("E-mail (optional)").fill("nobody")
    create = page.get_by_role("button", name="Create the account")
    create.click()
    for label, words in (
        ("User name", "begin and end with a letter or digit"),
        ("E-mail (optional)", "must be an e-mail address"),
        ("Password", "It must have at least 8 characters."),
    ):
        field = page.get_by_label(label, exact=True)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(re.compile(re.escape(words)))
    expect(page.get_by_label("User name")).to_be_focused()
    look(page, "register-mistakes")

    page.get_by_label("E-mail (optional)").fill("")
    _fill(page, ada.username.upper(), PASSWORD)
    create.click()
    expect(page.get_by_label("User name")).to_have_accessible_description(re.compile("Somebody has this user name"))
    page.get_by_label("User name").fill(f"new-{ada.username}")
    create.click()
    expect(page.get_by_role("heading", name="Where you are signed in")).to_be_visible()


def test_where_one_is_signed_in(person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page("/account/sessions")
    other = ada.page("/account/sessions", width=360, height=740, scheme="dark")
    rows = page.get_by_role("main").get_by_role("listitem")
    expect(page.get_by_role("main").get_by_text("this one")).to_have_count(1)
    page.reload()
    expect(rows).to_have_count(3)  # these two, and the one that registered
    look(page, "sessions")
    look(other, "sessions-phone-dark")

    mine = rows.filter(has_text="this one")
    expect(mine).to_contain_text("127.0.0.1")
    page.get_by_role("button", name="Sign out all others").click()
    expect(page.get_by_role("dialog")).to_contain_text("The 2 others have to sign in again.")
    page.get_by_role("dialog").get_by_role("button", name="Sign out all others").click()
    expect(rows).to_have_count(1)
    expect(other.get_by_text(ENDED)).to_be_visible()
    _sign_in(other, ada.username)
    expect(other.get_by_role("heading", name="Where you are signed in")).to_be_visible()
    expect(other.get_by_role("main").get_by_text("Chrome on Linux")).to_be_visible()

    page.reload()
    page.get_by_role("button", name="Sign out Chrome on Linux").click()
    expect(other.get_by_text(ENDED)).to_be_visible()
    mine.get_by_role("button", name="Sign out here").click()
    expect(page.get_by_label("User name")).to_be_visible()
    expect(page.get_by_text(ENDED)).to_have_count(0)


def test_other_ways_to_sign_in(person: Callable[[str], Person]) -> None:
    """This server has none; the page is told of one in its place."""

    def answer(route: Route) -> None:
        route.fulfill(json={"providers": [{"id": "example", "name": "Example"}]})

    ada = person("ada")
    page = ada.page("/login", signed_in=False)
    page.route("**/api/auth/oidc/providers", answer)
    page.goto(page.url + "?next=%2Faccount%2Fsessions")
    link = page.get_by_role("link", name="Sign in with Example")
    expect(link).to_have_attribute("href", "/api/auth/oidc/example/login?next=%2Faccount%2Fsessions")
    look(page, "login-providers")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Product]:
    """A server that nobody has an account on, as it is after installing it."""
    product = make_product(tmp_path, {})
    product.start()
    try:
        yield product
    finally:
        product.stop()


def test_only_the_first_one_can_register(fresh: Product, browser: Browser) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(fresh.url)
    page.get_by_role("link", name="Create an account").click()
    expect(page.get_by_role("button", name="Create the account")).to_be_visible()
    _fill(page, "first", PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("heading", name="Admin")).to_be_visible()
    _sign_out(page)
    reason = page.get_by_text("This server lets its first user register, and has one.")
    expect(reason).to_be_visible()
    expect(page.get_by_role("link", name="Create an account")).to_have_count(0)
    page.goto(f"{fresh.url}/register")
    expect(reason).to_be_visible()
    expect(page.get_by_role("button", name="Create the account")).to_have_count(0)
    look(page, "register-closed")
    page.context.close()
