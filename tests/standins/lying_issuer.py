"""An OIDC provider that lies on demand. Without lies it does as much of the code flow as a sign-in needs; how an
honest one behaves is for the real ``oidc-provider`` to show (tests/standins/oidc_provider).

It asks nobody anything: ``/authorize`` sends the browser back at once, as whoever :attr:`LyingIssuer.person` is. Codes
work once; client, redirect address and PKCE are checked, as long as no knob says otherwise.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.standins.small_site import Asked, Said, SmallSite

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Lies:
    """What it says that is not so. ``claims`` and ``userinfo`` replace members; one that is ``None`` is left out."""

    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    skew: float = 0.0  # seconds by which its clock is ahead
    algorithm: str = "RS256"  # also "none" and "HS256", with the public key for a secret
    foreign_key: bool = False  # signs with a key that it does not list, by the name of one that it does
    token: dict[str, Any] | None = None  # the whole answer of the token endpoint
    no_userinfo: bool = False


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class LyingIssuer(SmallSite):
    """``person`` are the claims of whoever comes, ``sub`` among them."""

    def __init__(self, client_id: str = "oidc-client", secret: str = "oidc:client%secret+of-a-test") -> None:
        super().__init__()
        self.client_id = client_id
        self.secret = secret
        self.lies = Lies()
        self.person: dict[str, Any] = {"sub": "1"}
        self.id_token_person: set[str] = {"sub"}  # the claims that the ID token has; userinfo has them all
        self._codes: dict[str, Mapping[str, str]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        self._keys: list[RSAKey] = []
        self.rotate()

    def settings(self) -> dict[str, str]:
        """What a server needs to know of it."""
        return {
            "OIDC_ISSUER_URL": self.url,
            "OIDC_CLIENT_ID": self.client_id,
            "OIDC_CLIENT_SECRET": self.secret,
            "OIDC_NAME": "Acme",
        }

    def rotate(self) -> None:
        """Sign with a new key from now on, and list no other."""
        self._keys = [RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})]

    def answer(self, asked: Asked) -> Said:
        if asked.path == "/.well-known/openid-configuration":
            return Said.json(self.metadata())
        if asked.path == "/jwks":
            return Said.json({"keys": [key.as_dict(private=False) for key in self._keys]})
        if asked.path == "/authorize":
            assert asked.fields["code_challenge_method"] == "S256"
            code = secrets.token_hex(8)
            self._codes[code] = asked.fields
            return Said.to(
                f"{asked.fields['redirect_uri']}?{urlencode({'code': code, 'state': asked.fields['state']})}"
            )
        if asked.path == "/token":
            return self._token(asked)
        if asked.path == "/userinfo":
            found = self._tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
            return Said.json(_without_none(found | self.lies.userinfo)) if found else Said(401)
        return Said(404)

    def metadata(self) -> dict[str, Any]:
        """Its discovery document."""
        found = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": None if self.lies.no_userinfo else f"{self.url}/userinfo",
        }
        return _without_none(found | self.lies.metadata)

    def _token(self, asked: Asked) -> Said:
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        if asked.headers.get("authorization") != f"Basic {b64encode(pair.encode()).decode()}":
            return Said.json({"error": "invalid_client"}, 401)
        wanted = self._codes.pop(asked.fields.get("code", ""), None)
        proof = _b64(hashlib.sha256(asked.fields.get("code_verifier", "").encode()).digest())
        if (
            wanted is None
            or proof != wanted["code_challenge"]
            or asked.fields["redirect_uri"] != wanted["redirect_uri"]
        ):
            return Said.json({"error": "invalid_grant"}, 400)
        access = secrets.token_hex(16)
        self._tokens[access] = dict(self.person)
        token = {"access_token": access, "token_type": "Bearer", "id_token": self._id_token(wanted)}
        return Said.json(token if self.lies.token is None else self.lies.token)

    def _id_token(self, wanted: Mapping[str, str]) -> str:
        now = int(time.time() + self.lies.skew)
        person = {name: value for name, value in self.person.items() if name in self.id_token_person}
        claims = {
            "iss": self.url,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": wanted["nonce"],
            **person,
        }
        return self.sign(_without_none(claims | self.lies.claims))

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with these claims."""
        key, algorithm = self._keys[0], self.lies.algorithm
        header = {"alg": algorithm, "kid": key.kid}
        if algorithm == "none":
            return f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}."
        if algorithm == "HS256":
            unsigned = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
            return f"{unsigned}.{_b64(hmac.digest(key.as_pem(private=False), unsigned.encode(), 'sha256'))}"
        if self.lies.foreign_key:
            key = RSAKey.generate_key(2048)
        return jwt.encode(header, claims, key, algorithms=[algorithm])


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
