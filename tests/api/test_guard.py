"""The same-site and content-type checks, as tables and through the app; and who counts as signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.api.guard import check_content_type, check_same_site, is_api
from daemon.api.problems import Problem
from tests.api.support import ORIGIN, Given

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench

ALLOWED = frozenset({"http://localhost:8080", "http://127.0.0.1:8080"})
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "PROPFIND")


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    ("origins", "sites"),
    [
        ([], []),  # a program
        (["http://localhost:8080"], []),
        (["http://localhost:8080"], ["same-origin"]),
        (["http://127.0.0.1:8080"], ["same-origin"]),
        ([], ["none"]),
    ],
)
def test_own_pages_and_programs_pass(method: str, origins: list[str], sites: list[str]) -> None:
    check_same_site(method, origins, sites, ALLOWED)


FOREIGN = [
    (["null"], []),
    ([""], []),
    (["http://evil.example"], []),
    (["http://oc-abcdefghij012345.localhost:8080"], []),
    (["http://oc-abcdefghij012345.localhost:8080"], ["same-site"]),
    (["http://localhost"], []),
    (["https://localhost:8080"], []),
    (["http://localhost:8081"], []),
    (["http://localhost:8080.evil.example"], []),
    (["http://localhost:8080", "http://evil.example"], []),
    (["http://localhost:8080"], ["same-site"]),
    ([], ["same-site"]),
    ([], ["cross-site"]),
    ([], ["same-origin", "cross-site"]),
    ([], ["nonsense"]),
]


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(("origins", "sites"), FOREIGN)
def test_sandbox_hosts_are_same_site_and_are_refused(method: str, origins: list[str], sites: list[str]) -> None:
    """Lesson: sandbox hosts are same-site with the main host, so ``SameSite`` protects nothing."""
    with pytest.raises(Problem, match="403 foreign_origin"):
        check_same_site(method, origins, sites, ALLOWED)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(("origins", "sites"), FOREIGN)
def test_reading_is_left_to_the_browser(method: str, origins: list[str], sites: list[str]) -> None:
    check_same_site(method, origins, sites, ALLOWED)


@pytest.mark.parametrize(
    ("content_type", "has_body", "passes"),
    [
        (None, False, True),
        (None, True, False),
        ("application/json", True, True),
        ("application/json", False, True),
        ("Application/JSON ; charset=utf-8", True, True),
        ("text/plain", True, False),
        ("text/plain", False, False),
        ("text/plain; application/json", True, False),
        ("application/x-www-form-urlencoded", True, False),
        ("multipart/form-data; boundary=x", True, False),
        ("application/json-patch+json", True, False),
        ("", True, False),
    ],
)
def test_only_json_is_taken(content_type: str | None, has_body: bool, passes: bool) -> None:
    """Lesson: a page in a sandbox posted "add me as owner" as text/plain."""
    check_content_type("GET", content_type, has_body)
    if passes:
        check_content_type("POST", content_type, has_body)
    else:
        with pytest.raises(Problem, match="415 unsupported_media_type"):
            check_content_type("POST", content_type, has_body)


@pytest.mark.parametrize(
    ("path", "api"),
    [("/api", True), ("/api/", True), ("/api/x", True), ("/apis", False), ("/", False), ("/login", False)],
)
def test_what_belongs_to_the_api(path: str, api: bool) -> None:
    assert is_api(path) is api


# Through the app


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": None}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "http://127.0.0.1:9000", "Host": "127.0.0.1:9000"}, 201),  # the listener's own address
        ({"Origin": "https://127.0.0.1", "Host": "127.0.0.1:443", "X-Forwarded-Proto": "https"}, 201),
        ({"Origin": "http://LOCALHOST:8080"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://oc-abcdefghij012345.localhost:8080"}, 403),
        ({"Origin": [ORIGIN, "http://evil.example"]}, 403),
        ({"Origin": "http://localhost:3000"}, 403),  # somebody else's server on this machine
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": None}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": None}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_a_foreign_page_changes_nothing(bench: Bench, headers: Given, status: int) -> None:
    alice = await bench.person("alice")
    response = await alice.post("/api/workspaces", {"name": "x"}, headers=headers)
    assert response.status_code == status
    assert response.headers.get("access-control-allow-origin") is None
    workspaces = await (await alice.get("/api/workspaces")).get_json()
    assert len(workspaces) == (2 if status == 201 else 1)


async def test_a_form_without_fields_signs_nobody_out(bench: Bench) -> None:
    """A form post needs no permission from the browser, and has a content type even without a body."""
    alice = await bench.person("alice")
    form: Given = {"Content-Type": "application/x-www-form-urlencoded", "Origin": None}
    assert (await alice.post("/api/auth/logout", headers=form)).status_code == 415
    chunked: Given = {"Transfer-Encoding": "chunked"}
    assert (await alice.post("/api/auth/logout", headers=chunked)).status_code == 415
    assert (await alice.get("/api/auth/me")).status_code == 200


async def test_a_preflight_allows_nothing(bench: Bench) -> None:
    headers: Given = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    response = await bench.client().request("OPTIONS", "/api/workspaces", headers=headers)
    assert not [name for name, _ in response.headers if name.lower().startswith("access-control-")]


async def test_behind_https_the_cookies_cannot_be_tossed(make_bench: Callable[..., Bench]) -> None:
    """Lesson: ``__Host-`` cookies where the scheme is https, because a sibling host can set cookies for the parent."""
    bench = make_bench(base_scheme="https", base_domain="code.example.com", public_port=None)
    alice = bench.client()
    headers: Given = {"Host": "code.example.com", "Origin": "https://code.example.com"}
    body = {"username": "alice", "password": "a good long password"}
    response = await alice.post("/api/auth/register", body, headers=headers)
    assert response.status_code == 201
    for line in response.headers.getlist("Set-Cookie"):
        assert line.startswith("__Host-")
        assert "; Secure" in line
        assert "; HttpOnly" in line
        assert "; Path=/" in line
        assert "Domain" not in line
    assert (await alice.get("/api/auth/me", headers=headers)).status_code == 200
    plain: Given = {"Cookie": f"cli_server_session={alice.cookies['__Host-cli_server_session']}"}
    assert (await alice.get("/api/auth/me", headers=headers | plain)).status_code == 401


async def test_a_tossed_second_session_cookie_is_not_believed(bench: Bench) -> None:
    """Lesson: cookie tossing. Which of two cookies is ours cannot be told, so neither counts, in either order."""
    alice, mallory = await bench.person("alice"), await bench.person("mallory")
    name = "cli_server_session"
    for first, second in ((alice, mallory), (mallory, alice)):
        both: Given = {"Cookie": f"{name}={first.cookies[name]}; {name}={second.cookies[name]}"}
        assert (await alice.get("/api/auth/me", headers=both)).status_code == 401
        split: Given = {"Cookie": [f"{name}={first.cookies[name]}", f"{name}={second.cookies[name]}"]}
        assert (await alice.get("/api/auth/me", headers=split)).status_code == 401


@pytest.mark.parametrize("value", ["", "x", "\x7f", "é", "' OR 1=1", "A" * 5000])
async def test_other_cookies_are_nobody(bench: Bench, value: str) -> None:
    response = await bench.client().get("/api/auth/me", headers={"Cookie": f"cli_server_session={value}"})
    assert response.status_code == 401


async def test_every_route_needs_a_session_but_for_those_that_cannot(bench: Bench) -> None:
    """Secure by default: a new route without a session must be added here."""
    public = set()
    for rule in bench.app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        path = rule.rule.replace("<workspace_id>", "abcdefghij012345").replace("<sandbox_id>", "abcdefghij012345")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            response = await bench.client().request(method, path)
            if response.status_code != 401:
                public.add((method, rule.rule))
    assert public == {
        ("POST", "/api/auth/register"),
        ("POST", "/api/auth/login"),
        ("GET", "/api/auth/registration"),
        ("GET", "/api/auth/oidc/providers"),
        ("GET", "/api/auth/oidc/<provider>/login"),
        ("POST", "/api/auth/oidc/<provider>/start"),
        ("GET", "/api/auth/oidc/<provider>/callback"),
        ("GET", "/api/auth/oidc/<provider>/logout"),
        ("POST", "/api/invitations/look"),
        ("POST", "/api/agent/register"),
        ("GET", "/api/openapi.json"),
    } & {(method, rule.rule) for rule in bench.app.url_map.iter_rules() for method in rule.methods or ()}
