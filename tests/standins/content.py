"""Bodies of any size whose every byte is known, without ever being held as a whole."""

from __future__ import annotations

import hashlib
import random
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# After so many bytes the content begins anew. It is prime, so that pieces of no usual size ever look alike: one that is
# lost, doubled or in another's place changes the hash.
_PERIOD: Final = 4_194_301
PIECE: Final = 1 << 18  # bytes; large enough that handling a piece costs little beside copying it


@cache
def _block(seed: int) -> bytes:
    once = random.Random(seed).randbytes(_PERIOD)
    return once + once[:PIECE]


def pieces(size: int, *, seed: int = 0, most: int = PIECE) -> Iterator[memoryview]:
    """The content of ``size`` bytes, in pieces of ``most`` bytes (at most ``PIECE``) and a rest. Nothing is copied."""
    whole = memoryview(_block(seed))
    for at in range(0, size, most):
        start = at % _PERIOD
        yield whole[start : start + min(most, size - at)]


def content(size: int, *, seed: int = 0) -> bytes:
    """The same as one string, for small sizes."""
    return b"".join(pieces(size, seed=seed))


@cache
def content_hash(size: int, *, seed: int = 0) -> str:
    """Its SHA-256, in hex."""
    found = hashlib.sha256()
    for piece in pieces(size, seed=seed):
        found.update(piece)
    return found.hexdigest()
