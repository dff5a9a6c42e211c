"""Many agents that are connected and idle, in one process: each has its own connection and does what an agent does.

Takes the daemon's port, and that of what they lead to, if anybody is to ask for anything. Reads registrations from
standard input, a line of JSON each, until it is closed; prints a line when all are connected, and keeps them. A tunnel
that ends is an error.
"""

from __future__ import annotations

import gc
import json
import sys
from typing import TYPE_CHECKING

import trio

from daemon.agent.addresses import parse_server
from daemon.agent.credentials import read_registration
from daemon.agent.dial import Dialer
from daemon.agent.handshake import open_tunnel
from daemon.agent.opencode import Local
from daemon.agent.session import make_serve

if TYPE_CHECKING:
    from daemon.agent.credentials import Registration
    from daemon.agent.handshake import Dialed


async def _connected(registrations: list[Registration], url: str, local: Local) -> None:
    dialer = Dialer(parse_server(url), None, None)
    serve = make_serve(local, trio.Event())

    async def stay(dialed: Dialed) -> None:
        await serve(dialed)
        raise RuntimeError("a tunnel has ended")

    async with trio.open_nursery() as nursery:
        for registration in registrations:
            nursery.start_soon(stay, await open_tunnel(dialer, registration))
        gc.freeze()  # an agent by itself has few objects: all of them in one process would stop each other
        print("connected", flush=True)


def main() -> None:
    """Until a signal."""
    url = f"http://127.0.0.1:{int(sys.argv[1])}"
    registrations = [read_registration({**json.loads(line), "server": url}) for line in sys.stdin]
    # Where nothing is asked for, nothing need be there.
    trio.run(_connected, registrations, url, Local("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 1))


if __name__ == "__main__":
    main()
