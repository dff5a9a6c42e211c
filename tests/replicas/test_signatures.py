"""What replicas say to each other is believed from a replica, for this request, now; and from nobody else."""

from __future__ import annotations

import pytest

from daemon.secret import Keyring
from daemon.tunnel import hop
from daemon.tunnel.hop import LIFETIME_SECONDS, Voucher

KEYS = Keyring(b"k" * 32)
VOUCHER = Voucher("r" * 16, "s" * 16, "c" * 16)
NOW = 1_800_000_000.5


def test_a_voucher_is_good_for_its_request() -> None:
    value = hop.write(KEYS, VOUCHER, b"GET", b"/a?b=c", NOW)
    assert hop.read(KEYS, value, b"GET", b"/a?b=c", NOW) == VOUCHER
    for late in (-LIFETIME_SECONDS + 1, LIFETIME_SECONDS - 1):
        assert hop.read(KEYS, value, b"GET", b"/a?b=c", NOW + late) == VOUCHER


@pytest.mark.parametrize(
    ("keys", "method", "target", "late"),
    [
        (Keyring(b"x" * 32), b"GET", b"/a", 0),
        (KEYS, b"POST", b"/a", 0),
        (KEYS, b"GET", b"/b", 0),
        (KEYS, b"GET", b"/a", LIFETIME_SECONDS + 1),
        (KEYS, b"GET", b"/a", -LIFETIME_SECONDS - 2),
    ],
    ids=["another key", "another method", "another target", "too late", "too early"],
)
def test_and_for_no_other(keys: Keyring, method: bytes, target: bytes, late: float) -> None:
    value = hop.write(KEYS, VOUCHER, b"GET", b"/a", NOW)
    assert hop.read(keys, value, method, target, NOW + late) is None


def test_no_word_of_it_can_be_changed() -> None:
    value = hop.write(KEYS, VOUCHER, b"GET", b"/a", NOW)
    for place in range(len(value)):
        changed = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        assert hop.read(KEYS, changed, b"GET", b"/a", NOW) is None, place


@pytest.mark.parametrize(
    "value", [b"", b" ", b"pass", b"pass x y z", b"pass a b c d e f", b"\xff" * 50, b"hello 1 2 3 4"]
)
def test_what_is_none(value: bytes) -> None:
    assert hop.read(KEYS, value, b"GET", b"/a", NOW) is None
    assert hop.answer_hello(KEYS, value, "r", NOW) is None


def test_hello_is_answered_by_the_replica_that_is_meant() -> None:
    value = hop.write_hello(KEYS, "r", "number", NOW)
    answer = hop.answer_hello(KEYS, value, "r", NOW)
    assert answer is not None
    assert hop.is_answer(KEYS, answer, "r", "number")
    assert not hop.is_answer(KEYS, answer, "r", "another")
    assert not hop.is_answer(KEYS, answer, "another", "number")
    assert not hop.is_answer(Keyring(b"x" * 32), answer, "r", "number")
    assert hop.answer_hello(KEYS, value, "another", NOW) is None
    assert hop.answer_hello(KEYS, value, "r", NOW + LIFETIME_SECONDS + 1) is None
    assert hop.read(KEYS, value, b"GET", hop.HELLO_TARGET, NOW) is None, "a hello opens no tunnel"
