"""Which site a host is: a table. Whatever is not in it is nobody's (421)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.gateway.router import MainSite, SandboxSite, parse_host, route
from daemon.ids import new_id

ID = "abcdefgh01234567"
BASE = "example.org"
MAIN = MainSite()


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("x", ("x", None)),
        ("X", ("x", None)),
        ("x:80", ("x", 80)),
        ("x:0", ("x", 0)),
        ("x:65535", ("x", 65535)),
        ("x:00080", ("x", 80)),
        ("x.", ("x", None)),
        ("x.:80", ("x", 80)),
        ("OC-A.Example.ORG", ("oc-a.example.org", None)),
        ("a_b-c.d", ("a_b-c.d", None)),
        ("127.0.0.1", ("127.0.0.1", None)),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]", ("::1", None)),
        ("[::1]:8080", ("::1", 8080)),
        ("[FE80::1]", ("fe80::1", None)),
        ("[::ffff:1.2.3.4]", ("::ffff:1.2.3.4", None)),
        ("a" * 253, ("a" * 253, None)),
        ("", None),
        (" ", None),
        ("x ", None),
        (" x", None),
        ("x\n", None),
        ("x:80\n", None),
        ("x:", None),
        (":80", None),
        ("x:65536", None),
        ("x:99999", None),
        ("x:123456", None),
        ("x:-1", None),
        ("x:+80", None),
        ("x:8 0", None),
        ("x:\u0661", None),
        ("x:80:80", None),
        ("user@x", None),
        ("x/y", None),
        ("x?y", None),
        ("x#y", None),
        ("x,y", None),
        ("\xe9", None),
        ("[::1", None),
        ("::1]", None),
        ("::1", None),
        ("[]", None),
        ("[::1]x", None),
        ("[::1]:", None),
        ("[127.0.0.1]", None),
        ("[1]", None),
        ("[:]", None),
        ("[::1%25eth0]", None),
        ("[::1%eth0]", None),
        ("[g::1]", None),
        ("a" * 254, None),
        ("%78", None),
    ],
)
def test_hosts(value: str, parsed: tuple[str, int | None] | None) -> None:
    assert parse_host(value) == parsed


@pytest.mark.parametrize(
    ("host", "site"),
    [
        (BASE, MAIN),
        (f"oc-{ID}.{BASE}", SandboxSite(ID, None, f"oc-{ID}")),
        (f"1024-{ID}.{BASE}", SandboxSite(ID, 1024, f"1024-{ID}")),
        (f"3000-{ID}.{BASE}", SandboxSite(ID, 3000, f"3000-{ID}")),
        (f"65535-{ID}.{BASE}", SandboxSite(ID, 65535, f"65535-{ID}")),
        ("10.1.2.3", MAIN),
        # ports
        (f"1023-{ID}.{BASE}", None),
        (f"65536-{ID}.{BASE}", None),
        (f"99999-{ID}.{BASE}", None),
        (f"0-{ID}.{BASE}", None),
        (f"80-{ID}.{BASE}", None),
        (f"03000-{ID}.{BASE}", None),
        (f"+3000-{ID}.{BASE}", None),
        (f"-3000-{ID}.{BASE}", None),
        (f"300000-{ID}.{BASE}", None),
        (f"\u0663000-{ID}.{BASE}", None),
        (f"-{ID}.{BASE}", None),
        # labels
        (f"{ID}.{BASE}", None),
        (f"oc{ID}.{BASE}", None),
        (f"oc-{ID}x.{BASE}", None),
        (f"oc-{ID[:-1]}.{BASE}", None),
        (f"oc-{ID[:-1]}_.{BASE}", None),
        (f"oc-0{ID[1:]}.{BASE}", None),
        (f"oc--{ID}.{BASE}", None),
        (f"xoc-{ID}.{BASE}", None),
        (f"oc-{ID}..{BASE}", None),
        (f"x.oc-{ID}.{BASE}", None),
        (f"oc-{ID}.x.{BASE}", None),
        (f"oc-{ID}.oc-{ID}.{BASE}", None),
        (f"oc-{ID}\n.{BASE}", None),
        (f"www.{BASE}", None),
        (f".{BASE}", None),
        (f"x{BASE}", None),
        # other domains
        ("", None),
        ("org", None),
        ("evil.com", None),
        (f"oc-{ID}", None),
        (f"oc-{ID}.evil.com", None),
        (f"oc-{ID}.{BASE}.evil.com", None),
        (f"oc-{ID}.x{BASE}", None),
        (f"{BASE}.evil.com", None),
        (f"evil{BASE}", None),
        ("example0org", None),
        ("localhost", None),
        # addresses that are not the listener's
        ("127.0.0.1", None),
        ("10.1.2.4", None),
        ("169.254.169.254", None),
        ("0.0.0.0", None),
        ("::1", None),
        ("10.1.515", None),
        ("167838211", None),
        ("0x0a010203", None),
        ("010.001.002.003", None),
    ],
)
def test_routes(host: str, site: MainSite | SandboxSite | None) -> None:
    assert route(host, BASE, "10.1.2.3") == site


@pytest.mark.parametrize(
    ("host", "local", "found"),
    [
        ("::1", "::1", MAIN),
        ("0:0:0:0:0:0:0:1", "::1", MAIN),
        ("2001:db8::1", "2001:db8::1", MAIN),
        ("2001:db8::2", "2001:db8::1", None),
        ("127.0.0.1", "127.0.0.1", MAIN),
        ("127.0.0.2", "127.0.0.1", None),
    ],
)
def test_an_address_is_the_main_site_only_where_the_connection_arrived(
    host: str, local: str, found: MainSite | None
) -> None:
    assert route(host, BASE, local) == found


@pytest.mark.parametrize("base", ["localhost", "a.b.c.example", "xn--bcher-kva.example"])
def test_base_domains(base: str) -> None:
    assert route(base, base, "127.0.0.1") == MAIN
    assert route(f"oc-{ID}.{base}", base, "127.0.0.1") == SandboxSite(ID, None, f"oc-{ID}")
    assert route(f"oc-{ID}.{base}", "y" + base, "127.0.0.1") is None


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_not_and_nothing_else(value: str) -> None:
    parsed = parse_host(value)
    if parsed is not None:
        host, port = parsed
        assert host == host.lower()
        assert host.isascii()
        assert not set(host) & set(" \t\r\n@/\\?#[]%,")
        assert port is None or 0 <= port <= 65535
        route(host, BASE, "10.1.2.3")


@given(st.integers(0, 70_000))
def test_every_port(port: int) -> None:
    found = route(f"{port}-{ID}.{BASE}", BASE, "10.1.2.3")
    assert (found is not None) == (1024 <= port <= 65535)


def test_every_new_identifier_has_a_host() -> None:
    for _ in range(100):
        found = route(f"oc-{(identifier := new_id())}.{BASE}", BASE, "10.1.2.3")
        assert found == SandboxSite(identifier, None, f"oc-{identifier}")


@given(st.ip_addresses())
def test_foreign_addresses_are_nobodys(address: object) -> None:
    text = str(address)
    assert (route(text, BASE, "10.1.2.3") is None) == (ip_address(text) != ip_address("10.1.2.3"))
