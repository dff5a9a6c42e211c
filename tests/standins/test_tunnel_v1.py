"""The stand-ins of version 1 of the tunnel against each other: a witness that errs convicts nobody."""

from __future__ import annotations

import hashlib
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio_websocket import ConnectionRejected, open_websocket

from tests.standins.content import content, content_hash
from tests.standins.http_local import HttpLocal
from tests.standins.tunnel_agent_v1 import TunnelAgentV1
from tests.standins.tunnel_server_v1 import TooBig, TunnelClosed, TunnelServerV1
from tests.standins.tunnel_wire_v1 import MOST_MESSAGE, Malformed, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_websocket import WebSocketConnection

PATIENCE = 30.0  # seconds until a test gives up waiting
TOKEN = "token-of-the-tunnel"
SANDBOX = "a" * 16


@dataclass
class Tunnel:
    """Both ends and what is behind them."""

    server: TunnelServerV1
    agent: TunnelAgentV1
    local: HttpLocal
    nursery: trio.Nursery


@asynccontextmanager
async def tunnel(**options: Any) -> AsyncIterator[Tunnel]:
    """A tunnel that is up."""
    server, local = TunnelServerV1(TOKEN), HttpLocal()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            await nursery.start(local.serve)
            agent = TunnelAgentV1(f"{server.url}/api/tunnel/{SANDBOX}", TOKEN, local.port, **options)
            await nursery.start(agent.run)
            await server.connected()
            yield Tunnel(server, agent, local, nursery)
            nursery.cancel_scope.cancel()
    assert not local.violations


@asynccontextmanager
async def raw_agent(server: TunnelServerV1) -> AsyncIterator[WebSocketConnection]:
    """An agent that is played by hand, and offers version 2 in vain."""
    async with open_websocket(
        "127.0.0.1",
        server.port,
        f"/api/tunnel/{SANDBOX}?token={TOKEN}",
        use_ssl=False,
        subprotocols=["cli-server.tunnel.v2"],
    ) as socket:
        assert socket.subprotocol is None
        yield socket


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 20_000_000])
async def test_bodies_down(size: int) -> None:
    async with tunnel() as it:
        found = hashlib.sha256()
        async with it.server.stream("GET", f"/bytes/{size}") as answer:
            async for piece in answer:
                found.update(piece)
        assert (answer.status, answer.received) == (200, size)
        assert found.hexdigest() == content_hash(size)
        assert answer.headers["content-length"] == str(size)
        assert not it.server.violations


async def test_requests_up() -> None:
    async with tunnel() as it:
        body = content(30_000)
        status, _, answer = await it.server.request("PUT", "/hash?q=1", {"X-Name": "value"}, body)
        assert status == 200
        assert content_hash(30_000).encode() in answer
        visit = it.local.visits[-1]
        assert (visit.method, visit.target, visit.get("x-name")) == ("PUT", "/hash?q=1", "value")
        with pytest.raises(TooBig):
            await it.server.request("POST", "/hash", body=content(40_000))
        assert (await it.server.request("GET", "/status/204"))[0] == 204
        assert not it.server.violations


async def test_many_at_once_do_not_wait_for_each_other() -> None:
    async with tunnel() as it:
        done = trio.Event()

        async def wait() -> None:
            await it.server.request("GET", "/gate/one")
            done.set()

        it.nursery.start_soon(wait)
        await it.local.wait_until(lambda: it.local.open)
        async with trio.open_nursery() as nursery:
            for size in range(50_000, 50_020):
                nursery.start_soon(it.server.request, "GET", f"/bytes/{size}?chunked=1")
        assert not done.is_set()
        it.local.release("one")
        await done.wait()
        assert not it.server.violations


@pytest.mark.parametrize(("repeated", "value"), [("first", "a"), ("last", "b, c"), ("joined", "a, b, c")])
async def test_repeated_headers_do_not_survive(repeated: str, value: str) -> None:
    async with tunnel(repeated=repeated) as it:
        _, headers, _ = await it.server.request("GET", "/cookies")
        assert headers["x-thrice"] == value


async def test_a_local_server_that_breaks_or_is_not_there() -> None:
    async with tunnel() as it:
        status, headers, body = await it.server.request("GET", "/break/100/10")
        assert (status, headers["content-length"], len(body)) == (200, "100", 10)
        assert (await it.server.request("GET", "/break/1/-1"))[0] == 502
        it.agent.port = 1
        assert (await it.server.request("GET", "/"))[0] == 502
        assert not it.server.violations


async def test_pings_and_the_text_of_the_agent() -> None:
    async with tunnel(ping_seconds=0.01, token_in="query") as it:
        await it.agent.ponged(2)
        connection = await it.server.connected()
        assert connection.pings >= 2
        assert '"agent_info"' in connection.texts[0]
        assert (connection.sandbox_id, connection.token_in, connection.offered) == (SANDBOX, "query", ())
        assert not it.server.violations


@pytest.mark.parametrize(
    ("message", "reason", "code"),
    [
        (b"", "has no header length", 1002),
        (b"\xff\xff\xff\xfc{}", "would end at 4294967296", 1002),
        (b"\0\0\0\x02{]", "no JSON", 1002),
        (b"\0\0\0\x02[]", "no object", 1002),
        (encode({"type": "cancel", "id": "1"}), "of type 'cancel'", 1002),
        (encode({"type": "request", "id": "1"}), "request has", 1002),
        (encode({"type": "request", "id": "1", "method": "GET", "path": "/", "headers": {"a": ["b"]}}), "single", 1002),
        (encode({"type": "request", "id": "1", "method": "GET", "path": "@evil/", "headers": {}}), "path is", 1002),
        ("text", "a text message", 1002),
        (bytes(MOST_MESSAGE + 1), "message of 32769 bytes", 1009),
    ],
)
async def test_the_agent_leaves_a_server_that_is_malformed(message: bytes | str, reason: str, code: int) -> None:
    async with tunnel() as it:
        connection = await it.server.connected()
        await it.server.send_raw(message)
        await connection.over.wait()
        assert it.agent.reason is not None
        assert reason in it.agent.reason
        assert connection.close_code == code


async def test_either_side_leaves() -> None:
    async with tunnel() as it:

        async def asks(path: str) -> None:
            with pytest.raises(TunnelClosed):
                await it.server.request("GET", path)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(asks, "/never")
            nursery.start_soon(asks, "/events")
            await it.local.wait_until(lambda: len(it.local.open) == 2)
            await it.agent.close()
        await it.local.wait_until(lambda: not it.local.open)  # the agent gave them up
        assert it.server.current is None
    for leave in (TunnelServerV1.close, TunnelServerV1.drop):
        async with tunnel() as it:
            connection = await it.server.connected()
            await leave(it.server)
            await connection.over.wait()


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_the_server_refuses(status: int) -> None:
    server = TunnelServerV1(TOKEN)
    server.refuse = None if status == 401 else status
    async with trio.open_nursery() as nursery:
        url = await nursery.start(server.serve)
        agent = TunnelAgentV1(f"{url}/api/tunnel/{SANDBOX}", "wrong" if status == 401 else TOKEN, 1)
        with pytest.RaisesGroup(pytest.RaisesExc(ConnectionRejected, check=lambda error: error.status_code == status)):
            await agent.run()
        nursery.cancel_scope.cancel()


GOOD = {"type": "stream", "id": "1", "status": 200, "headers": {}, "done": False}
MORE = {"type": "stream", "id": "1", "done": False}
LAST = {"type": "stream", "id": "1", "done": True}


@pytest.mark.parametrize(
    ("messages", "violation"),
    [
        ([encode(GOOD, b"a"), encode(MORE, bytes(16384)), encode(LAST)], None),
        ([encode(GOOD | {"done": True})], None),
        ([encode(GOOD), encode(MORE, b"a"), encode(LAST)], None),
        (['{"type":"agent_info","data":{}}', encode(GOOD | {"done": True})], None),
        ([encode(GOOD), encode(LAST)], "an empty body in 2 frames"),
        ([encode(GOOD, b"a"), encode(GOOD, b"b"), encode(LAST)], "stream has"),
        ([encode(MORE, b"a"), encode(LAST)], "stream has"),
        ([encode(GOOD, bytes(16385)), encode(LAST)], "16385 bytes of body"),
        ([encode(GOOD, bytes(40_000)), encode(GOOD | {"done": True})], "message of 4"),
        ([encode(GOOD, b"a"), encode(LAST, b"b")], "in the last frame"),
        ([encode(GOOD | {"done": True}), encode(MORE, b"a")], "after its end"),
        ([encode(GOOD | {"id": "2"}), encode(GOOD | {"done": True})], "nobody asked"),
        ([encode(GOOD | {"status": "200", "done": True})], "status is"),
        ([encode(GOOD | {"headers": {"a": ["b"]}, "done": True})], "single strings"),
        ([encode(GOOD | {"done": 1}), encode(LAST)], "done is 1"),
        ([b"\xff\xff\xff\xff", encode(GOOD | {"done": True})], "would end"),
        (['{"type":"hello"}', encode(GOOD | {"done": True})], "no agent_info"),
        ([encode({"type": "pong"}), encode(GOOD | {"done": True})], "type 'pong'"),
    ],
)
async def test_the_server_sees_every_mistake(messages: list[bytes | str], violation: str | None) -> None:
    server = TunnelServerV1(TOKEN)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            async with raw_agent(server) as agent:
                connection = await server.connected()
                assert (connection.offered, connection.token_in) == (("cli-server.tunnel.v2",), "query")
                nursery.start_soon(server.request, "GET", "/")
                request = decode(await agent.get_message())
                assert request.header == {"type": "request", "id": "1", "method": "GET", "path": "/", "headers": {}}
                for message in messages:
                    await agent.send_message(message)
                await agent.send_message(encode({"type": "ping"}))  # answered once all before it was read
                assert decode(await agent.get_message()).kind == "pong"
            nursery.cancel_scope.cancel()
    if violation is None:
        assert not server.violations
    else:
        assert violation in server.violations[0]


def test_the_example_of_the_contract() -> None:
    header = {"type": "request", "id": "x", "method": "GET", "path": "/session?limit=1", "headers": {"Accept": "*/*"}}
    message = encode(header, b"body")
    written = b'{"type":"request","id":"x","method":"GET","path":"/session?limit=1","headers":{"Accept":"*/*"}}'
    assert message == len(written).to_bytes(4, "big") + written + b"body"
    assert (decode(message).header, decode(message).payload) == (header, b"body")
    with pytest.raises(Malformed):
        decode(message[:50])


async def test_the_agent_as_a_program() -> None:
    server, local = TunnelServerV1(TOKEN), HttpLocal()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(server.serve)
            await nursery.start(local.serve)
            command = [sys.executable, "-m", "tests.standins.tunnel_agent_v1", f"{url}/api/tunnel/{SANDBOX}", TOKEN]
            root = Path(__file__).parents[2]
            process: trio.Process = await nursery.start(_program, [*command, str(local.port)], root)
            await server.connected()
            assert (await server.request("GET", "/bytes/5"))[2] == content(5)
            await server.close(1001)
            assert await process.wait() == 0
            nursery.cancel_scope.cancel()


async def _program(command: list[str], root: Path, *, task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(command, cwd=root, capture_stdout=True, task_status=task_status)
