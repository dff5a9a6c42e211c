"""A provider that lies, has a wrong clock, or answers with what nobody can read: nobody is signed in by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.signin import discovery
from daemon.signin.http import MOST_BYTES, Http
from daemon.signin.providers import make_providers
from tests.api.support import make_settings
from tests.signin.support import PAGE, Way, fault_of, query_of
from tests.standins.github import GithubStandIn, Person
from tests.standins.small_site import Said

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench
    from tests.standins.lying_issuer import LyingIssuer

ADA = {"sub": "a-1", "preferred_username": "ada", "email": "ada@example.com", "email_verified": True}

LIES: list[tuple[str, dict[str, Any], str]] = [
    ("another nonce", {"claims": {"nonce": "n" * 64}}, "bad_answer"),
    ("no nonce", {"claims": {"nonce": None}}, "bad_answer"),
    ("another audience", {"claims": {"aud": "another"}}, "bad_answer"),
    ("another issuer", {"claims": {"iss": "https://evil.example"}}, "bad_answer"),
    ("no subject", {"claims": {"sub": None}}, "bad_answer"),
    ("somebody else's userinfo", {"userinfo": {"sub": "b-2"}}, "bad_answer"),
    ("nobody's userinfo", {"userinfo": {"sub": None}}, "bad_answer"),
    ("no signature", {"algorithm": "none"}, "bad_answer"),
    ("the public key for a secret", {"algorithm": "HS256"}, "bad_answer"),
    ("another one's signature", {"foreign_key": True}, "bad_answer"),
    ("a clock that is fast", {"skew": 120.0}, "clock"),
    ("a clock that is slow", {"skew": -600.0}, "clock"),
    ("no ID token", {"token": {"access_token": "x", "token_type": "Bearer"}}, "bad_answer"),
    ("an ID token that is none", {"token": {"access_token": "x", "id_token": "x.y.z"}}, "bad_answer"),
    ("no access token", {"token": {"id_token": "x.y.z"}}, "bad_answer"),
    ("an error with status 200", {"token": {"error": "invalid_grant"}}, "provider_refused"),
]


@pytest.mark.parametrize(("lies", "fault"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
async def test_a_lie(site: Bench, issuer: LyingIssuer, lies: dict[str, Any], fault: str) -> None:
    issuer.person = ADA
    for name, value in lies.items():
        setattr(issuer.lies, name, value)
    client = site.client()
    assert fault_of(await Way(client, issuer, "oidc").go()) == fault
    assert (await client.get("/api/auth/me")).status_code == 401
    assert await site.execute("SELECT 1 FROM users") == []
    ((reason,),) = await site.execute("SELECT detail->>'reason' FROM audit WHERE action = 'session.refused'")
    assert reason.startswith("by a provider: ")


@pytest.mark.parametrize("skew", [-45.0, 45.0])
async def test_a_clock_that_is_nearly_right(site: Bench, issuer: LyingIssuer, skew: float) -> None:
    issuer.person, issuer.lies.skew = ADA, skew
    issuer.lies.claims = {}
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == ""


async def test_a_token_that_has_just_run_out(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    issuer.lies.skew = -345.0  # its five minutes are over, within the leeway
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == ""


async def test_a_provider_without_userinfo(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person, issuer.lies.no_userinfo = ADA, True
    issuer.id_token_person = set(ADA)
    client = site.client()
    assert fault_of(await Way(client, issuer, "oidc").go()) == ""
    assert (await (await client.get("/api/auth/me")).get_json())["email"] == "ada@example.com"


@pytest.mark.parametrize("how", ["no place", "down"])
async def test_a_provider_where_nobody_can_sign_out_from_here(site: Bench, issuer: LyingIssuer, how: str) -> None:
    if how == "down":
        issuer.overrides[DISCOVERY] = Said(500)
    else:
        issuer.lies.metadata = {"end_session_endpoint": None}
    response = await site.client().get("/api/auth/oidc/oidc/logout", headers=PAGE)
    assert (response.status_code, response.headers["Location"]) == (302, "/login?error=no_sign_out")


async def test_a_document_of_another_issuer(site: Bench, issuer: LyingIssuer) -> None:
    """Whole, and somebody else's: its ID tokens would be, too."""
    issuer.lies.metadata = {"issuer": "https://evil.example"}
    assert (await site.client().get("/api/auth/oidc/oidc/login")).status_code == 503


DISCOVERY = "/.well-known/openid-configuration"
BROKEN: list[tuple[str, Said]] = [
    ("an error", Said(500)),
    ("nothing there", Said(404)),
    ("a page", Said(200, b"<html>", {"Content-Type": "text/html"})),
    ("a redirect", Said.to("http://127.0.0.1:1/")),
    ("too much", Said(200, b" " * (MOST_BYTES + 1))),
    ("too deep", Said(200, b"[" * 100_000)),
    ("a list", Said.json([])),
    ("nothing", Said(200)),
    ("a bomb", Said(200, b"\x1f\x8b\x08", {"Content-Encoding": "gzip"})),
    ("too many", Said(429)),
    ("another issuer's", Said.json({"issuer": "https://evil.example"})),
]


@pytest.mark.parametrize("said", [said for _, said in BROKEN], ids=[name for name, _ in BROKEN])
async def test_discovery_that_cannot_be_used(site: Bench, issuer: LyingIssuer, said: Said) -> None:
    issuer.overrides[DISCOVERY] = said
    response = await site.client().get("/api/auth/oidc/oidc/login")
    assert response.status_code == 503
    assert (await response.get_json())["code"] == "provider_unavailable"
    assert response.headers["Retry-After"]
    response = await site.client().post("/api/auth/oidc/oidc/start", {})
    assert response.status_code == 503


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize("url", ["http://evil.example/x", "ftp://x", "javascript:alert(1)", "//evil.example", 7, ""])
async def test_endpoints_where_secrets_must_not_go(
    site: Bench, issuer: LyingIssuer, endpoint: str, url: object
) -> None:
    issuer.lies.metadata = {endpoint: url}
    assert (await site.client().get("/api/auth/oidc/oidc/login")).status_code == 503


@pytest.mark.parametrize("path", ["/token", "/jwks", "/userinfo"])
@pytest.mark.parametrize(
    "said", [said for _, said in BROKEN[:1] + BROKEN[2:5]], ids=["500", "page", "redirect", "large"]
)
async def test_a_provider_that_breaks_in_the_middle(
    site: Bench, issuer: LyingIssuer, path: str, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FAILURE_SECONDS", 0.0)
    issuer.person = ADA
    way = Way(site.client(), issuer, "oidc")
    callback = await way.there(await way.leave("/w/x"))
    issuer.overrides[path] = said
    response = await way.back(callback)
    assert response.status_code == 503
    assert "Set-Cookie" not in response.headers
    assert await site.execute("SELECT 1 FROM users") == []
    issuer.overrides.clear()
    assert fault_of(await way.back(callback)) == "expired", "the answer was used"
    assert fault_of(await way.back(await way.there(await way.leave()))) == ""


async def test_a_redirect_is_not_followed_with_the_secret(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    way = Way(site.client(), issuer, "oidc")
    callback = await way.there(await way.leave())
    issuer.overrides["/token"] = Said(307, headers={"Location": f"{issuer.url}/elsewhere"})
    assert (await way.back(callback)).status_code == 503
    assert issuer.count("/elsewhere") == 0


async def test_a_provider_that_says_nothing_is_not_waited_for(
    make_bench: Callable[..., Bench], issuer: LyingIssuer
) -> None:
    """It accepts, and is silent; the deadline is of all requests."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = make_settings(**_fields(issuer) | {"oidc_issuer_url": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        providers = make_providers(settings)
        providers["oidc"]._discovery = discovery.Discovery(settings.oidc_issuer_url or "", Http(0.05))  # type: ignore[attr-defined]
        bench = make_bench(parts={"providers": providers})
        assert (await bench.client().get("/api/auth/oidc/oidc/login")).status_code == 503


def _fields(issuer: LyingIssuer) -> dict[str, Any]:
    return {name.lower(): value for name, value in issuer.settings().items()}


async def test_documents_are_kept(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    for _ in range(3):
        assert fault_of(await Way(site.client(), issuer, "oidc").go()) == ""
    assert (issuer.count(DISCOVERY), issuer.count("/jwks")) == (1, 1)


async def test_a_change_of_keys_is_seen_at_once_and_not_at_anybodys_will(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    for _ in range(discovery.MOST_FETCHES):
        assert fault_of(await Way(site.client(), issuer, "oidc").go()) == ""
        issuer.rotate()
    before = issuer.count("/jwks")
    assert before == discovery.MOST_FETCHES
    for _ in range(3):
        assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "bad_answer"
        issuer.rotate()
    assert issuer.count("/jwks") == before


async def test_a_failure_is_told_to_those_who_wait_behind_it(
    site: Bench, issuer: LyingIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FAILURE_SECONDS", 60.0)  # three questions may take more than a second
    issuer.overrides[DISCOVERY] = Said(500)
    for _ in range(3):
        assert (await site.client().get("/api/auth/oidc/oidc/login")).status_code == 503
    assert issuer.count(DISCOVERY) == 1


async def test_github_that_says_something_else(site: Bench, github: GithubStandIn) -> None:
    github.add(Person(7, "ada", "ada@example.com"))
    for path, said, status in (
        ("/api/v3/user", Said.json({"id": "7", "login": "ada"}), 302),
        ("/api/v3/user", Said.json({"login": "ada"}), 302),
        ("/api/v3/user", Said.json([]), 302),
        ("/api/v3/user", Said.json({"message": "rate limit"}, 403), 503),
        ("/api/v3/user/emails", Said.json({"message": "Not Found"}, 404), 302),
        ("/login/oauth/access_token", Said.json({"error": "incorrect_client_credentials"}), 302),
        ("/login/oauth/access_token", Said.json({"error": "x y<script>"}), 302),
    ):
        github.overrides = {path: said}
        response = await Way(site.client(), github, "github").go(login="ada")
        assert response.status_code == status
        if status == 302:
            assert fault_of(response) in ("bad_answer", "provider_refused")
    assert await site.execute("SELECT 1 FROM users") == []
    reasons = str(await site.execute("SELECT detail FROM audit"))
    assert "script" not in reasons


async def test_who_goes_to_github_is_shown_no_page_of_ours(site: Bench, github: GithubStandIn) -> None:
    """Nothing is asked of GitHub on the way there, so that one that is away shows itself."""
    github.stop()
    response = await site.client().get("/api/auth/oidc/github/login", headers=dict(PAGE))
    assert response.status_code == 302
    assert set(query_of(response.headers["Location"])) == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method",
    }  # fmt: skip
    github.start()
