"""Calls under way. An agent that waits for its answer is working, also while no byte of the answer comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

# Well below the shortest idle timeout that anybody sets (a minute or two).
TOUCH_EVERY: Final = 15.0
# Anthropic ends a call that does not stream after 10 minutes, and streams send pings. After that it is no witness.
LONGEST_SILENCE: Final = 600.0


class Call:
    """One call. ``heard`` is the Trio time of its latest byte in either direction."""

    __slots__ = ("_calls", "heard", "sandbox_id")

    def __init__(self, calls: Calls, sandbox_id: str) -> None:
        self._calls = calls
        self.sandbox_id = sandbox_id
        self.heard = trio.current_time()

    def passed(self, count: int) -> None:
        """Bytes passed. Stands in the copy loop."""
        self.heard = trio.current_time()
        self._calls.touch(self.sandbox_id)

    def end(self) -> None:
        """It is over; that, too, is activity."""
        self._calls.open.discard(self)
        self._calls.touch(self.sandbox_id)


class Calls:
    """Knows the calls under way, and tells ``touch`` the id of every sandbox that has one."""

    def __init__(self, touch: Callable[[str], None]) -> None:
        self.touch = touch
        self.open: set[Call] = set()

    def begin(self, sandbox_id: str) -> Call:
        """A call has come."""
        call = Call(self, sandbox_id)
        self.open.add(call)
        self.touch(sandbox_id)
        return call

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the sandboxes of silent calls awake, for a bounded time."""
        task_status.started()
        while True:
            await trio.sleep(TOUCH_EVERY)
            oldest = trio.current_time() - LONGEST_SILENCE
            for call in list(self.open):
                if call.heard < oldest:
                    self.open.discard(call)
                else:
                    self.touch(call.sandbox_id)
