"""People of every kind around one workspace on the real daemon, and what they need to try everything."""

from __future__ import annotations

import http.client
import itertools
import json
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tests.security.routes import ACTORS, ROLES
from tests.support.visitor import Answer, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.security.routes import Route
    from tests.support.product import Product

NOWHERE: Final = "aaaaaaaaaaaaaaaa"  # the id of nothing
MALFORMED: Final = "no.id"
PASSWORD: Final = "correct horse battery staple"
_SECONDS: Final = 30.0


@dataclass
class Cast:
    """Who and what is there. ``ids`` are the usual values of path parameters, and a few more."""

    made: Product
    people: dict[str, Visitor] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    spare: str = "spare"  # an account that nobody needs
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def owner(self) -> Visitor:
        """Who makes what is missing."""
        return self.people["owner"]

    @property
    def path(self) -> str:
        """The workspace's."""
        return f"/api/workspaces/{self.ids['workspaceId']}"

    def enter(self) -> None:
        """Everybody registers, the admin first, and gets their role."""
        for name in ("admin", *(actor for actor in ACTORS if actor not in ("admin", "anonymous")), "prey", self.spare):
            self.people[name] = self.made.visitor()
            workspace = self.people[name].register(name, PASSWORD)
            self.ids[name] = self.people[name].api("GET", "/api/auth/me")["id"]
            if name == "owner":
                self.ids["workspaceId"] = workspace
        for role in ROLES[:-1]:
            self.set_role(role, role)
        self.set_role("disabled", "developer")
        self.people["admin"].api("PATCH", f"/api/admin/users/{self.ids['disabled']}", {"disabled": True})
        self.people["anonymous"] = self.made.visitor()

    def furnish(self) -> None:
        """A sandbox that runs, one that a developer has paused, and a machine that is away."""
        nothing = dict.fromkeys(("userId", "sessionId", "identityId", "tokenId", "invitationId"), NOWHERE)
        self.ids |= nothing | dict.fromkeys(("token", "code", "fresh", "account"), "x") | {"provider": "github"}
        developer, workspace = self.people["developer"], self.ids["workspaceId"]
        self.ids["sandboxId"], self.ids["paused"] = (developer.create(workspace) for _ in range(2))
        developer.wait_for(self.ids["paused"], "running")
        developer.api("POST", f"/api/sandboxes/{self.ids['paused']}/pause", expect=(202,))
        self.ids["local"] = self.made.visitor().api("POST", "/api/agent/register", {"code": self.code()})["sandboxId"]
        developer.wait_for(self.ids["paused"], "paused")
        developer.wait_for(self.ids["sandboxId"], "running")

    # What a line of the table needs

    def set_role(self, name: str, role: str | None) -> None:
        """Make somebody a member with this role, or none."""
        members = {member["userId"]: member["role"] for member in self.owner.api("GET", f"{self.path}/members")}
        found, path = members.get(self.ids[name]), f"{self.path}/members/{self.ids[name]}"
        if found == role:
            return
        if role is None:
            self.owner.api("DELETE", path)
        elif found is None:
            self.owner.api("POST", f"{self.path}/members", {"username": name, "role": role})
        else:
            self.owner.api("PUT", path, {"role": role})

    def expel(self) -> None:
        """Whoever is no member is none again."""
        for name in ("stranger", "admin"):
            self.set_role(name, None)

    def another_workspace(self) -> str:
        """One with the same members."""
        if self._is_there(f"/api/workspaces/{self.ids.get('another', NOWHERE)}"):
            return self.ids["another"]
        found = self.ids["another"] = self.owner.api("POST", "/api/workspaces", {"name": "another"})["id"]
        for role in ROLES[:-1]:
            self.owner.api("POST", f"/api/workspaces/{found}/members", {"username": role, "role": role})
        return str(found)

    def sandbox(self) -> str:
        """One that nobody needs."""
        if self.owner.status(self.ids.get("spare sandbox", NOWHERE)) in ("gone", "deleting"):
            self.ids["spare sandbox"] = self.owner.create(self.ids["workspaceId"])
        return self.ids["spare sandbox"]

    def _is_there(self, path: str) -> bool:
        return self.owner.request("GET", "localhost", path).status == 200

    def code(self) -> str:
        """A code for a machine."""
        return str(self.owner.api("POST", f"{self.path}/agent-code")["code"])

    def invitation(self, role: str) -> tuple[str, str]:
        """Id and secret of an invitation."""
        made = self.owner.api("POST", f"{self.path}/invitations", {"role": role})
        return made["id"], made["url"].partition("#")[2]

    def fresh_name(self) -> str:
        """A name that nobody has."""
        return f"newcomer{next(self.numbers)}"

    # Asking

    def visitor(self, actor: str, *, own: bool = False) -> Visitor:
        """A browser of somebody's that may be spoilt; with ``own``, with a session that may end."""
        found = replace(self.people[actor], cookies=deepcopy(self.people[actor].cookies))
        if own and actor not in ("anonymous", "disabled"):
            found = self.made.visitor()
            found.login(actor, PASSWORD)
        return found

    def _mine(self, actor: str, name: str) -> str:
        """A session, or a token, of whoever asks."""
        if actor in ("anonymous", "disabled"):
            return NOWHERE
        visitor = self.people[actor]
        if name == "tokenId":
            return str(visitor.api("POST", "/api/auth/tokens", {"name": "mine", "scopes": ["read"]})["id"])
        self.visitor(actor, own=True)
        return next(str(row["id"]) for row in visitor.api("GET", "/api/auth/sessions") if not row["current"])

    def ask(self, route: Route, actor: str, **changed: str) -> Answer:
        """What ``actor`` gets for a line of the table; ``changed`` path parameters win."""
        prepared = route.prepare(self)
        found = {key: self._mine(actor, key) if value == "MINE" else value for key, value in prepared.items()}
        visitor = self.visitor(actor, own=route.own)
        cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.get("localhost", {}).items())
        return self.send(route, self.ids | found | changed, {"Cookie": cookies} if cookies else {})

    def send(self, route: Route, values: dict[str, str], headers: dict[str, str]) -> Answer:
        """Send what a line of the table says. Of a stream only the head is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.made.port, timeout=_SECONDS)
        sent = {"Host": f"localhost:{self.made.port}", **headers}
        body = None
        if route.body is not None:
            body = json.dumps(_filled(route.body, values)).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(route.method, route.path.format_map(values), body, sent)
            response = connection.getresponse()
            endless = response.headers.get_content_type() == "text/event-stream"
            data = b"" if endless else response.read()
        finally:
            connection.close()
        answer = Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], data)
        self.made.secrets.sent(sent, body)
        self.made.secrets.answered(answer.headers, data)
        return answer


def _filled(body: Any, values: dict[str, str]) -> Any:
    """A body with the values of what was prepared."""
    if not isinstance(body, dict):
        return body
    return {key: value.format_map(values) if isinstance(value, str) else value for key, value in body.items()}
