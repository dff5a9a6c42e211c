"""A cluster with many sandboxes: who looks at all of them lets others have their turns."""

from __future__ import annotations

import trio

from bench.sizing.cluster import take_in
from bench.sizing.size import Size

MANY = 1_000


async def test_the_inventory_of_many_sandboxes_stops_nobody() -> None:
    """With ten thousand it takes a twentieth of a second, every five seconds."""
    sight, _, _ = take_in(Size(sandboxes=MANY, running=100))
    turns = 0

    async def look() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        seen = await sight.all()
        nursery.cancel_scope.cancel()
    assert sum(one.running for one in seen.values()) == 100
    assert turns > MANY / 500
