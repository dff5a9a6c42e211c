"""The OpenAPI document: valid and whole. That it is true, every request of these tests checks (see support)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import schemathesis
from quart import Response

from daemon.api.shapes import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.api.support import Bench

METHODS = {"get", "post", "put", "patch", "delete"}


async def document(bench: Bench) -> dict[str, Any]:
    """The document as anybody gets it."""
    response = await bench.client().get("/api/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = await response.get_json()
    return found


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of each route."""
    for path, item in found["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


async def test_it_is_valid(bench: Bench) -> None:
    found = await document(bench)
    assert found["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(found).validate()
    text = str(found)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in found["components"]["schemas"]


async def test_it_is_whole(bench: Bench) -> None:
    """Every route under /api/ is there, but for the document itself."""
    routes = set()
    for rule in bench.app.url_map.iter_rules():
        if rule.rule.startswith("/api/") and rule.rule != "/api/openapi.json":
            shape = re.sub(r"<[^>]+>", "{}", rule.rule)
            routes |= {(method.lower(), shape) for method in rule.methods or () if method.lower() in METHODS}
    documented = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path, _ in operations(await document(bench))}
    assert documented == routes


async def test_each_operation_is_described(bench: Bench) -> None:
    found = await document(bench)
    ids = [operation["operationId"] for _, _, operation in operations(found)]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations(found):
        assert operation["summary"], path
        statuses = set(operation["responses"])
        assert any(status[0] in "23" for status in statuses), path
        assert {"500", "503"} <= statuses
        assert ("401" in statuses) or operation["security"] == []
        assert {"403", "415"} <= statuses or method == "get"
        assert {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"} == set(
            re.findall(r"\{(\w+)\}", path)
        )


async def test_who_may_use_an_operation(bench: Bench) -> None:
    found = {(method, path): operation["security"] for method, path, operation in operations(await document(bench))}
    assert found["post", "/api/workspaces"] == [{"session": []}, {"token": ["write"]}]
    assert found["post", "/api/auth/tokens"] == [{"session": []}]
    assert found["post", "/api/auth/login"] == []
    # Whoever is not signed in is sent to sign in; a token needs the scope.
    assert found["get", "/api/sandboxes/{sandboxId}/open"] == [{}, {"session": []}, {"token": ["open"]}]


async def test_the_cookie_is_the_one_in_use(bench: Bench, make_bench: Callable[..., Bench]) -> None:
    scheme = (await document(bench))["components"]["securitySchemes"]["session"]
    assert scheme == {"type": "apiKey", "in": "cookie", "name": "cli_server_session"}
    secure = make_bench(base_scheme="https", base_domain="code.example.com", public_port=None)
    scheme = (await document(secure))["components"]["securitySchemes"]["session"]
    assert scheme["name"] == "__Host-cli_server_session"


async def test_names_are_camel_case(bench: Bench) -> None:
    found = await document(bench)
    for schema in found["components"]["schemas"].values():
        for name in schema.get("properties", {}):
            assert re.fullmatch(r"[a-z][a-zA-Z0-9]*", name)


async def test_the_check_of_every_answer_bites(bench: Bench) -> None:
    """Wrong status, wrong media type, wrong shape: each would fail the test that met it."""
    path = "/api/workspaces/abcdefghij012345"
    time = "2026-01-01T00:00:00Z"
    good = {"id": "x", "name": "x", "role": "owner", "createdAt": time, "updatedAt": time}
    await bench.contract.check("GET", path, answer(good))
    for wrong in (
        answer(good, 418),
        answer(good | {"role": "king"}),
        answer(good | {"createdAt": "yesterday"}),
        answer({}),
        Response("x", 200, content_type="text/plain"),
    ):
        with pytest.raises((AssertionError, KeyError, jsonschema_rs.ValidationError)):
            await bench.contract.check("GET", path, wrong)
