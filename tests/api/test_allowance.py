"""One user cannot fill the audit log, and hinders nobody else in trying."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from daemon.auth.allowance import BURST, MOST, PER_SECOND, Allowance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.support import Bench


class Clock:
    """A time that stands still unless it is moved."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_burst_and_then_so_many_a_second() -> None:
    clock = Clock()
    changes = Allowance(now=clock)
    assert [changes.take("ada") for _ in range(BURST)] == [0.0] * BURST
    assert 0 < changes.take("ada") <= 1 / PER_SECOND
    assert changes.take("bob") == 0.0, "everybody has their own"
    clock.time += 1 / PER_SECOND
    assert changes.take("ada") == 0.0
    assert changes.take("ada") > 0, "what was refused was not counted, and what was waited for is used up"
    clock.time += BURST / PER_SECOND
    assert [changes.take("ada") for _ in range(BURST)] == [0.0] * BURST
    assert changes.take("ada") > 0


def test_quiet_users_are_forgotten_and_busy_ones_are_not() -> None:
    clock = Clock()
    changes = Allowance(burst=1, per_second=1.0, now=clock)
    for number in range(MOST - 1):
        changes.take(f"user{number}")
    clock.time += 5
    assert changes.take("ada") == 0.0
    assert changes.take("bob") == 0.0
    assert changes.take("ada") > 0
    assert len(changes._until) == 2


async def test_more_is_refused_with_the_time_to_wait(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench({"changes": Allowance(burst=2, per_second=0.001)})
    ada, bob = await bench.person("ada"), await bench.person("bob")
    for name in ("one", "two"):
        assert (await ada.post("/api/workspaces", {"name": name})).status_code == 201
    refused = await ada.post("/api/workspaces", {"name": "three"})
    assert refused.status_code == 429
    assert 900 < int(refused.headers["retry-after"]) <= 1000
    assert (await refused.get_json(force=True))["code"] == "too_many_changes"
    assert [one["name"] for one in await (await ada.get("/api/workspaces")).get_json()][1:] == ["one", "two"]
    assert (await bob.post("/api/workspaces", {"name": "his"})).status_code == 201
    assert (await ada.post("/api/auth/logout")).status_code == 204, "leaving is always possible"


async def test_it_counts_by_the_real_clock() -> None:
    changes = Allowance(burst=1, per_second=1000.0)
    assert changes.take("ada") == 0.0
    seconds = changes.take("ada")
    await trio.sleep(seconds + 0.002)
    assert changes.take("ada") == 0.0
