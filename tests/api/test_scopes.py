"""Which scope an API token needs for each route: every route that there is, read from the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.api.openapi import is_public
from daemon.auth.scopes import Scope, in_order, needed

if TYPE_CHECKING:
    from tests.api.support import Bench

INVITATIONS = "/api/workspaces/<workspace_id>/invitations"
# What it makes outlives the token, or is another way in: for people only.
PEOPLE_ONLY = {("POST", INVITATIONS), ("POST", "/api/invitations/accept")}


def expected(method: str, route: str) -> Scope | None:
    """A new route that is no reading or changing of a workspace's things needs a line here, and a thought."""
    if (method, route) in PEOPLE_ONLY:
        return None
    if route.startswith("/api/auth/"):
        return Scope.READ if (method, route) == ("GET", "/api/auth/me") else None
    if route.startswith("/api/admin/"):
        return Scope.ADMIN
    if route == "/api/sandboxes/<sandbox_id>/open":
        return Scope.OPEN
    return Scope.READ if method == "GET" else Scope.WRITE


async def test_every_route(bench: Bench) -> None:
    found = set()
    for rule in bench.app.url_map.iter_rules():
        view = bench.app.view_functions[rule.endpoint]
        opens = rule.rule.endswith("/open")
        if not rule.rule.startswith("/api/") or (is_public(view) and not opens):
            continue
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found.add((method, rule.rule))
            assert needed(method, rule.rule) is expected(method, rule.rule), (method, rule.rule)
    assert len(found) > 40
    assert found >= PEOPLE_ONLY


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_what_nobody_thought_of_takes_no_token(method: str) -> None:
    for route in ("", "/", "/login", "/api", "/api/", "/api/new", "/api/new/<thing_id>", "/api/auth/new", "api/events",
                  "/api/agent/register", "/api/tunnel/x", "/api/authx", "/api/adminx"):  # fmt: skip
        assert needed(method, route) is None


def test_asking_about_a_route_is_as_reading_it() -> None:
    for method in ("HEAD", "OPTIONS"):
        assert needed(method, "/api/workspaces") is Scope.READ
        assert needed(method, "/api/auth/me") is Scope.READ
        assert needed(method, "/api/sandboxes/<sandbox_id>/open") is Scope.OPEN


def test_an_unknown_method_changes_something() -> None:
    assert needed("PROPFIND", "/api/workspaces") is Scope.WRITE


def test_the_order() -> None:
    assert in_order(frozenset(Scope)) == ["read", "write", "open", "admin"]
