"""The pages that stand in for a sandbox: complete, safe, readable on a phone and in both colour schemes."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from daemon.pages import Page, State, Subject, problem, render, render_problem
from daemon.pages.layout import STYLE
from tests.conftest import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

ARTIFACTS = Path(__file__).parent / "artifacts" / "pages"
LONG = "opencode exited with status 137: the sandbox used more than its 2 GiB of memory.\n" + "x" * 300
FULL = Subject(
    name="billing refactor",
    reason=LONG,
    elapsed=65,
    main_url="http://localhost:8080/",
    action_url="/path?query&__cli-server=resume",
    logs_url="http://localhost:8080/api/sandboxes/a123456789abcdef/logs",
    port=3000,
)
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
    assert {"http-equiv": "refresh", "content": "2"} in _Document(starting).all("meta")
    assert _header(starting, b"retry-after") == "2"
    for state in (State.PAUSED, State.FAILED, State.NO_ACCESS, State.NOT_FOUND, State.SIGNED_OUT, State.UPSTREAM_BROKE):
        assert b"http-equiv" not in render(state, FULL).body


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
        assert b"http-equiv" not in page.body, "what one has typed into the page before is not thrown away"
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
    assert [link["href"] for link in document.all("a")] == [FULL.action_url, FULL.logs_url, FULL.main_url]


def test_a_button_is_only_there_for_who_may_press_it() -> None:
    assert b"Resume<" in render(State.PAUSED, FULL).body
    assert b"Resume<" not in render(State.PAUSED, Subject(name="x")).body


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
    assert not _Document(render(State.FAILED, texts)).all("a")


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


def _schemes() -> Iterator[dict[str, str]]:
    light, dark = (dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", block)) for block in STYLE.split("@media", 1))
    yield light
    yield light | {name: value for name, value in dark.items() if name in light}


def _contrast(first: str, second: str) -> float:
    """WCAG 2.2, "contrast ratio"."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, faint = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (faint + 0.05)


@pytest.mark.parametrize("scheme", list(_schemes()), ids=["light", "dark"])
def test_contrast_is_enough_in_light_and_dark(scheme: dict[str, str]) -> None:
    assert _contrast(scheme["text"], scheme["card"]) >= 12
    assert _contrast(scheme["on"], scheme["accent"]) >= 5
    coloured = ("quiet", "accent", "wait", "pause", "away", "stop", "lock", "search")
    for name, ground in product(coloured, ("card", "bg")):
        assert _contrast(scheme[name], scheme[ground]) >= 5, (name, ground)


@pytest.mark.needs("chromium")
async def test_every_page_in_a_browser_fits_a_phone_and_breaks_no_policy() -> None:
    """Keeps pictures of all pages, light and dark, phone and desk, in tests/artifacts/pages."""
    found = await trio.to_thread.run_sync(_look_at_all)
    assert found == []


def _look_at_all() -> list[str]:
    from playwright.sync_api import sync_playwright

    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    program = find_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme, width in (("light", 360), ("dark", 1280)):
            page = browser.new_page(viewport={"width": width, "height": 640}, color_scheme=scheme)  # type: ignore[arg-type]
            page.on("console", lambda message: complaints.append(message.text))
            page.route("**/*", _serve)
            for state in State:
                page.goto(f"http://page.test/{state.name}")
                if page.evaluate("document.documentElement.scrollWidth") > width:
                    complaints.append(f"{state.name} is wider than {width}")
                if page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") != "8px":
                    complaints.append(f"{state.name} has lost its style")
                page.screenshot(path=ARTIFACTS / f"{state.name.lower()}-{scheme}-{width}.png", animations="disabled")
            page.close()
        browser.close()
    # The status of the page itself is an error to the console, and nothing else may be.
    return [text for text in complaints if "the server responded with a status of" not in text]


def _serve(route: Any) -> None:
    page = render(State[route.request.url.rpartition("/")[2]], FULL)
    headers = {name.decode(): value.decode() for name, value in page.headers}
    route.fulfill(status=page.status, headers=headers, body=page.body)
