"""The web UI as people use it: the built page, a real daemon with the real opencode, Chromium.

Tests here are plain functions: Playwright's plain interface stays in their thread. ``WEBUI_ROOT`` names a build of the
page other than the one in the tree, for those who work on it.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from tests.conftest import ROOT
from tests.support.axe import axe
from tests.support.chromium import artifact, chromium
from tests.support.opencode_page import OPERATOR_KEY, stand_in
from tests.support.product import Product, free_port
from tests.support.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

PASSWORD = "correct horse battery staple"
MILLISECONDS = 20_000  # for what takes the page tenths of a second, on a busy machine
_PROGRAM = (
    "from pathlib import Path; from daemon.api import site, webroot; site.WEBROOT = webroot.Webroot(Path({root!r}));"
    "from daemon.cli import main; main()"
)
# Chromium's word on every answer of 4xx and 5xx; those are what some tests are about.
_EXPECTED = "Failed to load resource"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these need the same parts, and time for sandboxes to start."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "web"):
            item.add_marker(pytest.mark.needs("opencode", "chromium", "postgres", "webui", "axe"))
            item.add_marker(pytest.mark.timeout(240))


@dataclass
class Site:
    """A running product; ``admin`` is its first user."""

    product: Product
    admin: Visitor

    @property
    def port(self) -> int:
        """Of the listener."""
        return self.product.port

    @property
    def url(self) -> str:
        """The main site."""
        return self.product.url


@dataclass
class Person:
    """Somebody with an account. ``api`` calls what the page calls; ``workspace`` is the id of their own one."""

    site: Site
    browser: Browser
    api: Visitor
    username: str
    workspace: str
    password: str = PASSWORD
    complaints: list[str] = field(default_factory=list)
    _pages: list[Page] = field(default_factory=list)

    def page(
        self,
        path: str = "/",
        *,
        width: int = 1280,
        height: int = 800,
        scheme: Literal["light", "dark"] = "light",
        signed_in: bool = True,
        same_browser: bool = False,
    ) -> Page:
        """A page in a browser profile of its own (or a tab beside the last one), at ``path``."""
        if same_browser:
            page = self._pages[-1].context.new_page()
        else:
            context = self.browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )
            context.set_default_timeout(MILLISECONDS)
            if signed_in:
                self._sign_in(context)
            page = context.new_page()
        self._pages.append(page)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.site.url + path)
        return page

    def _sign_in(self, context: Any) -> None:
        session = Visitor(self.site.port)
        session.login(self.username, self.password)
        for name, value in session.cookies["localhost"].items():
            context.add_cookies([{"name": name, "value": value, "url": self.site.url}])

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_EXPECTED):
            place = message.location
            self.complaints.append(f"{message.text} ({place['url']}, line {place['lineNumber']})")

    def close(self) -> None:
        """Close all pages."""
        for page in self._pages:
            page.context.close()


def make_product(folder: Path, env: dict[str, str]) -> Product:
    """A product that is not started yet. It serves the page that is in the tree, or that of ``WEBUI_ROOT``."""
    product = Product(folder, env, port=free_port())
    root = os.environ.get("WEBUI_ROOT")
    if root is not None:
        product.program = ("-c", _PROGRAM.format(root=root))
    return product


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One product for all tests of the page, with open registration and a stand-in for the Messages API."""
    folder = tmp_path_factory.mktemp("web")
    with stand_in() as upstream:
        env = {"REGISTRATION": "open", "ANTHROPIC_API_KEY": OPERATOR_KEY, "ANTHROPIC_BASE_URL": upstream}
        product = make_product(folder, env)
        product.start()
        try:
            admin = product.visitor()
            admin.register("root")
            yield Site(product, admin)
        finally:
            product.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium."""
    expect.set_options(timeout=MILLISECONDS)
    with chromium() as made:
        yield made


_numbers = itertools.count(1)


@pytest.fixture
def person(site: Site, browser: Browser) -> Iterator[Callable[[str], Person]]:
    """``person("ada")``: a new user, called ada with a number. At the end the browser must have had no complaint."""
    made: list[Person] = []

    def make(name: str = "ada") -> Person:
        api = Visitor(site.port)
        username = f"{name}{next(_numbers)}"
        made.append(Person(site, browser, api, username, api.register(username, PASSWORD)))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert [text for one in made for text in one.complaints] == []


def first_of(held: list[Route], page: Page) -> Route:
    """The first request that a test's own handler keeps back. Playwright tells of it a moment after it was made."""
    deadline = time.monotonic() + MILLISECONDS / 1000
    while not held:
        assert time.monotonic() < deadline, "nothing was asked for"
        page.wait_for_timeout(10)
    return held[0]


def look(page: Page, name: str) -> None:
    """Keep a picture, and see that the page fits its window and that axe-core finds nothing serious or critical."""
    page.screenshot(path=artifact("web", f"{name}.png"), full_page=True)
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the window"
    assert axe(page) == [], name
