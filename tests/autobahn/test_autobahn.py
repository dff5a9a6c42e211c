"""A subset of Autobahn's cases against the echo of the stand-in, and against what must not pass. All: make autobahn."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.autobahn.run import QUICK, fuzz
from tests.autobahn.through import through_the_tunnel
from tests.standins.http_local import HttpLocal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.needs("autobahn")


@asynccontextmanager
async def running() -> AsyncIterator[HttpLocal]:
    """The stand-in."""
    local = HttpLocal()
    async with trio.open_nursery() as nursery:
        await nursery.start(local.serve)
        yield local
        nursery.cancel_scope.cancel()


async def test_the_echo_of_the_stand_in_passes() -> None:
    async with running() as local:
        found = await fuzz(f"ws://127.0.0.1:{local.port}/ws", exclude=QUICK)
        assert len(found) > 200
        assert [str(outcome) for outcome in found if not outcome.good] == []


@pytest.mark.needs("opencode", "postgres")
def test_the_echo_passes_through_gateway_and_tunnel(tmp_path: Path) -> None:
    with through_the_tunnel(tmp_path) as echo:
        found = trio.run(partial(fuzz, echo.url, connect=echo.connect, headers=echo.headers, exclude=QUICK))
    assert len(found) > 200
    assert [str(outcome) for outcome in found if not outcome.good] == []


async def test_compression_is_not_offered_and_that_is_no_failure() -> None:
    async with running() as local:
        found = await fuzz(f"ws://127.0.0.1:{local.port}/ws", cases=["12.1.1", "13.7.1"])
        assert [(outcome.behavior, outcome.good) for outcome in found] == [("UNIMPLEMENTED", True)] * 2


async def test_headers_and_another_address() -> None:
    async with running() as local:
        [outcome] = await fuzz(
            "ws://oc-a.sandboxes.test:1234/ws",
            connect=f"127.0.0.1:{local.port}",
            headers={"Cookie": "a=b; c=d"},
            cases=["1.1.1"],
        )
        assert outcome.good
        assert local.visits[0].get("host") == "oc-a.sandboxes.test:1234"
        assert local.visits[0].get("cookie") == "a=b; c=d"


@pytest.mark.parametrize("target", ["/half/client", "/ws/bytes/1", "/ws/close/1000", "/ws/cut", "/status/403"])
async def test_what_is_no_echo_fails(target: str) -> None:
    async with running() as local:
        found = await fuzz(f"ws://127.0.0.1:{local.port}{target}", cases=["1.1.2", "1.2.8", "6.2.1"], patience=1.0)
        assert len(found) == 3
        assert not any(outcome.good for outcome in found)
