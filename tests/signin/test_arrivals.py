"""Who somebody is that comes from a provider, whether they come in, and what is linked. Stand-ins say who comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.api.crew import NOWHERE
from tests.api.support import PASSWORD
from tests.signin.support import Way, fault_of, query_of
from tests.standins.github import GithubStandIn, Person
from tests.standins.small_site import Said

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench, Client
    from tests.standins.lying_issuer import LyingIssuer

ADA = {"sub": "a-1", "preferred_username": "ada", "email": "ada@example.com", "email_verified": True}


async def me(client: Client) -> dict[str, Any]:
    """Who is signed in."""
    response = await client.get("/api/auth/me")
    assert response.status_code == 200
    found: dict[str, Any] = await response.get_json()
    return found


async def identities(client: Client) -> list[dict[str, Any]]:
    """What is linked."""
    found: list[dict[str, Any]] = await (await client.get("/api/auth/identities")).get_json()
    return found


async def signed_in(bench: Bench, site: Any, provider: str = "oidc", login: str | None = None) -> Client:
    """A new browser in which somebody has come by a provider."""
    client = bench.client()
    assert fault_of(await Way(client, site, provider).go(login=login)) == ""
    return client


async def audit(bench: Bench, action: str) -> list[tuple[Any, ...]]:
    """Entries of the audit log: who, on whom, detail."""
    query = "SELECT actor_name, target_name, detail FROM audit WHERE action = %s ORDER BY id"
    return await bench.execute(query, action)


async def registered(bench: Bench, name: str, email: str | None = None) -> Client:
    """Somebody with a password, whose address nobody has verified."""
    client = bench.client()
    body = {"username": name, "password": PASSWORD, "email": email}
    assert (await client.post("/api/auth/register", body)).status_code == 201
    return client


async def test_the_first_sign_in_makes_an_account_and_the_second_finds_it(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    client = site.client()
    way = Way(client, issuer, "oidc")
    response = await way.go("/w/abc?x=1#y")
    assert (response.status_code, response.headers["Location"]) == (302, "/w/abc?x=1#y")
    first = await me(client)
    assert (first["username"], first["email"], first["isAdmin"]) == ("ada", "ada@example.com", True)
    assert [row["name"] for row in await (await client.get("/api/workspaces")).get_json()] == ["ada's workspace"]
    again = await signed_in(site, issuer)
    assert await me(again) == first
    ((_, target, detail),) = await audit(site, "identity.linked")
    assert (target, detail["provider"], detail["how"]) == ("ada", "oidc", "with the account")
    ((_, _, detail),) = await audit(site, "session.created")
    assert detail["provider"] == "oidc"


async def test_a_sign_in_is_a_new_session_and_ends_the_browsers_former_one(site: Bench, issuer: LyingIssuer) -> None:
    """Nobody can plant a session beforehand."""
    issuer.person = ADA
    client = await signed_in(site, issuer)
    before = client.cookies["cli_server_session"]
    assert fault_of(await Way(client, issuer, "oidc").go()) == ""
    assert client.cookies["cli_server_session"] != before
    stale = site.client()
    stale.cookies["cli_server_session"] = before
    assert (await stale.get("/api/auth/me")).status_code == 401


async def test_a_name_that_somebody_has_gets_a_number(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    """Lesson: a name collision answered 500 for ever."""
    site = make_site()
    await registered(site, "ADA")
    for number in (2, 3):
        issuer.person = {"sub": f"s{number}", "preferred_username": "ada"}
        assert (await me(await signed_in(site, issuer)))["username"] == f"ada-{number}"


async def test_what_the_provider_says_is_refreshed(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    await signed_in(site, issuer)
    issuer.person = ADA | {"preferred_username": "countess", "email": "countess@example.com"}
    client = await signed_in(site, issuer)
    assert ((await me(client))["username"], (await me(client))["email"]) == ("ada", "countess@example.com")
    (identity,) = await identities(client)
    assert (identity["username"], identity["email"]) == ("countess", "countess@example.com")
    assert (identity["provider"], identity["providerName"]) == ("oidc", "Acme")
    # An unverified one is shown beside the identity, and is not the account's.
    issuer.person = ADA | {"email": "eve@example.com", "email_verified": False}
    client = await signed_in(site, issuer)
    assert (await me(client))["email"] == "countess@example.com"


async def test_an_address_that_somebody_typed_stays(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    site = make_site()
    await registered(site, "first")
    client = await registered(site, "ada", "private@example.org")
    issuer.person = ADA
    assert fault_of(await Way(client, issuer, "oidc").link()) == ""
    assert (await me(client))["email"] == "private@example.org"


# Linking


async def test_linking_by_hand(make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn) -> None:
    site = make_site()
    await registered(site, "first")
    client = await registered(site, "ada")
    issuer.person = ADA
    github.add(Person(7, "ada-at-github"))
    assert (await Way(client, issuer, "oidc").link()).headers["Location"] == "/account/sign-in"
    assert fault_of(await Way(client, github, "github").link("ada-at-github")) == ""
    assert [row["provider"] for row in await identities(client)] == ["oidc", "github"]
    assert (await me(await signed_in(site, issuer)))["username"] == "ada"
    assert (await me(await signed_in(site, github, "github", "ada-at-github")))["username"] == "ada"
    # A second time changes nothing.
    assert fault_of(await Way(client, issuer, "oidc").link()) == ""
    assert len(await identities(client)) == 2
    assert [detail["how"] for _, _, detail in await audit(site, "identity.linked")] == ["by the user"] * 2


async def test_an_identity_is_linked_to_one_user(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    site = make_site()
    issuer.person = ADA
    await signed_in(site, issuer)
    eve = await registered(site, "eve")
    assert fault_of(await Way(eve, issuer, "oidc").link()) == "identity_taken"
    assert await identities(eve) == []
    assert (await me(eve))["username"] == "eve", "as before"
    ((who, _, detail),) = await audit(site, "identity.refused")
    assert (who, detail["reason"]) == ("eve", "the identity is somebody else's")


async def test_linking_takes_a_session(site: Bench, issuer: LyingIssuer) -> None:
    response = await site.client().post("/api/auth/oidc/oidc/start", {"link": True})
    assert response.status_code == 401
    evil = {"Origin": "http://oc-abcdefghij012345.localhost:8080"}
    client = await registered(site, "ada")
    response = await client.post("/api/auth/oidc/oidc/start", {"link": True}, headers=evil)
    assert response.status_code == 403, "a page of a sandbox cannot link its own identity to a visitor's account"


async def test_linking_ends_with_the_session_that_began_it(site: Bench, issuer: LyingIssuer) -> None:
    issuer.person = ADA
    client = await registered(site, "ada")
    way = Way(client, issuer, "oidc")
    callback = await way.there(await way.start(link=True))
    await client.post("/api/auth/logout")
    assert fault_of(await way.back(callback)) == "expired"
    # Somebody else signed in meanwhile: the identity is neither theirs nor the first one's.
    await client.login("ada")
    callback = await way.there(await way.start(link=True))
    kept = client.cookies.pop("cli_server_session")
    assert fault_of(await way.back(callback)) == "signed_out"
    client.cookies["cli_server_session"] = kept
    assert await identities(client) == []


async def test_linking_by_an_address_that_is_trusted(site: Bench, issuer: LyingIssuer, github: GithubStandIn) -> None:
    """The first user's, or one that a provider has verified."""
    first = await registered(site, "ada", "Ada@example.com")
    issuer.person = ADA
    assert (await me(await signed_in(site, issuer)))["id"] == (await me(first))["id"]
    github.add(Person(7, "ada-at-github", "ada@example.com"))
    assert (await me(await signed_in(site, github, "github", "ada-at-github")))["id"] == (await me(first))["id"]
    assert [row["provider"] for row in await identities(first)] == ["oidc", "github"]
    assert [detail["how"] for _, _, detail in await audit(site, "identity.linked")] == ["by e-mail address"] * 2


@pytest.mark.parametrize("verified", [False, None, "yes"])
async def test_an_address_that_the_provider_has_not_verified_links_nothing(
    site: Bench, issuer: LyingIssuer, verified: object
) -> None:
    """Lesson: sign-in by e-mail linking without ``email_verified`` = account takeover."""
    first = await registered(site, "ada", "ada@example.com")
    issuer.person = ADA | {"email_verified": verified}
    response = await Way(site.client(), issuer, "oidc").go("/w/abc")
    assert fault_of(response) == "email_taken"
    assert query_of(response.headers["Location"])["next"] == "/w/abc", "signed in by the password, one is there"
    assert await identities(first) == []
    assert [detail["reason"] for _, _, detail in await audit(site, "session.refused")] != []


async def test_an_address_that_nobody_has_verified_here_links_nothing(
    make_site: Callable[..., Bench], issuer: LyingIssuer
) -> None:
    """Eve registered with Ada's address, and waits for Ada to come by the company's provider ("pre-hijacking")."""
    site = make_site()
    await registered(site, "first")
    eve = await registered(site, "eve", "ada@example.com")
    issuer.person = ADA
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "email_taken"
    assert await identities(eve) == []
    # Whoever has it signs in and links; then it is known to be theirs.
    assert fault_of(await Way(eve, issuer, "oidc").link()) == ""
    assert await site.execute("SELECT email_trusted FROM users WHERE username = 'eve'") == [(True,)]


async def test_a_session_says_by_which_provider_it_came(site: Bench, issuer: LyingIssuer) -> None:
    """So that whoever signs out here hears that they may be signed in there."""
    client = await registered(site, "boss")
    issuer.person = ADA
    for browser, provider in ((client, None), (await signed_in(site, issuer), "oidc")):
        (session,) = await (await browser.get("/api/auth/sessions")).get_json()
        assert session["provider"] == provider


async def test_an_address_of_two_accounts_links_nothing(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    site = make_site()
    await registered(site, "ada", "ada@example.com")  # the first user's, which is trusted
    await registered(site, "eve", "ADA@example.com")
    issuer.person = ADA
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "email_taken"


async def test_unlinking(make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn) -> None:
    site = make_site()
    issuer.person = ADA
    client = await signed_in(site, issuer)
    (only,) = await identities(client)
    response = await client.delete(f"/api/auth/identities/{only['id']}")
    assert (response.status_code, (await response.get_json())["code"]) == (409, "last_sign_in")
    assert len(await identities(client)) == 1, "nothing was removed"
    github.add(Person(7, "ada"))
    await Way(client, github, "github").link("ada")
    eve = await registered(site, "eve")
    assert (await eve.delete(f"/api/auth/identities/{only['id']}")).status_code == 404, "not hers"
    assert (await eve.delete(f"/api/auth/identities/{NOWHERE}")).status_code == 404
    assert (await client.delete(f"/api/auth/identities/{only['id']}")).status_code == 204
    assert [row["provider"] for row in await identities(client)] == ["github"]
    ((who, _, detail),) = await audit(site, "identity.removed")
    assert (who, detail) == ("ada", {"provider": "oidc", "as": "ada"})


async def test_an_identity_of_a_provider_that_is_gone_is_no_way_to_sign_in(
    site: Bench, make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn
) -> None:
    issuer.person = ADA
    client = await signed_in(site, issuer)
    github.add(Person(7, "ada"))
    await Way(client, github, "github").link("ada")
    without = make_site(github_client_id=None)
    client.app = without.app
    oidc = next(row for row in await identities(client) if row["provider"] == "oidc")
    assert (await client.delete(f"/api/auth/identities/{oidc['id']}")).status_code == 409


async def test_another_issuer_has_other_people(
    make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn
) -> None:
    """An operator who changes the provider must not give the new one's number 1 the account of the old one's."""
    site = make_site()
    issuer.person = {"sub": "1", "preferred_username": "ada"}
    first = await me(await signed_in(site, issuer))
    moved = make_site(oidc_issuer_url=f"{issuer.url}/new")
    issuer.lies.metadata = {"issuer": f"{issuer.url}/new"}
    issuer.lies.claims = {"iss": f"{issuer.url}/new"}
    issuer.overrides["/new/.well-known/openid-configuration"] = Said.json(issuer.metadata())
    assert (await me(await signed_in(moved, issuer)))["id"] != first["id"]


# Who may come in


@pytest.mark.parametrize(
    ("person", "comes_in"),
    [
        ({}, True),
        ({"email": "ada@EXAMPLE.com"}, True),
        ({"email": "ada@other.example"}, False),
        ({"email_verified": False}, False),
        ({"email": None}, False),
    ],
)
async def test_allowed_domains(
    make_site: Callable[..., Bench], issuer: LyingIssuer, person: dict[str, Any], comes_in: bool
) -> None:
    site = make_site(oidc_allowed_domains=("example.com",))
    issuer.person = {name: value for name, value in (ADA | person).items() if value is not None}
    fault = fault_of(await Way(site.client(), issuer, "oidc").go())
    assert fault == ("" if comes_in else "domain_not_allowed")
    assert len(await site.execute("SELECT 1 FROM users")) == comes_in


async def test_who_leaves_the_domain_stays_out(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    site = make_site(oidc_allowed_domains=("example.com",))
    issuer.person = ADA
    client = await signed_in(site, issuer)
    issuer.person = ADA | {"email": "ada@other.example"}
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "domain_not_allowed"
    assert fault_of(await Way(client, issuer, "oidc").link()) == "domain_not_allowed", "nor may it be linked"


async def test_github_lets_nobody_in_by_itself(
    make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn
) -> None:
    """Everybody has an account there."""
    site = make_site(registration="first-user")
    github.add(Person(1, "ada"))
    github.add(Person(2, "eve"))
    first = await signed_in(site, github, "github", "ada")
    assert (await me(first))["isAdmin"]
    assert fault_of(await Way(site.client(), github, "github").go(login="eve")) == "registration_closed"
    assert fault_of(await Way(make_site(registration="closed").client(), github, "github").go(login="eve")) != ""
    opened = make_site(registration="open")
    assert not (await me(await signed_in(opened, github, "github", "eve")))["isAdmin"]
    # Who has an account comes in whatever is set later.
    await signed_in(site, github, "github", "eve")


async def test_organisations(make_site: Callable[..., Bench], github: GithubStandIn) -> None:
    site = make_site(registration="closed", github_allowed_orgs=("acme", "labs"))
    await site.execute("INSERT INTO users (id, username) VALUES ('aaaaaaaaaaaaaaaa', 'first')")
    ada = github.add(Person(1, "ada", organisations={"labs": "active"}))
    github.add(Person(2, "eve", organisations={"other": "active"}))
    github.add(Person(3, "bob", organisations={"acme": "pending"}))  # invited there, and has not accepted
    await signed_in(site, github, "github", "ada")
    for login in ("eve", "bob"):
        assert fault_of(await Way(site.client(), github, "github").go(login=login)) == "organisation_required"
    # Who came as a member has to be one.
    ada.organisations.clear()
    assert fault_of(await Way(site.client(), github, "github").go(login="ada")) == "organisation_required"
    ada.organisations["acme"] = "active"
    await signed_in(site, github, "github", "ada")
    github.closed.add("acme")  # the organisation does not let us look any more
    assert fault_of(await Way(site.client(), github, "github").go(login="ada")) == "organisation_required"


async def test_github_is_asked_for_no_more_than_is_of_use(
    make_site: Callable[..., Bench], github: GithubStandIn
) -> None:
    without = await Way(make_site().client(), github, "github").leave()
    assert query_of(without)["scope"] == "read:user user:email"
    orgs = await Way(make_site(github_allowed_orgs=("acme",)).client(), github, "github").leave()
    assert query_of(orgs)["scope"] == "read:user user:email read:org"


async def test_a_login_at_github_that_somebody_else_takes_over(
    make_site: Callable[..., Bench], github: GithubStandIn
) -> None:
    """People rename themselves there, and the name is free; the number is for ever."""
    site = make_site()
    person = github.add(Person(1, "ada"))
    first = await me(await signed_in(site, github, "github", "ada"))
    person.login = "countess"
    github.people["countess"] = person
    github.people["ada"] = Person(2, "ada")
    assert (await me(await signed_in(site, github, "github", "ada")))["id"] != first["id"]
    assert (await me(await signed_in(site, github, "github", "countess")))["id"] == first["id"]


async def test_who_is_disabled_stays_out(
    make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn
) -> None:
    site = make_site()
    await registered(site, "first")
    issuer.person = ADA
    await signed_in(site, issuer)
    await site.execute("UPDATE users SET disabled_at = now() WHERE username = 'ada'")
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "account_disabled"
    # Nor by a new identity with the same address.
    issuer.person = ADA | {"sub": "a-2"}
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "email_taken"
    github.add(Person(7, "ada", "ada@example.com"))
    assert fault_of(await Way(site.client(), github, "github").go(login="ada")) == "account_disabled"
    assert len(await site.execute("SELECT 1 FROM identities")) == 1


async def test_a_group_decides_who_is_an_admin(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    site = make_site(oidc_admin_group="admins")
    await registered(site, "first")
    for groups, admin in ((["admins"], True), ([], False), (["admins"], True), (None, False)):
        issuer.person = ADA | ({} if groups is None else {"groups": groups})
        assert (await me(await signed_in(site, issuer)))["isAdmin"] is admin
    assert len(await audit(site, "user.admin_revoked")) == 2
    ((who, whom, detail),) = await audit(site, "user.admin_granted")
    assert (who, whom, detail) == (None, "ada", {"by": "the provider's groups"})


async def test_the_last_admin_stays_one(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    site = make_site(oidc_admin_group="admins")
    issuer.person = ADA | {"groups": ["users"]}
    assert (await me(await signed_in(site, issuer)))["isAdmin"], "the very first user"
    assert (await me(await signed_in(site, issuer)))["isAdmin"], "or nobody could do anything"


async def test_somebody_comes_twice_at_the_same_time(site: Bench, issuer: LyingIssuer) -> None:
    """Two tabs, both for the first time: one account."""
    issuer.person = ADA
    await registered(site, "first")
    users: list[str] = []

    async def come() -> None:
        users.append((await me(await signed_in(site, issuer)))["id"])

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(come)
    assert len(set(users)) == 1


async def test_an_invitation_lets_somebody_come_by_github(
    make_site: Callable[..., Bench], github: GithubStandIn
) -> None:
    site = make_site(registration="first-user")
    owner = await registered(site, "owner")
    workspace = (await (await owner.get("/api/workspaces")).get_json())[0]
    made = await owner.post(f"/api/workspaces/{workspace['id']}/invitations", {"role": "developer"})
    secret = (await made.get_json())["url"].partition("#")[2]
    github.add(Person(2, "bob"))
    client = site.client()
    way = Way(client, github, "github")
    location = await way.start(invitation=secret, next="/w/x")
    assert secret not in location
    assert fault_of(await way.back(await way.there(location, "bob"))) == ""
    found = {row["name"]: row["role"] for row in await (await client.get("/api/workspaces")).get_json()}
    assert found == {"owner's workspace": "developer", "bob's workspace": "owner"}
    # It is used up: for the next one it is no invitation.
    response = await site.client().post("/api/auth/oidc/github/start", {"invitation": secret})
    assert response.status_code == 404
