"""How fast passwords may be guessed, without locking out the one whose password it is.

Attempts are counted in buckets (after OWASP's "device cookies"): a browser that signed in here before has a bucket of
its own for that user; everybody else shares one for their address and the user's name, and one for their address. So
an attacker's guesses block the attacker's own address, and nobody's account. Each attempt counts as failed before the
password is looked at, so that a burst of guesses does not pass at once; a success takes its count back.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import trio

from daemon.auth.rules import is_username

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.secret import Keyring

DEVICE_SECONDS = 365 * 24 * 3600  # longer than anybody's holidays; what it grants is a bucket, not access
FREE_BY_NAME = 5  # more slips than people make in a row; Devise's and GitLab's defaults are 10
# A whole office behind one address mistypes less often than that in an hour.
FREE_BY_ADDRESS = 100
# With the longest block an attacker has 4 guesses in an hour from each address.
LONGEST_BLOCK = 15 * 60  # seconds
FORGET_SECONDS = 3600  # after so long without an attempt a bucket is as new
# Attempts on one bucket wait for each other, so that people who sign in twice at the same time (a browser that
# restores its tabs) are not taken for guessing. More at once are.
WAITING = 16


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where attempts are counted together, and how many may fail before the first block."""

    key: str
    free: int


def block_seconds(failures: int, free: int) -> int:
    """How long a bucket is blocked after ``failures`` in a row: 1, 2, 4 … seconds from the ``free``-th on."""
    if failures < free:
        return 0
    # The exponent is bounded before the power is taken: failures may be any number.
    return min(LONGEST_BLOCK, 1 << min(failures - free, 10))


def network(ip: str) -> str:
    """The address that a client cannot change at will: all of IPv4, the first 64 bits of IPv6 (RFC 6177)."""
    try:
        address = ip_address(ip)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


def buckets(keyring: Keyring, ip: str, username: str, device: str | None) -> list[Bucket]:
    """The buckets of an attempt to sign in as ``username``; the first is this client's own for that name."""
    # Other names exist nowhere; they share a bucket, so that nobody fills the table with them.
    name = username.lower() if is_username(username) else ""
    nonce = _known_device(keyring, name, device)
    if nonce is not None:
        return [Bucket(f"device:{nonce}:{name}", FREE_BY_NAME)]
    origin = network(ip)
    return [Bucket(f"name:{origin}:{name}", FREE_BY_NAME), Bucket(f"address:{origin}", FREE_BY_ADDRESS)]


def new_device(keyring: Keyring, username: str) -> str:
    """The value of the device cookie for a browser in which ``username`` just signed in."""
    nonce = secrets.token_urlsafe(12)
    return f"{nonce}.{_signature(keyring, username.lower(), nonce)}"


def _known_device(keyring: Keyring, name: str, device: str | None) -> str | None:
    nonce, _, signature = (device or "").partition(".")
    good = hmac.compare_digest(signature.encode(), _signature(keyring, name, nonce).encode())
    return nonce if nonce and good else None


def _signature(keyring: Keyring, name: str, nonce: str) -> str:
    return keyring.sign("device", f"{nonce}:{name}")


class Crowded(Exception):
    """Too many attempts wait for their turn at one bucket."""


class Turns:
    """One attempt at a time for each bucket, within this process; across replicas the counts in the database hold."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._waiting = waiting
        self._locks: dict[str, tuple[trio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def turn(self, bucket: Bucket) -> AsyncIterator[None]:
        """Wait for the others at this bucket; raises :class:`Crowded` if they are too many."""
        lock, users = self._locks.setdefault(bucket.key, (trio.Lock(), []))
        if len(users) >= self._waiting:
            raise Crowded
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[bucket.key]
