"""The plain web page in a real browser, against an API that is made up here. The whole way is tested in tests/e2e."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trio

from daemon.api.site import POLICY
from tests.conftest import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

WEBROOT = Path(__file__).parents[1] / "daemon" / "webroot"
ARTIFACTS = Path(__file__).parent / "artifacts" / "webroot"
ORIGIN = "http://site.test"
# What a page on the way would do, were it taken for markup.
NASTY = "<img src=x onerror=\"document.title='taken'\">"


def _problem(status: int, detail: str, **headers: str) -> dict[str, Any]:
    body = {"type": "about:blank", "title": "T", "status": status, "detail": detail, "code": "c"}
    return {
        "status": status,
        "headers": {"content-type": "application/problem+json", **headers},
        "body": json.dumps(body),
    }


class _Api:
    """The answers of a server with one workspace. Runs in Playwright's thread."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.signed_in = True
        self.role = "owner"
        self.code_seconds = 599.0
        self.calls: list[tuple[str, str, Any]] = []
        self.refusals: dict[str, dict[str, Any]] = {}
        self.sandboxes: list[dict[str, Any]] = []
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.route("**/*", self._route)

    def add(self, name: str, status: str, **more: Any) -> dict[str, Any]:
        number = len(self.sandboxes)
        sandbox = {"id": f"a{number:015}", "name": name, "type": "cloud", "status": status, "statusReason": None}
        self.sandboxes.append(sandbox | {"lastActivityAt": "2020-01-01T00:00:00Z"} | more)
        return self.sandboxes[-1]

    def _route(self, route: Any) -> None:
        request = route.request
        path = urlsplit(request.url).path
        if not request.url.startswith(ORIGIN):
            self.console.append(f"it asked for {request.url}")
            route.abort()
        elif path in ("/", "/login") or path.startswith("/static/"):
            file = WEBROOT / (path.removeprefix("/static/") if path.startswith("/static/") else "index.html")
            route.fulfill(path=file, headers={"content-security-policy": POLICY, "content-type": _kind(file)})
        elif path.endswith("/open"):
            route.fulfill(body="opened")
        else:
            body = json.loads(request.post_data) if request.post_data else None
            self.calls.append((request.method, path, body))
            answer = self.refusals.get(f"{request.method} {path}") or self._answer(request.method, path, body)
            route.fulfill(**({"headers": {"content-type": "application/json"}} | answer))

    def _answer(self, method: str, path: str, body: Any) -> dict[str, Any]:
        if path in ("/api/auth/login", "/api/auth/register"):
            self.signed_in = True
        if not self.signed_in:
            return _problem(401, "You are not signed in.")
        if path == "/api/auth/logout":
            self.signed_in = False
            return {"status": 204}
        if path == "/api/events":
            # One event, then the end; the browser is told not to come again while the test runs.
            return {
                "headers": {"content-type": "text/event-stream"},
                "body": "retry: 600000\nevent: sandbox.updated\ndata: {}\n\n",
            }
        if path == "/api/workspaces":
            return _json([{"id": "w1", "name": f"Team {NASTY}", "role": self.role}])
        if path == "/api/workspaces/w1/usage":
            return _json({"days": [_usage("claude"), _usage("claude"), _usage(NASTY)], "totals": _usage("", 3)})
        if path == "/api/workspaces/w1/agent-code":
            expires = datetime.now(UTC) + timedelta(seconds=self.code_seconds)
            return _json({"code": "7K2M-9QXA-04TD", "expiresAt": expires.isoformat()}) | {"status": 201}
        if path == "/api/workspaces/w1/sandboxes":
            return self._sandboxes(method, body)
        if path.startswith("/api/sandboxes/"):
            return self._change(method, path)
        return _json({"username": "ada", "id": "u1"})

    def _sandboxes(self, method: str, body: Any) -> dict[str, Any]:
        if method == "GET":
            return _json(self.sandboxes)
        return _json(self.add(body.get("name", "sandbox"), "creating")) | {"status": 201}

    def _change(self, method: str, path: str) -> dict[str, Any]:
        sandbox = next(sandbox for sandbox in self.sandboxes if sandbox["id"] in path)
        if method == "DELETE":
            self.sandboxes.remove(sandbox)
            return {"status": 204}
        sandbox["status"] = "pausing" if path.endswith("/pause") else "resuming"
        return _json(sandbox) | {"status": 202}

    def sign_in(self, name: str = "ada") -> None:
        self.page.fill("#username", name)
        self.page.fill("#password", "correct horse")
        self.page.click("#sign-in-button")

    def refresh(self) -> None:
        """An event would do it; the stub's stream ends after each, so it is whatever loads the list."""
        self.page.evaluate("document.querySelector('.create').requestSubmit()")

    def row(self, name: str) -> Any:
        return self.page.locator(".sandbox", has_text=name)

    def errors(self) -> list[str]:
        """What the browser complained of, but for statuses that the test itself asked for."""
        return [text for text in self.console if "the server responded with a status of" not in text]


def _usage(model: str, times: int = 1) -> dict[str, object]:
    kinds = {"requests": 2, "inputTokens": 1000, "outputTokens": 7, "cacheReadTokens": 0, "cacheWriteTokens": 1}
    return {"model": model} | {name: number * times for name, number in kinds.items()}


def _json(value: object) -> dict[str, Any]:
    return {"status": 200, "body": json.dumps(value)}


def _kind(file: Path) -> str:
    return {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}[file.suffix] + "; charset=utf-8"


Browse = Callable[..., Awaitable[None]]


@pytest.fixture(scope="module")
def browse() -> Iterator[Browse]:
    """Runs a visit on a fresh page of one browser and sees that the browser had nothing to complain of.

    Playwright's plain interface stays in one thread.
    """
    from playwright.sync_api import sync_playwright

    with ThreadPoolExecutor(1) as thread:
        playwright = thread.submit(sync_playwright().start).result()
        program = find_program("chromium")
        browser = thread.submit(playwright.chromium.launch, executable_path=program, args=["--no-sandbox"]).result()

        def work(visit: Callable[[_Api], None], options: dict[str, Any]) -> list[str]:
            page = browser.new_page(**options)
            page.set_default_timeout(10_000)
            api = _Api(page)
            try:
                visit(api)
                return api.errors()
            finally:
                page.unroute_all(behavior="ignoreErrors")
                page.close()

        async def run(visit: Callable[[_Api], None], **options: Any) -> None:
            assert await trio.to_thread.run_sync(thread.submit(work, visit, options).result) == []

        yield run
        thread.submit(browser.close).result()
        thread.submit(playwright.stop).result()


def test_nothing_is_inline_so_that_the_strict_policy_holds() -> None:
    html = (WEBROOT / "index.html").read_text()
    assert "<style" not in html
    assert not re.search(r"\s(on\w+|style)=", html)
    assert re.findall(r"<script[^>]*>", html) == ['<script type="module" src="/static/app.js">']
    script = (WEBROOT / "app.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script)


@pytest.mark.needs("chromium")
async def test_see_create_pause_resume_and_delete(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        page = api.page
        api.add("alpha", "running")
        api.add("beta", "paused")
        api.add("gamma", "failed", statusReason=f"opencode exited with status 137 {NASTY}")
        api.add("laptop", "offline", type="local")
        page.goto(ORIGIN)
        page.wait_for_selector(".sandbox")
        assert page.locator("h2").inner_text() == f"Team {NASTY}"
        assert "status 137 <img" in api.row("gamma").locator(".reason").inner_text()
        assert api.row("gamma").locator("text=Retry").count() == 1
        assert api.row("laptop").locator("button").all_inner_texts() == ["Delete"]
        assert "6 calls, 3,000 input and 21 output tokens" in page.locator("summary").inner_text()
        rows = page.locator("tbody tr").all_text_contents()
        assert rows == [f"{NASTY}21,000701", "claude42,0001402"]

        page.fill(".create input", "  delta  ")
        page.click(".create button")
        api.row("delta").wait_for()
        assert ("POST", "/api/workspaces/w1/sandboxes", {"name": "delta"}) in api.calls
        assert page.input_value(".create input") == ""

        api.row("alpha").locator("text=Pause").click()
        api.row("alpha").locator("text=pausing").wait_for()
        api.row("beta").locator("text=Resume").click()
        api.row("beta").locator("text=resuming").wait_for()

        page.once("dialog", lambda dialog: dialog.dismiss())
        api.row("gamma").locator("text=Delete").click()
        assert not any(call[0] == "DELETE" for call in api.calls)
        said: list[str] = []

        def hear(dialog: Any) -> None:
            said.append(dialog.message)
            dialog.accept()

        page.once("dialog", hear)
        api.row("gamma").locator("text=Delete").click()
        api.row("gamma").wait_for(state="detached")
        assert "gamma" in said[0]
        assert "home directory" in said[0]
        assert page.title() == "Sandboxes · cli-server"

        target = api.row("alpha").locator("text=Open")
        assert target.get_attribute("href") == "/api/sandboxes/a000000000000000/open"
        assert (target.get_attribute("target"), target.get_attribute("rel")) == ("_blank", "noopener")

    await browse(visit)


COMMAND = f"cli-server agent connect --server {ORIGIN} --code 7K2M-9QXA-04TD"


@pytest.mark.needs("chromium")
async def test_connect_a_machine(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        page = api.page
        api.add("old laptop", "running", type="local")
        page.goto(ORIGIN)
        page.click("text=Connect a machine")
        panel = page.locator(".joining")
        panel.locator("text=Waiting for the machine.").wait_for()
        assert ("POST", "/api/workspaces/w1/agent-code", {}) in api.calls
        assert panel.locator(".command code").inner_text() == COMMAND
        assert panel.locator(".code").inner_text() == "7K2M-9QXA-04TD"
        assert re.fullmatch(r"works once, for 9:[0-5]\d more", panel.locator(".left").inner_text())

        panel.locator("text=Copy").click()
        panel.locator("text=Marked: press Ctrl+C").wait_for()
        assert page.evaluate("getSelection().toString()") == COMMAND
        clipboard = "{ writeText: async (text) => { window.copied = text; } }"
        page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})")
        panel.locator(".copy").click()
        panel.locator("text=Copied").wait_for()
        assert page.evaluate("window.copied") == COMMAND

        sandbox = api.add(f"new {NASTY}", "offline", type="local")
        api.refresh()
        panel.locator(f"text=“new {NASTY}” has joined").wait_for()
        assert not panel.locator(".code").is_visible()
        sandbox["status"] = "running"
        api.refresh()
        panel.locator(f"text=“new {NASTY}” is connected.").wait_for()
        panel.locator("text=Close").click()
        assert not panel.is_visible()

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_a_code_that_expires_is_not_shown_any_more(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        api.code_seconds = 1.6
        api.page.goto(ORIGIN)
        api.page.click("text=Connect a machine")
        api.page.locator(".code").wait_for()
        api.page.wait_for_selector("text=The code has expired")
        assert not api.page.locator(".joining .command").is_visible()
        api.code_seconds = 60
        api.page.click("text=Connect a machine")
        api.page.wait_for_selector("text=Waiting for the machine.")
        assert api.page.locator(".joining .command").is_visible()

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_a_guest_connects_no_machine(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        api.role = "guest"
        api.add("laptop", "running", type="local")
        api.page.goto(ORIGIN)
        api.row("laptop").wait_for()
        assert not api.page.locator(".connect").is_visible()
        assert api.row("laptop").locator("button, a").count() == 0

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_local_sandboxes(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        page = api.page
        api.add("cloud", "running")
        api.add("tower", "running", type="local", agentInfo={"host": "desk", "system": NASTY})
        api.add("tablet", "offline", type="local", lastHeartbeatAt="2020-01-01T00:00:00Z")
        api.add("watch", "offline", type="local", lastHeartbeatAt=None)
        page.goto(ORIGIN)
        api.row("watch").wait_for()
        actions = {
            name: api.row(name).locator(".actions > *").all_inner_texts() for name in ("cloud", "tower", "tablet")
        }
        assert actions == {"cloud": ["Open", "Pause", "Delete"], "tower": ["Open", "Delete"], "tablet": ["Delete"]}
        badges = [badge.is_visible() for badge in page.locator(".badge").all()]
        assert badges == [False, True, True, True]
        assert api.row("tower").locator(".badge").get_attribute("title") == f"host: desk\nsystem: {NASTY}"
        assert "seen" in api.row("tablet").locator(".since").inner_text()
        assert "not seen yet" in api.row("watch").locator(".since").inner_text()
        assert f"agent connect --server {ORIGIN}" in api.row("tablet").locator(".hint").inner_text()
        assert not api.row("tower").locator(".hint").is_visible()
        said: list[str] = []

        def hear(dialog: Any) -> None:
            said.append(dialog.message)
            dialog.accept()

        page.once("dialog", hear)
        api.row("tablet").locator("text=Delete").click()
        api.row("tablet").wait_for(state="detached")
        assert "home directory" not in said[0]
        assert "stay as they are" in said[0]

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_an_event_brings_the_list_up_to_date_and_keeps_the_focus(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        api.add("alpha", "running")
        api.add("beta", "creating")
        api.page.goto(ORIGIN)
        api.row("beta").wait_for()
        api.row("alpha").locator("text=Pause").focus()
        api.sandboxes[1]["status"] = "running"
        api.page.evaluate("window.dispatchEvent(new Event('none'))")
        # The stub's stream ends after each event: leaving and coming back is what opens the next one.
        api.page.evaluate("document.querySelector('.create').requestSubmit()")
        api.row("beta").locator("text=running").wait_for()
        assert api.page.evaluate("document.activeElement.textContent") == "Pause"
        assert "Not connected since" in api.page.locator("#away").inner_text()

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_guests_see_and_do_not_change(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        api.role = "guest"
        api.add("alpha", "running")
        api.page.goto(ORIGIN)
        api.row("alpha").wait_for()
        assert api.row("alpha").locator("a, button").count() == 0
        assert not api.page.locator(".create").is_visible()

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_signing_in_and_out_and_what_can_go_wrong(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        page = api.page
        api.signed_in = False
        page.goto(ORIGIN)
        page.wait_for_selector("#sign-in-form")
        error = page.locator("#sign-in-error")
        api.refusals["POST /api/auth/login"] = _problem(429, "Too many attempts.", **{"retry-after": "90"})
        api.sign_in()
        page.locator("text=Too many attempts. Try again in 90 s.").wait_for()
        # What the text says itself is not said twice.
        api.refusals["POST /api/auth/login"] = _problem(429, "Too many. Try again in 7 s.", **{"retry-after": "7"})
        api.sign_in()
        page.get_by_text("Too many. Try again in 7 s.", exact=True).wait_for()

        page.click("#other-mode")
        assert page.locator("h1").first.inner_text() == "Create an account"
        assert not error.is_visible()
        api.refusals["POST /api/auth/register"] = _problem(422, "The password must have at least 8 characters.")
        api.sign_in()
        page.locator("text=at least 8 characters").wait_for()
        api.refusals["POST /api/auth/register"] = _problem(403, "Registration is closed here.")
        api.sign_in()
        page.locator("text=Registration is closed here.").wait_for()
        assert page.locator("h1").first.inner_text() == "Sign in"
        assert not page.locator("#other-mode").is_visible()

        api.refusals.clear()
        api.sign_in()
        page.wait_for_selector("text=No sandboxes yet")
        assert page.locator("#user-name").inner_text() == "ada"
        page.click("#sign-out")
        page.wait_for_selector("text=You are signed out.")
        assert page.locator("#workspaces").inner_text() == ""
        assert page.input_value("#password") == ""

    await browse(visit)


@pytest.mark.needs("chromium")
async def test_a_session_that_ends_meanwhile_and_other_refusals_are_said(browse: Browse) -> None:
    def visit(api: _Api) -> None:
        page = api.page
        sandbox = api.add("alpha", "running")
        page.goto(ORIGIN)
        api.row("alpha").wait_for()
        api.refusals[f"POST /api/sandboxes/{sandbox['id']}/pause"] = _problem(409, "It is being deleted.")
        api.row("alpha").locator("text=Pause").click()
        page.locator("#notice", has_text="It is being deleted.").wait_for()
        api.refusals[f"POST /api/sandboxes/{sandbox['id']}/pause"] = _problem(401, "You are not signed in.")
        api.row("alpha").locator("text=Pause").click()
        page.wait_for_selector("text=Your session has ended. Nothing was changed.")

    await browse(visit)


NEXT = [
    ("/api/sandboxes/a1/open?next=%2Fx", "/api/sandboxes/a1/open?next=%2Fx"),
    ("//evil.test/", "/"),
    ("https://evil.test/", "/"),
    ("/\\evil.test/", "/"),
    ("/\t/evil.test/", "/"),
    ("javascript:alert(1)", "/"),
    ("/login?next=/login", "/"),
]


@pytest.mark.needs("chromium")
async def test_after_signing_in_one_goes_where_one_wanted_but_never_to_another_site(browse: Browse) -> None:
    """Lesson: open redirects through ``next``; and the login that returns to where the user was going."""
    from urllib.parse import quote

    def visit(api: _Api) -> None:
        for given, reached in NEXT:
            api.signed_in = False
            api.page.goto(f"{ORIGIN}/login?next={quote(given, safe='')}")
            api.page.wait_for_selector("#sign-in-form")
            api.sign_in()
            api.page.wait_for_url(ORIGIN + reached)

    await browse(visit)


@pytest.mark.needs("chromium")
@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
async def test_it_fits_a_phone_and_a_desk(browse: Browse, scheme: str, width: int) -> None:
    """Keeps pictures in tests/artifacts/webroot."""

    def visit(api: _Api) -> None:
        page = api.page
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        api.signed_in = False
        page.goto(ORIGIN)
        page.wait_for_selector("#sign-in-form")
        page.screenshot(path=ARTIFACTS / f"sign-in-{scheme}-{width}.png")
        for name, status in [("billing refactor", "running"), ("x" * 60, "paused"), ("new", "creating")]:
            api.add(name, status)
        api.add("broken", "failed", statusReason="opencode exited with status 137: the sandbox used all its memory")
        api.add("ada's laptop", "offline", type="local")
        api.sign_in()
        api.row("broken").wait_for()
        page.click("summary")
        page.click("text=Connect a machine")
        page.locator(".code").wait_for()
        page.screenshot(path=ARTIFACTS / f"home-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        unlabelled = "[...document.querySelectorAll('input')].filter((input) => !input.labels.length).length"
        assert page.evaluate(unlabelled) == 0

    await browse(visit, viewport={"width": width, "height": 740}, color_scheme=scheme)
