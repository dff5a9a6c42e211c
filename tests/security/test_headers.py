"""The headers by which browsers keep what is ours apart: exactly the same list on every kind of answer of ours, on both
kinds of host, and none of it on what a sandbox says. On the real daemon, reached by http and by https."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.security.raw import PROGRAM, raw_sandbox, saying
from tests.support.product import product
from tests.support.rows import put_sandbox
from tests.support.visitor import PAGE, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.product import Product
    from tests.support.visitor import Visitor

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(120)]

NOWHERE: Final = "a" * 16
BAD_TICKET: Final = "/__cli-server/ticket?ticket=x"
# A person's navigation that wakes nothing up: to a frame, of a browser that does not say whose.
LOOK: Final = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
HSTS: Final = ("strict-transport-security", "max-age=31536000")
# Written here once more, and not read from the product.
BASE: Final = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
WEB_UI: Final = BASE | {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
OWN_PAGE: Final = BASE | {
    "content-security-policy": "default-src 'none'; style-src 'sha256-…'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
OURS: Final = {*WEB_UI, HSTS[0], "cross-origin-embedder-policy", "permissions-policy", "x-xss-protection"}


@dataclass
class Site:
    """A running daemon, somebody who is signed in, and sandboxes in every state."""

    product: Product
    visitor: Visitor
    scheme: str
    sandboxes: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The main host."""
        return self.product.domain

    def get(
        self, target: str, host: str = "", method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Answer:
        """One request, with underscores for hyphens in the names of headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.visitor.request(method, host or self.main, target, body=body, headers=sent)

    def box(self, name: str, target: str = "/", *, page: bool = False, label: str = "oc") -> Answer:
        """A request to a sandbox's host."""
        host = f"{label}-{self.sandboxes[name]}.{self.main}"
        return self.visitor.request("GET", host, target, headers=LOOK if page else {})

    def bytes(self, data: bytes) -> Answer:
        """The answer to whatever bytes."""
        with socket.create_connection(("127.0.0.1", self.product.port), timeout=20) as sock:
            sock.sendall(data)
            found = b""
            while more := sock.recv(65536):
                found += more
        head, _, rest = found.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        return Answer(int(first.split()[1]), [(name.lower(), value.strip()) for name, _, value in pairs], rest)


# What is put into the database is left alone by who starts and ends sandboxes.
LEASED: Final = {"lease_owner": "nobody", "lease_until": "infinity"}
STATES: Final[dict[str, dict[str, object]]] = {
    "creating": {"status": "creating"},
    "pausing": {"status": "pausing"},
    "paused": {"status": "paused"},
    "resuming": {"status": "resuming"},
    "failed": {"status": "failed", "status_reason": "no <disk>"},
    "deleting": {"status": "deleting"},
    "gone": {"status": "running"},  # nothing answers there
    "offline": {"status": "offline", "type": "local"},
    "away": {"status": "running", "type": "local"},
}


@pytest.fixture(scope="module", params=["http", "https"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """As on one machine; and as behind a proxy that speaks TLS, for which we stand."""
    env = {"REGISTRATION": "open", "OPENCODE_BIN": str(PROGRAM)}
    if request.param == "https":
        env |= {"BASE_DOMAIN": "agents.test", "BASE_SCHEME": "https", "SECURITY_CONTACT": "mailto:a@agents.test"}
    with product(tmp_path_factory.mktemp(request.param), **env) as made:
        visitor = made.visitor()
        workspace = visitor.register()
        found = Site(made, visitor, request.param)
        for name, columns in STATES.items():
            found.sandboxes[name] = put_sandbox(made, workspace, name, **columns, **LEASED)
            _enter(found, found.sandboxes[name])
        yield found


def _enter(site: Site, sandbox_id: str) -> None:
    """Get the cookie of a sandbox's host, as a program."""
    opened = site.get(f"/api/sandboxes/{sandbox_id}/open")
    assert opened.status == 302, opened.body
    target = opened.header("location").split("/", 3)[3]
    entered = site.get("/" + target, f"oc-{sandbox_id}.{site.main}")
    assert entered.status == 303, entered.body


def _asset(site: Site) -> Answer:
    found = re.search(r"/assets/[\w.-]+\.js", site.get("/").body.decode())
    assert found is not None
    return site.get(found[0])


def _open(site: Site, **headers: Any) -> Answer:
    return site.get(f"/api/sandboxes/{site.sandboxes['paused']}/open", **headers)


def _ticket(site: Site) -> Answer:
    target = _open(site).header("location").split("/", 3)[3]
    return site.get("/" + target, f"oc-{site.sandboxes['paused']}.{site.main}")


JSON: Final[dict[str, Any]] = {"Content_Type": "application/json"}
# What is asked, the status of the answer, and what it must have.
TABLE: Final[dict[str, tuple[Any, int, dict[str, str]]]] = {
    "api: an answer": (lambda s: s.get("/api/auth/me"), 200, BASE),
    "api: without a body": (lambda s: s.get("/api/auth/sessions/x", method="OPTIONS"), 200, BASE),
    "api: openapi": (lambda s: s.get("/api/openapi.json"), 200, BASE),
    "api: not signed in": (lambda s: s.get("/api/workspaces", Cookie="x=y"), 401, BASE),
    "api: not found": (lambda s: s.get("/api/nowhere"), 404, BASE),
    "api: not found, asked as a page": (lambda s: s.get("/api/nowhere", **PAGE), 404, BASE),
    "api: another method": (lambda s: s.get("/api/auth/me", method="DELETE"), 405, BASE),
    "api: no JSON": (lambda s: s.get("/api/workspaces", method="POST", body=b"{", **JSON), 400, BASE),
    "api: another type": (lambda s: s.get("/api/workspaces", method="POST", body=b"a"), 415, BASE),
    "api: another site's": (lambda s: s.get("/api/workspaces", method="POST", Origin="http://x.test"), 403, BASE),
    "api: to a sandbox": (_open, 302, BASE),
    "api: to the sign-in page": (lambda s: _open(s, Cookie="x=y", **PAGE), 302, BASE),
    "api: no access, as a page": (
        lambda s: s.get(f"/api/sandboxes/{NOWHERE}/open", **PAGE), 404, OWN_PAGE,
    ),
    "web ui: a page that is not there": (lambda s: s.get("/a/b/c", **PAGE), 404, OWN_PAGE),
    "web ui: a file that is not there": (lambda s: s.get("/assets/nothing.js"), 404, BASE),
    "download": (lambda s: s.get("/agent/nothing.pyz"), 404, BASE),
    "health": (lambda s: s.get("/healthz"), 200, BASE),
    "health: readiness": (lambda s: s.get("/readyz"), 200, BASE),
    "health: another method": (lambda s: s.get("/healthz", method="POST"), 405, BASE),
    "gateway: too large": (
        lambda s: s.bytes(f"POST /api/x HTTP/1.1\r\nHost: {s.main}\r\nContent-Length: 2000000\r\n\r\n".encode()),
        413, BASE,
    ),
    "gateway: garbage": (lambda s: s.bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400, BASE),
    "gateway: no host": (lambda s: s.bytes(b"GET / HTTP/1.1\r\n\r\n"), 400, BASE),
    "gateway: two lengths": (
        lambda s: s.bytes(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400, BASE,
    ),
    "gateway: a head without end": (
        lambda s: s.bytes(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"), 431, BASE,
    ),
    "gateway: another host": (lambda s: s.get("/", "elsewhere.test"), 421, BASE),
    "gateway: another host, as a page": (lambda s: s.get("/", "elsewhere.test", **PAGE), 421, OWN_PAGE),
    "gateway: what can be done": (
        lambda s: s.bytes(f"OPTIONS * HTTP/1.1\r\nHost: {s.main}\r\nConnection: close\r\n\r\n".encode()), 204, BASE,
    ),
    "proxy: without a token": (lambda s: s.get("/proxy/anthropic/v1/messages", method="POST"), 401, BASE),
    "proxy: not a path of ours": (lambda s: s.get("/proxy/anthropic/v1/nowhere"), 404, BASE),
    "tunnel: no WebSocket": (lambda s: s.get(f"/api/tunnel/{NOWHERE}"), 426, BASE),
    "sandbox: not signed in": (lambda s: s.get("/", f"oc-{NOWHERE}.{s.main}"), 401, BASE),
    "sandbox: sent to sign in": (lambda s: s.get("/", f"oc-{NOWHERE}.{s.main}", **PAGE), 302, BASE),
    "sandbox: with a ticket": (_ticket, 303, BASE),
    "sandbox: a bad ticket": (lambda s: s.box("paused", BAD_TICKET), 403, BASE),
    "sandbox: a bad ticket, as a page": (lambda s: s.box("paused", BAD_TICKET, page=True), 403, OWN_PAGE),
    "sandbox: another site's": (
        lambda s: s.get("/", f"oc-{s.sandboxes['paused']}.{s.main}", method="POST", Origin="http://x.test"), 403, BASE,
    ),
    **{
        f"sandbox: {name}{', as a page' if page else ''}": (
            lambda s, name=name, page=page: s.box(name, page=page), 502 if name == "gone" else 503,
            OWN_PAGE if page else BASE,
        )
        for name in STATES
        for page in (False, True)
    },
}  # fmt: skip


def headers_of(answer: Answer) -> dict[str, str]:
    """Those that the table is about; each once."""
    found = [(name, value) for name, value in answer.headers if name in OURS]
    assert len({name for name, _ in found}) == len(found), f"twice: {found}"
    return {name: re.sub(r"'sha256-[^']+'", "'sha256-…'", value) for name, value in found}


def wanted(site: Site, expected: dict[str, str]) -> dict[str, str]:
    """With HSTS, where it is due."""
    return expected | (dict([HSTS]) if site.scheme == "https" else {})


@pytest.mark.parametrize("what", TABLE)
def test_answers_of_ours(site: Site, what: str) -> None:
    ask, status, expected = TABLE[what]
    answer: Answer = ask(site)
    if what in ("sandbox: gone", "sandbox: gone, as a page", "sandbox: deleting", "sandbox: deleting, as a page"):
        assert answer.status in (502, 503, 410, 404), answer.body  # the reconciler may have seen it
    else:
        assert answer.status == status, answer.body[:300]
    assert headers_of(answer) == wanted(site, expected)


@pytest.mark.needs("webui")
@pytest.mark.parametrize(
    ("ask", "status"),
    [(lambda s: s.get("/"), 200), (lambda s: s.get("/login", **PAGE), 200), (_asset, 200)],
    ids=["a page", "the sign-in page", "an asset"],
)
def test_the_web_ui(site: Site, ask: Callable[[Site], Answer], status: int) -> None:
    answer = ask(site)
    assert answer.status == status
    assert headers_of(answer) == wanted(site, WEB_UI)
    again = site.get("/", If_None_Match=site.get("/").header("etag"))
    assert (again.status, headers_of(again)) == (304, wanted(site, WEB_UI))


def test_a_proxy_says_how_the_browser_came(tmp_path: pytest.TempPathFactory) -> None:
    """Where both are served, plain HTTP gets no HSTS; and nobody but the proxy is asked."""
    env = {"BASE_DOMAIN": "agents.test", "BASE_SCHEME": "https", "TRUSTED_PROXIES": "127.0.0.1/32"}
    with product(tmp_path, OPENCODE_BIN=str(PROGRAM), **env) as made:  # type: ignore[arg-type]
        site = Site(made, made.visitor(), "https")
        for target in ("/healthz", "/api/auth/oidc/providers", "/"):
            assert site.get(target, X_Forwarded_Proto="https").header(HSTS[0]) == HSTS[1]
            assert site.get(target).header(HSTS[0]) == HSTS[1]
            assert site.get(target, X_Forwarded_Proto="http").header(HSTS[0]) == ""


def test_a_sandbox_speaks_for_itself(tmp_path: pytest.TempPathFactory) -> None:
    """None of ours is put on what it says: a policy of ours would break the web UI that it serves."""
    with raw_sandbox(tmp_path) as raw:  # type: ignore[arg-type]
        said = saying(b"HTTP/1.1 200 OK\r\nReferrer-Policy: origin\r\nContent-Length: 2\r\n\r\nok")
        answer = raw.visitor.request("GET", raw.host.partition(":")[0], said)
        assert headers_of(answer) == {"referrer-policy": "origin"}
        assert answer.body == b"ok"
