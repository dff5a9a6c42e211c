"""The internal listener and who is not heard there, and clients of sandbox hosts who speak as replicas do."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

from daemon.secret import Keyring, load_keyring
from daemon.tunnel import hop
from tests.standins.content import content
from tests.tunnel.browser import PATIENCE, Browser
from tests.tunnel.harness import Team, agent_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.replicas.three import Elsewhere, Three
    from tests.standins.http_local import HttpLocal
    from tests.support.product import Product
    from tests.tunnel.browser import Reply

pytestmark = [pytest.mark.needs("postgres", "docker"), pytest.mark.timeout(120)]
NAME: Final = hop.HEADER.decode()
Names = dict[str, str]
STRANGER: Final = Keyring(b"x" * 32)


class Inside:
    """Somebody who reaches the internal listener of a replica that holds a machine's tunnel."""

    def __init__(self, three: Three, holder: Product, sandbox_id: str) -> None:
        self.three = three
        self.holder = holder
        self.sandbox_id = sandbox_id
        self.keyring = load_keyring(Path(holder.env["SECRET_KEY_FILE"]))
        self.port = int(holder.env["REPLICA_LISTEN"].rpartition(":")[2])
        query = "SELECT tunnel_replica, tunnel_connection FROM sandboxes WHERE id = %s"
        ((self.replica_id, self.connection_id),) = three.rows(query, sandbox_id)

    def voucher(
        self, keyring: Keyring | None = None, target: str = "/hash", late: float = 0.0, other: Names | None = None
    ) -> str:
        """As a replica writes it."""
        given = {"replica_id": self.replica_id, "sandbox_id": self.sandbox_id, "connection_id": self.connection_id}
        words = hop.Voucher(**given | (other or {}))
        return hop.write(keyring or self.keyring, words, b"GET", target.encode(), time.time() - late).decode()

    async def ask(self, *values: str, target: str = "/hash") -> Reply:
        """A request with these headers of ours."""
        return await Browser(self.port, "replica").get(target, [(NAME, value) for value in values])


@pytest.fixture
async def inside(outside: Elsewhere, local: HttpLocal) -> AsyncIterator[Inside]:
    joined = await outside.join()
    async with agent_here(outside, joined, local.port):
        yield Inside(outside.three, outside.three.replicas[0], joined.sandbox_id)


async def test_a_replica_is_answered(inside: Inside, local: HttpLocal) -> None:
    """Else the tests below would show nothing."""
    reply = await inside.ask(inside.voucher())
    assert reply.status == 200
    assert NAME not in [name.lower() for name, _ in json.loads(reply.body)["headers"]]


async def test_nobody_else_is(inside: Inside, local: HttpLocal) -> None:
    replayed = inside.voucher(late=hop.LIFETIME_SECONDS + 2)
    early = inside.voucher(late=-hop.LIFETIME_SECONDS - 20)  # in the time of this test it gets less early
    good = inside.voucher()
    for values in (
        (), ("",), ("pass",), (inside.voucher(STRANGER),), (replayed,), (early,), (good, good), (good + "0",),
        (good.upper(),), (inside.voucher(target="/other"),), (f"hello {good.partition(' ')[2]}",),
    ):  # fmt: skip
        for target in (
            "/hash",
            "/hello",
            "/healthz",
            "/readyz",
            "/api/me",
            "/api/tunnel/x",
            "/proxy/anthropic/v1",
            "/",
        ):
            if target == "/hash" or len(values) != 1:
                reply = await inside.ask(*values, target=target)
                assert (reply.status, json.loads(reply.body)["code"]) == (401, "not_a_replica"), (values, target)
    assert not local.visits


async def test_a_tunnel_that_is_not_there(inside: Inside, local: HttpLocal) -> None:
    """One that another replica holds is not passed on a second time."""
    for other in (
        {"sandbox_id": "s" * 16}, {"connection_id": "c" * 16}, {"replica_id": "r" * 16},
    ):  # fmt: skip
        reply = await inside.ask(inside.voucher(other=other))
        assert (reply.status, reply.all(NAME)) == (503, ["not-here"])
    second = Inside(inside.three, inside.three.replicas[1], inside.sandbox_id)
    assert (await second.ask(second.voucher())).all(NAME) == ["not-here"]
    assert not local.visits


async def test_a_head_that_is_two(inside: Inside, local: HttpLocal) -> None:
    """The same reader as for the whole world: what can be read in two ways is refused, signed or not."""
    voucher = inside.voucher().encode()
    for framing in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked, identity\r\n", b"X: a\n b: c\r\n", b" folded: x\r\n", b"Content-Length: +5\r\n",
    ):  # fmt: skip
        data = b"GET /hash HTTP/1.1\r\nHost: x\r\n%b: %b\r\n%b\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await _raw(inside.port, data % (hop.HEADER, voucher, framing))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer
        assert answer.count(b"\r\n\r\n") == 1
    assert not [visit for visit in local.visits if visit.target == "/smuggled"]


async def _raw(port: int, data: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(data)
        with trio.move_on_after(PATIENCE):
            return b"".join([piece async for piece in stream])
    raise AssertionError("it was not closed")


@pytest.mark.parametrize("at", [0, 1], ids=["at the replica with the tunnel", "at another one"])
async def test_a_browser_that_speaks_as_a_replica(
    inside: Inside, outside: Elsewhere, local: HttpLocal, at: int
) -> None:
    """On the public listener the header is nothing, and reaches neither the agent nor another replica."""
    outside.three.balancer.only = outside.three.replicas[at].port
    browser = await Team.browser(outside, inside.sandbox_id)
    for value in (inside.voucher(), "not-here", "refused 503 x y", "held", "pass"):
        for more in ([], [("Connection", f"keep-alive, {NAME}")]):
            reply = await browser.get("/hash", [(NAME, value), *more])
            assert reply.status == 200
            assert NAME not in [name.lower() for name, _ in json.loads(reply.body)["headers"]]
    other = Inside(outside.three, outside.three.replicas[0], inside.sandbox_id)
    stranger = Browser(browser.port, browser.host)
    assert (await stranger.get("/hash", [(NAME, other.voucher())])).status == 401
    assert len(local.visits) == 10


@pytest.mark.parametrize("words", ["not-here", "refused 503 tunnel_busy x", "broke x"])
async def test_a_machine_that_speaks_as_a_replica(outside: Elsewhere, words: str) -> None:
    """What a machine answers is never taken for what a replica says."""
    answer = f"HTTP/1.1 200 OK\r\n{NAME}: {words}\r\nx-mine: 1\r\ncontent-length: 5\r\n\r\nmine."
    joined = await outside.join()
    async with impostor(answer.encode()) as (port, _), agent_here(outside, joined, port):
        reply = await (await outside.browser(joined.sandbox_id)).get("/")
        assert (reply.status, reply.body, reply.all("x-mine"), reply.all(NAME)) == (200, b"mine.", ["1"], [])


@asynccontextmanager
async def impostor(answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Somebody who says the same to everybody, and what was said to them."""
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                heard.append(bytes(await stream.receive_some()))
                await stream.send_all(answers)
                heard.append(bytes(await stream.receive_some()))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1], heard
        nursery.cancel_scope.cancel()


async def test_an_address_that_is_somebody_elses_now(inside: Inside, outside: Elsewhere) -> None:
    """Lesson: a stale address pointed at another tenant's container, and what was meant for the first went there."""
    browser = await outside.browser(inside.sandbox_id)
    secret = "said-in-confidence"
    guess = b"HTTP/1.1 204 No Content\r\n%b: %b\r\n\r\n" % (hop.HEADER, b"0" * 64)
    async with impostor(guess) as (port, heard):
        query = "UPDATE replicas SET url = %s WHERE id = %s RETURNING url"
        inside.three.rows(query, f"http://127.0.0.1:{port}", inside.replica_id)
        inside.three.rows("SELECT pg_notify('cli_server', 'tunnel ' || %s)", inside.sandbox_id)
        reply = await browser.ask("POST", f"/hash?{secret}", [("X-Secret", secret)], secret.encode())
        assert reply.status == 503
        inside.three.rows(query, inside.holder.env["REPLICA_URL"], inside.replica_id)
        inside.three.rows("SELECT pg_notify('cli_server', 'tunnel ' || %s)", inside.sandbox_id)
    assert heard
    assert not [piece for piece in heard if secret.encode() in piece]
    # The notification tells that the address is right again. Who asks before it came waits for another tunnel.
    with trio.fail_after(PATIENCE):
        while (await browser.get("/bytes/5")).status == 503:
            pass
    assert (await browser.get("/bytes/5")).body == content(5)
