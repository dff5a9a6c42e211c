"""Which parts of the internet are nobody's business of a sandbox: private, of the machine, of the cloud. Pure."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

# Special purpose by IANA's registry (RFC 6890) and not on the internet. 169.254.0.0/16 has most clouds' metadata.
_PRIVATE_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers', and some clouds' own services
            "127.0.0.0/8",
            "168.63.129.16/32",  # public by its number, and Azure's metadata: nodes' certificates are had there
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_PRIVATE_6: Final = tuple(
    map(
        IPv6Network,
        (
            "::/127",  # nowhere and this machine
            "::ffff:0:0/96",  # IPv4 in another dress
            "64:ff9b:1::/48",  # NAT64 within a network (RFC 8215)
            "100::/64",
            "2001::/32",  # Teredo and 6to4 lead to IPv4 addresses of the sender's choice
            "2002::/16",
            "fc00::/7",  # has fd00:ec2::254, a cloud's metadata
            "fe80::/10",
            "fec0::/10",  # what fc00::/7 was before; some networks have it still
            "ff00::/8",
        ),
    )
)
_NAT64: Final = IPv6Address("64:ff9b::")  # RFC 6052: the last 32 bits are an IPv4 address


def private_parts(everything: str) -> list[str]:
    """What of ``0.0.0.0/0`` or ``::/0`` is private, in order. What NAT64 makes of private IPv4 addresses, too."""
    if ip_network(everything).version == 4:
        return [str(network) for network in _PRIVATE_4]
    translated = [
        IPv6Network((int(_NAT64) + int(network.network_address), 96 + network.prefixlen)) for network in _PRIVATE_4
    ]
    return [str(network) for network in sorted((*_PRIVATE_6, *translated))]
