"""Where a sign-in leads afterwards: to a page of this site, however it is written."""

from __future__ import annotations

from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.signin.places import safe_next, with_query

SITE = "https://agents.example.com"

KEPT = [
    "/",
    "/w/abc/members",
    "/w/abc/usage?days=30#table",
    "/sandboxes/s1/ports",
    "/account/sign-in",
    "/api/sandboxes/s1/open?next=http%3A%2F%2F8000-s1.localhost%2F",
    "/registered",  # begins like a sign-in page, and is none
    "/apis",
    "/w/abc?x=//evil.example",
    "/w/%C3%A9t%C3%A9",
]
REFUSED = [
    None,
    "",
    "w/abc",
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "/\r\\evil.example/",
    " //evil.example/",
    "\t//evil.example/",
    "/.//evil.example/",
    "/w/..//evil.example/",
    "/%2e%2e//evil.example/",
    "/%2e%2e/%2fevil.example/",
    "/%2f/evil.example/",
    "/%2fevil.example/",
    "/%5cevil.example/",
    "/%5c%5cevil.example/",
    "/%09/evil.example",
    "/x%0d%0aSet-Cookie:a=b",
    "/x\r\nSet-Cookie: a=b",
    "javascript:alert(1)",
    "/\\javascript:alert(1)",
    "//localhost@evil.example/",
    "/@evil.example/../..//x",
    "//[",
    "/login",
    "/login?next=//evil.example",
    "/%6cogin",
    "/w/../login#again",
    "/register/",
    "/agent/cli-server-agent.pyz",
    "/api/events",
    "/api/auth/oidc/oidc/login",
    "/api/auth/oidc/oidc/logout",
    "/%61pi/auth/oidc/oidc/logout",
    "/api/sandboxes/s1/logs?follow=true",
    "/api/sandboxes/s1/open/../logs",
    "/proxy/anthropic/v1/models",
    "/w/é",
    "/w/\u202e",
    "/w/\x00",
    "/" + "a" * 2048,
]


@pytest.mark.parametrize("place", KEPT)
def test_pages_of_ours_are_kept(place: str) -> None:
    assert safe_next(place) == place


@pytest.mark.parametrize("place", REFUSED)
def test_everything_else_leads_to_the_first_page(place: str | None) -> None:
    assert safe_next(place) == "/"


@given(st.text(alphabet="/\\.%25cf@:#?a\t\n ", max_size=12) | st.text(max_size=40))
def test_no_text_leads_to_another_host(text: str) -> None:
    there = urlsplit(urljoin(SITE + "/login", safe_next(text)))
    assert f"{there.scheme}://{there.netloc}" == SITE
    assert not there.path.startswith("//")


def test_more_parameters() -> None:
    assert with_query("/login", error="expired") == "/login?error=expired"
    made = with_query("https://id.example/end?a=b", client_id="x y")
    assert dict(parse_qsl(urlsplit(made).query)) == {"a": "b", "client_id": "x y"}
