"""What people see when a sign-in with a provider goes wrong: each of it in Chromium, and each with a way on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.standins.lying_issuer import Lies, LyingIssuer
from tests.support.chromium import artifact
from tests.support.rows import database
from tests.web.conftest import MILLISECONDS, look, make_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from tests.standins.small_site import Asked, Said
    from tests.support.product import Product

pytestmark = [pytest.mark.needs("opencode", "chromium", "postgres", "webui", "axe"), pytest.mark.timeout(120)]


@dataclass
class World:
    """A server, and a provider of which it knows nothing but the address."""

    server: Product
    issuer: LyingIssuer
    up: bool = False

    def start(self) -> None:
        """The provider answers."""
        if not self.up:
            self.issuer.start()
        self.up = True

    def stop(self) -> None:
        """Nobody listens there."""
        self.issuer.stop()
        self.up = False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The provider is down when the server starts; the first test here starts it."""
    issuer = LyingIssuer()
    issuer.person = {"sub": "1", "preferred_username": "ada"}
    server = make_product(tmp_path_factory.mktemp("faults"), issuer.settings())
    try:
        server.start()
        yield World(server, issuer)
    finally:
        server.close()
        issuer.stop()


@pytest.fixture
def page(world: World, browser: Browser) -> Iterator[Page]:
    """The sign-in page, on the way to another one."""
    context = browser.new_context(viewport={"width": 1280, "height": 740})
    context.set_default_timeout(MILLISECONDS)
    made = context.new_page()
    made.goto(f"{world.server.url}/login?next=%2Faccount%2Fsign-in")
    yield made
    context.close()


def _go(page: Page) -> None:
    page.get_by_role("link", name="Sign in with Acme").click()


def _is_in(world: World, page: Page) -> None:
    expect(page).to_have_url(f"{world.server.url}/account/sign-in")
    expect(page.get_by_role("button", name="Account ada")).to_be_visible()


def _refused(page: Page, words: str) -> None:
    expect(page.get_by_role("alert")).to_contain_text(re.compile(words, re.IGNORECASE))
    expect(page.get_by_role("link", name="Sign in with Acme")).to_be_visible()


def _before_coming_back(world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something, once, when the provider is about to send the browser back."""
    plain = world.issuer.answer

    def answer(asked: Asked) -> Said:
        said = plain(asked)
        if asked.path == "/authorize":
            monkeypatch.undo()
            act()
        return said

    monkeypatch.setattr(world.issuer, "answer", answer)


def _try_again(world: World, page: Page) -> None:
    """Until it works: what failed a moment ago is not asked of the provider at once."""
    inside = page.get_by_role("button", name="Account ada")
    again = page.get_by_role("link", name="Try again")
    for _ in range(40):
        with page.expect_navigation():  # or the page before this click is looked at, and the next click finds another
            again.click()
        expect(inside.or_(again)).to_be_visible()
        if inside.is_visible():
            break
        page.wait_for_timeout(250)
    _is_in(world, page)


def test_a_provider_that_is_down_at_the_start(world: World, page: Page) -> None:
    _go(page)
    expect(page.get_by_role("heading", name="Acme does not answer")).to_be_visible()
    page.screenshot(path=artifact("web", "provider-down.png"))
    world.start()
    _try_again(world, page)


def test_a_provider_that_goes_away_in_the_middle(world: World, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()
    _before_coming_back(world, monkeypatch, world.stop)
    _go(page)
    expect(page.get_by_role("heading", name="Acme does not answer")).to_be_visible()
    world.start()
    _try_again(world, page)


def test_a_state_that_ran_out(world: World, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()

    def run_out() -> None:
        with database(world.server) as conn:
            conn.execute("UPDATE sign_in_attempts SET expires_at = now()")

    _before_coming_back(world, monkeypatch, run_out)
    _go(page)
    _refused(page, "took too long")
    look(page, "sign-in-expired")
    _go(page)
    expect(page.get_by_role("button", name="Account ada")).to_be_visible()


def test_a_code_that_is_used_again(world: World, page: Page) -> None:
    world.start()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url) if "/callback?" in request.url else None)
    _go(page)
    _is_in(world, page)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_label("User name")).to_be_visible()
    page.goto(seen[0])
    _refused(page, "loaded a second time")


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        (Lies(claims={"nonce": "of another sign-in"}), "could not be checked"),
        (Lies(skew=600), "the clocks of"),
        (Lies(skew=-600), "the clocks of"),
    ],
    ids=["wrong nonce", "clock ahead", "clock behind"],
)
def test_an_answer_that_is_not_believed(world: World, page: Page, lies: Lies, words: str) -> None:
    world.start()
    world.issuer.lies = lies
    _go(page)
    _refused(page, words)
    world.issuer.lies = Lies(skew=30)  # by less than a minute no clock is wrong
    _go(page)
    _is_in(world, page)
    world.issuer.lies = Lies()
