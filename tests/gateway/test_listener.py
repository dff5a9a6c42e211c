"""The listener: how many it takes, what one's failure does to the others, revocation, and its end."""

from __future__ import annotations

import resource
import socket
from unittest.mock import patch

import pytest
import trio
import trio.testing

from daemon.gateway import limits, relay
from daemon.gateway.exchange import Reply, Request
from daemon.gateway.listener import connection_limit, open_sockets
from tests.gateway.harness import GET, OK, Gateway, gateway, limit, quick
from tests.gateway.peer import SOON, Peer, eventually

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


async def streaming(gate: Gateway) -> tuple[Peer, Peer]:
    """A client in the middle of a stream."""
    client, upstream = await gate.conversation()
    await upstream.send(STREAM)
    await client.until(b"hello\r\n")
    return client, upstream


# Many


@pytest.mark.parametrize("asks", [True, False])
async def test_one_connection_too_many_is_turned_away_and_then_taken(asks: bool) -> None:
    async with gateway(most=3) as gate:
        clients = [await streaming(gate) for _ in range(3)]
        extra = await gate.client()
        if asks:
            await extra.send(GET)
        message = await extra.response()
        assert (message.status, message.only("retry-after"), message.only("connection")) == (503, b"5", b"close")
        assert await extra.ending() in ("eof", "reset")
        assert gate.book.codes == ["too_many_connections"]
        assert [await client.silent() for client, _ in clients] == [True] * 3
        clients[1][0].close()
        await eventually(lambda: gate.listener.open_connections == 2)
        await streaming(gate)


@pytest.mark.parametrize("start", [b"", GET[:-1], b"\r\n"], ids=["silent", "half a head", "an empty line"])
async def test_who_waits_longest_without_a_request_makes_way(start: bytes) -> None:
    """Else whoever opens as many connections as there may be, and says nothing, keeps everybody out."""
    async with gateway(most=3, origin=True) as gate:
        used = await gate.client()
        await used.send(GET)
        await used.response()
        silent = await gate.client()
        await silent.send(start)
        other = await gate.client()
        await eventually(lambda: gate.listener.open_connections == 3)
        await eventually(lambda: sum(client.waits for client in gate.listener.watch.clients.values()) == 3)
        begun = 1 if start == GET[:-1] else 0
        await eventually(lambda: sum(one.reader.started for one in gate.listener.watch.clients.values()) == begun)
        await gate.still_serves()
        words = await silent.rest()
        assert words.startswith(b"HTTP/1.1 408 ") if start == GET[:-1] else words == b""
        await gate.still_serves()
        for client in (used, other):
            await client.send(GET)
            assert (await client.response()).status == 200
        assert gate.book.codes == []


async def test_where_all_had_a_request_the_longest_idle_makes_way() -> None:
    async with gateway(most=2, origin=True) as gate:
        clients = [await gate.client() for _ in range(2)]
        for client in clients:
            await client.send(GET)
            await client.response()
        await gate.still_serves()
        assert await clients[0].rest() == b""
        await clients[1].send(GET)
        assert (await clients[1].response()).status == 200


async def test_out_of_files_the_silent_ones_make_way() -> None:
    """The accept loop goes on, and who asks something is answered."""
    async with gateway(origin=True) as gate:
        silent = [await gate.client() for _ in range(40)]
        await eventually(lambda: gate.listener.open_connections == 40)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = await gate.client()
        await client.send(GET)
        await client.response()
        with socket.socket() as waiting:
            waiting.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno(), hard))
            try:
                waiting.connect_ex(gate.address)
                await eventually(lambda: gate.listener.open_connections <= 41 - 15)
                assert await silent[0].rest() == b""
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "cannot accept a connection" in dict(gate.log.events)
        await gate.still_serves()


async def test_500_half_open_connections_do_not_prevent_service() -> None:
    """Lesson: no header timeouts (slowloris)."""
    async with gateway(origin=True) as gate:
        for number in range(500):
            client = await gate.client()
            await client.send(GET[: number % len(GET)])
        await eventually(lambda: gate.listener.open_connections == 500)
        await gate.still_serves()


async def test_half_open_connections_end_by_their_deadlines() -> None:
    with limit(HEAD_SECONDS=0.1, KEEP_ALIVE_SECONDS=0.1), quick():
        async with gateway(origin=True) as gate:
            for number in range(100):
                client = await gate.client()
                await client.send(GET[: number % len(GET)])
            await eventually(lambda: gate.listener.open_connections == 0)


def test_the_limit_of_connections_follows_the_limit_of_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        most = connection_limit()
        assert most >= 16
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= limits.FILES_OF_CONNECTION * most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_sockets_for_an_address() -> None:
    (sock,) = open_sockets("127.0.0.1", 0)
    with sock:
        host, port = sock.getsockname()
        assert (host, port > 0) == ("127.0.0.1", True)
        with pytest.raises(OSError, match="in use"):
            open_sockets("127.0.0.1", port)


def test_sockets_for_every_address() -> None:
    sockets = open_sockets("", 0)
    port = sockets[0].getsockname()[1]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    finally:
        for sock in sockets:
            sock.close()


# Failures


async def test_a_failing_site_closes_its_connection_and_no_other() -> None:
    """Lesson: an exception that leaves a connection handler crashes trio.serve_listeners."""

    def fail(request: Request) -> Reply:
        if request.target == b"/fail":
            raise LookupError("a bug of a site")
        return Reply(200, [], b"mine")

    async with gateway(origin=True) as gate:
        gate.site.reply = fail
        other = await gate.client()
        await other.send(GET)
        assert (await other.response()).body == b"mine"
        client = await gate.client()
        await client.send(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.ending() == "reset"
        (error,) = gate.log.claim()
        assert "a bug of a site" in error
        await other.send(GET)
        assert (await other.response()).body == b"mine"


@pytest.mark.parametrize("where", ["rewrite", "on_down_bytes", "on_down_data"])
async def test_a_failing_observer_breaks_its_answer_and_nothing_else(where: str) -> None:
    def fail(_: object) -> None:
        raise LookupError("a bug of an observer")

    async with gateway() as gate:
        gate.site.options[where] = fail
        client, upstream = await gate.conversation()
        await upstream.send(STREAM)
        assert await client.ending() == "reset"
        assert await upstream.ending(SOON) in ("eof", "reset")
        assert len(gate.log.claim()) == 1


async def test_a_failing_observer_of_the_upload() -> None:
    def fail(_: object) -> None:
        raise LookupError("a bug of an observer")

    async with gateway() as gate:
        gate.site.options["on_up_bytes"] = fail
        client = await gate.client()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert await client.ending() == "reset"
        assert len(gate.log.claim()) == 1


async def test_an_end_that_fails_or_hangs_spoils_nobody_elses_day() -> None:
    """Every shield has a deadline."""
    for end in (fail_at_the_end, trio.sleep_forever):
        async with gateway() as gate:
            with patch.object(relay, "_END_SECONDS", 0.05), patch.object(gate.site, "end", end):
                client, upstream = await gate.conversation()
                await upstream.send(OK)
                assert (await client.response()).body == b"ok"
                client.reset()
                await eventually(lambda: gate.listener.open_connections == 0, SOON)
                assert len(gate.log.claim()) == (end is fail_at_the_end)


async def fail_at_the_end() -> None:
    raise LookupError("a bug of a site")


# Revocation


async def test_revocation_cuts_the_streams_that_live_by_the_key() -> None:
    """Lesson: logout, role change and member removal left the live streams working."""
    async with gateway() as gate:
        gate.site.options["revoked_by"] = (("session", "a"), ("user", "b"))
        client, upstream = await streaming(gate)
        gate.site.options["revoked_by"] = (("session", "other"), ("user", "b"))
        other, other_upstream = await streaming(gate)
        assert gate.listener.watch.live_keys() == {("session", "a"), ("session", "other"), ("user", "b")}
        assert gate.listener.watch.revoke(("session", "a")) == 1
        assert await client.ending() == "reset"
        assert await upstream.ending() in ("eof", "reset")
        await other_upstream.send(b"0\r\n\r\n")
        assert await other.until(b"0\r\n\r\n")
        assert gate.listener.watch.revoke(("user", "b")) == 0
        assert gate.listener.watch.live_keys() == set()


@pytest.mark.parametrize("state", ["upgraded", "before the head", "uploading"])
async def test_revocation_cuts_in_every_state(state: str) -> None:
    async with gateway() as gate:
        gate.site.options["revoked_by"] = (("session", "a"),)
        ask = {
            "upgraded": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "before the head": GET,
            "uploading": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        }[state]
        client, upstream = await gate.conversation(ask)
        if state == "upgraded":
            await upstream.send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n")
            await client.head()
        assert gate.listener.watch.revoke(("session", "a")) == 1
        assert await client.ending() == "reset"
        assert await upstream.ending() in ("eof", "reset")


# The end


async def ended(gate: Gateway, seconds: float = SOON) -> None:
    await eventually(lambda: gate.listener.open_connections == 0, seconds)


async def test_at_the_end_idle_connections_close_at_once_and_in_peace() -> None:
    with limit(FRESH_SECONDS=60):
        async with gateway(origin=True) as gate:
            used = await gate.client()
            await used.send(GET)
            await used.response()
            await eventually(lambda: gate.listener.open_connections == 1)
            gate.listener.drain(60)
            assert await used.ending(SOON) == "eof"


async def test_at_the_end_who_has_just_come_may_ask_its_question() -> None:
    """A restart refuses nobody: who was taken before the signal cannot know that it should have come later."""
    with limit(FRESH_SECONDS=60):
        async with gateway(origin=True) as gate:
            client = await gate.client()
            await eventually(lambda: gate.listener.open_connections == 1)
            gate.listener.drain(60)
            await trio.testing.wait_all_tasks_blocked()
            await client.send(GET)
            message = await client.response()
            assert (message.status, message.only("connection")) == (200, b"close")
            assert await client.ending(SOON) == "eof"


async def test_at_the_end_who_has_come_and_does_not_ask_delays_nobody() -> None:
    async with gateway(origin=True) as gate:
        client = await gate.client()
        await eventually(lambda: gate.listener.open_connections == 1)
        gate.listener.drain(60)
        assert await client.ending(SOON) == "eof"


async def test_at_the_end_an_answer_that_is_still_in_the_socket_is_not_lost() -> None:
    """The connection is idle for us while the client still receives: a reset would destroy its answer."""
    async with gateway() as gate:
        gate.site.reply = lambda _: Reply(200, [], bytes(1 << 20))
        client = await gate.client(receive_buffer=4096)
        await client.send(GET)
        await eventually(lambda: gate.book.answers == [("test", 200)])
        gate.listener.drain(60)
        await ended(gate)
        assert (await client.response()).body == bytes(1 << 20)


async def test_at_the_end_nobody_is_taken_any_more() -> None:
    async with gateway() as gate:
        address = gate.address
        client, upstream = await gate.conversation()
        gate.listener.drain(60)
        await trio.testing.wait_all_tasks_blocked()
        assert await gate.refuses(address)
        await upstream.send(OK)
        message = await client.response()
        assert (message.body, message.only("connection")) == (b"ok", b"close")
        assert await client.ending() == "eof"


@pytest.mark.parametrize("state", ["deciding", "deciding a reply", "before the head", "in the body", "uploading"])
async def test_at_the_end_a_busy_connection_is_answered(state: str) -> None:
    async with gateway() as gate:
        if state.startswith("deciding"):
            gate.site.gate = trio.Event()
        if state == "deciding a reply":
            gate.site.reply = lambda _: Reply(200, [], b"ok")
        client = await gate.client()
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel"
        await client.send(post if state == "uploading" else GET)
        upstream = None if state.startswith("deciding") else await gate.accept()
        await eventually(lambda: len(gate.site.requests) == 1)
        if upstream is not None:
            await upstream.head()
            if state == "in the body":
                await upstream.send(OK[:-1])
                await client.until(b"\r\n\r\no")
                client.buffer += OK[:-1]
        gate.listener.drain(60)
        await trio.testing.wait_all_tasks_blocked()
        if gate.site.gate is not None:
            gate.site.gate.set()
        if state == "deciding":
            upstream = await gate.accept()
            await upstream.head()
        if upstream is not None:
            if state == "uploading":
                await client.send(b"lo")
                await upstream.exactly(5)
            await upstream.send(OK[-1:] if state == "in the body" else OK)
        message = await client.response()
        assert message.body == b"ok"
        assert message.only("connection") == (None if state == "in the body" else b"close")
        assert await client.ending(SOON) == "eof"


async def test_at_the_end_a_request_that_has_begun_is_still_taken() -> None:
    async with gateway() as gate:
        gate.site.reply = lambda _: Reply(200, [], b"ok")
        client = await gate.client()
        await client.send(GET[:-2])
        await eventually(lambda: any(found.reader.started for found in gate.listener.watch.clients.values()))
        gate.listener.drain(60)
        await trio.testing.wait_all_tasks_blocked()
        await client.send(GET[-2:])
        message = await client.response()
        assert (message.body, message.only("connection")) == (b"ok", b"close")


async def test_at_the_end_streams_are_cut_at_the_deadline() -> None:
    async with gateway() as gate:
        client, upstream = await streaming(gate)
        gate.listener.drain(0.1)
        assert await client.ending(SOON) == "reset"
        assert await upstream.ending(SOON) in ("eof", "reset")


async def test_at_the_end_a_client_that_does_not_read_delays_nobody() -> None:
    """Lesson: a client that stops reading blocked shutdown for ever."""
    async with gateway() as gate:
        client = await gate.client(receive_buffer=4096)
        await client.send(GET)
        upstream = await gate.accept()
        await upstream.head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await upstream.flood(b"10000\r\n" + bytes(65536) + b"\r\n")
        gate.listener.drain(0.1)
        await ended(gate)


async def test_cancelling_the_listener_ends_everything() -> None:
    async with gateway() as gate:
        client, upstream = await streaming(gate)
        address = gate.address
        gate.stop()
        await ended(gate)
        assert await client.ending() == "reset"
        assert await upstream.ending() in ("eof", "reset")
        assert await gate.refuses(address)
