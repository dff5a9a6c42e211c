"""What surrounds all pages: the connection, many tabs, the theme, the first load, the policy."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.conftest import ROOT
from tests.support.rows import put_sandbox
from tests.web.conftest import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Response

    from tests.web.conftest import Person, Site

# Twice what a browser opens to one host over HTTP/1.1, and more.
TABS = 13
FIRST_LOAD_BYTES = 250 * 1024  # the bound for JavaScript, compressed


def test_more_tabs_than_connections_are_all_live(person: Callable[[str], Person]) -> None:
    """A browser has six connections to a host; a stream for each tab would leave none for anything else."""
    ada = person("ada")
    first = ada.page(f"/w/{ada.workspace}/members")
    tabs = [first, *(ada.page(f"/w/{ada.workspace}/members", same_browser=True) for _ in range(TABS - 1))]
    for tab in tabs:
        expect(tab.get_by_role("heading", name="Members")).to_be_visible()
    guest = person("guest")
    ada.api.api("POST", f"/api/workspaces/{ada.workspace}/members", {"username": guest.username, "role": "guest"})
    for tab in tabs:
        expect(tab.get_by_text(guest.username).first).to_be_visible()


def test_the_daemon_restarts_under_an_open_page(site: Site, person: Callable[[str], Person]) -> None:
    """kill -9: the page says since when, shows nothing as fresh, and recovers by itself."""
    ada = person("ada")
    page = ada.page(f"/w/{ada.workspace}/members")
    expect(page.get_by_text(ada.username).first).to_be_visible()
    site.product.kill()
    try:
        expect(page.get_by_text("No connection to the server for")).to_be_visible()
        expect(page.locator("html")).to_have_attribute("data-away", "")  # statuses lose their colour
        look(page, "away")
    finally:
        site.product.start()
    expect(page.get_by_text("No connection to the server for")).to_have_count(0, timeout=30_000)
    expect(page.locator("html[data-away]")).to_have_count(0)
    guest = person("guest")
    ada.api.api("POST", f"/api/workspaces/{ada.workspace}/members", {"username": guest.username, "role": "guest"})
    expect(page.get_by_text(guest.username).first).to_be_visible()


def test_what_was_not_loaded_yet_waits_for_the_server(site: Site, person: Callable[[str], Person]) -> None:
    """Parts of the page that cannot come say so; the page stays, and goes on when the server is back."""
    ada = person("ada")
    page = ada.page(f"/w/{ada.workspace}/sandboxes")
    expect(page.get_by_role("button", name="New sandbox")).to_be_visible()
    site.product.kill()
    try:
        page.keyboard.press("Control+k")
        expect(page.get_by_text("This cannot be shown. The server does not answer.").first).to_be_visible()
        page.get_by_role("link", name="Members").hover()  # what is loaded ahead
        page.get_by_role("link", name="Members").click()
        expect(page.get_by_role("heading", name="This page cannot be shown")).to_be_visible()
    finally:
        site.product.start()
    expect(page.get_by_role("heading", name="Members")).to_be_visible(timeout=30_000)
    assert page.locator("h1").evaluate("h1 => getComputedStyle(h1).fontSize") == "18px", "with its looks"
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_be_visible()
    ada.complaints.clear()  # the parts that did not come


def test_try_again_asks_again(person: Callable[[str], Person]) -> None:
    """Also where what failed is asked before anything is shown."""
    ada = person("ada")
    page = ada.page("/favicon.svg")
    page.route("**/api/auth/me", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(ada.site.url)
    expect(page.get_by_role("heading", name="This page cannot be shown")).to_be_visible()
    page.unroute("**/api/auth/me")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Sandboxes")).to_be_visible()
    ada.complaints.clear()  # the answer that failed


def test_the_focus_is_never_lost(site: Site, person: Callable[[str], Person]) -> None:
    """What had it goes: a link with its page, a row by a dialog, a button by what it does."""
    ada = person("ada")
    for name in ("alpha", "beta"):
        put_sandbox(site.product, ada.workspace, name)
    page = ada.page(f"/w/{ada.workspace}/sandboxes")
    page.get_by_role("row", name="alpha").press("Enter")
    expect(page.get_by_role("heading", name="alpha")).to_be_visible()
    expect(page.get_by_role("main")).to_be_focused()
    page.go_back()
    page.get_by_role("button", name="More for alpha").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("row", name="alpha")).to_have_count(0)
    expect(page.get_by_role("row", name="beta")).to_be_focused()


def test_the_palettes_key_gives_up_nothing(person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page(f"/w/{ada.workspace}/sandboxes")
    palette = page.get_by_role("dialog", name="Search and commands")
    page.get_by_role("button", name="New sandbox").click()
    page.get_by_label("Name").fill("half a name")
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Name")).to_have_value("half a name")
    expect(palette).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(palette).to_be_visible()
    page.keyboard.press("Control+k")
    expect(palette).to_have_count(0)


def test_the_theme_is_chosen_once_for_all_tabs_and_kept(person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page(scheme="light")
    other = ada.page(same_browser=True)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitemcheckbox", name="Dark").click()
    for tab in (page, other):
        expect(tab.locator("html")).to_have_attribute("data-theme", "dark")
    other.reload()
    assert other.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_first_load_is_small_and_what_does_not_change_is_kept(site: Site, person: Callable[[str], Person]) -> None:
    ada = person("ada")
    page = ada.page("/favicon.svg")  # signed in, and nothing of the page loaded yet
    sizes: dict[str, int] = {}
    kept: dict[str, str] = {}

    def hear(response: Response | None) -> None:
        if response is not None and response.url.endswith(".js"):
            sizes[response.url] = response.request.sizes()["responseBodySize"]
            kept[response.url] = response.headers.get("cache-control", "")
            assert response.headers.get("content-encoding") in ("br", "gzip"), response.url

    page.on("requestfinished", lambda request: hear(request.response()))
    page.goto(site.url)
    expect(page.get_by_role("heading", name="Sandboxes").first).to_be_attached()
    page.wait_for_timeout(500)  # what is loaded ahead counts, too
    assert len(sizes) >= 2
    assert sum(sizes.values()) < FIRST_LOAD_BYTES, sizes
    for url, cache in kept.items():
        if "/assets/" in url:
            assert re.search(r"-[\w-]{8}\.js$", url), f"{url} is named by its content"
            assert "immutable" in cache, url


def test_charts_are_loaded_only_where_they_are_seen() -> None:
    """The page's own list of its parts: what the first page needs does not lead to the charting library."""
    parts = json.loads((ROOT / "daemon" / "webroot" / "build.json").read_text())
    seen: set[str] = set()
    waiting = ["index.html"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += parts[name].get("imports", [])
    sizes = sum((ROOT / "daemon" / "webroot" / (parts[name]["file"] + ".gz")).stat().st_size for name in seen)
    assert sizes < FIRST_LOAD_BYTES
    text = "".join((ROOT / "daemon" / "webroot" / parts[name]["file"]).read_text() for name in seen)
    assert "recharts" not in text
