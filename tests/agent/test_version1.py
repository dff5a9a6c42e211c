"""Our agent, as its users run it, with a server of version 1 that was written from the contract alone."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.agent.credentials import Credentials
from tests.standins.content import content, content_hash
from tests.standins.http_local import HttpLocal
from tests.standins.tunnel_server_v1 import TunnelClosed, TunnelServerV1
from tests.standins.tunnel_wire_v1 import encode
from tests.tunnel.harness import AgentProcess, Joined, agent_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE = 30.0
TOKEN = "token-of-the-tunnel"
SIZES = [0, 1, 16383, 16384, 16385, 20_000_000]


class Witnesses:
    """A server, an agent that is connected to it, and what is behind the agent."""

    def __init__(self) -> None:
        self.server = TunnelServerV1(TOKEN)
        self.local = HttpLocal()
        self.agent: AgentProcess | None = None

    @asynccontextmanager
    async def connected(self, folder: Path) -> AsyncIterator[None]:
        """Everything runs."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.server.serve)
            await nursery.start(self.local.serve)
            joined = Joined("a23456789abcdefg", TOKEN, self.server.url)
            Credentials(folder / ".cli-server").put_first(joined.registration)
            with agent_process(folder, self.local.url) as self.agent, trio.fail_after(2 * PATIENCE):
                self.agent.start()
                await self.server.connected()
                yield
            nursery.cancel_scope.cancel()
        assert not self.local.violations


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Witnesses]:
    made = Witnesses()
    async with made.connected(tmp_path):
        yield made
    assert not made.server.violations


async def test_it_offers_the_newer_version_and_takes_the_older(it: Witnesses) -> None:
    connection = await it.server.connected()
    assert (connection.offered, connection.token_in) == (("cli-server.tunnel.v2",), "header")
    assert it.agent is not None
    await it.agent.until_said("tunnel version 1")


@pytest.mark.parametrize("how", ["", "?chunked=1"])
async def test_bodies_down(it: Witnesses, how: str) -> None:
    for size in SIZES:
        status, headers, body = await it.server.request("GET", f"/bytes/{size}{how}")
        assert (status, len(body)) == (200, size)
        assert body == content(size)
        assert headers.get("Content-Length") in ([None, str(size)] if how else [str(size)])


async def test_bodies_up_and_heads(it: Witnesses) -> None:
    for size in (0, 1, 16_384, 32_000):
        sent = {"X-Upper": "1", "Cookie": "a=1; b=2", "Host": "browser.example"}
        _, _, body = await it.server.request("POST", "/hash?a=1", sent, content(size))
        seen = json.loads(body)
        assert (seen["received"], seen["target"]) == (size, "/hash?a=1")
        assert size == 0 or seen["sha256"] == content_hash(size)
        given = {name.lower(): value for name, value in seen["headers"]}
        assert (given["x-upper"], given["cookie"], given["host"]) == ("1", "a=1; b=2", "browser.example")
        assert "transfer-encoding" not in given
    _, headers, _ = await it.server.request("GET", "/cookies")
    assert (headers["Set-Cookie"], headers["X-Thrice"]) == ("second=2; Path=/", "a, b, c, d")


async def test_what_has_no_body(it: Witnesses) -> None:
    status, headers, body = await it.server.request("HEAD", "/bytes/20000")
    assert (status, headers["Content-Length"], body) == (200, "20000", b"")
    assert (await it.server.request("GET", "/status/204"))[::2] == (204, b"")
    assert (await it.server.request("GET", "/status/304"))[::2] == (304, b"")
    assert (await it.server.request("GET", "/status/200?hints=3"))[0] == 200


async def test_many_at_once(it: Witnesses) -> None:
    async def one(size: int) -> None:
        assert (await it.server.request("GET", f"/bytes/{size}?seed={size % 7}"))[2] == content(size, seed=size % 7)

    async with trio.open_nursery() as nursery:
        for size in range(0, 400_000, 13_000):
            nursery.start_soon(one, size)


async def test_breaking_off_before_the_head_is_a_502(it: Witnesses) -> None:
    status, headers, body = await it.server.request("GET", "/break/100/-1")
    assert status == 502
    assert body
    assert headers["Content-Length"] == str(len(body))
    assert (await it.server.request("GET", "/bytes/5"))[2] == content(5)


async def test_a_body_of_known_length_that_breaks_ends_short(it: Witnesses) -> None:
    status, headers, body = await it.server.request("GET", "/break/900000/300000")
    assert (status, headers["Content-Length"]) == (200, "900000")
    assert len(body) < 900_000
    assert (await it.server.request("GET", "/bytes/5"))[2] == content(5)
    assert len(it.server.connections) == 1


async def test_a_body_of_unknown_length_that_breaks_ends_the_session(it: Witnesses) -> None:
    """There is no other way to say that it is not whole."""
    with pytest.raises(TunnelClosed):
        await it.server.request("GET", "/break/900000/300000?chunked=1")
    await it.server.connected(2)
    assert (await it.server.request("GET", "/bytes/5"))[2] == content(5)


async def test_malformed_messages_end_the_session_with_a_reason(tmp_path: Path) -> None:
    request = {"type": "request", "id": "1", "method": "GET", "path": "/bytes/5", "headers": {}}
    malformed: list[tuple[bytes | str, int]] = [
        (b"\xff\xff\xff\xff{}", 1009),
        (encode({**request, "path": "http://127.0.0.1:1/"}), 1002),
        ("text", 1002),
    ]

    async def say(message: bytes | str, code: int, folder: Path) -> None:
        it = Witnesses()
        async with it.connected(folder):
            connection = await it.server.connected()
            await it.server.send_raw(message)
            await connection.over.wait()
            assert connection.close_code == code
            await it.server.connected(2)
            assert (await it.server.request("GET", "/bytes/5"))[2] == content(5)

    async with trio.open_nursery() as nursery:  # each to an agent of its own, whose first wait is the shortest
        for number, (message, code) in enumerate(malformed):
            nursery.start_soon(say, message, code, tmp_path / str(number))
