"""Ways into somebody else's account, or back into one's own, by what a provider says honestly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from daemon.signin.oidc import OidcProvider
from tests.api.support import PASSWORD
from tests.signin.support import Way, fault_of, query_of
from tests.signin.test_arrivals import ADA, audit, identities, me, registered, signed_in
from tests.standins.github import GithubStandIn, Person

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.signin.base import Visit
    from tests.api.support import Bench
    from tests.standins.lying_issuer import LyingIssuer


async def test_an_address_that_a_company_gives_to_somebody_new(site: Bench, issuer: LyingIssuer) -> None:
    """Ada left, and her namesake has her address now. To the provider the two are two, and so to us."""
    issuer.person = ADA
    ada = await signed_in(site, issuer)
    issuer.person = ADA | {"sub": "a-2"}
    client = site.client()
    assert fault_of(await Way(client, issuer, "oidc").go()) == "email_taken"
    assert (await client.get("/api/auth/me")).status_code == 401
    assert len(await identities(ada)) == 1


async def test_who_left_the_organisation_does_not_come_back_by_another_account(
    make_site: Callable[..., Bench], github: GithubStandIn
) -> None:
    site = make_site(registration="closed", github_allowed_orgs=("acme",))
    await site.execute("INSERT INTO users (id, username) VALUES ('aaaaaaaaaaaaaaaa', 'first')")
    eve = github.add(Person(1, "eve", "eve@example.com", organisations={"acme": "active"}))
    client = await signed_in(site, github, "github", "eve")
    private = github.add(Person(2, "eve-private"))
    assert fault_of(await Way(client, github, "github").link("eve-private")) == "organisation_required"
    private.organisations["acme"] = "active"
    assert fault_of(await Way(client, github, "github").link("eve-private")) == ""
    for person in (eve, private):
        person.organisations.clear()
    for login in ("eve", "eve-private"):
        assert fault_of(await Way(site.client(), github, "github").go(login=login)) == "organisation_required"
    # Nor by the address, which they give to a third account of theirs.
    github.add(Person(3, "eve-again", "eve@example.com"))
    assert fault_of(await Way(site.client(), github, "github").go(login="eve-again")) == "email_taken"
    assert len(await identities(client)) == 2


async def test_an_organisations_server_is_set_up_by_one_of_its_members(
    make_site: Callable[..., Bench], github: GithubStandIn
) -> None:
    """Not by whoever on GitHub finds it first, and would be its admin."""
    site = make_site(registration="closed", github_allowed_orgs=("acme",))
    github.add(Person(1, "stranger"))
    assert fault_of(await Way(site.client(), github, "github").go(login="stranger")) == "organisation_required"
    github.add(Person(2, "ada", organisations={"acme": "active"}))
    assert (await me(await signed_in(site, github, "github", "ada")))["isAdmin"]


async def test_a_stranger_does_not_learn_whose_addresses_are_here(
    make_site: Callable[..., Bench], github: GithubStandIn
) -> None:
    """By typing them at GitHub, one after the other, and verifying none."""
    site = make_site(registration="closed")
    await site.execute("INSERT INTO users (id, username, email) VALUES ('aaaaaaaaaaaaaaaa', 'ada', 'ada@example.com')")
    for address in ("ada@example.com", "nobody@example.com"):
        github.add(Person(1, "eve", address, verified=False))
        assert fault_of(await Way(site.client(), github, "github").go(login="eve")) == "registration_closed"
    # Who has verified it is told what to do.
    github.add(Person(1, "eve", "ada@example.com"))
    assert fault_of(await Way(site.client(), github, "github").go(login="eve")) == "email_taken"


async def test_callbacks_by_a_proxy_of_another_name(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    """The proxy says our own name to us: to be sent to its name again and again would have no end."""
    site = make_site(oidc_redirect_base_url="https://agents.example.com")
    location = await Way(site.client(), issuer, "oidc").leave("/w/x")
    assert location.startswith(f"{issuer.url}/authorize?")
    assert query_of(location)["redirect_uri"] == "https://agents.example.com/api/auth/oidc/oidc/callback"


@pytest.mark.parametrize("subject", [7, ["a"], {"a": 1}, True, "", "x" * 256, "a\0b", "a\nb"])
async def test_a_subject_that_is_none(site: Bench, issuer: LyingIssuer, subject: Any) -> None:
    issuer.lies.claims = {"sub": subject}
    issuer.lies.no_userinfo = True
    assert fault_of(await Way(site.client(), issuer, "oidc").go()) == "bad_answer"


@pytest.mark.parametrize("name", ["authorization_endpoint", "end_session_endpoint"])
@pytest.mark.parametrize("more", ["?x=\r\nSet-Cookie: a=b", "/\u00e4\u2192", "?x=\u2192", "\r\nX: y", "/a b"])
async def test_an_endpoint_that_no_header_can_hold(site: Bench, issuer: LyingIssuer, name: str, more: str) -> None:
    issuer.lies.metadata = {name: f"{issuer.url}/there{more}"}
    for path in ("login", "logout"):
        response = await site.client().get(f"/api/auth/oidc/oidc/{path}")
        assert response.status_code in (302, 503), path
        location = response.headers.get("Location", "")
        assert location.isascii()
        assert location.isprintable()


async def test_a_callback_out_of_nowhere_does_not_blind_the_log(site: Bench, issuer: LyingIssuer) -> None:
    """The log takes so many refusals in an hour: nobody may use them up by calling us."""
    client = site.client()
    for number in range(20):
        state = f"{number:043d}"
        assert fault_of(await client.get(f"/api/auth/oidc/oidc/callback?code=x&state={state}")) == "expired"
    assert len(await audit(site, "session.refused")) <= 1
    del issuer


async def test_a_race_for_the_first_place_has_one_winner(
    make_site: Callable[..., Bench], issuer: LyingIssuer, github: GithubStandIn
) -> None:
    """By passwords and both providers at once: one admin, and no stranger beside them."""
    site = make_site(registration="first-user")
    issuer.person = {"sub": "o-1", "preferred_username": "olga"}
    github.add(Person(1, "gil"))
    ways = {"oidc": Way(site.client(), issuer, "oidc"), "github": Way(site.client(), github, "github")}
    callbacks = {name: await way.there(await way.leave(), "gil") for name, way in ways.items()}

    async def register(name: str) -> None:
        await site.client().post("/api/auth/register", {"username": name, "password": PASSWORD})

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(register, f"pat{number}")
        for name, way in ways.items():
            nursery.start_soon(way.back, callbacks[name])
    found = await site.execute("SELECT username, is_admin FROM users ORDER BY created_at")
    assert sum(is_admin for _, is_admin in found) == 1
    # Whom the company's provider knows has an account in any case; of the others only the first.
    assert len([name for name, _ in found if name != "olga"]) <= 1


async def test_a_session_that_ends_while_linking_begins(
    site: Bench, issuer: LyingIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.person = ADA
    client = await signed_in(site, issuer)
    real = OidcProvider.authorization_url

    async def meanwhile(provider: OidcProvider, visit: Visit) -> str:
        await site.execute("DELETE FROM sessions")
        return await real(provider, visit)

    monkeypatch.setattr(OidcProvider, "authorization_url", meanwhile)
    response = await client.post("/api/auth/oidc/oidc/start", {"link": True})
    assert response.status_code == 401


async def test_two_letters_that_are_one_in_lower_case(make_site: Callable[..., Bench], issuer: LyingIssuer) -> None:
    """The Kelvin sign is no k: a mail server may hold them apart."""
    site = make_site()
    await registered(site, "mike", "mike@example.com")
    issuer.person = ADA | {"email": "mi\u212ae@example.com"}
    client = site.client()
    fault = fault_of(await Way(client, issuer, "oidc").go())
    assert fault or (await me(client))["username"] != "mike"
