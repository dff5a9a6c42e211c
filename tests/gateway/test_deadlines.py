"""Who keeps the gateway waiting is let go, with the right word; who is only slow is not."""

from __future__ import annotations

import contextlib
import time

import pytest
import trio

from daemon.gateway.exchange import Reply
from tests.gateway.harness import GET, OK, gateway, limit, quick
from tests.gateway.peer import PATIENCE, SOON, Peer, eventually

SHORT = 0.1
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello"
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\n", GET[:-2], GET[:-1]])
async def test_a_head_that_does_not_end_gets_408(start: bytes) -> None:
    with limit(HEAD_SECONDS=SHORT), quick():
        async with gateway() as gate:
            client = await gate.client()
            await client.send(start)
            (message,) = await client.responses()
            assert (message.status, message.only("connection")) == (408, b"close")


async def test_a_head_that_trickles_gets_408() -> None:
    """Lesson: slowloris. The deadline is for the whole head and not for each byte."""
    with limit(HEAD_SECONDS=0.3), quick():
        async with gateway() as gate, trio.open_nursery() as nursery:
            client = await gate.client()

            async def trickle() -> None:
                with contextlib.suppress(OSError):  # it may be let go before the answer is read
                    for byte in GET[:-1] + b" " * 1000:
                        await client.socket.send(bytes([byte]))
                        await trio.sleep(0.05)

            nursery.start_soon(trickle)
            assert (await client.response()).status == 408
            nursery.cancel_scope.cancel()


async def test_the_second_head_has_its_deadline_too() -> None:
    with limit(HEAD_SECONDS=SHORT), quick():
        async with gateway(origin=True) as gate:
            client = await gate.client()
            await client.send(GET + GET[:-2])
            assert [message.status for message in await client.responses()] == [200, 408]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("blank", [b"", b"\r\n"])
async def test_an_idle_connection_is_closed_without_a_word(used: bool, blank: bytes) -> None:
    with limit(KEEP_ALIVE_SECONDS=SHORT), quick():
        async with gateway(origin=True) as gate:
            client = await gate.client()
            if used:
                await client.send(GET)
                await client.response()
            await client.send(blank)
            assert await client.rest() == b""


async def test_idle_time_begins_with_the_end_of_the_answer() -> None:
    with limit(KEEP_ALIVE_SECONDS=0.3), quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation()
            await trio.sleep(0.6)
            await upstream.send(OK)
            await client.response()
            await client.send(GET)
            await upstream.head()


@pytest.mark.parametrize("request_bytes", [POST, CHUNKED_POST, POST.replace(b"10", b"1000000")])
async def test_a_body_that_falls_silent_gets_408(request_bytes: bytes) -> None:
    """A million bytes are spliced: the deadline holds there too."""
    with limit(BODY_SILENCE_SECONDS=SHORT), quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation(request_bytes)
            (message,) = await client.responses()
            assert (message.status, message.only("connection")) == (408, b"close")
            assert await upstream.ending(SOON) in ("eof", "reset")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_body_that_falls_silent_within_the_answer_breaks_the_answer(version: bytes) -> None:
    """No 408 in the middle of another answer: until the end of the connection it would be a part of it."""
    with limit(BODY_SILENCE_SECONDS=SHORT), quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation(POST.replace(b"HTTP/1.1", b"HTTP/" + version))
            await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await client.until(b"hello")
            with pytest.raises(ConnectionResetError):
                await client.rest()
            assert bytes(client.buffer) == (b"\r\n" if version == b"1.1" else b"")


async def test_a_slow_body_is_not_a_silent_one() -> None:
    """Lesson: bodies failed on slow links."""
    with limit(BODY_SILENCE_SECONDS=0.4), quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation(POST[:-5])
            for byte in b"helloworld":
                await client.send(bytes([byte]))
                await trio.sleep(0.1)
            assert await upstream.exactly(10) == b"helloworld"
            await upstream.send(OK)
            assert (await client.response()).body == b"ok"


async def until_broken(peer: Peer, piece: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            await peer.socket.send(piece)


@pytest.mark.parametrize("framing", [b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"])
async def test_a_client_that_does_not_read_is_cut_off(framing: bytes) -> None:
    """Lesson: a client that stops reading blocked shutdown for ever. Its upstream is let go."""
    with limit(WRITE_SECONDS=0.3), quick():
        async with gateway() as gate:
            client = await gate.client(receive_buffer=4096)
            await client.send(GET)
            upstream = await gate.accept()
            await upstream.head()
            await upstream.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
            piece = bytes(65536) if b"Length" in framing else b"10000\r\n" + bytes(65536) + b"\r\n"
            with trio.fail_after(PATIENCE):
                await until_broken(upstream, piece)
            await eventually(lambda: gate.listener.open_connections == 0)


async def test_a_client_that_reads_slowly_is_not_cut_off() -> None:
    """Lesson: bodies over 256 KiB failed on slow links. The kernel holds megabytes of it for us."""
    with limit(WRITE_SECONDS=0.5), quick():
        async with gateway() as gate, trio.open_nursery() as nursery:
            client = await gate.client(receive_buffer=4096)
            await client.send(GET)
            upstream = await gate.accept()
            await upstream.head()
            size = 12 << 20
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            nursery.start_soon(upstream.send, head + bytes(size))
            await client.head()
            left = size - len(client.buffer)
            deadline = trio.current_time() + 1.5
            while left:
                got = await client.socket.recv(1 << 20)
                assert got
                left -= len(got)
                if trio.current_time() < deadline:
                    await trio.sleep(0.02)


async def test_a_client_that_does_not_read_our_own_answers_is_cut_off() -> None:
    with limit(WRITE_SECONDS=0.3), quick():
        async with gateway() as gate:
            gate.site.reply = lambda _: Reply(200, [], bytes(1 << 20))
            client = await gate.client(receive_buffer=4096)
            await client.send(GET * 100)
            await eventually(lambda: gate.listener.open_connections == 0)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ids=["before the head", "chunked", "length"],
)
async def test_an_upstream_may_be_silent_for_as_long_as_it_likes(answer: bytes) -> None:
    """Lesson: streams were cut at 60, 120 or 180 s by timeouts meant for something else."""
    deadlines = dict.fromkeys(("KEEP_ALIVE_SECONDS", "HEAD_SECONDS", "BODY_SILENCE_SECONDS", "WRITE_SECONDS"), 0.05)
    with limit(**deadlines, LINGER_SECONDS=0.05), quick():
        async with gateway() as gate:
            client, upstream = await gate.conversation()
            await upstream.send(answer)
            await trio.sleep(0.4)
            if not answer:
                await upstream.send(OK)
            else:
                await upstream.send(b"5\r\nhello\r\n0\r\n\r\n" if b"chunked" in answer else b"hello")
            assert (await client.response()).status == 200


async def test_a_slow_site_is_not_the_clients_fault() -> None:
    with limit(KEEP_ALIVE_SECONDS=0.05, HEAD_SECONDS=0.05), quick():
        async with gateway(origin=True) as gate:
            gate.site.gate = trio.Event()
            client = await gate.client()
            await client.send(GET)
            await trio.sleep(0.3)
            gate.site.gate.set()
            assert (await client.response()).status == 200


async def test_nobody_is_late_while_the_machine_lets_nobody_run() -> None:
    """Of the tests themselves: else each of them fails now and then on a busy machine."""
    with limit(KEEP_ALIVE_SECONDS=SHORT), quick():
        async with gateway(origin=True) as gate:
            client = await gate.client()
            for _ in range(4):
                await eventually(lambda: any(one.waits for one in gate.listener.watch.clients.values()))
                time.sleep(1.5 * SHORT)  # noqa: ASYNC251 - all of us: the gateway, the client, and who looks at deadlines
                await client.send(GET)
                assert (await client.response()).status == 200
