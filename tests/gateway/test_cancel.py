"""The connection is cancelled at every step it takes, one after the other, and what is left is looked at.

Whatever the step: the client has a beginning of the right answer and then a broken connection, or the whole answer;
the upstream has a beginning of the right request; neither connection is used for anything else; on_end was called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
from trio.abc import Instrument

from tests.gateway import strict
from tests.gateway.harness import GET, OK, Gateway, gateway
from tests.gateway.peer import PATIENCE, Peer, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.gateway.client import Client

BIG = 1 << 20
MOST_STEPS = 400


class CancelAt(Instrument):
    """Cancels the connection just before its ``step``-th step."""

    def __init__(self, gate: Gateway, step: int, cancel: Callable[[Client], None]) -> None:
        self._gate = gate
        self._left = step
        self._cancel = cancel
        self.done = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.done or not (task.name == "connection" or "_guarded" in task.name):
            return
        self._left -= 1
        clients = list(self._gate.listener.watch.clients.values())
        if self._left <= 0 and clients:
            self.done = True
            for client in clients:
                self._cancel(client)


@dataclass(frozen=True)
class Scenario:
    """What either side sends, in pieces; ``client_sees`` and ``upstream_sees`` are what must arrive, whole."""

    request: tuple[bytes, ...]
    answer: tuple[bytes, ...]
    upstream_sees: bytes
    client_sees: bytes


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
SCENARIOS = {
    "lengths": Scenario(
        (HEAD + b"Content-Length: 10\r\n\r\nhello", b"world"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nHELLO", b"WORLD"),
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhelloworld",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nHELLOWORLD",
    ),
    "chunks": Scenario(
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"5\r\nworld\r\n", b"0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nHELLO\r\n", b"5\r\nWORLD\r\n", b"0\r\n\r\n"),
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nHELLO\r\n5\r\nWORLD\r\n0\r\n\r\n",
    ),
    "spliced": Scenario(
        (HEAD + b"Content-Length: %d\r\n\r\n" % BIG, bytes(BIG)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG, bytes(BIG - 1), bytes(1)),
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % BIG + bytes(BIG),
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG + bytes(BIG),
    ),
    "early hints": Scenario(
        (GET,),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", OK),
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ),
    "upgrade": Scenario(
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"hello", b"world"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", b"HELLO", b"WORLD"),
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhelloworld",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nHELLOWORLD",
    ),
}


@dataclass
class Heard:
    """What one side received, and how it ended; empty while it goes on."""

    data: bytes = b""
    end: str = ""
    said_all: bool = False

    async def listen(self, peer: Peer) -> None:
        try:
            while received := await peer.socket.recv(1 << 18):
                self.data += received
            self.end = "eof"
        except ConnectionResetError:
            self.end = "reset"


async def say(peer: Peer, pieces: tuple[bytes, ...], heard: Heard, cancelled: CancelAt) -> bool:
    """Send piece by piece, each when the one before it has arrived, and so by itself; whether everything was sent.

    ``heard`` is the other side. No piece arrives as less than it was: heads are written anew, but not shorter.
    """
    arriving = len(heard.data)
    for piece in pieces:
        try:
            await peer.send(piece)
        except OSError:
            return False
        arriving += len(piece)
        with trio.fail_after(PATIENCE):
            while len(heard.data) < arriving and not cancelled.done:
                await trio.lowlevel.checkpoint()
        for _ in range(20):
            await trio.lowlevel.checkpoint()
    return True


async def play(gate: Gateway, scenario: Scenario, cancelled: CancelAt) -> tuple[Heard, Heard]:
    """Play the scenario until it is over or broke off; what the client and the upstream heard."""
    at_client, at_upstream = Heard(), Heard()

    def over() -> bool:
        return cancelled.done or len(at_client.data) >= len(scenario.client_sees)

    async def upstream_side(nursery: trio.Nursery) -> None:
        upstream = await gate.accept()
        nursery.start_soon(at_upstream.listen, upstream)
        await eventually(lambda: cancelled.done or len(at_upstream.data) >= len(scenario.upstream_sees) // 2)
        *pieces, last = scenario.answer
        if await say(upstream, tuple(pieces), at_client, cancelled):
            # Its end comes behind that of the request: an answer that is over ends the request, too.
            await eventually(lambda: cancelled.done or len(at_upstream.data) >= len(scenario.upstream_sees))
            at_upstream.said_all = await say(upstream, (last,), at_client, cancelled)

    async with trio.open_nursery() as nursery:
        client = await gate.client()
        nursery.start_soon(at_client.listen, client)
        nursery.start_soon(upstream_side, nursery)
        await say(client, scenario.request, at_upstream, cancelled)
        await eventually(over)
        if cancelled.done:
            await eventually(lambda: at_client.end != "")
            await eventually(lambda: not gate.listener.watch.clients)
            if gate.pool._idle:  # a connection is kept only after a whole request and a whole answer
                await eventually(lambda: at_upstream.said_all and at_upstream.data == scenario.upstream_sees)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return at_client, at_upstream


def cut(client: Client) -> None:
    """As a revocation does."""
    client.scope.cancel()


def expire(client: Client) -> None:
    """As a deadline does."""
    client.expire()


def looks_right(scenario: Scenario, at_client: Heard, at_upstream: Heard) -> None:
    assert scenario.upstream_sees.startswith(at_upstream.data)
    if at_client.data.startswith(b"HTTP/1.1 408"):  # nothing of the answer was out: a late client is told so
        message = strict.parse_head(at_client.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", request=False)
        assert at_client.data.endswith(b"}")
        assert message.only("connection") == b"close"
        return
    assert scenario.client_sees.startswith(at_client.data)
    if at_client.end == "eof":  # in peace only before the answer (early hints are none) or after it
        assert b"HTTP/1.1 200" not in at_client.data or at_client.data == scenario.client_sees


@pytest.mark.parametrize("how", [cut, expire])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_cancelled_at_every_step(name: str, how: Callable[[Client], None]) -> None:
    scenario = SCENARIOS[name]
    for step in range(1, MOST_STEPS):
        async with gateway() as gate:
            cancelled = CancelAt(gate, step, how)
            trio.lowlevel.add_instrument(cancelled)
            try:
                at_client, at_upstream = await play(gate, scenario, cancelled)
            finally:
                trio.lowlevel.remove_instrument(cancelled)
            looks_right(scenario, at_client, at_upstream)
            if not cancelled.done:
                assert (at_client.data, at_upstream.data) == (scenario.client_sees, scenario.upstream_sees)
                assert step > 5
                return
    raise AssertionError("it never came to its end")
