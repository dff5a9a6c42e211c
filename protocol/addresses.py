"""What is an IP address and not a name."""

from __future__ import annotations

from ipaddress import ip_address


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address, without brackets and port."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
