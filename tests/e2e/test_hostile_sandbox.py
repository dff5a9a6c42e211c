"""A sandbox whose program is hostile: what it gets to know, and what its pages can do to those who open them."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.chromium import DOMAIN, chromium
from tests.support.product import ROOT, Product, product
from tests.support.visitor import PAGE, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(240)]

OPERATOR_KEY = "sk-ant-operator-key-that-costs-money"
BROWSER_SECRET = "Basic dXNlcjpicm93c2VyLXNlY3JldA=="
HOSTILE = ROOT / "tests/standins/hostile_opencode.py"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product whose opencode is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    domain = {"BASE_DOMAIN": DOMAIN}  # not localhost, whose hosts browsers hold for different sites
    with product(
        folder, OPENCODE_BIN=str(HOSTILE), ANTHROPIC_API_KEY=OPERATOR_KEY, REGISTRATION="open", **domain
    ) as made:
        yield made


@pytest.fixture(scope="module")
def victim(running: Product) -> tuple[Visitor, str, str]:
    """Somebody who is signed in and has opened a hostile sandbox: browser, workspace, sandbox."""
    visitor = running.visitor()
    workspace = visitor.register("victim")
    sandbox = visitor.running(workspace)
    visitor.open(sandbox)
    return visitor, workspace, sandbox


def dump(visitor: Visitor, sandbox: str, target: str = "/dump", **headers: str) -> dict[str, object]:
    answer = visitor.request("GET", f"oc-{sandbox}.{DOMAIN}", target, headers=headers)
    assert answer.status == 200, answer.body
    found = answer.json()
    assert isinstance(found, dict)
    return found


def read(visitor: Visitor, sandbox: str, path: str) -> object:
    return visitor.request("GET", f"oc-{sandbox}.{DOMAIN}", f"/read?path={quote(path)}").json()


class TestWhatItReceives:
    """Lesson: the account's token was forwarded to the sandbox, and any sandbox could take over the account."""

    def test_no_cookie_of_ours_and_no_credentials(self, victim: tuple[Visitor, str, str]) -> None:
        visitor, _, sandbox = victim
        host = f"oc-{sandbox}.{DOMAIN}"
        ours = visitor.cookies[host]
        assert len(ours) == 1
        cookie = "; ".join(["app=1", *(f"{name}={value}" for name, value in ours.items()), "other=2"])
        seen = dump(visitor, sandbox, "/dump?auth_token=c2VjcmV0&a=b", Cookie=cookie, Authorization=BROWSER_SECRET)
        text = json.dumps(seen["headers"])
        assert "app=1; other=2" in text, "the application's own cookies pass"
        for secret in (*ours.values(), *visitor.cookies[DOMAIN].values(), BROWSER_SECRET, "cli_server"):
            assert secret not in text
        assert seen["path"] == "/dump?a=b"

    def test_no_operator_key_and_nothing_of_the_daemons_environment(self, victim: tuple[Visitor, str, str]) -> None:
        visitor, _, sandbox = victim
        environment = dump(visitor, sandbox)["env"]
        assert isinstance(environment, dict)
        text = json.dumps(environment)
        assert OPERATOR_KEY not in text
        assert "canary-of-the-daemons-environment" not in text
        assert not {"DATABASE_URL", "DATA_DIR", "LISTEN", "OPERATOR_CANARY"} & set(environment)
        assert environment["ANTHROPIC_BASE_URL"].endswith("/proxy/anthropic/v1")
        assert environment["ANTHROPIC_API_KEY"] != OPERATOR_KEY

    def test_the_hosts_headers_are_the_daemons_word(self, victim: tuple[Visitor, str, str]) -> None:
        visitor, _, sandbox = victim
        lies = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6", "Via": "1.1 lie"}
        headers = dump(visitor, sandbox, **lies)["headers"]
        assert "6.6.6.6" not in json.dumps(headers)
        assert ["x-forwarded-for", "127.0.0.1"] in headers  # type: ignore[operator]
        assert ["host", f"oc-{sandbox}.{DOMAIN}:{visitor.port}"] in headers  # type: ignore[operator]

    @pytest.mark.needs("bubblewrap")
    def test_no_file_of_the_daemon_or_of_another_sandbox(
        self, running: Product, victim: tuple[Visitor, str, str]
    ) -> None:
        visitor, workspace, sandbox = victim
        other = visitor.running(workspace)
        for path in (running.data_dir / "secret.key", running.data_dir / "sandboxes" / other, running.data_dir):
            assert path.exists()
            assert "error" in read(visitor, sandbox, str(path)), path  # type: ignore[operator]
        environ = read(visitor, sandbox, f"/proc/{running.process.pid}/environ")  # type: ignore[union-attr]
        assert OPERATOR_KEY not in json.dumps(environ)
        listed = read(visitor, sandbox, "/proc")
        assert isinstance(listed, list)
        assert str(os.getpid()) not in listed, "its own process space"


class TestWhatItSends:
    """What a sandbox may not do to the browser by its answers."""

    def test_it_cannot_set_our_cookies_nor_cookies_for_other_hosts(self, victim: tuple[Visitor, str, str]) -> None:
        visitor, _, sandbox = victim
        answer = visitor.request("GET", f"oc-{sandbox}.{DOMAIN}", "/cookies")
        assert [value for name, value in answer.headers if name == "set-cookie"] == ["mine=1; Path=/"]
        assert answer.header("clear-site-data") == ""


def test_a_foreign_page_cannot_frame_a_sandbox(victim: tuple[Visitor, str, str]) -> None:
    """A page over an invisible frame would have people click on what they do not see."""
    visitor, _, sandbox = victim
    for site, status in (("same-site", 403), ("cross-site", 403), ("same-origin", 200)):
        headers = {**PAGE, "Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": site}
        assert visitor.request("GET", f"oc-{sandbox}.{DOMAIN}", "/dump", headers=headers).status == status


def test_the_ticket_works_once_and_only_on_its_host(running: Product, victim: tuple[Visitor, str, str]) -> None:
    visitor, workspace, sandbox = victim
    other = visitor.running(workspace)
    answer = visitor.request("GET", DOMAIN, f"/api/sandboxes/{sandbox}/open?next=/x%3Fy", headers=PAGE)
    location = answer.header("location")
    target = location.partition(f":{visitor.port}")[2]
    stranger = running.visitor()
    assert stranger.request("GET", f"oc-{other}.{DOMAIN}", target, headers=PAGE).status == 403
    assert stranger.request("GET", f"3000-{sandbox}.{DOMAIN}", target, headers=PAGE).status == 403
    entered = stranger.request("GET", f"oc-{sandbox}.{DOMAIN}", target, headers=PAGE)
    assert (entered.status, entered.header("location")) == (303, "/x?y")
    assert stranger.request("GET", f"oc-{sandbox}.{DOMAIN}", target, headers=PAGE).status == 403
    for value in visitor.cookies[DOMAIN].values():
        assert value not in location, "the account's token never appears in a URL"


def test_logout_ends_the_sandbox_hosts_too(running: Product) -> None:
    visitor = running.visitor()
    sandbox = visitor.running(visitor.register("leaver"))
    host = visitor.open(sandbox)
    assert visitor.request("GET", host, "/dump").status == 200
    kept = dict(visitor.cookies[host])
    visitor.api("POST", "/api/auth/logout")
    visitor.cookies[host] = kept
    with suppress(ConnectionResetError):  # it may come just before the news, and is cut then
        visitor.request("GET", host, "/dump")
    assert visitor.request("GET", host, "/dump").status == 401
    page = visitor.request("GET", host, "/dump", headers=PAGE)
    assert page.status == 302
    assert page.header("location").startswith(f"http://{DOMAIN}:{visitor.port}/api/sandboxes/{sandbox}/open")


def open_stream(visitor: Visitor, sandbox: str) -> socket.socket:
    """A live stream of the sandbox, after its first event."""
    host = f"oc-{sandbox}.{DOMAIN}"
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies[host].items())
    stream = socket.create_connection(("127.0.0.1", visitor.port), timeout=10)
    head = f"GET /stream HTTP/1.1\r\nHost: {host}:{visitor.port}\r\nCookie: {cookie}\r\n\r\n"
    stream.sendall(head.encode())
    data = b""
    while b"data: first" not in data:
        piece = stream.recv(4096)
        assert piece, data
        data += piece
    return stream


def is_cut(stream: socket.socket) -> bool:
    """Whether the stream ends within a second, and not as a whole answer would."""
    stream.settimeout(1)
    try:
        return stream.recv(4096) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


def test_revocation_cuts_live_streams_within_a_second(running: Product, streams: ExitStack) -> None:
    """Lesson: logout, role change and member removal left the live streams working."""
    owner, member = running.visitor(), running.visitor()
    workspace = owner.register("reigning")
    member.register("serving")
    me = member.api("GET", "/api/auth/me")["id"]
    members = f"/api/workspaces/{workspace}/members"
    sandbox = owner.running(workspace)
    owner.open(sandbox)
    watched = streams.enter_context(open_stream(owner, sandbox))

    owner.api("POST", members, {"username": "serving", "role": "developer"})
    member.open(sandbox)
    stream = streams.enter_context(open_stream(member, sandbox))
    owner.api("PUT", f"{members}/{me}", {"role": "guest"})
    assert is_cut(stream)
    assert member.request("GET", f"oc-{sandbox}.{DOMAIN}", "/dump").status == 403

    owner.api("PUT", f"{members}/{me}", {"role": "developer"})
    deadline = time.monotonic() + 10
    while member.request("GET", f"oc-{sandbox}.{DOMAIN}", "/dump").status != 200:
        assert time.monotonic() < deadline, "a right that was given back"
    stream = streams.enter_context(open_stream(member, sandbox))
    owner.api("DELETE", f"{members}/{me}")
    assert is_cut(stream)
    assert member.request("GET", f"oc-{sandbox}.{DOMAIN}", "/dump").status == 403

    assert not is_cut(watched), "nobody else's stream is touched"
    owner.api("POST", "/api/auth/logout")
    assert is_cut(watched)


@pytest.fixture(scope="module")
def context(running: Product) -> Iterator[tuple[BrowserContext, Visitor, str, str]]:
    """A victim in Chromium, signed in, with a hostile sandbox open."""
    visitor = running.visitor()
    workspace = visitor.register("browsing")
    sandbox = visitor.running(workspace)
    with chromium() as browser:
        opened = browser.new_context()
        for name, value in visitor.cookies[DOMAIN].items():
            opened.add_cookies([{"name": name, "value": value, "url": running.url, "sameSite": "Lax"}])
        yield opened, visitor, workspace, sandbox


def attack(page: Page, visitor: Visitor, sandbox: str, script: str) -> None:
    """Open the hostile page through the front door and let its script run to its end."""
    target = quote("/attack?script=" + quote(script), safe="")
    page.goto(f"http://{DOMAIN}:{visitor.port}/api/sandboxes/{sandbox}/open?next={target}")
    page.wait_for_function("document.title === 'done'")


@pytest.mark.needs("chromium")
class TestWhatItsPagesCanDo:
    """Lesson: a page in a sandbox posted "add me as owner" as text/plain; sandbox hosts are same-site with ours."""

    FETCHES = """
    (async () => {{
      const main = 'http://{domain}:{port}', add = JSON.stringify({{username: 'victim', role: 'owner'}});
      const members = main + '/api/workspaces/{workspace}/members';
      const tries = [];
      for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded'])
        for (const mode of ['cors', 'no-cors'])
          tries.push(fetch(members, {{method: 'POST', mode, credentials: 'include', headers: {{'Content-Type': type}},
                                      body: add}}));
      tries.push(fetch(main + '/api/auth/logout', {{method: 'POST', mode: 'no-cors', credentials: 'include'}}));
      tries.push(fetch(main + '/api/sandboxes/{sandbox}', {{method: 'DELETE', credentials: 'include'}}));
      navigator.sendBeacon(members, add);
      const answers = await Promise.allSettled(tries);
      const readable = answers.filter(a => a.status === 'fulfilled' && a.value.type !== 'opaque');
      try {{ window.stolen = await (await fetch(main + '/api/auth/me', {{credentials: 'include'}})).text(); }}
      catch (error) {{ window.stolen = ''; }}
      window.readable = readable.length;
      window.cookies = document.cookie;
      document.title = 'done';
    }})();
    """

    def test_fetch_changes_nothing_and_reads_nothing(self, context: tuple[BrowserContext, Visitor, str, str]) -> None:
        opened, visitor, workspace, sandbox = context
        page = opened.new_page()
        script = self.FETCHES.format(domain=DOMAIN, port=visitor.port, workspace=workspace, sandbox=sandbox)
        attack(page, visitor, sandbox, script)
        assert page.evaluate("window.readable") == 0
        assert page.evaluate("window.stolen") == ""
        assert "cli_server" not in page.evaluate("window.cookies"), "our cookies are not for scripts"
        members = visitor.api("GET", f"/api/workspaces/{workspace}/members")
        assert [member["username"] for member in members] == ["browsing"]
        assert visitor.status(sandbox) == "running"
        page.close()

    def test_a_form_changes_nothing(self, context: tuple[BrowserContext, Visitor, str, str]) -> None:
        opened, visitor, workspace, sandbox = context
        page = opened.new_page()
        script = f"""
        document.title = 'done';
        const form = document.createElement('form');
        form.method = 'POST'; form.enctype = 'text/plain';
        form.action = 'http://{DOMAIN}:{visitor.port}/api/workspaces/{workspace}/members';
        const field = document.createElement('input');
        field.name = '{{"username":"victim","role":"owner","x":"'; field.value = '"}}';
        form.append(field); document.body.append(form);
        """
        attack(page, visitor, sandbox, script)
        with page.expect_navigation() as navigation:
            page.evaluate("document.forms[0].submit()")
        assert navigation.value is not None
        assert navigation.value.status == 403
        members = visitor.api("GET", f"/api/workspaces/{workspace}/members")
        assert [member["username"] for member in members] == ["browsing"]
        page.close()

    def test_a_sibling_sandbox_cannot_use_another_with_the_browsers_cookie(
        self, context: tuple[BrowserContext, Visitor, str, str]
    ) -> None:
        opened, visitor, workspace, sandbox = context
        other = visitor.running(workspace)
        page = opened.new_page()
        page.goto(f"http://{DOMAIN}:{visitor.port}/api/sandboxes/{other}/open?next=/dump")
        script = f"""
        (async () => {{
          const other = 'http://oc-{other}.{DOMAIN}:{visitor.port}';
          const tries = ['cors', 'no-cors'].map(mode => fetch(other + '/dump', {{method: 'POST', mode,
                         credentials: 'include', headers: {{'Content-Type': 'text/plain'}}, body: 'x'}}));
          window.kinds = (await Promise.allSettled(tries)).map(a => a.value ? a.value.type : 'refused');
          const socket = new WebSocket('ws://oc-{other}.{DOMAIN}:{visitor.port}/pty/x/connect');
          window.socket = await new Promise(done => {{
            socket.onopen = () => done('open'); socket.onerror = () => done('refused'); }});
          document.title = 'done';
        }})();
        """
        attack(page, visitor, sandbox, script)
        assert page.evaluate("window.socket") == "refused"
        assert page.evaluate("window.kinds") == ["refused", "refused"], "not even that there was an answer"
        entries = visitor.api("GET", f"/api/workspaces/{workspace}/audit?action=access.refused")["entries"]
        assert [entry["target"]["id"] for entry in entries] == [other], "they did arrive"
        page.close()


def test_no_secret_is_in_the_log(running: Product, victim: tuple[Visitor, str, str]) -> None:
    """Runs last in this file: the log holds what all tests before it did."""
    visitor, _, sandbox = victim
    environment = dump(visitor, sandbox)["env"]
    assert isinstance(environment, dict)
    secrets = [OPERATOR_KEY, environment["ANTHROPIC_API_KEY"], environment["OPENCODE_SERVER_PASSWORD"]]
    jars = visitor.cookies.values()
    secrets += [value for jar in jars for name, value in jar.items() if name.startswith("cli_server")]
    secrets += ["correct horse battery staple", "ticket="]
    log = Path(running.folder / "daemon.log").read_text()
    assert "canary" not in log
    assert [secret for secret in secrets if secret in log] == []
