"""Open redirects: whatever somebody puts into ``next``, the way ends on the site, or at the sandbox it is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from tests.conftest import require
from tests.security.stage import HOSTILE
from tests.support.chromium import chromium
from tests.support.product import Product, product
from tests.support.visitor import PAGE, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Dialog

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(240)]

# "{port}" is the product's, "{box}" the sandbox.
TRICKS = (
    "//evil.test",
    "//evil.test/",
    "///evil.test/",
    "////evil.test//",
    "/\\evil.test/",
    "\\\\evil.test/",
    "/\\/evil.test/",
    "\\/evil.test",
    "/\t/evil.test/",
    "/\n/evil.test/",
    "/\r\n/evil.test/",
    "\t//evil.test/",
    "\x00//evil.test/",
    "\x01https://evil.test/",
    " //evil.test/",
    "\u00a0//evil.test/",
    "/\u2028/evil.test/",
    "//\u3002evil.test/",
    "／／evil.test/",
    "/%09/evil.test/",
    "/%5cevil.test/",
    "/%2f/evil.test/",
    "%2f%2fevil.test/",
    "/..//evil.test/",
    "/.//evil.test/",
    "/./\\evil.test/",
    "/x/..//evil.test/",
    "/%2e%2e//evil.test/",
    "http://evil.test/",
    "https://evil.test/",
    "HTTP://EVIL.TEST/",
    "http:evil.test/",
    "http:/evil.test/",
    "https:/\\evil.test/",
    "ftp://evil.test/",
    "//localhost:{port}@evil.test/",
    "http://localhost:{port}@evil.test/",
    "http://localhost:{port}.evil.test/",
    "http://oc-{box}.localhost:{port}@evil.test/",
    "http://oc-{box}.localhost:{port}.evil.test/",
    "http://oc-{box}.localhost:{port}\\@evil.test/",
    "http://oc-{box}.localhost:{port}#@evil.test/",
    "http://evil.test#http://oc-{box}.localhost:{port}/",
    "http://evil.test?http://oc-{box}.localhost:{port}/",
    "http://evil.test\\.oc-{box}.localhost:{port}/",
    "//oc-{box}.localhost:{port}@evil.test/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "blob:http://evil.test/x",
    "view-source:http://evil.test/",
    "/login?next=//evil.test/",
    "/register?next=//evil.test/",
    "/api/auth/oidc/github/login?next=//evil.test/",
    "/api/sandboxes/{box}/open?next=//evil.test/",
    "/\r\nLocation: http://evil.test/",
    "/\r\n\r\n<script>alert(1)</script>",
    "/ä//evil.test/",
    "//[::1]:1/",
    "//0x7f000001:1/",
    "//evil.test%00.localhost/",
    "//evil。test/",
    "/" + "x" * 5000 + "//evil.test/",
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with product(tmp_path_factory.mktemp("redirects"), OPENCODE_BIN=str(HOSTILE)) as made:
        yield made


@pytest.fixture(scope="module")
def ada(running: Product) -> tuple[Visitor, str]:
    """A user, and a sandbox of hers."""
    visitor = running.visitor()
    return visitor, visitor.running(visitor.register())


def written(trick: str, running: Product, box: str) -> str:
    return trick.replace("{port}", str(running.port)).replace("{box}", box)


def stays(location: str, running: Product, box: str) -> bool:
    """Whether a ``Location`` leads to a host of the sandbox, or stays on the host that said it, for every reader."""
    if not re.fullmatch(r"[!-~]+", location) or "\\" in location:
        return False
    if location.startswith("/") and not location.startswith("//"):
        return True
    place = urlsplit(location)
    hosts = {f"localhost:{running.port}", f"oc-{box}.localhost:{running.port}"}
    return place.scheme == "http" and place.netloc in hosts


@pytest.mark.parametrize("trick", TRICKS)
def test_open(running: Product, ada: tuple[Visitor, str], trick: str) -> None:
    """``GET /api/sandboxes/{id}/open``, signed in and not."""
    visitor, box = ada
    target = f"/api/sandboxes/{box}/open?next=" + quote(written(trick, running, box), safe="")
    for who in (visitor, running.visitor()):
        answer = who.request("GET", "localhost", target, headers=PAGE)
        assert answer.status in (302, 414, 422, 431)
        if answer.status == 302:
            assert stays(answer.header("location"), running, box)
            assert len([name for name, _ in answer.headers if name == "location"]) == 1


@pytest.mark.parametrize("trick", TRICKS)
def test_ticket(running: Product, ada: tuple[Visitor, str], trick: str) -> None:
    """The ticket's own ``next``, which whoever has the ticket may change; with browsers' headers and without."""
    visitor, box = ada
    wanted = quote(written(trick, running, box), safe="")
    host = f"oc-{box}.localhost"
    for headers in (PAGE, {**PAGE, "Sec-Fetch-Site": "cross-site"}):
        got = visitor.request("GET", "localhost", f"/api/sandboxes/{box}/open", headers=PAGE).header("location")
        target = got.partition(str(running.port))[2].replace("next=%2F", f"next={wanted}")
        answer = running.visitor().request("GET", host, target, headers=headers)
        assert answer.status in (303, 414)
        if answer.status == 303:
            assert stays(answer.header("location"), running, box)


@pytest.mark.parametrize(
    "target", ["//evil.test/", "///evil.test", "/\\evil.test/", "/%5cevil.test/", "//evil.test/%2f..", "/x"]
)
def test_resume(running: Product, ada: tuple[Visitor, str], target: str) -> None:
    """The button on the page of a paused sandbox goes back to the address that was asked for."""
    visitor, box = ada
    visitor.open(box)
    visitor.api("POST", f"/api/sandboxes/{box}/pause")
    visitor.wait_for(box, "paused")
    answer = visitor.request("GET", f"oc-{box}.localhost", f"{target}?__cli-server=resume", headers=PAGE)
    assert answer.status in (303, 400)
    if answer.status == 303:
        assert stays(answer.header("location"), running, box)
    visitor.api("POST", f"/api/sandboxes/{box}/resume", expect=(202, 409))
    visitor.wait_for(box, "running")


@pytest.mark.parametrize("trick", ["//evil.test/x", "///evil.test", "/\\evil.test", "http://evil.test/"])
def test_the_site_itself_never_sends_away(running: Product, trick: str) -> None:
    """No tidying of slashes, and no absolute address in the request's line is believed."""
    for path in (trick, f"/w{trick}", f"/api{trick}", f"/assets{trick}"):
        answer = running.visitor().request("GET", "localhost", path, headers=PAGE)
        if answer.status in range(300, 400):
            assert stays(answer.header("location"), running, "")


# In Chromium, which reads an address in its own way


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require("chromium", "webui")
    with chromium() as made:
        yield made


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.route(re.compile(r"https?://[^/]*evil"), lambda route: route.fulfill(body="evil", content_type="text/html"))
    yield made
    made.close()


@pytest.mark.needs("chromium", "webui")
def test_signing_in_in_chromium(running: Product, ada: tuple[Visitor, str], context: BrowserContext) -> None:
    """The sign-in page with each that may pass for a path; the page's own tests have more. One ends on the site."""
    _, box = ada
    scripts: list[str] = []

    def run(dialog: Dialog) -> None:
        scripts.append(dialog.message)
        dialog.dismiss()

    page = context.new_page()
    page.on("dialog", run)
    allowed = {f"localhost:{running.port}", f"oc-{box}.localhost:{running.port}"}
    for trick in (trick for trick in TRICKS if re.match(r"[/\\]+[^/\\a-z]|//|/\\|javascript", trick)):
        wanted = written(trick, running, box)
        context.clear_cookies()
        page.goto(f"{running.url}/login?next=" + quote(wanted, safe=""))
        page.get_by_label("User name").fill("ada")
        page.get_by_label("Password", exact=True).fill("correct horse battery staple")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/login" not in url.partition("?")[0])
        page.wait_for_load_state()
        assert urlsplit(page.url).netloc in allowed, trick
        assert urlsplit(page.url).scheme == "http", trick
    assert scripts == []


@pytest.mark.needs("chromium")
def test_opening_in_chromium(running: Product, ada: tuple[Visitor, str], context: BrowserContext) -> None:
    """A link with each of them, to somebody who is signed in."""
    visitor, box = ada
    for name, value in visitor.cookies["localhost"].items():
        context.add_cookies([{"name": name, "value": value, "url": running.url}])
    page = context.new_page()
    allowed = {f"localhost:{running.port}", f"oc-{box}.localhost:{running.port}"}
    for trick in TRICKS:
        page.goto(f"{running.url}/api/sandboxes/{box}/open?next=" + quote(written(trick, running, box), safe=""))
        assert urlsplit(page.url).netloc in allowed, trick
