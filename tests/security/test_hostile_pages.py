"""Pages of a sandbox, of a port in it and of a foreign site, in Chromium, against whoever is signed in.

Lesson: a page in a sandbox posted "add me as owner" as text/plain; sandbox hosts are same-site with the main one. Every
test sees that nothing was changed, by all that the API and the audit log say, and that nothing could be read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.security.stage import ATTACK, ORIGINS

if TYPE_CHECKING:
    from collections.abc import Collection

    from playwright.sync_api import BrowserContext, Page

    from tests.security.stage import Stage

pytestmark = [pytest.mark.needs("postgres", "chromium"), pytest.mark.timeout(240)]

CREDENTIALS = {"username": "mallory", "password": "correct horse battery staple"}
TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data")


def changes(stage: Stage) -> list[dict[str, Any]]:
    """What a hostile page would like to do in the victim's name."""
    work, box = f"/api/workspaces/{stage.workspace}", f"/api/sandboxes/{stage.other}"
    return [
        {"method": method, "path": path, "body": json.dumps(body)}
        for method, path, body in (
            ("POST", f"{work}/members", {"username": "mallory", "role": "owner"}),
            ("POST", f"{work}/sandboxes", {"name": "planted"}),
            ("POST", f"{work}/agent-code", {}),
            ("POST", f"{work}/invitations", {"role": "developer"}),
            ("PATCH", work, {"name": "renamed"}),
            ("DELETE", work, {}),
            ("POST", "/api/workspaces", {"name": "planted"}),
            ("POST", f"{box}/pause", {}),
            ("PATCH", box, {"name": "renamed"}),
            ("DELETE", box, {}),
            ("POST", "/api/auth/logout", {}),
            ("POST", "/api/auth/login", CREDENTIALS),
            ("POST", "/api/auth/register", {"username": "planted", "password": "a good long password"}),
            ("POST", "/api/auth/tokens", {"name": "planted", "scopes": ["read", "write"]}),
        )
    ]


def readable(stage: Stage) -> list[dict[str, Any]]:
    """What a hostile page would like to read."""
    paths = (
        "/",
        "/theme.js",
        "/api/auth/me",
        "/api/auth/sessions",
        "/api/workspaces",
        f"/api/sandboxes/{stage.other}",
        f"/api/sandboxes/{stage.other}/open",
        "/api/admin/users",
        "/api/openapi.json",
        "/api/nothing-here",
        "/healthz",
    )
    return [{"method": "GET", "path": path, "body": None} for path in paths]


FETCHES = """
async ({main, wanted, types}) => {
  const readable = [];
  const ask = async (one, mode, credentials, type) => {
    const options = {method: one.method, mode, credentials};
    if (one.body !== null) Object.assign(options, {body: one.body, headers: {'Content-Type': type}});
    try {
      const answer = await fetch(main + one.path, options);
      if (answer.type !== 'opaque') readable.push([one.path, answer.status, await answer.text()]);
    } catch (error) { /* refused by the browser, or by the server before it could be read */ }
  };
  const asked = [];
  for (const one of wanted)
    for (const mode of ['cors', 'no-cors'])
      for (const credentials of ['include', 'omit'])
        for (const type of one.body === null ? [''] : types) asked.push(ask(one, mode, credentials, type));
  await Promise.all(asked);
  return readable;
}
"""

# One after the other: a browser takes few at a time, and drops some without a word.
BEACONS = """
async ({main, wanted, types}) => {
  for (const one of wanted)
    for (const type of types) {
      try { navigator.sendBeacon(main + one.path, new Blob([one.body], {type})); } catch (error) { /* not this type */ }
      await new Promise(done => setTimeout(done, 5));
    }
}
"""

# A form in a frame, so that the page stays; the frame's load is waited for, whatever it may show.
FORMS = """
async ({main, paths}) => {
  const body = '{"username":"mallory","role":"owner","password":"correct horse battery staple","x":"';
  for (const path of paths)
    for (const kind of ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain']) {
      const sink = document.createElement('iframe'), form = document.createElement('form');
      const field = document.createElement('input');
      sink.name = 'sink' + Math.random();
      Object.assign(form, {method: 'POST', enctype: kind, action: main + path, target: sink.name});
      Object.assign(field, {name: body, value: '"}'});
      form.append(field);
      document.body.append(sink, form);
      await new Promise(done => { sink.onload = done; form.submit(); });
      sink.remove();
    }
}
"""

ELEMENTS = """
async ({main, paths}) => {
  const outcomes = [];
  const put = (kind, attribute, path) => new Promise(done => {
    const element = document.createElement(kind);
    element.onload = () => done([kind, path, 'load']);
    element.onerror = () => done([kind, path, 'error']);
    if (kind === 'link') element.rel = 'stylesheet';
    element[attribute] = main + path;
    document.body.append(element);
    if (kind === 'audio') element.load();
  });
  for (const path of paths)
    for (const [kind, attribute] of [['img', 'src'], ['script', 'src'], ['link', 'href'], ['audio', 'src']])
      outcomes.push(put(kind, attribute, path));
  return await Promise.all(outcomes);
}
"""

SOCKETS = """
async (urls) => Promise.all(urls.map(url => new Promise(done => {
  let socket;
  try { socket = new WebSocket(url); } catch (error) { done([url, 'refused']); return; }
  socket.onopen = () => done([url, 'open']);
  socket.onmessage = () => done([url, 'message']);
  socket.onerror = socket.onclose = () => done([url, 'refused']);
})))
"""

EVENTS = """
async (urls) => Promise.all(urls.map(url => new Promise(done => {
  const source = new EventSource(url, {withCredentials: true});
  source.onopen = () => done('open');
  source.onmessage = () => done('message');
  source.onerror = () => { source.close(); done('refused'); };
})))
"""

FRAMES = """
async (urls) => {
  const found = [];
  for (const url of urls) {
    const frame = document.createElement('iframe');
    frame.src = url;
    document.body.append(frame);
    await new Promise(done => { frame.onload = done; });
    let text = null;
    try { text = frame.contentDocument && frame.contentDocument.body.innerText; } catch (error) { text = null; }
    found.push(text);
  }
  return found;
}
"""

OPENED = """
() => {
  const tries = {
    document: w => w.document.body.innerText, cookie: w => w.document.cookie, place: w => w.location.href,
    storage: w => w.localStorage.length, script: w => w.eval('1'), name: w => w.frames.name,
  };
  const found = [];
  for (const [name, attempt] of Object.entries(tries))
    try { if (attempt(window.opened) !== undefined) found.push(name); } catch (error) { /* good */ }
  try { document.domain = document.domain.split('.').slice(1).join('.'); found.push(window.opened.document.title); }
  catch (error) { /* good */ }
  for (const message of ['logout', {type: 'logout'}, {jsonrpc: '2.0', method: 'logout'}])
    window.opened.postMessage(message, '*');
  return {found, closed: window.opened.closed};
}
"""


@pytest.fixture
def context(stage: Stage) -> BrowserContext:
    """The victim's browser: she is signed in, and has opened both sandboxes."""
    made = stage.context(stage.victim)
    for box in (stage.box, stage.other):
        made.new_page().goto(stage.at(f"oc-{box}") + "/dump")
    return made


def still_her(stage: Stage, context: BrowserContext) -> bool:
    """Whether the victim's browser is signed in as the victim."""
    page = context.new_page()
    page.goto(stage.origin + "/theme.js")
    me = page.evaluate("fetch('/api/auth/me').then(answer => answer.json())")
    return bool(me.get("username") == "victim")


def hostile(stage: Stage, context: BrowserContext, kind: str) -> tuple[Page, dict[str, Any]]:
    """The hostile page, and how everything is before it begins."""
    page = stage.hostile(context, kind)
    before = stage.whole()
    stage.tap.clear()
    return page, before


def refused(stage: Stage, paths: Collection[str]) -> bool:
    """Whether something that may change a thing did arrive at all these paths, and all of it was refused."""
    sent = [one for one in stage.arrived(paths) if one.method not in ("GET", "HEAD", "OPTIONS")]
    assert {one.target for one in sent} >= set(paths), "they did arrive"
    return all(one.status >= 400 for one in sent)


@pytest.mark.parametrize("kind", ORIGINS)
class TestChangesNothing:
    def test_fetch(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """With and without credentials, with and without CORS, as JSON and as what needs no preflight."""
        page, before = hostile(stage, context, kind)
        wanted = changes(stage)
        told = page.evaluate(FETCHES, {"main": stage.origin, "wanted": wanted, "types": TYPES})
        assert told == []
        assert refused(stage, {one["path"] for one in wanted if one["method"] == "POST"})
        assert stage.whole() == before
        assert still_her(stage, context)

    def test_beacon(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        page, before = hostile(stage, context, kind)
        wanted = [one for one in changes(stage) if one["method"] == "POST"]
        missing = {one["path"] for one in wanted}
        while missing:  # the time limit ends it
            again = [one for one in wanted if one["path"] in missing]
            page.evaluate(BEACONS, {"main": stage.origin, "wanted": again, "types": TYPES})
            missing -= {one.target for one in stage.arrived([]) if one.method == "POST"}
        assert refused(stage, {one["path"] for one in wanted})
        assert stage.whole() == before
        assert still_her(stage, context)

    def test_form(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """Each of the three types that a form can have, the body a JSON document where it can be one."""
        page, before = hostile(stage, context, kind)
        paths = [f"/api/workspaces/{stage.workspace}/members", "/api/auth/login", "/api/auth/logout",
                 f"/api/sandboxes/{stage.other}/pause"]  # fmt: skip
        page.evaluate(FORMS, {"main": stage.origin, "paths": paths})
        posts = [one for one in stage.arrived(paths) if one.method == "POST"]
        assert sorted(one.target for one in posts) == sorted(3 * paths)  # by whichever connection each of them came
        assert {one.status for one in posts} == {403}
        assert stage.whole() == before
        assert still_her(stage, context)

    def test_images_and_scripts(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """GET changes nothing, whatever the path says; and no answer of ours is a picture or a script for others."""
        page, before = hostile(stage, context, kind)
        box = f"/api/sandboxes/{stage.other}"
        paths = ["/api/auth/logout", f"{box}/pause", f"{box}/open", f"{box}?_method=DELETE", "/api/auth/me",
                 "/api/auth/login?username=mallory&password=x", "/api/auth/oidc/github/login", "/theme.js",
                 "/favicon.svg"]  # fmt: skip
        outcomes = page.evaluate(ELEMENTS, {"main": stage.origin, "paths": paths})
        assert [outcome for outcome in outcomes if outcome[2] != "error"] == []
        after = stage.whole()
        if not stage.trustworthy:  # an image may "open": without Sec-Fetch-* it looks like a person's click
            after["acts"] = [act for act in after["acts"] if act[1] != "sandbox.opened" or act in before["acts"]]
        assert after == before
        assert still_her(stage, context)


@pytest.mark.parametrize("kind", ORIGINS)
class TestReadsNothing:
    def test_fetch(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """No answer of ours, public ones too, is readable from another origin: there is no CORS at all."""
        page, _ = hostile(stage, context, kind)
        assert page.evaluate(FETCHES, {"main": stage.origin, "wanted": readable(stage), "types": []}) == []
        paths = {one["path"] for one in readable(stage)}
        assert {one.target for one in stage.arrived(paths)} >= paths
        other = stage.at(f"oc-{stage.other}")
        wanted = [{"method": "GET", "path": path, "body": None} for path in ("/dump", "/", "/global/health")]
        assert page.evaluate(FETCHES, {"main": other, "wanted": wanted, "types": []}) == []

    def test_websockets(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """Lesson: WebSocket upgrades without a look at Origin."""
        page, before = hostile(stage, context, kind)
        main = stage.origin.replace("http", "ws", 1)
        other, box = (stage.at(f"oc-{one}").replace("http", "ws", 1) for one in (stage.other, stage.box))
        urls = [f"{main}/api/tunnel/{stage.other}", f"{main}/api/tunnel/{stage.other}?token=x", f"{main}/api/events",
                f"{main}/proxy/anthropic/v1/messages", f"{other}/pty/x/connect", f"{other}/dump"]  # fmt: skip
        if kind != "sandbox":
            urls.append(f"{box}/pty/x/connect")
        outcomes = page.evaluate(SOCKETS, urls)
        assert outcomes == [[url, "refused"] for url in urls]
        assert stage.whole() == before

    def test_event_sources(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        page, _ = hostile(stage, context, kind)
        urls = [f"{stage.origin}/api/events", stage.at(f"oc-{stage.other}") + "/stream"]
        assert page.evaluate(EVENTS, urls) == ["refused", "refused"]

    def test_cookies(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        page, _ = hostile(stage, context, kind)
        page.evaluate("document.cookie = 'its_own=1; path=/'")
        assert page.evaluate("document.cookie") == "its_own=1"

    def test_frames(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """The main page is in nobody's frame: people would click on what they do not see."""
        page, before = hostile(stage, context, kind)
        pages = [stage.origin + path for path in ("/", "/login", f"/sandboxes/{stage.other}", "/api/auth/me")]
        pages.append(f"{stage.origin}/api/sandboxes/{stage.other}/open")
        if stage.trustworthy:  # elsewhere a browser does not say that it loads a frame
            pages.append(stage.at(f"oc-{stage.other}") + ATTACK)
        assert page.evaluate(FRAMES, pages) == [None] * len(pages)
        shown = [frame.url for frame in page.frames if frame.url.startswith(stage.origin)]
        assert [url for url in shown if "/api/" not in url] == [], "refused by the browser"
        assert all(frame.title() != "hostile" for frame in page.frames[1:])
        after = stage.whole()
        if not stage.trustworthy:
            after["acts"] = before["acts"]
        assert after == before

    def test_windows(self, stage: Stage, context: BrowserContext, kind: str) -> None:
        """What it opens it cannot look into, and where browsers can be told so, it does not even hold it."""
        page, before = hostile(stage, context, kind)
        with context.expect_page() as popup:
            page.evaluate("url => { window.opened = window.open(url); }", stage.origin + "/")
        popup.value.wait_for_url(lambda url: "/w/" in url)  # the page is at work
        assert page.evaluate(OPENED) == {"found": [], "closed": stage.trustworthy}
        assert popup.value.evaluate("window.opener === null") == stage.trustworthy
        assert stage.whole() == before
        assert still_her(stage, context)


def test_a_page_that_we_open_does_not_hold_us(stage: Stage, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(stage.origin + "/")
    # What is no trustworthy origin has no Cross-Origin-Opener-Policy; our links there say so themselves.
    features = "" if stage.trustworthy else "noopener"
    with context.expect_page() as popup:
        place = stage.at(f"oc-{stage.box}") + ATTACK
        page.evaluate("([url, features]) => { window.open(url, '_blank', features); }", [place, features])
    popup.value.wait_for_function("document.title === 'hostile'")
    assert popup.value.evaluate("window.opener") is None


WORKER = """
const seen = [];
self.oninstall = () => self.skipWaiting();
self.onactivate = event => event.waitUntil(self.clients.claim());
self.onmessage = event => event.source.postMessage(seen);
self.onfetch = event => {
  seen.push(event.request.url);
  if (!event.request.url.includes('/real'))
    event.respondWith(new Response('<title>hijacked</title>', {headers: {'Content-Type': 'text/html'}}));
};
"""
REGISTER = """
async (place) => {
  try { await navigator.serviceWorker.register(place, {scope: new URL('/', place).href}); return 'registered'; }
  catch (error) { return error.name; }
}
"""


def test_a_service_worker_reaches_its_own_host_only(stage: Stage, context: BrowserContext) -> None:
    """It answers for its own host and for nothing else, and sees what is brought there: tickets for that host."""
    page = stage.hostile(context, "sandbox")
    script = "/script?script=" + quote(WORKER)
    own, other = (stage.at(f"oc-{box}") for box in (stage.box, stage.other))
    if not stage.trustworthy:
        assert page.evaluate("'serviceWorker' in navigator") is False
        return
    for place in (stage.origin + "/theme.js", other + script):
        assert page.evaluate(REGISTER, place) == "SecurityError"
    if stage.setting == "https":  # the browser registers none where it was told to overlook a certificate
        return
    assert page.evaluate(REGISTER, own + script) == "registered"
    page.wait_for_function("navigator.serviceWorker.controller !== null")

    visit = context.new_page()
    visit.goto(f"{stage.origin}/api/sandboxes/{stage.box}/open?next=/x")
    assert visit.title() == "hijacked", "it does answer for its own host"
    for url in (f"{stage.origin}/", other + ATTACK, stage.at(f"{stage.port}-{stage.box}") + ATTACK):
        visit.goto(url)
        assert visit.title() != "hijacked"
    assert still_her(stage, context)
    seen = page.evaluate(
        "new Promise(done => { navigator.serviceWorker.onmessage = event => done(event.data);"
        " navigator.serviceWorker.controller.postMessage('tell'); })"
    )
    assert {url.removeprefix(own)[:1] for url in seen} == {"/"}
    tickets = [url.removeprefix(own) for url in seen if "ticket=" in url]
    assert tickets
    for target in tickets:
        for label in (f"oc-{stage.other}", f"{stage.port}-{stage.box}"):
            assert stage.mallory.request("GET", f"{label}.{stage.product.domain}", target).status == 403
