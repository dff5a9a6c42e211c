"""Requests made from the OpenAPI document, good and bad ones, against the served app: no 500, no unknown answer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import hypothesis.errors
import pytest
import schemathesis
import trio
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.crew import live
from tests.api.support import ORIGIN
from tests.api.test_logs_route import Logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.db.database import Database
    from tests.api.crew import Crew
    from tests.api.support import Bench

EXAMPLES = 8  # for each operation, good ones and as many bad ones; some 50 operations at 10 ms, for each caller
ENDLESS = {"/api/events"}
# These end the session that everything else needs; other tests are about them.
ENDING = {("POST", "/api/auth/logout"), ("DELETE", "/api/auth/sessions/{sessionId}")}
# Whoever signs in ends the session that the browser had before.
SIGNING_IN = {"/api/auth/register", "/api/auth/login"}
HEADERS = {"Host": "localhost:8080", "Origin": ORIGIN, "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# What each caller gets to see at the least, so that a caller who is not let in anywhere does not count as tested.
SEEN = {
    "anonymous": {200, 400, 401, 404, 422},
    "session": {200, 201, 302, 400, 404, 409, 422},
    "token": {200, 201, 302, 400, 403, 404, 409, 422},
    "guest": {200, 201, 403, 404, 422},
}


class Talkative(Logs):
    """A backend that can also say what is served inside, and how large a disk is."""

    async def ports(self, sandbox_id: str) -> list[int]:
        return [3000]

    async def disk_bytes(self, workspace_id: str) -> int | None:
        return 4096


class Prober:
    """Sends what schemathesis makes of one operation. Blocks; for a thread."""

    def __init__(self, client: httpx.Client, caller: dict[str, str], ids: dict[str, str]) -> None:
        """``caller`` are the headers that say who asks, ``ids`` what exists, by the names of path parameters."""
        self._client = client
        self._caller = caller
        self._ids = ids
        self.statuses: set[int] = set()

    def probe(self, operation: Any, mode: GenerationMode) -> None:
        """Some examples of one operation."""

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode), existing=st.booleans())
        def one(case: Any, existing: bool) -> None:
            self._send(case, existing)

        # What takes nothing cannot be sent wrongly.
        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            one()

    def _send(self, case: Any, existing: bool) -> None:
        path = case.meta.components.get(ParameterLocation.PATH)
        if existing and case.method != "DELETE" and path is not None and path.mode.is_positive:  # bad ids stay bad
            for name in case.path_parameters:
                case.path_parameters[name] = self._ids.get(name, case.path_parameters[name])
        given = case.as_transport_kwargs(base_url=ORIGIN)
        claims = ("cookie", "authorization")
        headers = {name: value for name, value in dict(given["headers"] or {}).items() if name.lower() not in claims}
        if case.path not in SIGNING_IN:
            headers |= self._caller
        body = {"content" if name == "data" else name: given[name] for name in ("data", "json") if name in given}
        response = self._client.request(
            given["method"], given["url"], params=given.get("params"), headers=HEADERS | headers, **body
        )
        self.statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)


async def callers(crew: Crew) -> dict[str, dict[str, str]]:
    """The headers of who asks. The owner is the server's admin, too."""
    wanted = {"name": "everything", "scopes": ["read", "write", "open", "admin"]}
    made = await (await crew["owner"].post("/api/auth/tokens", wanted)).get_json()
    cookies = {role: "; ".join(f"{name}={value}" for name, value in crew[role].cookies.items()) for role in crew.people}
    return {
        "anonymous": {},
        "session": {"Cookie": cookies["owner"]},
        "token": {"Authorization": f"Bearer {made['token']}"},
        "guest": {"Cookie": cookies["guest"]},
    }


@pytest.mark.parametrize("caller", SEEN)
async def test_every_operation(
    db: Database, database_url: str, make_bench: Callable[..., Bench], tmp_path: Path, caller: str
) -> None:
    backend = Talkative()
    backend.write.close()
    async with live(db, database_url, make_bench, tmp_path / "api.sock", parts={"backend": backend}) as system:
        crew = system.crew
        ids = {"workspaceId": crew.workspace_id, "sandboxId": await crew.box(), "userId": crew.id_of("developer")}
        schema = schemathesis.openapi.from_dict(crew.bench.contract.document)
        schema.config.generation.update(with_security_parameters=False)  # who asks is decided here
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        wanted = [
            operation
            for operation in operations
            if operation.path not in ENDLESS and (operation.method.upper(), operation.path) not in ENDING
        ]
        assert len(wanted) == len(operations) - 3
        transport = httpx.HTTPTransport(uds=str(system.socket))
        with httpx.Client(transport=transport, base_url=ORIGIN, timeout=30) as client:
            prober = Prober(client, (await callers(crew))[caller], ids)
            for operation in wanted:
                for mode in GenerationMode:
                    await trio.to_thread.run_sync(prober.probe, operation, mode)
    assert SEEN[caller] <= prober.statuses
