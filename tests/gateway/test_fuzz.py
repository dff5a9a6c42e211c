"""The gateway whole, over a socket, given anything: what it writes is always HTTP, and it serves the next one."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.gateway.harness import Gateway, gateway
from tests.gateway.strategies import CUTS, INPUT, Valid, split, valid
from tests.gateway.strict import Message, framing, parse_head

if TYPE_CHECKING:
    from tests.gateway.peer import Peer

KNOWN = {200, 400, 413, 414, 417, 431, 501, 505}
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def hear(client: Peer) -> list[Message]:
    """All answers; what breaks off without a whole last answer is not among them."""
    answers: list[Message] = []
    with contextlib.suppress(EOFError, ConnectionResetError):
        while client.buffer or await client.any():
            answers.append(await final(client))
    return answers


async def final(client: Peer) -> Message:
    """One final answer. The origin says to which method, because the fuzzer does not know where requests begin."""
    while True:
        head = parse_head(await client.head(), request=False)
        if head.status >= 200:
            break
        assert (head.status, head.headers) == (100, [])
    length = framing(head)
    assert length is not None
    assert length >= 0
    head.body = b"" if head.only("x-method") == b"HEAD" else await client.exactly(length)
    return head


async def talk(gate: Gateway, pieces: list[bytes], *, turns: bool) -> list[Message]:
    """Send the pieces and close our side; all answers."""
    client = await gate.client()
    answers: list[Message] = []

    async def listen() -> None:
        answers.extend(await hear(client))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, OSError):
            for piece in pieces:
                await client.send(piece)
                if turns:
                    await trio.lowlevel.checkpoint()
            client.send_eof()
    client.close()
    return answers


async def attack(pieces: list[bytes], *, turns: bool) -> tuple[list[Message], list[Message]]:
    """What the client and what the upstream received; the gateway serves a good request afterwards."""
    async with gateway(origin=True) as gate:
        answers = await talk(gate, pieces, turns=turns)
        seen = list(gate.origin.seen)
        await gate.still_serves()
        return answers, seen


def plausible(data: bytes, answers: list[Message], seen: list[Message]) -> None:
    """Right statuses, and no request at the upstream that was not answered or not there."""
    assert {answer.status for answer in answers} <= KNOWN
    assert all(answer.status == 200 for answer, _ in pairwise(answers)), "something followed a refusal"
    answered = [answer for answer in answers if answer.status == 200]
    assert len(seen) >= len(answered)
    for request, answer in zip(seen, answered, strict=False):
        assert answer.body in (b"", request.first + b" " + request.second), "answers were mixed up"
    assert len(seen) <= data.count(b"HTTP/1.")
    for request in seen:
        assert request.first in data
        assert request.body in data or b"hunked" in data.lower()


@given(INPUT, CUTS)
@example(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81", [])
@FUZZ
def test_anything_in_pieces(data: bytes, cuts: list[int]) -> None:
    answers, seen = trio.run(lambda: attack(split(data, cuts), turns=True))
    plausible(data, answers, seen)


@given(INPUT)
@settings(FUZZ, max_examples=60)
def test_anything_byte_by_byte_is_answered_as_if_it_came_at_once(data: bytes) -> None:
    one_by_one = [data[index : index + 1] for index in range(len(data))]
    slowly, seen_slowly = trio.run(lambda: attack(one_by_one, turns=True))
    at_once, seen_at_once = trio.run(lambda: attack([data], turns=False))
    plausible(data, slowly, seen_slowly)
    assert [answer.status for answer in slowly] == [answer.status for answer in at_once]
    assert [(one.first, one.second, one.body) for one in seen_slowly] == [
        (one.first, one.second, one.body) for one in seen_at_once
    ]


@given(st.lists(valid(), min_size=1, max_size=3), INPUT, CUTS)
@FUZZ
def test_valid_requests_with_anything_behind(requests: list[Valid], behind: bytes, cuts: list[int]) -> None:
    data = b"".join(request.data for request in requests)
    answers, seen = trio.run(lambda: attack(split(data + behind, cuts), turns=True))
    assert [answer.status for answer in answers[: len(requests)]] == [200] * len(requests)
    for request, received in zip(requests, seen, strict=False):
        assert (received.first, received.second, received.body) == (request.method, request.target, request.body)
        assert set(request.headers) <= set(received.headers)
