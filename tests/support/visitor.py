"""A browser reduced to requests: cookies kept by host, redirects followed by hand. Used by tests and benchmarks.

It connects to 127.0.0.1 and sends the host it means, because Python does not resolve ``*.localhost``.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tests.support.leaks import Secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PAGE = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
_SECONDS = 30.0  # for one answer
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Answer:
    """An answer. Header names are in lower case; repeated ones stay repeated."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, empty if there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class UnexpectedAnswer(AssertionError):
    """The server answered with another status than the test counts on."""


@dataclass
class Visitor:
    """One browser. ``port`` is the daemon's listener, ``domain`` its ``BASE_DOMAIN``.

    ``patience``: seconds until a sandbox has the status that is waited for. ``secrets`` learns what the daemon must not
    write into its log.
    """

    port: int
    domain: str = "localhost"
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    username: str = ""
    patience: float = 60.0
    secrets: Secrets = field(default_factory=Secrets)

    def request(
        self,
        method: str,
        host: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> Answer:
        """One request with this host's cookies; those that come back are kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        sent = {"Host": f"{host}:{self.port}", **(headers or {})}
        kept = self.cookies.setdefault(host, {})
        if kept and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            self._keep(kept, cookie)
        answer = Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], data)
        self.secrets.sent(sent, body)
        self.secrets.answered(answer.headers, data)
        return answer

    @staticmethod
    def _keep(kept: dict[str, str], cookie: str) -> None:
        pair, _, attributes = cookie.partition(";")
        name, _, value = pair.partition("=")
        if "max-age=0" in attributes.lower().replace(" ", ""):
            kept.pop(name, None)
        else:
            kept[name] = value

    def api(
        self, method: str, path: str, body: object = None, *, expect: Collection[int] = (200, 201, 202, 204)
    ) -> Any:
        """A call of the API; the parsed answer. Raises :class:`UnexpectedAnswer`."""
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        answer = self.request(method, self.domain, path, body=data, headers=headers)
        if answer.status not in expect:
            raise UnexpectedAnswer(f"{method} {path}: {answer.status} {answer.body[:600]!r}")
        return answer.json() if answer.body else None

    def register(self, username: str = "ada", password: str = "correct horse battery staple") -> str:
        """Register and be signed in; the id of the default workspace."""
        self.api("POST", "/api/auth/register", {"username": username, "password": password})
        self.username = username
        workspaces = self.api("GET", "/api/workspaces")
        return str(workspaces[0]["id"])

    def login(self, username: str = "ada", password: str = "correct horse battery staple") -> None:
        """Sign in."""
        self.api("POST", "/api/auth/login", {"username": username, "password": password})
        self.username = username

    def create(self, workspace_id: str, **body: object) -> str:
        """Create a sandbox; its id."""
        made = str(self.api("POST", f"/api/workspaces/{workspace_id}/sandboxes", body, expect=(201,))["id"])
        self.secrets.sandboxes.add(made)
        return made

    def status(self, sandbox_id: str) -> str:
        """What the API says its status is; ``gone`` if there is no such sandbox."""
        found = self.api("GET", f"/api/sandboxes/{sandbox_id}", expect=(200, 404))
        return str(found["status"]) if "id" in found else "gone"

    def wait_for(self, sandbox_id: str, *statuses: str, seconds: float | None = None) -> str:
        """Wait until the sandbox's status is one of ``statuses``. Raises :class:`UnexpectedAnswer` with its reason."""
        seconds = self.patience if seconds is None else seconds
        deadline = time.monotonic() + seconds
        while True:
            found = self.status(sandbox_id)
            if found in statuses:
                return found
            if time.monotonic() > deadline:
                row = self.api("GET", f"/api/sandboxes/{sandbox_id}", expect=(200, 404))
                raise UnexpectedAnswer(f"not {statuses} after {seconds:g} s, but {row}")
            time.sleep(_POLL_SECONDS)

    def running(self, workspace_id: str, **body: object) -> str:
        """A new sandbox, once it runs; its id."""
        sandbox_id = self.create(workspace_id, **body)
        self.wait_for(sandbox_id, "running")
        return sandbox_id

    def used(self, workspace_id: str, requests: int) -> dict[str, int]:
        """What the workspace used, once so many requests are in the books: a moment after each answer's end."""
        deadline = time.monotonic() + self.patience
        while (totals := self.api("GET", f"/api/workspaces/{workspace_id}/usage")["totals"])["requests"] < requests:
            if time.monotonic() > deadline:
                raise UnexpectedAnswer(f"not {requests} requests, but {totals}")
            time.sleep(_POLL_SECONDS)
        return dict(totals)

    def open(self, sandbox_id: str, label: str | None = None) -> str:
        """Get this browser the cookie of a sandbox host; the host's name."""
        host = f"{label or f'oc-{sandbox_id}'}.{self.domain}"
        wanted = quote(f"http://{host}:{self.port}/", safe="")
        answer = self.request("GET", self.domain, f"/api/sandboxes/{sandbox_id}/open?next={wanted}", headers=PAGE)
        ticket = urlsplit(answer.header("location"))
        if answer.status != 302 or ticket.hostname != host:
            raise UnexpectedAnswer(f"open: {answer.status} {answer.headers} {answer.body[:300]!r}")
        entered = self.request("GET", host, f"{ticket.path}?{ticket.query}", headers=PAGE)
        if entered.status not in (302, 303):
            raise UnexpectedAnswer(f"ticket: {entered.status} {entered.body[:300]!r}")
        return host
