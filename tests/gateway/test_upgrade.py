"""Upgrades: after 101 both directions are raw, nothing is lost, and each side ends for itself."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
import trio
import trio.testing

from daemon.wire.exchange import UpstreamError
from daemon.wire.http1 import Http1Exchange
from daemon.wire.limits import SWITCHED_UNSENT
from daemon.wire.sockets import TCP_NOTSENT_LOWAT
from tests.gateway.harness import GET, OK, Gateway, gateway, limit, quick
from tests.gateway.peer import MOST_IN_FLIGHT, SOON, Peer, eventually

if TYPE_CHECKING:
    from protocol.messages import ResponseHead

ASK = (
    b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: b\r\n\r\n"


async def switched(gate: Gateway, behind_ask: bytes = b"", behind_switch: bytes = b"") -> tuple[Peer, Peer]:
    """Both ends of an upgraded connection."""
    client, upstream = await gate.conversation(ASK + behind_ask)
    await upstream.send(SWITCH + behind_switch)
    assert (await client.response()).status == 101
    return client, upstream


async def test_the_heads_of_an_upgrade() -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(ASK)
        upstream = await gate.accept()
        asked = await upstream.request()
        assert asked.all("upgrade") == [b"websocket"]
        assert asked.all("connection") == [b"upgrade"]
        assert asked.all("sec-websocket-key") == [b"a"]
        assert asked.all("content-length") == []
        await upstream.send(SWITCH)
        answer = await client.response()
        assert (answer.status, answer.second) == (101, b"Switching")
        assert answer.headers == [
            (b"sec-websocket-accept", b"b"),
            (b"connection", b"upgrade"),
            (b"upgrade", b"websocket"),
        ]


async def test_bytes_pass_raw_both_ways() -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        for number in range(5):
            data = b"\x81\0\r\n\r\nGET / HTTP/1.1\r\n\r\n%d\xff" % number
            await client.send(data)
            assert await upstream.exactly(len(data)) == data
            await upstream.send(data[::-1])
            assert await client.exactly(len(data)) == data[::-1]


@pytest.mark.parametrize("behind", [b"\x81", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(50_000)])
async def test_what_came_with_the_heads_is_delivered(behind: bytes) -> None:
    """Lesson: one more byte in the segment of the upgrade ended Hypercorn, and with it the daemon."""
    async with gateway() as gate:
        client, upstream = await switched(gate, behind, behind[::-1])
        assert await upstream.exactly(len(behind)) == behind
        assert await client.exactly(len(behind)) == behind[::-1]
        await client.send(b"more")
        assert await upstream.exactly(4) == b"more"


async def test_an_upgrade_byte_by_byte() -> None:
    async with gateway() as gate, trio.open_nursery() as nursery:
        client = await gate.client()
        nursery.start_soon(client.drip, ASK + b"hello")
        upstream = await gate.accept()
        await upstream.head()
        nursery.start_soon(upstream.drip, SWITCH + b"world")
        assert (await client.response()).status == 101
        assert await client.exactly(5) == b"world"
        assert await upstream.exactly(5) == b"hello"


async def test_little_waits_in_the_kernel_after_the_switch() -> None:
    """What waits there cannot be overtaken by a small message."""

    def bound(gate: Gateway) -> int:
        (client,) = gate.listener.watch.clients.values()
        return client.stream.socket.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT or 0)

    async with gateway() as gate:
        client, upstream = await gate.conversation(ASK)
        assert bound(gate) != SWITCHED_UNSENT
        await upstream.send(SWITCH)
        assert (await client.response()).status == 101
        assert bound(gate) == SWITCHED_UNSENT


async def test_large_transfers_both_ways_at_once() -> None:
    """Lesson: both ends writing at full window dead-locked."""
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await switched(gate)
        data = bytes(range(256)) * 40_000
        nursery.start_soon(client.send, data)
        nursery.start_soon(upstream.send, data[::-1])
        assert await client.exactly(len(data)) == data[::-1]
        assert await upstream.exactly(len(data)) == data


async def test_the_client_ends_its_side_first() -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        await client.send(b"last")
        client.send_eof()
        assert await upstream.rest() == b"last"
        await upstream.send(b"still here")
        assert await client.exactly(10) == b"still here"
        upstream.close()
        assert await client.ending() == "eof"
        await eventually(lambda: gate.book.answers == [("test", 101)])


async def test_the_upstream_ends_its_side_first() -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        await upstream.send(b"last")
        upstream.send_eof()
        assert await client.rest() == b"last"
        await client.send(b"still here")
        assert await upstream.exactly(10) == b"still here"
        client.close()
        assert await upstream.ending() == "eof"


async def test_the_tail_of_a_client_that_closes_last_is_delivered() -> None:
    """Lesson: the tail was lost when end-of-stream overtook data. Both sides closed looks like a hang-up."""
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await switched(gate)
        upstream.send_eof()
        assert await client.rest() == b""
        data = bytes(range(256)) * 40_000

        async def send() -> None:
            await client.send(data)
            client.send_eof()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await upstream.rest() == data


async def test_the_tail_of_an_upstream_that_takes_no_more_is_delivered() -> None:
    """A shell that says goodbye and closes while a key is pressed: the key is lost, the goodbye is not."""
    async with gateway() as gate:
        refused, send = trio.Event(), Http1Exchange.send_raw

        async def send_raw(exchange: Http1Exchange, data: bytes) -> None:
            if data == b"key":
                refused.set()
                raise UpstreamError("broke off while we sent")
            await send(exchange, data)

        with patch.object(Http1Exchange, "send_raw", send_raw):
            client, upstream = await switched(gate)
            await client.send(b"key")
            await refused.wait()
            await trio.testing.wait_all_tasks_blocked()
            await upstream.send(b"goodbye")
            upstream.close()
            assert await client.rest() == b"goodbye"


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_reset_ends_both_sides(who: str) -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        first, second = (client, upstream) if who == "client" else (upstream, client)
        first.reset()
        assert await second.ending(SOON) in ("eof", "reset")


async def test_a_reset_by_the_upstream_is_not_an_end_in_peace() -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        upstream.reset()
        assert await client.ending(SOON) == "reset"


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_leaves_is_noticed_by_a_silent_upstream(way: str) -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        client.close() if way == "close" else client.reset()
        assert await upstream.ending(SOON) in ("eof", "reset")


async def test_an_upgrade_that_the_upstream_declines() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation(ASK + GET)
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"
        assert (await upstream.request()).second == b"/"
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"


async def test_early_hints_before_the_switch() -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation(ASK)
        await upstream.send(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + SWITCH + b"raw")
        assert b" 103 " in await client.head()
        assert (await client.response()).status == 101
        assert await client.exactly(3) == b"raw"


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        b"GET / HTTP/1.0\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["plain", "HTTP/1.0", "not in Connection", "with a body"],
)
async def test_a_switch_that_nobody_asked_for_is_refused(request_bytes: bytes) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(request_bytes)
        upstream = await gate.accept()
        assert (await upstream.request()).all("upgrade") == []
        await upstream.send(SWITCH)
        assert (await client.response()).status == 502
        assert await upstream.ending() in ("eof", "reset")


async def test_an_upgrade_with_an_unfinished_body_is_none() -> None:
    """Two readers of one socket, the body's and the raw one, would end in an error of our own."""
    async with gateway() as gate:
        ask = ASK.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\n")
        client, upstream = await gate.conversation(ask + b"hello")
        await upstream.send(SWITCH)
        assert (await client.response()).status == 502


async def test_rewrite_sees_the_switch() -> None:
    async with gateway() as gate:

        def rewrite(head: ResponseHead) -> ResponseHead:
            head.headers = [pair for pair in head.headers if pair[0] != b"sec-websocket-accept"]
            return head

        gate.site.options["rewrite"] = rewrite
        client, upstream = await gate.conversation(ASK)
        await upstream.send(SWITCH)
        assert (await client.response()).only("sec-websocket-accept") is None


async def test_raw_bytes_are_counted_and_shown() -> None:
    async with gateway() as gate:
        up: list[int] = []
        down: list[int] = []
        shown: list[bytes] = []
        gate.site.options |= {"on_up_bytes": up.append, "on_down_bytes": down.append, "on_down_data": shown.append}
        client, upstream = await switched(gate, b"abc", b"de")
        await upstream.exactly(3)
        await client.exactly(2)
        assert (sum(up), sum(down), shown) == (3, 2, [b"de"])


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_slow_raw_reader_slows_the_other_side(who: str) -> None:
    async with gateway() as gate:
        client, upstream = await switched(gate)
        assert await (upstream if who == "client" else client).flood() < MOST_IN_FLIGHT


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_half_closed_and_silent_ends_after_its_time(who: str) -> None:
    with limit(HALF_CLOSED_SECONDS=0.1), quick():
        async with gateway() as gate:
            client, upstream = await switched(gate)
            first, second = (client, upstream) if who == "client" else (upstream, client)
            first.send_eof()
            assert await second.rest() == b""
            await eventually(lambda: gate.listener.open_connections == 0, SOON)


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_half_closed_but_busy_does_not_end(who: str) -> None:
    """Lesson: no stream has a total time limit; only silence is bounded."""
    with limit(HALF_CLOSED_SECONDS=0.4), quick():
        async with gateway() as gate:
            client, upstream = await switched(gate)
            first, second = (client, upstream) if who == "client" else (upstream, client)
            first.send_eof()
            assert await second.rest() == b""
            for _ in range(12):
                await second.send(b"tick")
                assert await first.exactly(4) == b"tick"
                await trio.sleep(0.06)


async def test_a_switched_connection_outlives_every_other_deadline() -> None:
    short = 0.05
    with limit(KEEP_ALIVE_SECONDS=short, HEAD_SECONDS=short, BODY_SILENCE_SECONDS=short, WRITE_SECONDS=short), quick():
        async with gateway() as gate:
            client, upstream = await switched(gate)
            await trio.sleep(0.4)
            await client.send(b"still here")
            assert await upstream.exactly(10) == b"still here"
