"""Clients that close one side and wait, and clients that are gone: the same packet, told apart."""

from __future__ import annotations

import contextlib
from unittest.mock import patch

import pytest
import trio
import trio.testing

from daemon.gateway import limits
from daemon.gateway.client import Client
from tests.gateway import strict
from tests.gateway.harness import GET, OK, Gateway, gateway, limit, quick
from tests.gateway.peer import SOON, Peer, eventually

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TEN = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


def leave(client: Peer, way: str) -> None:
    """``shut``: first one side, as a client that waits does, and only then away."""
    if way == "reset":
        client.reset()
    elif way == "shut":
        client.send_eof()
        client.close()
    else:
        client.close()


LEAVING = pytest.mark.parametrize("way", ["close", "reset", "shut"])

# Half-closed: answered


@pytest.mark.parametrize("request_bytes", [GET, TEN, POST], ids=["1.1", "1.0", "with a body"])
async def test_a_client_that_closed_its_side_is_answered_at_once(request_bytes: bytes) -> None:
    """Lesson: Hypercorn gives a half-closed client no answer."""
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(request_bytes)
        client.send_eof()
        (message,) = await client.responses()
        assert message.status == 200


@pytest.mark.parametrize("request_bytes", [GET, TEN, POST], ids=["1.1", "1.0", "with a body"])
async def test_a_client_that_closed_its_side_is_answered_late(request_bytes: bytes) -> None:
    """It is asked whether it is there by bytes that mean nothing to one that waits."""
    with quick():
        await answer_late(request_bytes)


async def answer_late(request_bytes: bytes) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(request_bytes)
        client.send_eof()
        upstream = await gate.accept()
        await upstream.request()
        if request_bytes == TEN:
            await trio.sleep(0.2)  # it must not have been asked, and must have stayed
        else:
            assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await upstream.send(OK)
        assert (await client.response()).body == b"ok"
        assert await client.ending() == "eof"


async def test_a_client_that_closed_its_side_receives_a_slow_stream() -> None:
    """The probe in a chunked body is a zero before the next chunk's size."""
    with quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation()
            client.send_eof()
            await upstream.send(CHUNKED)
            for piece in (b"hello", b"world"):
                await trio.sleep(0.15)  # time enough to be asked
                await upstream.send(b"5\r\n" + piece + b"\r\n")
            await trio.sleep(0.15)
            await upstream.send(b"0\r\n\r\n")
            raw = await client.rest()
        assert raw.count(b"05\r\n") >= 1
    async with gateway() as gate:
        again = await gate.client()
        again.buffer += raw.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        assert (await again.response()).body == b"helloworld"
        assert not again.buffer


async def test_pipelined_requests_of_a_client_that_closed_its_side_are_all_answered() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(GET * 3 + POST)
        client.send_eof()
        assert strict.statuses(await client.responses()) == [200] * 4


async def test_nothing_follows_the_end_of_a_chunked_answer() -> None:
    """The probe must stop with the last chunk, or it becomes the start of the next answer."""
    async with gateway() as gate:
        probes: list[bytes] = []
        send = Client.send

        async def watched(client: Client, data: bytes) -> None:
            await send(client, data)
            if data.endswith(b"0\r\n\r\n"):
                probes.append(client.probe)

        with patch.object(Client, "send", watched):
            client, upstream = await gate.conversation()
            await upstream.send(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
            await client.response()
        assert probes == [b""]


async def test_a_client_that_half_closed_and_reads_nothing_is_not_asked_into_its_answer() -> None:
    """While half an answer is on its way no probe may be put between."""
    with quick():
        async with gateway() as gate, trio.open_nursery() as nursery:
            client = await gate.client(receive_buffer=4096)
            await client.send(GET)
            client.send_eof()
            upstream = await gate.accept()
            await upstream.head()
            size = 20 << 20
            nursery.start_soon(upstream.send, CHUNKED + b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n")
            await trio.sleep(0.3)  # it would be asked by now
            message, _ = await strict.read_response(client)
            assert message.body == bytes(size)


# Gone: the upstream is let go


@LEAVING
async def test_gone_before_the_answer(way: str) -> None:
    """Lesson: local requests of closed tabs were never cancelled."""
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        leave(client, way)
        await upstream.ending(SOON)
        await eventually(lambda: gate.listener.open_connections == 0)


@LEAVING
async def test_gone_in_a_silent_event_stream(way: str) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(STREAM + b"5\r\nhello\r\n")
        await client.until(b"hello\r\n")
        leave(client, way)
        await upstream.ending(SOON)
        await eventually(lambda: gate.book.answers == [("test", 200)])


@LEAVING
async def test_gone_in_an_event_stream_that_said_nothing_yet(way: str) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(STREAM)
        await client.head()
        leave(client, way)
        await upstream.ending(SOON)


@LEAVING
async def test_gone_in_a_stream_that_goes_on(way: str) -> None:
    async with gateway() as gate:
        client, upstream = await gate.conversation()
        await upstream.send(CHUNKED)
        leave(client, way)
        with trio.fail_after(SOON):
            await flood(upstream, CHUNKED, pause=0.01)


@LEAVING
@pytest.mark.parametrize("framing", [b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"])
async def test_gone_in_a_large_download(way: str, framing: bytes) -> None:
    """With a known length it is spliced; leaving in the middle must end that too."""
    async with gateway() as gate, trio.open_nursery() as nursery:
        client, upstream = await gate.conversation()
        await upstream.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        nursery.start_soon(flood, upstream, framing)
        await client.exactly(1 << 20)
        leave(client, way)
        with trio.fail_after(SOON):
            while nursery.child_tasks:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def flood(peer: Peer, framing: bytes, pause: float = 0) -> None:
    """Send until the other side breaks."""
    piece = bytes(65536) if b"Length" in framing else b"10000\r\n" + bytes(65536) + b"\r\n"
    with contextlib.suppress(OSError):
        while True:
            await peer.socket.send(piece if not pause else b"5\r\nhello\r\n")
            await trio.sleep(pause)


@LEAVING
@pytest.mark.parametrize("framing", [b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("sent", [100, 1 << 20])
async def test_gone_in_an_upload(way: str, framing: bytes, sent: int) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        upstream = await gate.accept()
        await upstream.head()
        await client.send(b"%x\r\n" % (1 << 30) + bytes(sent))
        await upstream.exactly(sent)
        leave(client, way)
        await upstream.ending(SOON)


async def test_gone_while_the_upload_waits_for_the_upstream() -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        upstream = await gate.accept()
        await upstream.head()
        await client.flood(b"10000\r\n" + bytes(65536) + b"\r\n")
        client.reset()
        await eventually(lambda: gate.listener.open_connections == 0, SOON)


@LEAVING
async def test_gone_while_the_site_decides(way: str) -> None:
    """The hang-up comes before there is an exchange; it must not be forgotten when there is one."""
    async with gateway() as gate:
        gate.site.gate = trio.Event()
        client = await gate.client()
        await client.send(GET)
        await eventually(lambda: len(gate.site.requests) == 1)
        leave(client, way)
        await trio.testing.wait_all_tasks_blocked(0.05)
        gate.site.gate.set()
        upstream = await gate.accept()
        await upstream.ending(SOON)


@LEAVING
async def test_gone_while_the_site_decides_for_long(way: str) -> None:
    """Whoever could not be asked yet is asked later: a database that answers slowly must not leave a stream behind."""
    with quick():
        async with gateway() as gate:
            gate.site.gate = trio.Event()
            client = await gate.client()
            await client.send(GET)
            await eventually(lambda: len(gate.site.requests) == 1)
            leave(client, way)
            await trio.sleep(0.4)  # all the times at which one is asked are over
            gate.site.gate.set()
            upstream = await gate.accept()
            await upstream.ending(SOON)


@LEAVING
async def test_gone_between_requests(way: str) -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await client.send(GET)
        await client.response()
        leave(client, way)
        await eventually(lambda: gate.listener.open_connections == 0, SOON)


@LEAVING
async def test_gone_before_a_request(way: str) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await eventually(lambda: gate.listener.open_connections == 1)
        leave(client, way)
        await eventually(lambda: gate.listener.open_connections == 0, SOON)


@LEAVING
async def test_gone_in_a_head(way: str) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(GET[:-2])
        await eventually(lambda: gate.listener.open_connections == 1)
        leave(client, way)
        await eventually(lambda: gate.listener.open_connections == 0, SOON)


@LEAVING
async def test_gone_while_refused(way: str) -> None:
    async with gateway() as gate:
        client = await gate.client()
        await client.send(b"nonsense\r\n\r\n")
        leave(client, way)
        await eventually(lambda: gate.listener.open_connections == 0, SOON)


async def many_leave(gate: Gateway, count: int) -> None:
    for _ in range(count):
        client = await gate.client()
        await client.send(GET)
        client.close()


async def test_many_that_leave_at_once_leave_nothing_behind() -> None:
    async with gateway(origin=True) as gate:
        await many_leave(gate, 200)
        await eventually(lambda: gate.listener.open_connections == 0)
        await gate.still_serves()


@pytest.mark.parametrize("data", [b"x" * 100_000, b"x" * (limits.LINGER_BYTES + 1)])
async def test_who_sends_on_after_a_refusal_hears_it(data: bytes) -> None:
    """Closing with unread bytes sends a reset, which may destroy the answer on its way."""
    async with gateway() as gate, trio.open_nursery() as nursery:
        client = await gate.client()

        async def send() -> None:
            with contextlib.suppress(OSError):
                await client.send(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n" + data)

        nursery.start_soon(send)
        assert (await client.response()).status == 400


async def test_who_sends_on_for_ever_after_a_refusal_is_cut_off() -> None:
    with limit(LINGER_SECONDS=0.3):
        async with gateway() as gate:
            client = await gate.client()
            await client.send(b"nonsense\r\n\r\n")
            assert (await client.response()).status == 400
            await eventually(lambda: gate.listener.open_connections == 0, SOON)
