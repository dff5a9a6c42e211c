"""The pages that stand in for a sandbox: complete, safe, readable on a phone and in both colour schemes."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from daemon.pages import Page, State, Subject, layout, problem, render, render_problem
from daemon.pages.layout import STYLE
from tests.support.axe import axe
from tests.support.chromium import artifact, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser
    from playwright.sync_api import Page as BrowserPage

LONG = "opencode exited with status 137: the sandbox used more than its 2 GiB of memory.\n" + "x" * 300
FULL = Subject(
    name="billing refactor",
    reason=LONG,
    elapsed=65,
    main_url="http://localhost:8080/",
    action_url="/path?query&__cli-server=resume",
    logs_url="http://localhost:8080/sandboxes/a123456789abcdef/logs",
    port=3000,
)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
ALL = pytest.mark.parametrize("state", State, ids=lambda state: state.name.lower())


class _Document(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _header(page: Page, name: bytes) -> str:
    (value,) = (value for key, value in page.headers if key == name)
    return value.decode()


def _loads_itself(page: Page) -> bool:
    return b"http-equiv" in page.body or b"refresh" in dict(page.headers)


@ALL
def test_a_page_is_complete_in_itself_and_its_policy_allows_nothing_else(state: State) -> None:
    page = render(state, FULL)
    document = _Document(page)
    tags = {tag for tag, _ in document.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert not any(name.startswith("on") or name == "style" for _, found in document.elements for name in found)
    assert [link["href"] for link in document.all("link")] == ["data:,"]
    (style,) = re.findall(r"<style>(.*?)</style>", page.body.decode(), re.DOTALL)
    policy = _header(page, b"content-security-policy")
    assert f"'sha256-{b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "url(" not in style
    assert "@import" not in style
    assert _header(page, b"content-type") == "text/html; charset=utf-8"
    assert _header(page, b"cache-control") == "no-store"


@ALL
def test_a_page_says_what_it_is_to_readers_of_any_kind(state: State) -> None:
    document = _Document(render(state, FULL))
    assert document.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width,initial-scale=1"} in document.all("meta")
    assert len(document.all("h1")) == len(document.all("main")) == len(document.all("title")) == 1
    assert state.value.word in document.text
    assert "!" not in document.text.replace(STYLE, "")
    assert not re.search(r"\b(please|oops|sorry)\b", document.text, re.IGNORECASE)
    assert "{" not in document.text.replace(STYLE, "")


@ALL
def test_the_problem_for_programs_says_the_same(state: State) -> None:
    page, answer = render(state, FULL), render_problem(state, FULL)
    body = json.loads(answer.body)
    assert answer.status == page.status == body["status"] == state.value.status
    assert _header(answer, b"content-type") == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert re.fullmatch(r"[a-z_]+", body["code"])
    assert body["title"] in _Document(page).text
    assert LONG in body["detail"]


def test_each_state_has_a_code_of_its_own_and_the_status_of_the_contract() -> None:
    # To a program it is the same, whether a sandbox here or a machine elsewhere goes.
    codes = [state.value.code for state in State if state not in (State.LOCAL_DELETING, State.LOCAL_BROKE)]
    assert len(set(codes)) == len(codes)
    statuses = {state.name: state.value.status for state in State}
    assert statuses["NOT_FOUND"] == 404
    assert statuses["NO_ACCESS"] == 403
    assert statuses["MISDIRECTED"] == 421
    assert statuses["TOO_LARGE_FOR_AGENT"] == 413
    assert {statuses[name] for name in ("STARTING", "RESUMING", "PAUSED", "OFFLINE", "FAILED")} == {503}


def test_the_starting_page_refreshes_itself_and_a_paused_one_does_not() -> None:
    """A page that waits must not wake a sandbox again and again: only those on their way load themselves."""
    starting = render(State.STARTING, FULL)
    assert _header(starting, b"refresh") == _header(starting, b"retry-after") == "2"
    for state in (State.PAUSED, State.FAILED, State.NO_ACCESS, State.NOT_FOUND, State.SIGNED_OUT, State.UPSTREAM_BROKE):
        assert not _loads_itself(render(state, FULL))


def test_what_a_tunnel_cannot_do_is_said_with_a_way_out() -> None:
    """Contract, section 5: a request that does not fit gets 413 with a clear message."""
    for state, status, way_out in (
        (State.LOCAL_PORT, 404, "on the machine itself"),
        (State.TUNNEL_BUSY, 503, "try again in a moment"),
        (State.TOO_LARGE_FOR_AGENT, 413, "Update the agent"),
        (State.NO_UPGRADE, 501, "Update the agent"),
    ):
        page = render(state, FULL)
        assert page.status == status
        assert way_out in _Document(page).text
        assert way_out in json.loads(render_problem(state, FULL).body)["detail"]
        assert not _loads_itself(page), "what one has typed into the page before is not thrown away"
    assert "32 KiB" in _Document(render(State.TOO_LARGE_FOR_AGENT, FULL)).text
    assert "Port 3000" in _Document(render(State.LOCAL_PORT, FULL)).text
    assert _header(render(State.TUNNEL_BUSY, FULL), b"retry-after") == "2"


def test_a_machine_that_is_removed_loses_nothing() -> None:
    text = _Document(render(State.LOCAL_DELETING, FULL)).text
    assert "home directory" not in text
    assert "stays as it is" in text


def test_the_failed_page_shows_the_reason_and_what_to_do() -> None:
    """Users ask: why did it fail; logs and a reason in the page, not a spinner."""
    document = _Document(render(State.FAILED, FULL))
    assert LONG in document.text
    mark, *links = (link["href"] for link in document.all("a"))
    assert mark == FULL.main_url
    assert links == [FULL.action_url, FULL.logs_url, FULL.main_url]


def test_a_button_is_only_there_for_who_may_press_it() -> None:
    assert b"Resume<" in render(State.PAUSED, FULL).body
    assert b"Resume<" not in render(State.PAUSED, Subject(name="x")).body


def test_it_looks_like_the_rest_of_the_product() -> None:
    """The colours are those of the web UI's own file, all of them and nothing but them."""
    tokens = Path(layout.__file__).with_name("tokens.css").read_text(encoding="utf-8")
    for line in tokens.partition("*/")[2].splitlines():
        assert line in STYLE
    own = STYLE.rpartition('data-theme="dark"')[2].partition("}")[2]
    assert "var(--accent)" in own
    assert not re.search(r"#[0-9a-f]{3}|rgb|hsl", own)


@given(text=st.text(max_size=200))
def test_no_text_becomes_markup(text: str) -> None:
    texts = Subject(name=text, reason=text, main_url=text, action_url=text, logs_url=text)
    plain = {tag for state in State for tag, _ in _Document(render(state, FULL)).elements}
    for state in (State.FAILED, State.PAUSED):
        assert {tag for tag, _ in _Document(render(state, texts)).elements} <= plain
        json.loads(render_problem(state, texts).body)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//evil.example/", "/\\evil.example", "data:text/html,x", "evil", " /x", "\t//x"]
)
def test_no_link_runs_a_script_or_leads_to_another_host_in_disguise(url: str) -> None:
    """A request for ``//evil.example/`` must not come back as a link to that host."""
    texts = Subject(action_url=url, logs_url=url, main_url=url)
    assert not [link for link in _Document(render(State.FAILED, texts)).all("a") if "href" in link]


def test_markup_in_a_name_is_shown_as_it_was_written() -> None:
    page = render(State.STARTING, Subject(name="<script>alert(1)</script>\x1b[31m\u202e"))
    assert b"<script" not in page.body
    assert "<script>alert(1)</script>" in _Document(page).text
    assert b"\x1b" not in page.body
    assert "\u202e".encode() not in page.body


def test_a_long_reason_is_shown_by_its_end() -> None:
    body = render(State.FAILED, Subject(reason="x" * 100_000 + "the end")).body
    assert b"the end" in body
    assert len(body) < 12_000


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "For 0 seconds"),
        (1, "For 1 second<"),
        (61, "For 1 minute<"),
        (7300, "For 2 hours"),
        (90_000, "For 1 day<"),
    ],
)
def test_since_when_in_words(seconds: float, words: str) -> None:
    assert words in render(State.STARTING, Subject(elapsed=seconds)).body.decode()


def test_a_plain_problem() -> None:
    page = problem(403, "no", "No", "Because.", [(b"retry-after", b"1")])
    assert json.loads(page.body) == {
        "type": "about:blank", "title": "No", "status": 403, "detail": "Because.", "code": "no",
    }  # fmt: skip
    assert _header(page, b"retry-after") == "1"


@pytest.mark.needs("chromium", "axe")
async def test_every_page_in_a_browser_fits_a_phone_and_breaks_no_policy() -> None:
    """Keeps pictures of all pages, light and dark, phone and desk, in tests/artifacts/pages. axe-core finds nothing."""
    found = await trio.to_thread.run_sync(_look_at_all)
    assert found == []


def _look_at_all() -> list[str]:
    with chromium() as browser:
        found = [text for scheme, width in product(SCHEMES, (360, 1280)) for text in _look_by(browser, scheme, width)]
    # The status of the page itself is an error to the console, and nothing else may be.
    return [text for text in found if "the server responded with a status of" not in text]


def _look_by(browser: Browser, scheme: Scheme, width: int) -> list[str]:
    found: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 640}, color_scheme=scheme)
    page.on("console", lambda message: found.append(message.text))
    page.route("**/*", _serve)
    for state in State:
        page.goto(f"http://page.test/{state.name}")
        found += [f"{state.name} {scheme} {width}: {text}" for text in _look_at(page, width)]
        page.screenshot(path=artifact("pages", f"{state.name.lower()}-{scheme}-{width}.png"), full_page=True)
    page.close()
    return found


def _look_at(page: BrowserPage, width: int) -> Iterator[str]:
    if page.evaluate("document.documentElement.scrollWidth") > width:
        yield "wider than the window"
    if page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") != "8px":
        yield "has lost its style"
    for found in axe(page):
        yield f"axe: {found}"


def _serve(route: Any) -> None:
    page = render(State[route.request.url.rpartition("/")[2]], FULL)
    headers = {name.decode(): value.decode() for name, value in page.headers if name != b"refresh"}
    route.fulfill(status=page.status, headers=headers, body=page.body)


@pytest.mark.needs("chromium")
async def test_a_browser_shows_the_sandbox_as_soon_as_it_is_there() -> None:
    """Nobody has to do anything: what one came for takes the place of the page, at the address that one came to."""
    assert await trio.to_thread.run_sync(_wait_for_it) == ["/?file=a", "/?file=a", "/?file=a"]


def _wait_for_it() -> list[str]:
    asked: list[str] = []

    def serve(route: Any) -> None:
        asked.append(route.request.url.removeprefix("http://page.test"))
        if len(asked) > 2:
            route.fulfill(body="<!doctype html><p>It is open</p>", content_type="text/html")
            return
        page = render(State.STARTING, FULL)
        headers = {name.decode(): value.decode() for name, value in page.headers}
        route.fulfill(status=page.status, headers=headers, body=page.body)

    with chromium() as browser:
        page = browser.new_page()
        page.route("**/*", serve)
        page.goto("http://page.test/?file=a")
        page.get_by_text("It is open").wait_for(timeout=20_000)
    return asked
