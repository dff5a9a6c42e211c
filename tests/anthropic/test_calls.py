"""A sandbox that waits for the model's answer is not idle (lesson: do not stop a sandbox while its agent works)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import trio

from daemon.anthropic.calls import LONGEST_SILENCE, TOUCH_EVERY, Calls

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_silent_call_keeps_its_sandbox_awake_for_a_bounded_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    touched: list[float] = []
    calls = Calls(lambda sandbox_id: touched.append(trio.current_time()))
    await nursery.start(calls.run)
    began = trio.current_time()
    calls.begin("a")
    await trio.sleep(2 * LONGEST_SILENCE)
    assert LONGEST_SILENCE - TOUCH_EVERY <= touched[-1] - began <= LONGEST_SILENCE
    assert max(b - a for a, b in pairwise(touched)) <= TOUCH_EVERY
    assert not calls.open


async def test_a_call_that_is_heard_of_goes_on(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    touched: list[str] = []
    calls = Calls(touched.append)
    await nursery.start(calls.run)
    call = calls.begin("a")
    for _ in range(3):
        await trio.sleep(LONGEST_SILENCE - 1)
        call.passed(1)
    assert calls.open == {call}
    call.end()
    touched.clear()
    await trio.sleep(LONGEST_SILENCE)
    assert not touched


async def test_each_call_counts_for_itself(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    touched: list[str] = []
    calls = Calls(touched.append)
    await nursery.start(calls.run)
    first, second, third = calls.begin("a"), calls.begin("a"), calls.begin("b")
    first.end()
    third.end()
    touched.clear()
    await trio.sleep(TOUCH_EVERY + 1)
    assert touched == ["a"]
    second.end()
    second.end()
