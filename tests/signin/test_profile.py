"""What follows from what a provider says: names, addresses, who is an admin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.auth.rules import is_username
from daemon.signin.github import primary_email
from daemon.signin.oidc import AdminRule, make_profile
from daemon.signin.profile import Profile, allowed_domain, plain_email, plain_text, usernames

NOBODY = AdminRule("groups", None)


def profile(username: str | None = None, email: str | None = None, *, verified: bool = True) -> Profile:
    return Profile("oidc", "https://id.example", "1", username, email, email is not None and verified)


@pytest.mark.parametrize(
    ("username", "email", "first"),
    [
        ("ada", None, "ada"),
        ("Ada.Lovelace", None, "Ada.Lovelace"),
        ("ada lovelace", None, "ada-lovelace"),
        ("ada@example.com", None, "ada"),
        ("-ada-", None, "ada"),
        ("ада", "ada@example.com", "ada"),
        (None, "ada+x@example.com", "ada-x"),
        (None, None, "user"),
        ("../../etc", None, "etc"),
        ("<script>", None, "script"),
        ("a" * 60, None, "a" * 40),
    ],
)
def test_the_first_name_that_is_tried(username: str | None, email: str | None, first: str) -> None:
    assert next(iter(usernames(profile(username, email), "abcdefghij012345"))) == first


@given(st.text(max_size=80) | st.none(), st.text(max_size=80) | st.none())
def test_all_names_that_are_tried_can_be_names(username: str | None, email: str | None) -> None:
    found = list(usernames(profile(username, email), "abcdefghij012345"))
    assert all(map(is_username, found))
    assert len({name.lower() for name in found}) == len(found) > 100
    assert found[1].endswith("-2")


@pytest.mark.parametrize(
    ("email", "verified", "good"),
    [
        ("ada@example.com", True, True),
        ("ada@EXAMPLE.com", True, True),
        ("ada@example.com", False, False),
        ("ada@sub.example.com", True, False),
        ("ada@notexample.com", True, False),
        ("ada@example.com.evil.example", True, False),
        ("ada@evil.example@example.com", True, True),  # what stands behind the last one is the domain; not an address
        (None, True, False),
    ],
)
def test_domains(email: str | None, verified: bool, good: bool) -> None:
    assert allowed_domain(profile(email=email, verified=verified), ("example.com", "example.org")) is good
    assert allowed_domain(profile(email=email, verified=verified), ())


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("ada@example.com", True),
        ("ada@evil.example@example.com", False),
        ("ada", False),
        ("ada@example.com\n", False),
        ("a\u202e@example.com", False),
        (7, False),
        (None, False),
        (["ada@example.com"], False),
    ],
)
def test_what_is_taken_for_an_address(text: object, good: bool) -> None:
    assert plain_email(text) == (text if good else None)


def test_what_people_see_of_a_name_is_plain() -> None:
    assert plain_text("Ada\u202e\x1b[31m  ") == "Ada[31m"
    assert plain_text("x" * 1000) == "x" * 200
    assert plain_text("") is plain_text(7) is None


def test_userinfo_tells_more_and_newer_things_than_the_token() -> None:
    made = make_profile(
        "i", {"sub": "1", "preferred_username": "old"}, {"sub": "1", "preferred_username": "ada"}, NOBODY
    )
    assert (made.subject, made.username, made.email, made.is_admin) == ("1", "ada", None, None)
    assert make_profile("i", {"sub": "1", "nickname": "ada"}, {}, NOBODY).username == "ada"


@pytest.mark.parametrize(
    ("claims", "userinfo", "email", "verified"),
    [
        ({"email": "a@x.example", "email_verified": True}, {}, "a@x.example", True),
        ({"email": "a@x.example", "email_verified": "true"}, {}, "a@x.example", True),
        ({"email": "a@x.example", "email_verified": False}, {}, "a@x.example", False),
        ({"email": "a@x.example"}, {}, "a@x.example", False),
        ({"email": "a@x.example", "email_verified": 1}, {}, "a@x.example", False),
        ({"email": "a@x.example", "email_verified": "yes"}, {}, "a@x.example", False),
        # Never one document's word for the other's address.
        ({"email": "a@x.example", "email_verified": True}, {"email": "b@x.example"}, "b@x.example", False),
        ({"email_verified": True}, {"email": "b@x.example"}, "b@x.example", False),
        ({"email": "a@x.example"}, {"email_verified": True}, "a@x.example", False),
        ({"email": "no address", "email_verified": True}, {}, None, False),
    ],
)
def test_an_address_is_verified_where_it_is_said_beside_it(
    claims: dict[str, Any], userinfo: dict[str, Any], email: str | None, verified: bool
) -> None:
    """Lesson: sign-in by e-mail linking without ``email_verified``."""
    made = make_profile("i", {"sub": "1", **claims}, userinfo, NOBODY)
    assert (made.email, made.email_verified) == (email, verified)
    assert made.verified_email == (email if verified else None)


@pytest.mark.parametrize(
    ("groups", "admin"),
    [
        (["users", "admins"], True),
        ("admins", True),
        (["users"], False),
        (["Admins"], False),
        ("admins users", False),
        ({"admins": True}, False),
        (None, False),
        ([["admins"]], False),
    ],
)
def test_who_is_an_admin(groups: object, admin: bool) -> None:
    claims = {"sub": "1", "groups": groups}
    assert make_profile("i", claims, {}, AdminRule("groups", "admins")).is_admin is admin
    assert make_profile("i", claims, {}, AdminRule("roles", "admins")).is_admin is False
    assert make_profile("i", claims, {}, NOBODY).is_admin is None


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        ([{"email": "a@x.example", "primary": True, "verified": True}], ("a@x.example", True)),
        ([{"email": "a@x.example", "primary": True, "verified": False}], ("a@x.example", False)),
        ([{"email": "a@x.example", "primary": True}], ("a@x.example", False)),
        ([{"email": "a@x.example", "primary": False, "verified": True}], (None, False)),
        ([{"email": 7, "primary": True, "verified": True}], (None, False)),
        (["a@x.example"], (None, False)),
        ({"message": "Not Found"}, (None, False)),
        (None, (None, False)),
    ],
)
def test_the_address_that_github_calls_the_first(addresses: object, found: tuple[str | None, bool]) -> None:
    assert primary_email(addresses) == found
