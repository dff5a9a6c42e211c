"""Signing in with a provider as people see it: the real oidc-provider, the stand-in for GitHub, the page, Chromium."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from tests.signin.provider import OidcProvider, oidc_provider
from tests.standins.github import GithubStandIn, Person
from tests.support.product import Product, free_port
from tests.web.conftest import MILLISECONDS, PASSWORD, look, make_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.visitor import Visitor

pytestmark = [
    pytest.mark.needs("opencode", "chromium", "postgres", "webui", "axe", "oidc-provider"),
    pytest.mark.timeout(240),
]


@dataclass
class World:
    """A server where only its first user, boss, registered freely; newcomers with a password need an invitation."""

    server: Product
    acme: OidcProvider
    github: GithubStandIn
    boss: Visitor
    workspace: str

    def at_acme(self, login: str, **claims: Any) -> str:
        """Somebody new at the OIDC provider."""
        known = {"preferred_username": login, "email": f"{login}@acme.example", "email_verified": True}
        self.acme.people[login] = known | claims
        self.acme.write()
        return login

    def link(self) -> str:
        """A new invitation to boss's workspace."""
        path = f"/api/workspaces/{self.workspace}/invitations"
        return str(self.boss.api("POST", path, {"role": "guest"})["url"])

    def with_password(self, username: str, **more: str) -> Visitor:
        """Somebody new here."""
        visitor = self.server.visitor()
        body = {"username": username, "password": PASSWORD, "invitation": self.link().partition("#")[2], **more}
        visitor.api("POST", "/api/auth/register", body)
        return visitor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests here."""
    folder = tmp_path_factory.mktemp("signin")
    github, port = GithubStandIn(), free_port()
    with oidc_provider(folder / "provider", f"http://localhost:{port}") as acme, github.running():
        server = make_product(folder, {**acme.settings(), **github.settings()})
        server.port = port
        server.start()
        try:
            boss = server.visitor()
            yield World(server, acme, github, boss, boss.register("boss"))
        finally:
            server.close()


@pytest.fixture
def visit(world: World, browser: Browser) -> Iterator[Callable[..., Page]]:
    """``visit("/login")``: a page in a browser of its own. At the end there must have been no complaint."""
    pages: list[Page] = []
    complaints: list[str] = []

    def make(
        path: str, visitor: Visitor | None = None, width: int = 1280, scheme: Literal["light", "dark"] = "light"
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 740}, color_scheme=scheme, reduced_motion="reduce"
        )
        context.set_default_timeout(MILLISECONDS)
        # The provider's own pages want a font from far away.
        context.route(re.compile(r"^https://"), lambda route: route.abort())
        for name, value in (visitor.cookies["localhost"] if visitor else {}).items():
            context.add_cookies([{"name": name, "value": value, "url": world.server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        pages.append(page)
        page.goto(path if path.startswith("http") else world.server.url + path)
        return page

    yield make
    for page in pages:
        page.context.close()
    assert complaints == []


def _at_acme(page: Page, login: str) -> None:
    """On the provider's pages: sign in, and agree."""
    page.locator("input[name=login]").fill(login)
    page.locator("input[name=password]").fill("x")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def _both(page: Page, name: str) -> None:
    """Look at it in the light on a large screen, and in the dark on a phone."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light")
    look(page, name)
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    look(page, f"{name}-phone-dark")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light")


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_label("User name")).to_be_visible()


def test_in_for_the_first_time_and_again_and_out_of_both(world: World, visit: Callable[..., Page]) -> None:
    world.at_acme("ada")
    page = visit("/account/sign-in")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    _both(page, "login-with-providers")
    page.get_by_role("link", name="Sign in with Acme").click()
    _at_acme(page, "ada")
    expect(page).to_have_url(f"{world.server.url}/account/sign-in")
    expect(page.get_by_role("button", name="Account ada")).to_be_visible()
    linked = page.get_by_role("listitem").filter(has_text="Acme")
    expect(linked).to_contain_text("ada@acme.example")
    # Without a password it is the last way in.
    linked.get_by_role("button", name="Unlink").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Unlink").click()
    expect(dialog.get_by_role("alert")).to_contain_text(re.compile("last|only", re.IGNORECASE))
    _both(page, "identity-last")
    dialog.get_by_role("button", name="Cancel").click()

    # Out here only: the provider knows its person, and one click is enough.
    _sign_out(page)
    too = page.get_by_role("link", name="Sign out at Acme, too")
    expect(too).to_be_visible()
    _both(page, "login-signed-out-here")
    page.get_by_role("link", name="Sign in with Acme").click()
    expect(page.get_by_role("button", name="Account ada")).to_be_visible()

    # Out there, too: it asks again who one is.
    _sign_out(page)
    too.click()
    page.get_by_role("button", name=re.compile("^Yes")).click()
    expect(page).to_have_url(f"{world.server.url}/login")
    page.get_by_role("link", name="Sign in with Acme").click()
    expect(page.locator("input[name=login]")).to_be_visible()


def test_linking_and_what_is_not_linked(world: World, visit: Callable[..., Page]) -> None:
    world.at_acme("grace-at-acme")
    world.github.add(Person(9, "grace-at-github", "grace@github.example"))
    page = visit("/account/sign-in", world.with_password("grace"))
    expect(page.get_by_text("You sign in with your password.")).to_be_visible()
    page.get_by_role("button", name="Link Acme").click()
    _at_acme(page, "grace-at-acme")
    expect(page).to_have_url(f"{world.server.url}/account/sign-in")
    rows = page.get_by_role("main").get_by_role("listitem")
    expect(rows.filter(has_text="grace-at-acme")).to_be_visible()
    page.get_by_role("button", name="Link GitHub").click()
    page.get_by_role("button", name="Continue as grace-at-github").click()
    expect(rows.filter(has_text="grace-at-github")).to_be_visible()
    _both(page, "identities")

    # The same one for somebody else: said clearly, and nothing is changed.
    other = visit("/account/sign-in", world.with_password("mallory"))
    other.get_by_role("button", name="Link GitHub").click()
    other.get_by_role("button", name="Continue as grace-at-github").click()
    expect(other.get_by_role("heading", name="Nothing was changed")).to_be_visible()
    expect(other.get_by_role("alert")).to_contain_text("signs in somebody else here")
    _both(other, "identity-taken")
    other.get_by_role("link", name="Back to where you were").click()
    expect(other.get_by_text("You sign in with your password.")).to_be_visible()
    # Who says no there is back as they were.
    other.get_by_role("button", name="Link GitHub").click()
    other.get_by_role("button", name="Cancel").click()
    expect(other.get_by_role("alert")).to_contain_text("you can try again")

    page.get_by_role("button", name="Unlink GitHub grace-at-github").click()
    page.get_by_role("dialog").get_by_role("button", name="Unlink").click()
    expect(rows.filter(has_text="grace-at-github")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_e_mail_address_that_is_taken_leads_to_the_password(world: World, visit: Callable[..., Page]) -> None:
    """Somebody typed it who may be somebody else: an account is not opened by it (decision 16)."""
    world.with_password("mary", email="mary@acme.example")
    page = visit("/login?next=%2Faccount%2Fsign-in")
    page.get_by_role("link", name="Sign in with Acme").click()
    _at_acme(page, world.at_acme("mary"))
    expect(page.get_by_role("alert")).to_contain_text("Sign in with its password, then link")
    _both(page, "login-email-taken")
    page.get_by_label("User name").fill("mary")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Link Acme").click()
    # Signed in there a moment ago, one is asked for nothing.
    expect(page.get_by_role("main").get_by_role("listitem").filter(has_text="mary@acme.example")).to_be_visible()


def test_an_invitation_by_way_of_a_provider(world: World, visit: Callable[..., Page]) -> None:
    world.github.add(Person(11, "newcomer"))
    page = visit("/login")
    page.get_by_role("link", name="Sign in with GitHub").click()
    page.get_by_role("button", name="Continue as newcomer").click()
    expect(page.get_by_role("alert")).to_contain_text("this server makes none for newcomers")

    link = world.link()
    page.goto(link)
    expect(page.get_by_role("heading", name="Join “boss's workspace”")).to_be_visible()
    _both(page, "invite-with-providers")
    # Who turns back there still has it.
    page.get_by_role("button", name="Sign in with GitHub").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    page.get_by_role("button", name="Sign in with GitHub").click()
    page.get_by_role("button", name="Continue as newcomer").click()
    expect(page).to_have_url(f"{world.server.url}/w/{world.workspace}/sandboxes")
    assert link.partition("#")[2] not in page.evaluate("JSON.stringify({...sessionStorage})")
    members = world.boss.api("GET", f"/api/workspaces/{world.workspace}/members")
    assert [one["role"] for one in members if one["username"] == "newcomer"] == ["guest"]
    page.goto(link)
    expect(page.get_by_role("heading", name="This invitation cannot be used")).to_be_visible()

    # A member who takes another one the same way is signed in, and led there.
    again = world.link()
    page.goto(f"{world.server.url}/")
    _sign_out(page)
    page.goto(again)
    page.get_by_role("button", name="Sign in with GitHub").click()
    page.get_by_role("button", name="Continue as newcomer").click()
    expect(page).to_have_url(f"{world.server.url}/w/{world.workspace}/sandboxes")
