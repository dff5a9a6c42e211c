"""A stand-in for GitHub: its OAuth and as much of its REST API as a sign-in asks for, written from GitHub's documents.

Its page asks which of its people one is (there are no passwords), and whether the application may have what it asks
for. Codes work once and for ten minutes; client, redirect address and PKCE are checked; the API shows of a person
what the scopes allow: private addresses with ``user:email``, memberships with ``read:org`` and only of organisations
that let the application look. As GitHub, it says no to a code with status 200. What it does not do: device flow,
refresh tokens, limits, pagination, two-factor, teams.
"""

from __future__ import annotations

import hashlib
import html
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.standins.small_site import Asked, Said, SmallSite

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE_SECONDS = 600.0
_TITLE = "Sign in to GitHub"
_PAGE = f"<!doctype html><title>{_TITLE}</title><h1>{_TITLE}</h1><form method=post>{{inputs}}{{buttons}}</form>"


@dataclass
class Person:
    """Somebody with an account. ``organisations``: name to state, ``active`` or ``pending``."""

    id: int
    login: str
    email: str | None = None
    verified: bool = True
    organisations: dict[str, str] = field(default_factory=dict)

    def addresses(self) -> list[dict[str, Any]]:
        """As ``GET /user/emails`` has them: the first is not the primary one."""
        noreply = {"email": f"{self.login}@users.noreply.example", "primary": False, "verified": True}
        own = {"email": self.email, "primary": True, "verified": self.verified}
        return [noreply, own] if self.email else [noreply]


@dataclass
class _Grant:
    person: Person
    scopes: frozenset[str]
    redirect_uri: str
    challenge: str
    until: float


class GithubStandIn(SmallSite):
    """``people`` by login; ``closed`` are organisations that do not let this application look."""

    def __init__(self, client_id: str = "github-client", secret: str = "github-client-secret-of-a-test") -> None:
        super().__init__()
        self.client_id = client_id
        self.secret = secret
        self.callback: str | None = None  # as the application was registered; None takes any
        self.people: dict[str, Person] = {}
        self.closed: set[str] = set()
        self._codes: dict[str, _Grant] = {}
        self._tokens: dict[str, _Grant] = {}

    def settings(self) -> dict[str, str]:
        """What a server needs to know of it."""
        return {
            "GITHUB_CLIENT_ID": self.client_id,
            "GITHUB_CLIENT_SECRET": self.secret,
            "GITHUB_URL": self.url,
            "GITHUB_API_URL": f"{self.url}/api/v3",
        }

    def add(self, person: Person) -> Person:
        """Somebody new."""
        self.people[person.login] = person
        return person

    def answer(self, asked: Asked) -> Said:
        if asked.path == "/login/oauth/authorize":
            return self._authorize(asked)
        if asked.path == "/login/oauth/access_token" and asked.method == "POST":
            return Said.json(self._access_token(asked.fields))
        if asked.path == "/api/v3/meta":
            return Said.json({"verifiable_password_authentication": False})
        if asked.path.startswith("/api/v3/"):
            return self._api(asked)
        return Said.json({"message": "Not Found"}, 404)

    def _authorize(self, asked: Asked) -> Said:
        wanted = asked.fields
        if (
            wanted.get("client_id") != self.client_id
            or (self.callback or wanted["redirect_uri"]) != wanted["redirect_uri"]
        ):
            return Said(404, b"The application or its address is not known.")
        if asked.method == "GET":
            return Said(200, self._page(wanted), {"Content-Type": "text/html"})
        back = {"state": wanted["state"]}
        if "no" in wanted:
            return self._back(wanted, back | {"error": "access_denied", "error_description": "The user has denied"})
        assert wanted["code_challenge_method"] == "S256"
        code = secrets.token_hex(10)
        self._codes[code] = _Grant(
            self.people[wanted["yes"]],
            frozenset(wanted["scope"].split()),
            wanted["redirect_uri"],
            wanted["code_challenge"],
            time.monotonic() + CODE_SECONDS,
        )
        return self._back(wanted, back | {"code": code})

    @staticmethod
    def _back(wanted: Mapping[str, str], fields: dict[str, str]) -> Said:
        return Said.to(f"{wanted['redirect_uri']}?{urlencode(fields)}")

    def _page(self, wanted: Mapping[str, str]) -> bytes:
        inputs = "".join(
            f'<input type=hidden name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in wanted.items()
        )
        people = [f'<button name=yes value="{login}">Continue as {login}</button>' for login in self.people]
        return _PAGE.format(inputs=inputs, buttons="".join([*people, "<button name=no>Cancel</button>"])).encode()

    def _access_token(self, given: Mapping[str, str]) -> dict[str, str]:
        if (given.get("client_id"), given.get("client_secret")) != (self.client_id, self.secret):
            return {"error": "incorrect_client_credentials", "error_description": "The client_id is not right"}
        grant = self._codes.pop(given.get("code", ""), None)
        if grant is None or time.monotonic() > grant.until:
            return {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        proven = urlsafe_b64encode(digest).decode().rstrip("=") == grant.challenge
        if not proven or given.get("redirect_uri") != grant.redirect_uri:
            return {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}
        token = f"gho_{secrets.token_hex(18)}"
        self._tokens[token] = grant
        return {"access_token": token, "token_type": "bearer", "scope": ",".join(sorted(grant.scopes))}

    def _api(self, asked: Asked) -> Said:
        grant = self._tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        if grant is None:
            return Said.json({"message": "Bad credentials"}, 401)
        person, path = grant.person, asked.path.removeprefix("/api/v3")
        if path == "/user":
            # The public address, which is not said to be verified.
            return Said.json({"id": person.id, "login": person.login, "email": None, "name": person.login.title()})
        if path == "/user/emails":
            known = "user:email" in grant.scopes
            return Said.json(person.addresses()) if known else Said.json({"message": "Not Found"}, 404)
        if path.startswith("/user/memberships/orgs/"):
            name = path.rpartition("/")[2]
            if "read:org" not in grant.scopes or name in self.closed:
                return Said.json({"message": "Forbidden"}, 403)
            state = person.organisations.get(name)
            return Said.json({"state": state, "role": "member"}) if state else Said.json({"message": "Not Found"}, 404)
        return Said.json({"message": "Not Found"}, 404)
