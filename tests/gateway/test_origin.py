"""Where a request came from: only what trusted proxies say is believed."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.gateway.origin import Networks, client_origin, plain_address
from tests.gateway.harness import gateway

TRUSTED: Networks = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"), ip_network("fd00::/8"))
PROXY = "10.0.0.1"


def ask(peer: str, *headers: tuple[str, str], trusted: Networks = TRUSTED) -> tuple[str, str]:
    return client_origin([(name.encode(), value.encode("latin-1")) for name, value in headers], peer, trusted, "http")


FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"


@pytest.mark.parametrize(
    ("peer", "headers", "origin"),
    [
        ("1.2.3.4", [], ("1.2.3.4", "http")),
        ("1.2.3.4", [(FOR, "9.9.9.9"), (PROTO, "https")], ("1.2.3.4", "http")),
        (PROXY, [], (PROXY, "http")),
        (PROXY, [(FOR, "9.9.9.9")], ("9.9.9.9", "http")),
        (PROXY, [(PROTO, "https")], (PROXY, "https")),
        (PROXY, [(FOR, "9.9.9.9"), (PROTO, "https")], ("9.9.9.9", "https")),
        (PROXY, [(FOR, "6.6.6.6, 9.9.9.9")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "9.9.9.9, 10.0.0.2")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "6.6.6.6, 9.9.9.9, 10.0.0.2, 10.0.0.3")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "10.0.0.2")], ("10.0.0.2", "http")),
        (PROXY, [(FOR, "6.6.6.6"), (FOR, "9.9.9.9")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "9.9.9.9"), (FOR, "10.0.0.2")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, " 9.9.9.9 ,")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "2001:db8::1")], ("2001:db8::1", "http")),
        (PROXY, [(FOR, "2001:DB8:0::1")], ("2001:db8::1", "http")),
        (PROXY, [(FOR, "::ffff:9.9.9.9")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "9.9.9.9, ::ffff:10.0.0.2")], ("9.9.9.9", "http")),
        ("fd00::1", [(FOR, "9.9.9.9")], ("9.9.9.9", "http")),
        (PROXY, [(FOR, "")], (PROXY, "http")),
        (PROXY, [(FOR, "unknown")], (PROXY, "http")),
        (PROXY, [(FOR, "9.9.9.9, unknown")], (PROXY, "http")),
        (PROXY, [(FOR, "9.9.9.9, unknown, 10.0.0.2")], ("10.0.0.2", "http")),
        (PROXY, [(FOR, "9.9.9.9:1234")], (PROXY, "http")),
        (PROXY, [(FOR, "9.9.9")], (PROXY, "http")),
        (PROXY, [(FOR, "<script>")], (PROXY, "http")),
        (PROXY, [(FOR, "\xe9")], (PROXY, "http")),
        (PROXY, [(PROTO, "HTTPS")], (PROXY, "https")),
        (PROXY, [(PROTO, "https, http")], (PROXY, "http")),
        (PROXY, [(PROTO, "http"), (PROTO, "https")], (PROXY, "https")),
        (PROXY, [(PROTO, "javascript")], (PROXY, "http")),
        (PROXY, [(PROTO, "")], (PROXY, "http")),
        (PROXY, [("forwarded", "for=9.9.9.9")], (PROXY, "http")),
    ],
)
def test_origins(peer: str, headers: list[tuple[str, str]], origin: tuple[str, str]) -> None:
    assert ask(peer, *headers) == origin


def test_without_trusted_proxies_nothing_is_believed() -> None:
    assert ask(PROXY, (FOR, "9.9.9.9"), (PROTO, "https"), trusted=()) == (PROXY, "http")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("0:0::1", "::1"),
        ("nonsense", "nonsense"),
    ],
)
def test_plain_addresses(text: str, plain: str) -> None:
    assert plain_address(text) == plain


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_any_bytes_give_an_address_and_a_scheme(hops: bytes, scheme: bytes) -> None:
    headers = [(FOR.encode(), hops), (PROTO.encode(), scheme)]
    address, found = client_origin(headers, PROXY, TRUSTED, "http")
    assert plain_address(address) == address
    assert found in ("http", "https")


@given(st.ip_addresses(v=4).map(str))
def test_an_untrusted_client_cannot_choose_its_address(claimed: str) -> None:
    """What it wrote itself stands left of what the proxy wrote."""
    assert ask(PROXY, (FOR, f"{claimed}, 9.9.9.9"))[0] == "9.9.9.9"


@pytest.mark.parametrize(("trusted", "seen"), [((), ("127.0.0.1", "http")), (TRUSTED, ("9.9.9.9", "https"))])
async def test_the_site_is_told(trusted: Networks, seen: tuple[str, str]) -> None:
    async with gateway(origin=True, trusted=trusted) as gate:
        client = await gate.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\r\n")
        await client.response()
        (request,) = gate.site.requests
        assert (request.client_ip, request.client_scheme) == seen
        assert gate.origin.seen[0].all("x-forwarded-for") == []
