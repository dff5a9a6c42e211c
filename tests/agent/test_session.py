"""The agent's end of one tunnel, at a server that reads when it likes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio
from wsproto.connection import ConnectionType

from daemon.agent import session
from daemon.agent.handshake import Dialed
from daemon.agent.opencode import Local
from daemon.wire.sockets import SocketStream
from tests.standins.content import content
from tests.tunnel import hostile
from tests.tunnel.harness import http_local

if TYPE_CHECKING:
    import pytest

SIZE = 60_000  # less than one write, and far more than the socket between the two holds


async def test_who_drains_waits_for_a_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail of an answer was given to the socket; it is not cut off because taking it takes a while."""
    monkeypatch.setattr(session, "_LAST_WORD_SECONDS", 0.02)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.setblocking(False)
    server = hostile.Socket(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), ConnectionType.SERVER)
    draining, ended = trio.Event(), trio.Event()
    opening = hostile.message(type="open", id=1, method="GET", path=f"/bytes/{SIZE}", headers=[["host", "x"]], end=True)

    async def serve(port: int) -> None:
        stream = SocketStream(ours)
        await session.make_serve(Local("127.0.0.1", port), draining)(Dialed(stream, b"", 2))
        stream.close()
        ended.set()

    with trio.fail_after(30):
        async with http_local() as local, trio.open_nursery() as nursery:
            nursery.start_soon(serve, local.port)
            await server.send(b"".join(hostile.frame(one, client=False) for one in (hostile.hello(), opening)))
            await local.wait_until(lambda: bool(local.visits))
            draining.set()
            with trio.move_on_after(0.3):
                await ended.wait()
            body = b""
            while (said := await server.next()) is not None:
                body += said["payload"] if said["type"] in ("head", "data") else b""
                if said.get("end"):
                    break
            assert body == content(SIZE)
            await server.stream.aclose()
