"""The page of one sandbox, with the real opencode in it: overview, ports, log, and its end under an open page."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from backends.logfile import segment_numbers, segment_path
from tests.support.opencode_page import OPENCODE_MILLISECONDS
from tests.support.product import free_port
from tests.support.visitor import Visitor
from tests.web.conftest import PASSWORD, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.web.conftest import Person, Site

MANY = 9000  # lines, near what the server keeps


@dataclass
class Running:
    """A sandbox that runs, for all tests here; ``owner`` made it."""

    site: Site
    owner: Visitor
    workspace: str
    id: str

    @property
    def path(self) -> str:
        """Its page."""
        return f"/sandboxes/{self.id}"

    def admit(self, person: Person, role: str = "developer") -> None:
        """Let somebody into its workspace."""
        path = f"/api/workspaces/{self.workspace}/members"
        self.owner.api("POST", path, {"username": person.username, "role": role})

    def shell(self, command: str) -> None:
        """Run a command in a terminal inside."""
        body = json.dumps({"command": "/bin/sh", "args": ["-c", command]}).encode()
        headers = {"Content-Type": "application/json"}
        answer = self.owner.request("POST", self.owner.open(self.id), "/pty", body=body, headers=headers)
        assert answer.status == 200, answer.body

    def say(self, text: str) -> None:
        """Write to its log what its programs might: opencode itself says next to nothing there."""
        folder = str(self.site.product.data_dir / "sandboxes" / self.id / "log")
        with Path(segment_path(folder, segment_numbers(folder)[-1])).open("ab") as log:
            log.write(text.encode())


@pytest.fixture(scope="module")
def running(site: Site) -> Iterator[Running]:
    owner = Visitor(site.port)
    workspace = owner.register("sandbox-owner", PASSWORD)
    sandbox = owner.running(workspace, name="first one")
    yield Running(site, owner, workspace, sandbox)
    owner.api("DELETE", f"/api/sandboxes/{sandbox}")
    owner.wait_for(sandbox, "gone")


def test_name_and_idle_timeout_are_changed_where_they_stand(running: Running, person: Callable[[str], Person]) -> None:
    bea, guest = person("bea"), person("guest")
    running.admit(bea)
    running.admit(guest, "guest")
    page = bea.page(running.path)
    other = guest.page(running.path, width=360, height=740, scheme="dark")

    page.get_by_role("button", name="Rename").click()
    field = page.get_by_role("textbox", name="Name")
    expect(field).to_be_focused()
    field.fill("x" * 101)
    field.press("Enter")
    expect(page.get_by_text("at most 100 characters")).to_be_visible()
    expect(field).to_have_value("x" * 101)
    field.press("Escape")
    expect(page.get_by_role("button", name="Rename")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("first one")
    page.get_by_role("button", name="Rename").click()
    field.fill("api refactoring")
    field.press("Enter")
    for one in (page, other):
        expect(one.get_by_role("heading", level=1)).to_have_text("api refactoring")

    page.get_by_role("button", name="Change the idle timeout").click()
    page.get_by_label("Pause when idle").select_option(label="Own time")
    own = page.get_by_label("Own time", exact=True)
    own.fill("soon")
    own.press("Enter")
    expect(page.get_by_text("must be a time")).to_be_visible()
    own.fill("45m")
    own.press("Enter")
    for one in (page, other):
        expect(one.get_by_role("definition").filter(has_text=re.compile("^45 min"))).to_be_visible()
        timer = one.get_by_role("timer")
        expect(timer).to_have_text(re.compile(r"^4[0-5] min \d\d s$"))  # since it was last used
    before = timer.inner_text()
    expect(timer).not_to_have_text(before)  # it counts down
    look(page, "sandbox-overview")

    for control in ("Rename", "Change the idle timeout", "More"):
        expect(other.get_by_role("button", name=control)).to_have_count(0)
    tabs = other.get_by_role("navigation", name="Sandbox", exact=True)
    expect(tabs.get_by_role("link")).to_have_text(["Overview", "Usage"])
    expect(other.get_by_role("link", name="Open", exact=True)).to_have_count(0)
    look(other, "sandbox-overview-guest-phone")
    other.goto(f"{running.site.url}{running.path}/logs")
    expect(other.get_by_text("Guests do not read logs")).to_be_visible()


def test_a_port_is_seen_and_opened(running: Running, person: Callable[[str], Person]) -> None:
    bea = person("bea")
    running.admit(bea)
    page = bea.page(f"{running.path}/ports", width=360, height=740)
    expect(page.get_by_text("Nothing listens yet")).to_be_visible()
    look(page, "ports-empty-phone")
    field = page.get_by_label("Port", exact=True)
    field.fill("80")
    field.press("Enter")
    expect(page.get_by_text("from 1024 to 65535")).to_be_visible()

    port = free_port()
    running.shell(
        f"mkdir -p site && echo 'hello from inside' > site/index.html && python3 -m http.server {port} -d site"
    )
    row = page.get_by_role("row").filter(has_text=f"{port}-{running.id}.localhost")
    expect(row).to_be_visible(timeout=60_000)
    page.set_viewport_size({"width": 1280, "height": 800})
    look(page, "ports")
    address = f"http://{port}-{running.id}.localhost:{running.site.port}/"
    with page.context.expect_page() as opened:
        row.get_by_role("link", name=f"Open port {port}").click()
    expect(opened.value.get_by_text("hello from inside")).to_be_visible()
    assert opened.value.url == address
    field.fill(str(port))
    with page.context.expect_page() as typed:
        field.press("Enter")
    expect(typed.value.get_by_text("hello from inside")).to_be_visible()
    assert typed.value.url == address


_AT_THE_TAIL = "box.scrollHeight - box.scrollTop - box.clientHeight < 24"


def wait_for_the_tail(page: Page) -> None:
    """Wait until the log's end is in sight: the page scrolls when it has drawn what it has got."""
    box = page.get_by_label("Log", exact=True).element_handle()
    page.wait_for_function(f"(box) => {_AT_THE_TAIL}", arg=box)


def at_the_tail(page: Page) -> bool:
    """Whether the log's end is in sight, two frames from now: what was to scroll has done so."""
    soon = "requestAnimationFrame(() => requestAnimationFrame(done))"
    script = f"async (box) => {{ await new Promise((done) => {soon}); return {_AT_THE_TAIL}; }}"
    return bool(page.get_by_label("Log", exact=True).evaluate(script))


def test_the_log_follows_and_is_searched(running: Running, person: Callable[[str], Person]) -> None:
    bea = person("bea")
    running.admit(bea)
    page = bea.page(f"{running.path}/logs", scheme="dark")
    log = page.get_by_label("Log", exact=True)
    expect(log).to_contain_text("opencode server listening")
    running.say("".join(f"\x1b[32mINFO\x1b[0m line {number} of many\n" for number in range(MANY)))
    last = f"INFO line {MANY - 1} of many"
    expect(log).to_contain_text(last)
    wait_for_the_tail(page)
    running.say("half a li")
    expect(log).to_contain_text("half a li")
    running.say("ne\n")
    expect(log).to_contain_text("half a line")

    search = page.get_by_label("Search in the log")
    search.fill("LINE 12 OF")
    expect(page.get_by_text("1 match", exact=True)).to_be_visible()
    search.fill("line 12")
    expect(page.get_by_text("111 matches")).to_be_visible()
    search.press("Enter")
    expect(page.get_by_text("111 of 111")).to_be_visible()
    search.press("Enter")
    expect(page.get_by_text("1 of 111", exact=True)).to_be_visible()
    search.press("Shift+Enter")
    expect(log.locator("mark[data-current]")).to_be_in_viewport()
    look(page, "logs")
    assert not at_the_tail(page)
    running.say("said meanwhile\n")
    expect(log).to_contain_text("said meanwhile")
    assert not at_the_tail(page), "who reads further up is left there"
    page.get_by_role("button", name="Follow the tail").click()
    page.wait_for_function("!document.body.innerText.includes('Follow the tail')")
    wait_for_the_tail(page)
    log.hover()
    page.mouse.wheel(0, -2000)
    page.get_by_role("button", name="Follow the tail").click()
    running.say("the very end\n")
    expect(log).to_contain_text("the very end")
    wait_for_the_tail(page)

    running.site.product.kill()
    try:
        expect(page.get_by_text("The connection to the log broke")).to_be_visible()
        running.say("said to nobody\n")
        expect(log).to_contain_text("the very end")
    finally:
        running.site.product.start()
    expect(log).to_contain_text("said to nobody", timeout=OPENCODE_MILLISECONDS)
    assert log.inner_text().count("the very end") == 1, "what comes anew is not shown twice"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert b"said to nobody" in Path(download.value.path()).read_bytes()
    page.set_viewport_size({"width": 360, "height": 740})
    look(page, "logs-phone")
    running.owner.wait_for(running.id, "running")  # for whoever comes next


def test_a_hidden_tab_gives_its_connection_back(running: Running, person: Callable[[str], Person]) -> None:
    """A browser has six to a host, for all tabs."""
    bea = person("bea")
    running.admit(bea)
    page = bea.page(running.path)
    page.clock.install()
    page.goto(f"{running.site.url}{running.path}/logs")
    expect(page.get_by_text("Following")).to_be_visible()
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    page.clock.fast_forward(20_000)
    expect(page.get_by_text("Following")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "follow=true" in request.url):
        page.clock.fast_forward(20_000)
    expect(page.get_by_text("Not followed while nobody looks")).to_be_visible()
    page.evaluate(hide, False)
    expect(page.get_by_text("Following")).to_be_visible()


def test_a_paused_one_says_so_on_each_tab(running: Running, person: Callable[[str], Person]) -> None:
    bea = person("bea")
    running.admit(bea)
    page = bea.page(f"{running.path}/logs", width=360, height=740)
    expect(page.get_by_text("Following")).to_be_visible()
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Pause").click()
    expect(page.get_by_text("This is the end: the sandbox is paused.")).to_be_visible(timeout=OPENCODE_MILLISECONDS)
    look(page, "logs-paused-phone")
    page.get_by_role("link", name="Ports").click()
    expect(page.get_by_text("The sandbox is not running")).to_be_visible()


def test_it_ends_under_an_open_page(site: Site, person: Callable[[str], Person]) -> None:
    ada, bea = person("ada"), person("bea")
    members = f"/api/workspaces/{ada.workspace}/members"
    user = ada.api.api("POST", members, {"username": bea.username, "role": "developer"})["userId"]
    sandbox = ada.api.create(ada.workspace, name="short-lived")
    path = f"/sandboxes/{sandbox}"
    page, other = ada.page(path), bea.page(path, scheme="dark")
    for one in (page, other):
        expect(one.get_by_role("heading", name="short-lived")).to_be_visible()
    ada.api.api("DELETE", f"{members}/{user}")
    expect(other.get_by_role("heading", name="You no longer see short-lived")).to_be_visible()
    look(other, "sandbox-removed")
    other.goto(site.url + path)
    expect(other.get_by_role("heading", name="There is no such sandbox")).to_be_visible()
    ada.api.api("DELETE", f"/api/sandboxes/{sandbox}")
    expect(page.get_by_role("heading", name="short-lived was deleted")).to_be_visible(timeout=OPENCODE_MILLISECONDS)
    expect(page.get_by_role("navigation", name="Workspace").get_by_role("link", name="Members")).to_be_visible()
    look(page, "sandbox-deleted")
    page.get_by_role("link", name="To the sandboxes of").click()
    expect(page).to_have_url(re.compile(f"/w/{ada.workspace}/sandboxes$"))
