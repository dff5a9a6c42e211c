"""What replicas say to each other in one header: who asks for which tunnel, and that it is one of them. Pure.

A request that is passed on carries a *voucher*: it names the replica that is meant, the sandbox and the connection, and
is good for this method and target and for half a minute. On a new connection the asking replica first says *hello* with
a number of its own, and the other one proves that it has the key, too: addresses are given to somebody else when a
replica is gone, and what people send must not arrive there.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from daemon.secret import Keyring

# On requests and answers between replicas. Nobody else's header of this name is passed on, in either direction.
HEADER: Final = b"cli-server-hop"
# For clocks that differ; the way itself takes milliseconds.
LIFETIME_SECONDS: Final = 30.0
HELLO_TARGET: Final = b"/hello"
# What a replica says for itself. What an agent answers has no header of this name.
HELD: Final = b"held"  # it took the head, and the body may come
NOT_HERE: Final = b"not-here"  # it does not hold this connection (any more); nothing was sent to the machine
BROKE: Final = b"broke"  # the machine broke off before it answered; a sentence follows
REFUSED: Final = b"refused"  # the tunnel cannot take it; status, code and a sentence follow


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who is meant: this replica, and this connection of this sandbox's agent."""

    replica_id: str
    sandbox_id: str
    connection_id: str


def _mac(keyring: Keyring, *words: str) -> str:
    return keyring.sign("hop", "\n".join(words))


def write(keyring: Keyring, voucher: Voucher, method: bytes, target: bytes, now: float) -> bytes:
    """The header's value for a request."""
    words = ("pass", str(int(now)), voucher.replica_id, voucher.sandbox_id, voucher.connection_id)
    return " ".join((*words, _mac(keyring, *words, method.decode("latin-1"), target.decode("latin-1")))).encode()


def read(keyring: Keyring, value: bytes, method: bytes, target: bytes, now: float) -> Voucher | None:
    """What a request may do; ``None`` for whatever no replica has written just now for it."""
    *words, mac = value.decode("latin-1").split(" ")
    if len(words) != 5 or words[0] != "pass":
        return None
    good = _mac(keyring, *words, method.decode("latin-1"), target.decode("latin-1"))
    if not _same(mac, good) or not _fresh(words[1], now):
        return None
    return Voucher(*words[2:])


def write_hello(keyring: Keyring, replica_id: str, number: str, now: float) -> bytes:
    """The first words on a connection to this replica; ``number`` is random and used once."""
    words = ("hello", str(int(now)), replica_id, number)
    return " ".join((*words, _mac(keyring, *words))).encode()


def answer_hello(keyring: Keyring, value: bytes, replica_id: str, now: float) -> bytes | None:
    """What this replica says to it; ``None`` if it was not meant, or no replica asks."""
    *words, mac = value.decode("latin-1").split(" ")
    if len(words) != 4 or words[0] != "hello" or not _same(mac, _mac(keyring, *words)):
        return None
    if words[2] != replica_id or not _fresh(words[1], now):
        return None
    return _mac(keyring, "here", replica_id, words[3]).encode()


def is_answer(keyring: Keyring, value: bytes, replica_id: str, number: str) -> bool:
    """Whether it is this replica that answers, and this hello."""
    return _same(value.decode("latin-1"), _mac(keyring, "here", replica_id, number))


def _same(given: str, good: str) -> bool:
    return hmac.compare_digest(given.encode(), good.encode())


def _fresh(at: str, now: float) -> bool:
    """Of words whose authenticator is good: they were written by one of us."""
    return abs(now - int(at)) <= LIFETIME_SECONDS
