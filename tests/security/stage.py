"""A victim in Chromium, and the pages that attack her: of a sandbox, of a port in it, and of a foreign site.

The product stands in three settings, because browsers treat them differently: ``localhost``, whose hosts below are
other *sites* and count as trustworthy; ``http``, a domain over plain HTTP, whose hosts are one site and get no
``Sec-Fetch-*``; and ``https``, one site, trustworthy, with ``__Host-`` cookies.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tests.security.tap import Exchange, Tap, tap
from tests.support.chromium import DOMAIN, FOREIGN
from tests.support.product import ROOT, Product, free_port, product

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.support.visitor import Visitor

HOSTILE: Final = ROOT / "tests/standins/hostile_opencode.py"
SETTINGS: Final = ("localhost", "http", "https")
ORIGINS: Final = ("sandbox", "port", "foreign")
ATTACK: Final = "/attack?script=" + quote("document.title = 'hostile'")
_ARRIVAL_SECONDS: Final = 15.0  # a browser on a busy machine puts beacons off
_POLL_SECONDS: Final = 0.05
# What the audit log tells of that nobody did to the victim's things.
_NO_ACTS: Final = frozenset({"session.refused"})


@dataclass
class Stage:
    """One product with a victim, who is its admin, and a hostile developer in her workspace."""

    setting: str
    product: Product
    browser: Browser
    origin: str  # of the main site, as browsers see it
    foreign: str  # origin of somebody else's site
    tap: Tap  # sees everything that browsers send to the product
    victim: Visitor
    mallory: Visitor
    workspace: str = ""
    box: str = ""  # the sandbox with the hostile pages
    other: str = ""  # one of a workspace that Mallory is no member of
    port: int = 0  # of another server in the hostile sandbox
    contexts: list[BrowserContext] = field(default_factory=list)

    @property
    def trustworthy(self) -> bool:
        """Whether browsers send ``Sec-Fetch-*`` and heed ``Cross-Origin-Opener-Policy``."""
        return self.setting != "http"

    @property
    def scheme(self) -> str:
        """Of all hosts."""
        return self.origin.partition(":")[0]

    def at(self, label: str) -> str:
        """The origin of a sandbox host."""
        return self.origin.replace("://", f"://{label}.")

    def context(self, visitor: Visitor | None = None) -> BrowserContext:
        """A browser's profile, where ``visitor`` is signed in."""
        made = self.browser.new_context(ignore_https_errors=True)
        made.set_default_timeout(20_000)
        for name, value in (visitor.cookies[self.product.domain] if visitor else {}).items():
            made.add_cookies(
                [{"name": name, "value": value, "url": self.origin, "httpOnly": True, "sameSite": "Lax",
                  "secure": self.scheme == "https"}]
            )  # fmt: skip
        self.contexts.append(made)
        return made

    def close_contexts(self) -> None:
        """Close what a test has opened."""
        while self.contexts:
            self.contexts.pop().close()

    def hostile(self, context: BrowserContext, kind: str) -> Page:
        """A hostile page, come to as people come to such pages."""
        page = context.new_page()
        if kind == "foreign":
            page.goto(self.foreign)
        else:
            label = f"oc-{self.box}" if kind == "sandbox" else f"{self.port}-{self.box}"
            page.goto(self.at(label) + ATTACK)
        page.wait_for_function("document.title === 'hostile'")
        return page

    def arrived(self, paths: Collection[str]) -> list[Exchange]:
        """What browsers asked of the main site since the tap was cleared, once all of it is answered.

        ``paths`` are waited for, but not for ever: a browser sends some things when it likes.
        """
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while True:
            found = [one for one in self.tap.exchanges() if one.host == self.product.domain]
            missing = set(paths) - {one.target for one in found if one.status}
            if (not missing and all(one.status for one in found)) or time.monotonic() > deadline:
                return found
            time.sleep(_POLL_SECONDS)

    def whole(self) -> dict[str, Any]:
        """Everything of the victim's that an attack could change, as the API says it to her."""
        api = self.victim.api
        workspaces = api("GET", "/api/workspaces")
        kept = ("id", "name", "status", "idleTimeout", "workspaceId")
        return {
            "me": api("GET", "/api/auth/me"),
            "sessions": sorted(row["id"] for row in api("GET", "/api/auth/sessions")),
            "workspaces": [(row["id"], row["name"], row["role"]) for row in workspaces],
            "members": [api("GET", f"/api/workspaces/{row['id']}/members") for row in workspaces],
            "sandboxes": [
                {name: box[name] for name in kept}
                for row in workspaces
                for box in api("GET", f"/api/workspaces/{row['id']}/sandboxes")
            ],
            "users": sorted(row["username"] for row in api("GET", "/api/admin/users")),
            "acts": self.acts(),
        }

    def acts(self) -> list[tuple[int, str]]:
        """What was done, by the audit log; what was refused is no act."""
        entries = self.victim.api("GET", "/api/admin/audit?limit=200")["entries"]
        done = (entry for entry in entries if entry.get("outcome", "done") == "done")
        return [(entry["id"], entry["action"]) for entry in done if entry["action"] not in _NO_ACTS]


class _Page(BaseHTTPRequestHandler):
    """The foreign site: an empty page."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The page, whatever is asked for."""
        body = b"<!doctype html><title>hostile</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def _foreign(setting: str) -> Iterator[str]:
    """The origin of somebody else's site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        if setting != "https":
            yield f"http://{FOREIGN}:{server.server_port}"
            return
        outer = free_port()
        stack.enter_context(tap(outer, server.server_port, FOREIGN))
        yield f"https://{FOREIGN}:{outer}"


@contextmanager
def staged(folder: Path, browser: Browser, setting: str) -> Iterator[Stage]:
    """The product in one of :data:`SETTINGS`, and everybody in their places."""
    outer = free_port()
    env = {"OPENCODE_BIN": str(HOSTILE), "REGISTRATION": "open", "PUBLIC_PORT": str(outer)}
    env |= {"BASE_SCHEME": "https" if setting == "https" else "http"}
    if setting != "localhost":
        env["BASE_DOMAIN"] = DOMAIN
    with ExitStack() as stack:
        running = stack.enter_context(product(folder, **env))
        names = (DOMAIN, f"*.{DOMAIN}") if setting == "https" else ()
        passing = stack.enter_context(tap(outer, running.port, *names))
        origin = f"{env['BASE_SCHEME']}://{running.domain}:{outer}"
        foreign = stack.enter_context(_foreign(setting))
        stage = Stage(setting, running, browser, origin, foreign, passing, running.visitor(), running.visitor())
        _people(stage)
        yield stage
        stage.close_contexts()


def _people(stage: Stage) -> None:
    stage.workspace = stage.victim.register("victim")
    stage.mallory.register("mallory")
    private = stage.victim.api("POST", "/api/workspaces", {"name": "private"})["id"]
    stage.victim.api("POST", f"/api/workspaces/{stage.workspace}/members", {"username": "mallory", "role": "developer"})
    boxes = [stage.victim.create(stage.workspace), stage.victim.create(private)]
    for box in boxes:
        stage.victim.wait_for(box, "running")
    stage.box, stage.other = boxes
    context = stage.context(stage.victim)
    page = context.new_page()
    page.goto(stage.at(f"oc-{stage.box}") + "/listen")
    stage.port = page.evaluate("JSON.parse(document.body.innerText).port")
    stage.close_contexts()
