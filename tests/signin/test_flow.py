"""The whole way with a real daemon and a real provider, and with the stand-in for GitHub."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.signin.provider import OidcProvider, oidc_provider, pass_through
from tests.signin.support import PAGE, path_of, query_of
from tests.standins.github import GithubStandIn, Person
from tests.support.product import Product, free_port
from tests.support.rows import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.visitor import Answer, Visitor

PATIENCE = 60.0  # seconds until a start, which takes some, is taken to have failed

pytestmark = pytest.mark.needs("postgres", "oidc-provider")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, OidcProvider, GithubStandIn]]:
    """A server that was started while neither provider answered, and both of them. Its first user is boss."""
    folder = tmp_path_factory.mktemp("signin")
    port, github = free_port(), GithubStandIn()
    with oidc_provider(folder / "provider", f"http://localhost:{port}") as provider:
        provider.stop()
        settings = {**provider.settings(), **github.settings(), "REGISTRATION": "open", "OPENCODE_BIN": "true"}
        server = Product(folder, settings, port=port)
        server.start(ready=False)
        try:
            _wait(server)
            _down(server, "oidc", "Acme does not answer")
            server.visitor().register("boss")
            provider.start()
            _until_back(server)
            with github.running():
                yield server, provider, github
        finally:
            server.close()


def _wait(server: Product) -> None:
    """Ready, but for a backend that has no opencode here."""
    _until(lambda: server.readiness() in (200, 503), server)


def _until_back(server: Product) -> None:
    """The provider is asked again a second after it did not answer."""
    path = "/api/auth/oidc/oidc/login"
    _until(lambda: server.visitor().request("GET", "localhost", path).status == 302, server)


def _until(condition: Callable[[], bool], server: Product) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.05)


def _down(server: Product, provider: str, words: str) -> None:
    """The provider's page says that it does not answer, and programs get a problem; everything else works."""
    visitor = server.visitor()
    for headers, kind in ((PAGE, "text/html"), ({"Accept": "application/json"}, "application/problem+json")):
        answer = visitor.request("GET", "localhost", f"/api/auth/oidc/{provider}/login?next=/w/x", headers=headers)
        assert (answer.status, answer.header("content-type").partition(";")[0]) == (503, kind)
        assert answer.header("retry-after")
        assert words.encode() in answer.body
    found = visitor.api("GET", "/api/auth/oidc/providers")
    assert found == {"providers": [{"id": "oidc", "name": "Acme"}, {"id": "github", "name": "GitHub"}]}
    assert server.visitor().request("GET", "localhost", "/healthz").status == 200


def leave(visitor: Visitor, provider: str = "oidc", place: str = "/") -> str:
    """To the provider: the address there."""
    target = f"/api/auth/oidc/{provider}/login?next={quote(place, safe='')}"
    answer = visitor.request("GET", "localhost", target, headers=PAGE)
    assert answer.status == 302, answer.body
    return answer.header("location")


def back(visitor: Visitor, callback: str) -> Answer:
    """Back from there."""
    return visitor.request("GET", "localhost", path_of(callback), headers={**PAGE, "Sec-Fetch-Site": "cross-site"})


def come(visitor: Visitor, login: str, place: str = "/") -> Answer:
    """All the way by OIDC."""
    return back(visitor, pass_through(leave(visitor, place=place), login))


def fault(answer: Answer) -> str:
    """The code of the page that a browser was sent to."""
    assert answer.status == 302
    assert not any(name == "set-cookie" and "session=" in value for name, value in answer.headers)
    location = answer.header("location")
    assert urlsplit(location).path == "/login"
    return query_of(location)["error"]


def person(provider: OidcProvider, name: str, **claims: Any) -> str:
    """Somebody new at the provider, with a verified address."""
    provider.people[name] = {
        "preferred_username": name, "email": f"{name}@example.com", "email_verified": True, **claims,
    }  # fmt: skip
    provider.write()
    return name


def test_first_and_second_sign_in(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    visitor = server.visitor()
    answer = come(visitor, person(provider, "ada"), "/w/abc?x=1")
    assert (answer.status, answer.header("location")) == (302, "/w/abc?x=1")
    assert answer.header("referrer-policy") == "no-referrer"
    me = visitor.api("GET", "/api/auth/me")
    assert (me["username"], me["email"], me["isAdmin"]) == ("ada", "ada@example.com", False)
    again = server.visitor()
    come(again, "ada")
    assert again.api("GET", "/api/auth/me") == me


def test_what_is_sent_to_the_provider(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, _, _ = world
    one, other = (query_of(leave(server.visitor())) for _ in range(2))
    assert (one["response_type"], one["code_challenge_method"], one["scope"]) == (
        "code",
        "S256",
        "openid profile email",
    )
    assert one["redirect_uri"] == f"http://localhost:{server.port}/api/auth/oidc/oidc/callback"
    for name in ("state", "nonce", "code_challenge"):
        assert len(one[name]) >= 43
        assert one[name] != other[name]


def test_linking_and_signing_in_with_either(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, github = world
    visitor = server.visitor()
    visitor.register("grace")
    person(provider, "grace-at-acme")
    github.add(Person(9, "grace-at-github", "grace@example.org"))
    start = {"link": True, "next": "/account/sign-in"}
    there = visitor.api("POST", "/api/auth/oidc/oidc/start", start)["location"]
    assert back(visitor, pass_through(there, "grace-at-acme")).header("location") == "/account/sign-in"
    there = visitor.api("POST", "/api/auth/oidc/github/start", start)["location"]
    assert back(visitor, at_github(there, "grace-at-github")).header("location") == "/account/sign-in"
    assert [each["provider"] for each in visitor.api("GET", "/api/auth/identities")] == ["oidc", "github"]
    for way in ("oidc", "github"):
        other = server.visitor()
        there = leave(other, way)
        callback = pass_through(there, "grace-at-acme") if way == "oidc" else at_github(there, "grace-at-github")
        assert back(other, callback).header("location") == "/"
        assert other.api("GET", "/api/auth/me")["username"] == "grace"


def at_github(location: str, login: str) -> str:
    """Continue as ``login`` on GitHub's page."""
    answer = httpx.post(location, data=query_of(location) | {"yes": login}, trust_env=False)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def test_an_address_that_somebody_else_typed_links_nothing(
    world: tuple[Product, OidcProvider, GithubStandIn],
) -> None:
    server, provider, _ = world
    eve = server.visitor()
    body = {"username": "eve", "password": "correct horse battery staple", "email": "mary@example.com"}
    eve.api("POST", "/api/auth/register", body)
    assert fault(come(server.visitor(), person(provider, "mary"), "/w/x")) == "email_taken"
    assert eve.api("GET", "/api/auth/identities") == []


def test_a_state_is_good_once_and_a_code_too(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    visitor = server.visitor()
    callback = pass_through(leave(visitor), person(provider, "joan"))
    assert back(visitor, callback).header("location") == "/"
    assert fault(back(visitor, callback)) == "expired"
    # Another browser gets nothing by it, either.
    assert fault(back(server.visitor(), callback)) == "expired"
    # The same code with a state of another sign-in: the provider has given its tokens, and PKCE is another's.
    query = query_of(leave(visitor)) | {"code": query_of(callback)["code"]}
    answer = back(
        visitor, f"/api/auth/oidc/oidc/callback?code={query['code']}&state={query['state']}&iss={provider.url}"
    )
    assert fault(answer) == "provider_refused"


def test_a_code_that_was_caught_on_its_way_is_of_no_use(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    """PKCE: it was made for another sign-in."""
    server, provider, _ = world
    callback = pass_through(leave(server.visitor()), person(provider, "hedy"))
    thief = server.visitor()
    state = query_of(leave(thief))["state"]
    code = query_of(callback)["code"]
    answer = back(thief, f"/api/auth/oidc/oidc/callback?code={code}&state={state}&iss={quote(provider.url)}")
    assert fault(answer) == "provider_refused"


def test_a_state_is_of_one_browser(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    """Else somebody could sign others in as themselves, and see what they do."""
    server, provider, _ = world
    victim = server.visitor()
    callback = pass_through(leave(server.visitor()), person(provider, "mallory"))
    assert fault(back(victim, callback)) == "other_browser"
    leave(victim)  # with a sign-in of their own under way
    callback = pass_through(leave(server.visitor()), "mallory")
    assert fault(back(victim, callback)) == "other_browser"


def test_a_state_is_of_one_provider(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    visitor = server.visitor()
    callback = pass_through(leave(visitor), person(provider, "rosa"))
    mixed = path_of(callback).replace("/oidc/oidc/", "/oidc/github/")
    assert fault(back(visitor, mixed)) == "expired"
    # The issuer that an answer names is looked at, too (RFC 9207).
    callback = pass_through(leave(visitor), "rosa")
    named = path_of(callback).replace(quote(provider.url, safe=""), quote("https://evil.example", safe=""))
    assert "evil.example" in named
    assert fault(back(visitor, named)) == "bad_answer"
    callback = pass_through(leave(visitor), "rosa")
    unnamed = path_of(callback).partition("&iss=")[0]
    assert fault(back(visitor, unnamed)) == "bad_answer", "this provider always names itself"


def test_a_state_runs_out(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    visitor = server.visitor()
    callback = pass_through(leave(visitor), person(provider, "lise"))
    with database(server) as conn:
        conn.execute("UPDATE sign_in_attempts SET expires_at = now()")
    assert fault(back(visitor, callback)) == "expired"


@pytest.mark.parametrize("query", ["", "?state=x&code=y", "?state=" + "A" * 43 + "&code=y", "?error=server_error"])
def test_a_callback_out_of_nowhere(world: tuple[Product, OidcProvider, GithubStandIn], query: str) -> None:
    server, _, _ = world
    assert fault(back(server.visitor(), f"/api/auth/oidc/oidc/callback{query}")) == "expired"


def test_who_says_no_at_the_provider(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    visitor = server.visitor()
    callback = pass_through(leave(visitor, place="/w/x"), person(provider, "nina"), deny=True)
    answer = back(visitor, callback)
    assert fault(answer) == "denied"
    assert query_of(answer.header("location"))["next"] == "/w/x"


def test_a_change_of_keys_is_followed_at_once(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    come(server.visitor(), person(provider, "vera"))
    provider.stop()
    provider.start()
    assert come(server.visitor(), "vera").header("location") == "/"


def test_a_provider_that_goes_away_in_the_middle_and_comes_back(
    world: tuple[Product, OidcProvider, GithubStandIn],
) -> None:
    server, provider, github = world
    visitor = server.visitor()
    callback = pass_through(leave(visitor, place="/w/x"), person(provider, "mina"))
    linker = server.visitor()
    come(linker, person(provider, "milo"))
    linking = linker.api("POST", "/api/auth/oidc/oidc/start", {"link": True, "next": "/account/sign-in"})
    link = pass_through(linking["location"], person(provider, "milo-elsewhere"))
    provider.stop()
    answer = back(visitor, callback)
    assert (answer.status, b"Acme does not answer" in answer.body) == (503, True)
    assert b"/api/auth/oidc/oidc/login?next=%2Fw%2Fx" in answer.body, "try again"
    answer = back(linker, link)
    assert (answer.status, b'href="/account/sign-in"' in answer.body) == (503, True)
    assert b"/oidc/login" not in answer.body, "it would not link, but make another account"
    # The other one is not concerned, nor is who is signed in.
    github.add(Person(5, "mina-at-github"))
    other = server.visitor()
    assert back(other, at_github(leave(other, "github"), "mina-at-github")).header("location") == "/"
    provider.start()
    _until_back(server)
    assert come(visitor, "mina").header("location") == "/"
    github.stop()
    try:
        answer = back(
            visitor, f"/api/auth/oidc/github/callback?code=x&state={query_of(leave(visitor, 'github'))['state']}"
        )
        assert (answer.status, b"GitHub does not answer" in answer.body) == (503, True)
    finally:
        github.start()
    assert server.readiness() != 0


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example", "/%2f/evil.example"])
def test_nobody_is_sent_to_another_site(world: tuple[Product, OidcProvider, GithubStandIn], place: str) -> None:
    server, provider, _ = world
    assert come(server.visitor(), person(provider, "olga"), place).header("location") == "/"


def test_signing_out_at_the_provider(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, provider, _ = world
    visitor = server.visitor()
    come(visitor, person(provider, "paula"))
    visitor.api("POST", "/api/auth/logout")
    answer = visitor.request("GET", "localhost", "/api/auth/oidc/oidc/logout", headers=PAGE)
    location = answer.header("location")
    assert (answer.status, location.partition("?")[0]) == (302, f"{provider.url}/session/end")
    assert query_of(location) == {
        "client_id": "cli-server",
        "post_logout_redirect_uri": f"http://localhost:{server.port}/login",
    }
    # The provider asks whether one means it, and knows the address to come back to.
    with httpx.Client(trust_env=False) as client:
        page = client.get(location)
        xsrf = re.search(r'name="xsrf" value="(\w+)"', page.text)
        assert xsrf, page.text
        left = client.post(f"{provider.url}/session/end/confirm", data={"xsrf": xsrf[1], "logout": "yes"})
    assert (left.status_code, left.headers["location"]) == (303, f"http://localhost:{server.port}/login")
    answer = visitor.request("GET", "localhost", "/api/auth/oidc/github/logout", headers=PAGE)
    assert (answer.status, answer.header("location")) == (302, "/login?error=no_sign_out")


def test_a_page_of_a_sandbox_begins_no_sign_in(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, _, _ = world
    image = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    answer = server.visitor().request("GET", "localhost", "/api/auth/oidc/oidc/login", headers=image)
    assert answer.status == 403


def test_another_address_of_ours_leads_to_the_one_that_the_provider_knows(
    world: tuple[Product, OidcProvider, GithubStandIn],
) -> None:
    """The listener's own: the cookie of the sign-in would stay there."""
    server, _, _ = world
    answer = server.visitor().request("GET", "127.0.0.1", "/api/auth/oidc/oidc/login?next=/w/x", headers=PAGE)
    assert answer.header("location") == f"http://localhost:{server.port}/api/auth/oidc/oidc/login?next=%2Fw%2Fx"


def test_an_unknown_provider_is_none(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, _, _ = world
    for route in ("login", "callback?state=x", "logout"):
        answer = server.visitor().request("GET", "localhost", f"/api/auth/oidc/google/{route}")
        assert (answer.status, answer.json()["code"]) == (404, "provider_not_found")


def test_one_address_begins_so_many_sign_ins(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    server, _, _ = world
    with database(server) as conn:
        conn.execute(
            "INSERT INTO sign_in_attempts SELECT decode(md5(n::text), 'hex'), 'oidc', '', '127.0.0.1', '/', NULL, NULL,"
            " now() + interval '1 minute' FROM generate_series(1, 100) AS n"
        )
        answer = server.visitor().request("GET", "localhost", "/api/auth/oidc/oidc/login")
        assert (answer.status, answer.json()["code"]) == (429, "too_many_attempts")
        assert 0 < int(answer.header("retry-after")) <= 60
        answer = server.visitor().request("GET", "localhost", "/api/auth/oidc/oidc/login", headers=PAGE)
        assert fault(answer) == "too_many_attempts"
        conn.execute("UPDATE sign_in_attempts SET expires_at = now()")
    leave(server.visitor())
    with database(server) as conn:
        assert conn.execute("SELECT count(*) FROM sign_in_attempts").fetchone() == (1,), "what has run out goes"


def test_nothing_secret_is_kept(world: tuple[Product, OidcProvider, GithubStandIn]) -> None:
    """Neither in the database nor in the log."""
    server, provider, _ = world
    visitor = server.visitor()
    location = leave(visitor)
    sent = query_of(location)
    cookie = visitor.cookies["localhost"]["cli_server_sign_in"]
    with database(server) as conn:
        rows = str(conn.execute("SELECT * FROM sign_in_attempts").fetchall())
    callback = query_of(pass_through(location, person(provider, "tilda")))
    back(visitor, f"/api/auth/oidc/oidc/callback?code={callback['code']}&state={sent['state']}&iss={provider.url}")
    for secret in (sent["state"], sent["nonce"], cookie, callback["code"], provider.secret):
        assert secret not in rows
        assert secret not in server.log
