"""Where a request came from: the peer's address, or what a trusted proxy in front of us says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.headers import Headers

Networks = tuple[IPv4Network | IPv6Network, ...]


def plain_address(text: str) -> str:
    """An address as text, IPv4 even where the socket says ``::ffff:a.b.c.d``, without a zone."""
    address = _parse(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return text if address is None else str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_within(text: str, networks: Networks) -> bool:
    """Whether an address is in one of the networks."""
    address = _parse(text)
    return address is not None and any(address in network for network in networks)


def _list(headers: Headers, name: bytes) -> Sequence[str]:
    joined = b",".join(value for key, value in headers if key == name).decode("latin-1")
    return [part.strip() for part in joined.split(",") if part.strip()]


def client_origin(
    headers: Headers, peer: str, trusted: Networks, default_scheme: str, *, never: Networks = ()
) -> tuple[str, str]:
    """Address and scheme of the client. A peer in ``never`` is not believed, even if it is within ``trusted``.

    ``X-Forwarded-For`` is read from its right end while the writer of each entry is trusted; what an untrusted client
    wrote itself is never reached.
    """
    if not trusted or not is_within(peer, trusted) or is_within(peer, never):
        return peer, default_scheme
    client = peer
    for hop in reversed(_list(headers, b"x-forwarded-for")):
        if _parse(hop) is None:
            break
        client = plain_address(hop)
        if not is_within(client, trusted):
            break
    schemes = _list(headers, b"x-forwarded-proto")
    scheme = schemes[-1].lower() if schemes else default_scheme
    return client, scheme if scheme in ("http", "https") else default_scheme
