"""Passwords: argon2id in worker threads, a few at a time, with a bounded queue."""

from __future__ import annotations

import base64
import os
import secrets
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each takes 64 MiB and some 50 ms of a core (RFC 9106, second recommended option: argon2-cffi's own choice). More at
# once than cores would only take memory.
WORKERS = min(4, os.cpu_count() or 1)
# Waiting or at work: two cores are through with so many in about two seconds, after which people reload anyway.
PLACES = 64


class Busy(Exception):
    """So many passwords are being checked that the next one had better come back later."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the password was right, and a new hash to store if the old one was made with other parameters."""

    right: bool
    new_hash: str | None = None


class Passwords:
    """Hashes and verifies. ``hasher`` and ``workers`` are parameters for tests."""

    def __init__(self, hasher: PasswordHasher | None = None, *, workers: int = WORKERS, places: int = PLACES) -> None:
        self._hasher = hasher or PasswordHasher()
        self._limiter = trio.CapacityLimiter(workers)
        self._places = places
        self._nobody = _hash_of_nothing(self._hasher)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue for one :meth:`hash` or :meth:`verify`; raises :class:`Busy` if there is none."""
        if not self._places:
            raise Busy
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    async def hash(self, password: str) -> str:
        """The hash to store, in PHC format."""
        return await trio.to_thread.run_sync(self._hasher.hash, _normal(password), limiter=self._limiter)

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Check a password. ``stored`` is ``None`` for who does not exist or has none: the same work."""
        return await trio.to_thread.run_sync(self._verify, stored, _normal(password), limiter=self._limiter)

    def _verify(self, stored: str | None, password: str) -> Verdict:
        try:
            self._hasher.verify(stored or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return Verdict(False)
        if stored is None:
            return Verdict(False)
        return Verdict(True, self._hasher.hash(password) if self._hasher.check_needs_rehash(stored) else None)


def _normal(password: str) -> str:
    """One form for what keyboards write in several, "ü" say (NIST SP 800-63B-3, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """Looks like a hash with the current parameters and costs as much to verify, but no password has it."""

    def text(size: int) -> str:
        return base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")

    parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${parameters}${text(hasher.salt_len)}${text(hasher.hash_len)}"
