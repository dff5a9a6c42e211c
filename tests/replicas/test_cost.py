"""What a hop costs, as a ratio to the tunnel of the replica itself. The figures are printed; the bounds are wide."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.standins.content import content_hash
from tests.tunnel.browser import Browser
from tests.tunnel.harness import Joined, Team, agent_here

if TYPE_CHECKING:
    from tests.replicas.three import Three
    from tests.standins.http_local import HttpLocal

pytestmark = [pytest.mark.needs("postgres", "docker"), pytest.mark.timeout(120), pytest.mark.alone]
REQUESTS = 200
SIZE = 30_000_000


async def _small(browser: Browser) -> float:
    """Seconds for one request after the other."""
    began = time.monotonic()
    for _ in range(REQUESTS):
        assert (await browser.get("/bytes/100")).status == 200
    return time.monotonic() - began


async def _large(browser: Browser) -> float:
    began = time.monotonic()
    async with browser.call("GET", f"/bytes/{SIZE}") as call:
        await call.end()
        assert await call.head() == 200
        assert await call.drain() == content_hash(SIZE)
    return time.monotonic() - began


async def test_a_hop_costs_little(shared: Three, local: HttpLocal) -> None:
    joined = await shared.join()
    first = Joined(joined.sandbox_id, joined.token, f"http://127.0.0.1:{shared.replicas[0].port}")
    async with agent_here(shared, first, local.port):
        browser = await Team.browser(shared, joined.sandbox_id)
        own, other = (Browser(one.port, browser.host, browser.cookie) for one in shared.replicas[:2])
        small, large = [], []
        for _ in range(3):
            small.append((await _small(own), await _small(other)))
            large.append((await _large(own), await _large(other)))
        for name, pairs in (("small requests", small), ("a large body", large)):
            direct, through = (min(seconds) for seconds in zip(*pairs, strict=True))
            ratio = through / direct
            print(f"{name}: {direct:.3f} s by the own tunnel, {through:.3f} s over a hop: {ratio:.2f}")
            assert ratio < 4.0
