"""Guessing passwords is slow, and nobody is locked out by somebody else's guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from argon2 import PasswordHasher

from daemon.auth.passwords import Passwords
from daemon.auth.throttle import (
    FREE_BY_ADDRESS,
    FREE_BY_NAME,
    WAITING,
    Bucket,
    Crowded,
    Turns,
    block_seconds,
    buckets,
    network,
    new_device,
)
from daemon.secret import Keyring
from daemon.store import attempts
from daemon.store.attempts import Attempt, Blocked
from tests.api.support import SLOWER

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Response

    from daemon.db.database import Database
    from tests.api.support import Bench, Client

KEYRING = Keyring(bytes(32))
WRONG = "wrong password"

pytestmark = pytest.mark.usefixtures("long_blocks")


# Pure


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, 0),
        (4, 0),
        (5, 1),
        (6, 2),
        (7, 4),
        (14, 512),
        (15, 900),
        (16, 900),
        (10**9, 900),
    ],
)
def test_blocks_grow(failures: int, seconds: int) -> None:
    assert block_seconds(failures, 5) == seconds


@pytest.mark.parametrize(
    ("ip", "bucket"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_an_ipv6_client_has_a_whole_network(ip: str, bucket: str) -> None:
    assert network(ip) == bucket


def test_buckets() -> None:
    by_name, by_address = Bucket("name:192.0.2.1:alice", 5), Bucket("address:192.0.2.1", 100)
    assert buckets(KEYRING, "192.0.2.1", "Alice", None) == [by_name, by_address]
    assert buckets(KEYRING, "192.0.2.1", "no name", None) == [Bucket("name:192.0.2.1:", 5), by_address]
    device = new_device(KEYRING, "Alice")
    nonce = device.partition(".")[0]
    assert buckets(KEYRING, "192.0.2.1", "ALICE", device) == [Bucket(f"device:{nonce}:alice", 5)]
    for forged in (
        new_device(Keyring(b"x" * 32), "alice"),
        new_device(KEYRING, "bob"),
        device[:-1],
        "x" + device,
        nonce,
        nonce + ".",
        ".",
        "",
        "é.é",
    ):
        assert buckets(KEYRING, "192.0.2.1", "alice", forged) == [by_name, by_address]


# The counts


async def pass_time(db: Database, seconds: float) -> None:
    """Move what is counted into the past."""

    def op(conn: object) -> None:
        conn.execute(  # type: ignore[attr-defined]
            "UPDATE login_failures SET updated_at = updated_at - make_interval(secs => %s),"
            " blocked_until = blocked_until - make_interval(secs => %s)",
            (seconds, seconds),
        )

    await db.run(op)


async def test_a_block_ends_grows_and_is_forgotten(db: Database) -> None:
    bucket = [Bucket("x", 2)]
    for blocked in (0, SLOWER, 2 * SLOWER, 4 * SLOWER, 8 * SLOWER):
        assert isinstance(await db.run(attempts.begin, bucket), Attempt)
        if blocked:
            state = await db.run(attempts.begin, bucket)
            assert isinstance(state, Blocked)
            assert blocked - 60 < state.seconds <= blocked
            await pass_time(db, blocked)
    await pass_time(db, 3601)
    assert isinstance(await db.run(attempts.begin, bucket), Attempt)
    assert isinstance(await db.run(attempts.begin, bucket), Attempt)
    assert isinstance(await db.run(attempts.begin, bucket), Blocked)


async def test_an_attempt_is_counted_in_all_buckets_or_none(db: Database) -> None:
    tight, wide = Bucket("tight", 1), Bucket("wide", 100)
    assert isinstance(await db.run(attempts.begin, [wide, tight]), Attempt)
    assert isinstance(await db.run(attempts.begin, [tight, wide]), Blocked)
    assert await _failures(db) == {"tight": 1, "wide": 1}


async def test_a_success_takes_back_its_own_count_only(db: Database) -> None:
    """Or whoever has an account could guess at others' from the same address, signing in now and then."""
    own, shared = Bucket("own", 5), Bucket("shared", 3)
    for _ in range(2):
        await db.run(attempts.begin, [Bucket("other", 5), shared])
    attempt = await db.run(attempts.begin, [own, shared])
    assert isinstance(attempt, Attempt)
    assert isinstance(await db.run(attempts.begin, [shared]), Blocked)
    await db.run(attempts.take_back, attempt, own)
    assert await _failures(db) == {"other": 2, "shared": 2}
    assert isinstance(await db.run(attempts.begin, [shared]), Attempt)
    assert isinstance(await db.run(attempts.begin, [shared]), Blocked)
    await db.run(attempts.take_back, attempt, own)
    assert isinstance(await db.run(attempts.begin, [shared]), Blocked), "somebody else's block stays"


async def _failures(db: Database) -> dict[str, int]:
    def op(conn: object) -> dict[str, int]:
        return dict(conn.execute("SELECT bucket, failures FROM login_failures"))  # type: ignore[attr-defined]

    return await db.run(op)


async def test_turns() -> None:
    turns, bucket, order = Turns(waiting=2), Bucket("x", 1), []
    inside = trio.Event()

    async def second() -> None:
        async with turns.turn(bucket):
            order.append(2)

    async with trio.open_nursery() as nursery:
        async with turns.turn(bucket):
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Crowded):
                async with turns.turn(bucket):
                    pass
            async with turns.turn(Bucket("y", 1)):
                order.append(1)
        inside.set()
    assert order == [1, 2]
    assert turns._locks == {}


# Through the app


async def guess(client: Client, username: str, times: int) -> list[int]:
    """The statuses of guesses, one after the other."""
    return [(await client.login(username, WRONG)).status_code for _ in range(times)]


def blocked_for(response: Response, seconds: int) -> bool:
    """Whether the answer tells of a block of so many seconds, of which some may be over."""
    return seconds - 60 < int(response.headers["retry-after"]) <= seconds


async def test_guessing_is_slowed_down(bench: Bench) -> None:
    """Lesson: no rate limits."""
    await bench.person("alice")
    mallory = bench.client("198.51.100.7")
    assert await guess(mallory, "alice", 7) == [401] * FREE_BY_NAME + [429] * 2
    assert bench.hasher.verifications == FREE_BY_NAME
    response = await mallory.login("Alice")  # the right password
    assert response.status_code == 429
    assert blocked_for(response, SLOWER)
    assert (await response.get_json(force=True))["code"] == "too_many_attempts"
    await pass_time(bench.db, SLOWER)
    assert await guess(mallory, "alice", 2) == [401, 429]
    response = await mallory.login("alice")
    assert blocked_for(response, 2 * SLOWER)


async def test_the_victim_is_not_locked_out(bench: Bench) -> None:
    """From another address, or in a browser that signed in before, even behind the attacker's own address."""
    alice = await bench.person("alice")
    mallory = bench.client("198.51.100.7")
    await guess(mallory, "alice", 10)
    assert (await bench.client("203.0.113.5").login("alice")).status_code == 200
    alice.ip = mallory.ip
    assert (await alice.login("alice")).status_code == 200
    assert (await mallory.login("alice")).status_code == 429
    assert (await mallory.login("bob", WRONG)).status_code == 401


async def test_a_known_device_has_its_own_limit(bench: Bench) -> None:
    """A stolen device cookie is worth five guesses, and then as slow as any."""
    alice = await bench.person("alice")
    assert await guess(alice, "alice", 6) == [401] * FREE_BY_NAME + [429]
    assert (await alice.login("alice")).status_code == 429
    assert (await bench.client(alice.ip).login("alice")).status_code == 200


async def test_one_address_may_not_try_all_names(bench: Bench) -> None:
    alice = await bench.person("alice")
    mallory = bench.client("2001:db8::1")
    await mallory.login("nobody0", WRONG)
    await bench.execute("UPDATE login_failures SET failures = %s WHERE bucket LIKE 'address:%%'", FREE_BY_ADDRESS - 1)
    assert (await mallory.login("nobody1", WRONG)).status_code == 401
    mallory.ip = "2001:db8::2"  # the same network
    assert (await mallory.login("nobody2", WRONG)).status_code == 429
    mallory.ip = "2001:db8:0:1::1"
    assert (await mallory.login("nobody3", WRONG)).status_code == 401
    alice.ip = "2001:db8::1"
    assert (await alice.login("alice")).status_code == 200


async def test_a_success_begins_anew(bench: Bench) -> None:
    await bench.person("alice")
    client = bench.client("203.0.113.5")
    for _ in range(3):
        assert await guess(client, "alice", FREE_BY_NAME - 1) == [401] * (FREE_BY_NAME - 1)
        assert (await client.login("alice")).status_code == 200
        client.cookies.clear()


async def test_unknown_users_are_throttled_alike(bench: Bench) -> None:
    assert await guess(bench.client(), "nobody", 6) == [401] * FREE_BY_NAME + [429]


async def burst(clients: list[Client], password: str) -> list[int]:
    """The statuses of attempts at the same time."""
    statuses = []

    async def one(client: Client) -> None:
        statuses.append((await client.login("alice", password)).status_code)

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(one, client)
    return sorted(statuses)


async def test_a_burst_of_guesses_does_not_get_through(make_bench: Callable[..., Bench]) -> None:
    """Each attempt counts before its password is looked at; over two replicas too."""
    replicas = [make_bench(), make_bench()]
    await replicas[0].person("alice")
    clients = [replicas[number % 2].client("198.51.100.7") for number in range(50)]
    assert await burst(clients, WRONG) == [401] * FREE_BY_NAME + [429] * (50 - FREE_BY_NAME)
    assert sum(replica.hasher.verifications for replica in replicas) == FREE_BY_NAME


async def test_registrations_do_not_take_all_places(make_bench: Callable[..., Bench]) -> None:
    """One client that registers many people at once has one place, and does not keep the others from signing in."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)  # some milliseconds, so that they meet
    bench = make_bench({"passwords": Passwords(hasher, places=1)})
    statuses: list[int] = []

    async def one(number: int) -> None:
        wanted = {"username": f"user{number}", "password": "a good long password"}
        statuses.append((await bench.client("198.51.100.7").post("/api/auth/register", wanted)).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(2 * WAITING):
            nursery.start_soon(one, number)
    assert set(statuses) <= {201, 429}
    assert statuses.count(201) >= WAITING


async def test_people_who_sign_in_twice_at_once_are_no_burst(bench: Bench) -> None:
    await bench.person("alice")
    clients = [bench.client("203.0.113.5") for _ in range(12)]
    assert await burst(clients, "a good long password") == [200] * 12
