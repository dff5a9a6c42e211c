"""Every error is an RFC 9457 problem with a stable code."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.api.openapi import parse_body
from daemon.api.problems import Problem
from daemon.api.shapes import Body, Name
from daemon.auth.roles import Role  # noqa: TC001 - pydantic reads the annotations
from daemon.db.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from tests.api.support import Bench, Given


async def problem(response: Response) -> dict[str, Any]:
    """The problem that a response is, checked for form."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = await response.get_json(force=True)
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code"}
    assert body["status"] == response.status_code
    return body


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nope", "/api/workspaces/", "/api/%2e%2e/", "/api//workspaces"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_unknown_paths_are_problems_never_the_page(bench: Bench, path: str, accept: str) -> None:
    response = await bench.client().get(path, headers={"Accept": accept})
    assert (await problem(response))["code"] == "not_found"


@pytest.mark.parametrize("last", ["%ff", "%2f", "a%0ab", "%00", "%F0%9F%98%80", "..;", "a" * 8000, "%25", "*"])
async def test_strange_ids_are_not_found(bench: Bench, last: str) -> None:
    alice = await bench.person("alice")
    for path in (f"/api/workspaces/{last}", f"/api/sandboxes/{last}", f"/api/sandboxes/{last}/usage"):
        response = await alice.get(path)
        assert response.status_code == 404
        await problem(response)
    assert (await alice.delete(f"/api/auth/sessions/{last}")).status_code == 404


async def test_wrong_methods_are_told_the_right_ones(bench: Bench) -> None:
    response = await bench.client().put("/api/workspaces", {})
    assert (await problem(response))["code"] == "method_not_allowed"
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert response.status_code == 405


BROKEN = [
    b"",
    b"{",
    b"nonsense",
    b'{"name": "x"',
    b"\xff\xfe",
    b'{"name": "\\ud800"}',
    b"[" * 100_000,
    b'{"name": NaN}',
]


@pytest.mark.parametrize("data", BROKEN)
async def test_what_is_not_json(bench: Bench, data: bytes) -> None:
    alice = await bench.person("alice")
    response = await alice.post("/api/workspaces", data=data)
    assert response.status_code in (400, 422)
    assert (await problem(response))["code"] in ("invalid_json", "validation_failed")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("username", "is missing"), ("role", "is missing")]),
        ([], [("", "must be a JSON object")]),
        ("x", [("", "must be a JSON object")]),
        ({"username": 7, "role": "guest"}, [("username", "must be a string")]),
        ({"username": None, "role": "guest"}, [("username", "must be a string")]),
        ({"username": "x", "role": "king"}, [("role", "must be 'owner', 'maintainer', 'developer' or 'guest'")]),
        ({"username": "x", "role": ["guest"]}, [("role", "must be 'owner', 'maintainer', 'developer' or 'guest'")]),
    ],
)
async def test_wrong_shapes_are_explained(bench: Bench, body: object, errors: list[tuple[str, str]]) -> None:
    alice = await bench.person("alice")
    workspace = (await (await alice.get("/api/workspaces")).get_json())[0]
    response = await alice.post(f"/api/workspaces/{workspace['id']}/members", body)
    assert response.status_code == 422
    found = await problem(response)
    assert found["code"] == "validation_failed"
    assert found["errors"] == [{"field": field, "message": message} for field, message in errors]
    assert errors[0][1] in found["detail"]


async def test_unknown_members_are_ignored(bench: Bench) -> None:
    """A client that is newer than the server goes on working."""
    alice = await bench.person("alice")
    response = await alice.post("/api/workspaces", {"name": "x", "colour": "blue", "id": "mine"})
    assert response.status_code == 201
    assert (await response.get_json())["id"] != "mine"


async def test_a_refused_password_is_not_repeated(bench: Bench) -> None:
    body = {"username": "x", "password": ["hunter2hunter2"]}
    response = await bench.client().post("/api/auth/register", body)
    assert response.status_code == 422
    assert "hunter2" not in await response.get_data(as_text=True)


async def test_large_bodies(bench: Bench) -> None:
    alice = await bench.person("alice")
    response = await alice.post("/api/workspaces", data=b'{"name": "' + b"x" * (1024 * 1024) + b'"}')
    assert response.status_code == 413
    assert (await problem(response))["code"] == "body_too_large"
    chunked: Given = {"Transfer-Encoding": "chunked", "Content-Length": None}
    response = await alice.post("/api/workspaces", data=b" " * (1024 * 1024 + 1), headers=chunked)
    assert response.status_code == 413


async def test_a_bug_is_a_500_that_tells_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    async def boom() -> str:
        raise RuntimeError("the secret is 12345")

    bench.app.add_url_rule("/api/boom", view_func=boom)
    alice = await bench.person("alice")
    response = await alice.get("/api/boom")
    assert response.status_code == 500
    found = await problem(response)
    assert found["code"] == "internal_error"
    assert "12345" not in str(found)
    error_id = found["detail"].split()[-1].rstrip(".")
    assert error_id in capsys.readouterr().out


async def test_no_database_is_a_503_never_not_found_or_empty(make_bench: Callable[..., Bench]) -> None:
    """Lesson: database errors were shown as "not found" or as an empty list."""
    async with Database.open("host=/nonexistent dbname=nowhere") as away:
        client = make_bench(parts={"db": away}).client()
        client.cookies["cli_server_session"] = "x"
        for method, path in (
            ("GET", "/api/auth/me"),
            ("GET", "/api/workspaces"),
            ("GET", "/api/workspaces/abcdefghij012345"),
            ("DELETE", "/api/workspaces/abcdefghij012345"),
        ):
            response = await client.request(method, path)
            assert response.status_code == 503
            assert (await problem(response))["code"] == "database_unavailable"
            assert response.headers["retry-after"] == "2"
        response = await client.login("alice")
        assert response.status_code == 503


class _Sample(Body):
    name: Name
    role: Role
    size: int | None = None


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "role", "size", "x"]), inner),
    max_leaves=5,
)


@given(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_the_only_exception_is_problem(data: bytes) -> None:
    with contextlib.suppress(Problem):
        parse_body(_Sample, data)
