"""Requests made from the OpenAPI document, good and bad ones, against the served app: no 500, no unknown answer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import hypothesis.errors
import schemathesis
import trio
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
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
    from tests.api.support import Bench

EXAMPLES = 8  # for each operation, good ones and as many bad ones; some 30 operations at 10 ms
ENDLESS = {"/api/events"}
# These end the session that everything else needs; other tests are about them.
ENDING = {("POST", "/api/auth/logout"), ("DELETE", "/api/auth/sessions/{sessionId}")}
HEADERS = {"Host": "localhost:8080", "Origin": ORIGIN, "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Talkative(Logs):
    """A backend that can also say what is served inside, and how large a disk is."""

    async def ports(self, sandbox_id: str) -> list[int]:
        return [3000]

    async def disk_bytes(self, workspace_id: str) -> int | None:
        return 4096


class Prober:
    """Sends what schemathesis makes of one operation. Blocks; for a thread."""

    def __init__(self, client: httpx.Client, cookies: dict[str, str], ids: dict[str, str]) -> None:
        """``ids`` are what exists, by the names of path parameters."""
        self._client = client
        self._cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
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
        if existing and case.method != "DELETE":
            for name in case.path_parameters:
                case.path_parameters[name] = self._ids.get(name, case.path_parameters[name])
        given = case.as_transport_kwargs(base_url=ORIGIN)
        headers = {name: value for name, value in dict(given["headers"] or {}).items() if name.lower() != "cookie"}
        if not case.path.startswith("/api/auth/") or case.method == "GET":
            headers["Cookie"] = self._cookie  # registering ends the session that the browser had before
        body = {"content" if name == "data" else name: given[name] for name in ("data", "json") if name in given}
        response = self._client.request(
            given["method"], given["url"], params=given.get("params"), headers=HEADERS | headers, **body
        )
        self.statuses.add(response.status_code)
        assert response.status_code not in (500, 501), response.text
        case.validate_response(response, checks=CHECKS)


async def test_every_operation(
    db: Database, database_url: str, make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    backend = Talkative()
    backend.write.close()
    async with live(db, database_url, make_bench, tmp_path / "api.sock", parts={"backend": backend}) as system:
        crew = system.crew
        ids = {"workspaceId": crew.workspace_id, "sandboxId": await crew.box(), "userId": crew.id_of("guest")}
        schema = schemathesis.openapi.from_dict(crew.bench.contract.document)
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        wanted = [
            operation
            for operation in operations
            if operation.path not in ENDLESS and (operation.method.upper(), operation.path) not in ENDING
        ]
        assert len(wanted) == len(operations) - 3
        transport = httpx.HTTPTransport(uds=str(system.socket))
        with httpx.Client(transport=transport, base_url=ORIGIN, timeout=10) as client:
            prober = Prober(client, crew["owner"].cookies, ids)
            for operation in wanted:
                for mode in GenerationMode:
                    await trio.to_thread.run_sync(prober.probe, operation, mode)
    assert {200, 201, 302, 400, 404, 409, 422} <= prober.statuses
