"""A certificate authority for tests."""

from __future__ import annotations

import ssl
from functools import cache

import trustme


@cache
def authority() -> trustme.CA:
    """Issues the servers' certificates."""
    return trustme.CA()


def trusting() -> ssl.SSLContext:
    """A client's context that trusts it."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def serving(*names: str) -> ssl.SSLContext:
    """The context of a server with these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*names).configure_cert(context)
    return context
