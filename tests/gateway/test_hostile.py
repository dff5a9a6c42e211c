"""Every row of the table of hostile input ends as it says, nothing is smuggled, and the gateway still serves."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.gateway.harness import gateway
from tests.gateway.hostile import CASES, Case
from tests.gateway.strict import statuses

if TYPE_CHECKING:
    from tests.gateway.peer import Peer


def test_there_are_enough_rows() -> None:
    """The issue asks for 200; names are unique, or a row would hide another."""
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


async def send_what_is_wanted(client: Peer, case: Case) -> None:
    """The gateway may have closed before it got everything."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await client.send(case.data)
        if case.eof:
            client.send_eof()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_hostile_input(case: Case) -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await send_what_is_wanted(client, case)
        answers = await client.responses()
        assert statuses(answers) == list(case.statuses)
        if not case.eof:
            assert answers[-1].only("connection") == b"close"
        if case.statuses[-1] >= 400:
            assert answers[-1].only("content-type") == b"application/problem+json"
        assert [(seen.first, seen.second, seen.body) for seen in gate.origin.seen] == list(case.seen)
        await gate.still_serves()
