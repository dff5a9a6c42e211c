"""An app on a real database, and clients that send what the gateway would."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import jsonschema_rs
from argon2 import PasswordHasher
from werkzeug.datastructures import Headers

from daemon.api.hub import EventHub
from daemon.api.parts import ApiParts
from daemon.auth.allowance import Allowance
from daemon.auth.passwords import Passwords
from daemon.auth.throttle import Turns
from daemon.config import Settings, load
from daemon.db.listen import Notifications
from daemon.refusals import Refusals
from daemon.secret import Keyring

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

    from daemon.db.database import Database

ORIGIN = "http://localhost:8080"
PASSWORD = "a good long password"
SLOWER = 100  # times as long as they really are: what the fixture long_blocks makes of blocks


def make_settings(**changes: Any) -> Settings:
    """Settings as on one machine without any setting, but for ``changes``, and open to everybody."""
    ours: dict[str, Any] = {"data_dir": Path("/nonexistent"), "registration": "open", "metrics_listen": None}
    return replace(load({}), **(ours | changes))


class CountingHasher(PasswordHasher):
    """Argon2 with the cheapest parameters there are, and a count of how often it was asked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verifications = 0
        self.hashings = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verifications += 1
        return super().verify(hash, password)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashings += 1
        return super().hash(password, salt=salt)


class Contract:
    """The app's own OpenAPI document, against which every answer to every :class:`Client` is checked."""

    _kept: ClassVar[dict[frozenset[str], Contract]] = {}

    def __init__(self, app: QuartTrio) -> None:
        self.document: dict[str, Any] = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
        self._paths = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), item)
            for path, item in self.document["paths"].items()
        ]

    @classmethod
    def of(cls, app: QuartTrio) -> Contract:
        """The contract of an app, made once for all apps with the same routes: it takes 30 ms."""
        routes = frozenset(rule.rule for rule in app.url_map.iter_rules())
        if routes not in cls._kept:
            cls._kept[routes] = cls(app)
        return cls._kept[routes]

    async def check(self, method: str, path: str, response: Response) -> None:
        """The status must be documented, with this media type, and the body of that shape."""
        plain = path.partition("?")[0]
        for pattern, item in self._paths:
            operation = item.get(method.lower() if method != "HEAD" else "get")
            if operation is not None and pattern.fullmatch(plain):
                return await self._check(f"{method} {path}", operation, response, bodyless=method == "HEAD")

    async def _check(self, what: str, operation: dict[str, Any], response: Response, *, bodyless: bool) -> None:
        documented = operation["responses"].get(str(response.status_code))
        assert documented is not None, f"{what}: {response.status_code} is not documented"
        if bodyless:
            return
        if "content" not in documented:
            assert await response.get_data() == b""
            return
        kind = response.mimetype or ""
        schema = documented["content"][kind]["schema"]
        if kind.endswith("json"):
            whole = schema | {"components": self.document["components"]}
            body = json.loads(await response.get_data(as_text=True))
            jsonschema_rs.validator_for(whole, validate_formats=True).validate(body)


Given = dict[str, str | list[str] | None]


def _listed(value: str | list[str] | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


@dataclass
class Client:
    """A browser: keeps cookies, and says where it comes from."""

    app: QuartTrio
    contract: Contract
    ip: str = "192.0.2.1"
    cookies: dict[str, str] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)

    async def request(
        self,
        method: str,
        path: str,
        json_body: object = None,
        *,
        headers: Given | None = None,
        data: bytes | None = None,
    ) -> Response:
        """One request, as the gateway passes it on; a header that is ``None`` is left out, and a list repeated."""
        given: Given = {
            "Host": "localhost:8080",
            "Origin": ORIGIN,
            "X-Forwarded-For": self.ip,
            "X-Forwarded-Proto": "http",
            "User-Agent": "test",
        }
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if json_body is not None:
            data = json.dumps(json_body).encode()
        if data is not None:
            given |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        given |= headers or {}
        sent = Headers([(name, value) for name, values in given.items() for value in _listed(values)])
        client: Any = self.app.test_client(use_cookies=False)
        response: Response = await client.open(path, method=method, headers=sent, data=data)
        self._keep(response)
        await self.contract.check(method, path, response)
        return response

    def _keep(self, response: Response) -> None:
        for line in response.headers.getlist("Set-Cookie"):
            name, _, rest = line.partition("=")
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = rest.partition(";")[0]

    async def get(self, path: str, **more: Any) -> Response:
        """GET."""
        return await self.request("GET", path, **more)

    async def post(self, path: str, body: object = None, **more: Any) -> Response:
        """POST."""
        return await self.request("POST", path, body, **more)

    async def put(self, path: str, body: object = None, **more: Any) -> Response:
        """PUT."""
        return await self.request("PUT", path, body, **more)

    async def patch(self, path: str, body: object = None, **more: Any) -> Response:
        """PATCH."""
        return await self.request("PATCH", path, body, **more)

    async def delete(self, path: str, **more: Any) -> Response:
        """DELETE."""
        return await self.request("DELETE", path, **more)

    async def register(self, username: str) -> Client:
        """Register and stay signed in."""
        response = await self.post("/api/auth/register", {"username": username, "password": PASSWORD})
        assert response.status_code == 201, await response.get_data(as_text=True)
        self.user = await response.get_json()
        return self

    async def login(self, username: str, password: str = PASSWORD) -> Response:
        """Sign in."""
        return await self.post("/api/auth/login", {"username": username, "password": password})


@dataclass
class Bench:
    """An app, its parts, and people."""

    app: QuartTrio
    parts: ApiParts
    hasher: CountingHasher

    def __post_init__(self) -> None:
        self.contract = Contract.of(self.app)

    @property
    def db(self) -> Database:
        """The app's database."""
        return self.parts.db

    def client(self, ip: str = "192.0.2.1") -> Client:
        """Somebody who is not signed in."""
        return Client(self.app, self.contract, ip)

    async def person(self, username: str) -> Client:
        """Somebody new who is."""
        return await self.client().register(username)

    async def execute(self, query: str, *args: object) -> list[tuple[Any, ...]]:
        """Run one statement; the rows, if it has any."""

        def op(conn: Any) -> list[tuple[Any, ...]]:
            cursor = conn.execute(query, args or None)
            return cursor.fetchall() if cursor.description else []

        return await self.db.run(op)


def make_parts(database: Database, hasher: PasswordHasher, settings: Settings, **changes: Any) -> ApiParts:
    """Real parts, without a backend and notifications; ``changes`` replaces some of them."""
    values: dict[str, Any] = {
        "settings": settings,
        "db": database,
        "keyring": Keyring(bytes(32)),
        "passwords": Passwords(hasher),
        "turns": Turns(),
        "hub": EventHub(database, Notifications("dbname=nowhere")),
        "backend": None,
        "refusals": Refusals(database),
        # Those who try many things in a row; tests of the limit bring their own.
        "changes": Allowance(burst=1_000_000),
    }
    return ApiParts(**(values | changes))
