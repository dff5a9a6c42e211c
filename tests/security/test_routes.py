"""Every route, for everybody: nobody, a non-member, each role, an admin, somebody disabled, and API tokens.

The table is in :mod:`tests.security.routes`, which was written from the contract.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.security.cast import MALFORMED, NOWHERE, PASSWORD, Cast
from tests.security.routes import ACTORS, ADMINISTER, PEOPLE, PUBLIC, ROLES, SCOPES, TABLE, UNDESCRIBED, Route
from tests.support.product import ROOT, product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.visitor import Answer

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(240)]

PROGRAM = ROOT / "tests/standins/hostile_opencode.py"
BOUND = [route for route in TABLE if route.bound]


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Everybody, on one daemon."""
    provider = {"GITHUB_CLIENT_ID": "client", "GITHUB_CLIENT_SECRET": "secret"}
    with product(tmp_path_factory.mktemp("routes"), OPENCODE_BIN=str(PROGRAM), REGISTRATION="open", **provider) as made:
        found = Cast(made)
        found.enter()
        found.furnish()
        yield found


def shape(path: str) -> str:
    """A path whatever its parameters are called."""
    return re.sub(r"\{\w+\}", "{}", path)


def test_the_table_is_whole(cast: Cast) -> None:
    """Every route of the OpenAPI document is in the table, and the other way round."""
    document = cast.people["anonymous"].api("GET", "/api/openapi.json")
    described = {(method.upper(), shape(path)) for path, item in document["paths"].items() for method in item}
    in_table = {(route.method, shape(route.path)) for route in TABLE}
    assert {pair for pair in in_table if pair[1] not in UNDESCRIBED} == described


@pytest.mark.parametrize("route", TABLE, ids=lambda route: route.name)
def test_who_gets_what(cast: Cast, route: Route) -> None:
    """Lesson: guests could delete, pause, and fully use sandboxes; maintainers could add owners."""
    got = {actor: cast.ask(route, actor) for actor in ACTORS}
    cast.expel()
    assert {actor: answer.status for actor, answer in got.items()} == {actor: route.expected(actor) for actor in ACTORS}
    for actor, answer in got.items():
        if answer.status >= 400 and not route.path.startswith("/proxy/"):
            assert answer.header("content-type") == "application/problem+json", actor
            problem = answer.json()
            assert problem["status"] == answer.status
            assert problem["code"]
            assert {"type", "title", "detail"} <= set(problem)


def comparable(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """All of an answer but its time."""
    return answer.status, [header for header in answer.headers if header[0] != "date"], answer.body


@pytest.mark.parametrize("route", BOUND, ids=lambda route: route.name)
def test_who_is_no_member_cannot_tell_what_exists(cast: Cast, route: Route) -> None:
    """Contract: a non-member gets the same 404 for a workspace or sandbox that exists and for one that does not."""
    name = "workspaceId" if "{workspaceId}" in route.path else "sandboxId"
    for actor in ("stranger", "admin"):
        there = comparable(cast.ask(route, actor))
        assert there[0] == 404
        for other in (NOWHERE, MALFORMED):
            assert comparable(cast.ask(route, actor, **{name: other})) == there
    assert cast.ask(route, "owner", **{name: NOWHERE}).status == 404


FOREIGN = (
    ({"Origin": "http://evil.example"}, 403, "foreign_origin"),
    ({"Origin": f"http://oc-{NOWHERE}.localhost"}, 403, "foreign_origin"),
    ({"Origin": "null"}, 403, "foreign_origin"),
    ({"Sec-Fetch-Site": "same-site"}, 403, "foreign_origin"),
    ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
)


@pytest.mark.parametrize("route", [route for route in TABLE if route.method != "GET"], ids=lambda route: route.name)
def test_no_page_of_another_site_changes_anything(cast: Cast, route: Route) -> None:
    """Contract: a body that is not JSON, or a cross-site Origin, is refused on every state-changing route."""
    who = "admin" if route.needed == ADMINISTER else "owner"
    visitor = cast.visitor(who)
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies["localhost"].items())
    for headers, status, code in FOREIGN:
        answer = cast.send(route, cast.ids, {"Cookie": cookie, **headers})
        assert (answer.status, answer.json()["code"]) == (status, code), headers
    assert cast.people[who].request("GET", "localhost", "/api/auth/me").status == 200, "nobody was signed out"


def test_whoever_is_a_member_may_leave(cast: Cast) -> None:
    """Contract: "anyone for themselves"."""
    for role in ROLES:
        name = cast.fresh_name()
        visitor = cast.made.visitor()
        visitor.register(name, PASSWORD)
        cast.ids[name] = visitor.api("GET", "/api/auth/me")["id"]
        cast.set_role(name, role)
        visitor.api("DELETE", f"{cast.path}/members/{cast.ids[name]}", expect=(204,))
        assert visitor.request("GET", "localhost", cast.path).status == 404


def test_a_session_or_a_token_of_somebody_else_is_none(cast: Cast) -> None:
    """Not even an admin ends them one by one; what is said is what is said of what does not exist."""
    stranger, admin = cast.people["stranger"], cast.people["admin"]
    theirs = {
        "sessions": stranger.api("GET", "/api/auth/sessions")[0]["id"],
        "tokens": stranger.api("POST", "/api/auth/tokens", {"name": "mine", "scopes": ["read"]})["id"],
    }
    for kind, found in theirs.items():
        for visitor in (admin, cast.people["owner"]):
            answers = [visitor.request("DELETE", "localhost", f"/api/auth/{kind}/{id_}") for id_ in (found, NOWHERE)]
            assert comparable(answers[0]) == comparable(answers[1])
            assert answers[0].status == 404
        assert found in [row["id"] for row in stranger.api("GET", f"/api/auth/{kind}")]


# API tokens


@pytest.fixture(scope="module")
def tokens(cast: Cast) -> dict[tuple[str, str], str]:
    """Tokens by user and scope."""
    return {
        (actor, scope): cast.people[actor].api("POST", "/api/auth/tokens", {"name": scope, "scopes": [scope]})["token"]
        for actor, scopes in (("owner", SCOPES), ("admin", SCOPES), ("guest", SCOPES[:-1]))
        for scope in scopes
        if (actor, scope) != ("owner", ADMINISTER)
    }


@pytest.mark.parametrize("route", [route for route in TABLE if route.needed != PUBLIC], ids=lambda route: route.name)
def test_what_a_token_is_good_for(cast: Cast, tokens: dict[tuple[str, str], str], route: Route) -> None:
    """One scope at a time: with the one that is needed it is as its user, with any other it is refused."""
    for (actor, scope), token in tokens.items():
        bearer = {"Authorization": f"Bearer {token}"}
        good = scope == route.needed
        values = cast.ids | (route.prepare(cast) if good else {})
        answer = cast.send(route, values, bearer)
        if good:
            assert answer.status == route.expected(actor), (actor, scope)
        else:
            code = "session_required" if route.needed == PEOPLE else "scope_missing"
            assert (answer.status, answer.json()["code"]) == (403, code), (actor, scope)


def test_what_is_no_token_is_nobody(cast: Cast, tokens: dict[tuple[str, str], str]) -> None:
    """A wrong one, a revoked one, one in a cookie's place, a session in a token's place."""
    owner = cast.owner
    made = owner.api("POST", "/api/auth/tokens", {"name": "short", "scopes": ["read"]})
    owner.api("DELETE", f"/api/auth/tokens/{made['id']}")
    ((name, session),) = [pair for pair in owner.cookies["localhost"].items() if pair[0].endswith("session")]
    good = tokens["owner", "read"]
    me = Route("GET", "/api/auth/me", {}, 401)  # type: ignore[arg-type]
    for headers in (
        {"Authorization": "Bearer clis_" + "A" * 43},
        {"Authorization": f"Bearer {made['token']}"},
        {"Authorization": f"Bearer {session}"},
        {"Authorization": f"Basic {good}"},
        {"Authorization": good},
        {"Cookie": f"{name}={good}"},
    ):
        assert cast.send(me, {}, headers).status == 401, headers
    assert cast.send(me, {}, {"Authorization": f"Bearer {good}"}).status == 200
    both = {"Authorization": f"Bearer {good}", "Cookie": f"{name}={session}"}
    assert cast.send(me, {}, both).status == 400
