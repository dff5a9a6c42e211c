"""What the agent's loop and the tunnel's session say to each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

import trio

from daemon.agent.handshake import Dialed
from daemon.agent.opencode import Local


class Ending(Enum):
    """Why a tunnel that was established is over, and so what the agent does next."""

    LOST = auto()  # it broke, or one side broke a rule: connect again, with growing waits
    SHUTDOWN = auto()  # the server shuts down by plan: connect again soon
    REPLACED = auto()  # another agent with the same registration has connected: leave it to that one
    REMOVED = auto()  # the sandbox or its workspace was deleted, or whoever registered it lost the right: stop


class SessionEnded(Exception):
    """The tunnel is over. ``reason`` is a part of a sentence for a person: "the server did not answer for 40 s"."""

    def __init__(self, reason: str, ending: Ending = Ending.LOST) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ending = ending


# Serves an established tunnel: returns when it is over, or raises SessionEnded. The stream is closed by the caller.
Serve = Callable[[Dialed], Awaitable[None]]
# Made once, with the local address (see Local) and the event that says: end as soon as what is open is done.
MakeServe = Callable[[Local, trio.Event], Serve]
