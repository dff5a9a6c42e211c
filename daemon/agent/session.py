"""What happens on an established tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from daemon.agent.serving import SessionEnded

if TYPE_CHECKING:
    from daemon.agent.handshake import Dialed
    from daemon.agent.opencode import Local
    from daemon.agent.serving import Serve


def make_serve(local: Local, draining: trio.Event) -> Serve:
    """Stands in until the session is written: holds the connection, and answers nothing."""

    async def serve(dialed: Dialed) -> None:
        async with trio.open_nursery() as nursery:

            async def end_when_draining() -> None:
                await draining.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_when_draining)
            while await dialed.stream.receive():
                pass
            nursery.cancel_scope.cancel()
        if not draining.is_set():
            raise SessionEnded("the server closed it")

    return serve
