"""Doors: the addresses at which sandboxes in containers reach the Anthropic proxy, and nothing else."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.gateway import doors
from daemon.gateway.doors import Doors, ProxyOnly
from daemon.gateway.exchange import Decision, Reply, Request
from daemon.gateway.listener import Listener
from daemon.gateway.origin import client_origin
from daemon.gateway.sites import Inner, Sites
from tests.gateway.harness import Gateway, gateway, limit
from tests.gateway.peer import Peer, eventually
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADDRESS = "127.0.0.2"  # stands in for a gateway of a workspace's network: the machine has it, and only it


class Anthropic:
    """Says that it was asked."""

    async def decide(self, request: Request) -> Decision:
        return Reply(200, [], b"claude")


def misdirected(request: Request) -> Reply:
    return Reply(421, [])


class Around:
    """Doors around a gateway, and what they are told to open."""

    def __init__(self, gate: Gateway) -> None:
        self.gate = gate
        self.port = free_port()
        self.wanted: frozenset[str] = frozenset()
        site = ProxyOnly(Anthropic(), misdirected)
        service = dataclasses.replace(gate.listener.service, site=site, trusted=())
        self.doors = Doors(gate.listener, service, lambda: self.wanted, self.port)

    async def ask(self, target: bytes, host: bytes = b"cli-server") -> int:
        """The status of an answer at the door."""
        sock = trio.socket.socket()
        await sock.connect((ADDRESS, self.port))
        peer = Peer(sock)
        await peer.send(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        answer = await peer.response()
        peer.close()
        return int(answer.status)


@pytest.fixture
async def around(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Around]:
    monkeypatch.setattr(doors, "_LOOK_SECONDS", 0.02)
    async with gateway(origin=True) as gate, trio.open_nursery() as nursery:
        made = Around(gate)
        nursery.start_soon(made.doors.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_only_the_proxy_is_behind_a_door(around: Around) -> None:
    """Whatever the host: a sandbox does not reach the web page or the API by the way that is made for its model."""
    assert await around.gate.refuses((ADDRESS, around.port))
    around.wanted = frozenset({ADDRESS})
    await eventually(lambda: bool(around.doors._open))
    assert await around.ask(b"/proxy/anthropic/v1/messages") == 200
    assert await around.ask(b"/proxy/anthropic") == 200
    for target in (b"/", b"/api/auth/me", b"/proxy/anthropicx", b"/healthz", b"/api/../proxy/anthropic/v1"):
        for host in (b"cli-server", b"localhost", b"127.0.0.2"):
            assert await around.ask(target, host) == 421, (target, host)
    await around.gate.still_serves()


async def test_a_door_is_closed_when_its_network_is_gone(around: Around) -> None:
    around.wanted = frozenset({ADDRESS})
    await eventually(lambda: bool(around.doors._open))
    around.wanted = frozenset()
    await eventually(lambda: not around.doors._open)
    assert await around.gate.refuses((ADDRESS, around.port))
    await around.gate.still_serves()


async def test_an_address_that_is_not_here_yet_is_tried_again(around: Around) -> None:
    """The engine gives the machine its address when the network is made; one that is missing hinders no other."""
    around.wanted = frozenset({ADDRESS, "192.0.2.77"})
    await eventually(lambda: around.doors._told == {"192.0.2.77"})
    await eventually(lambda: bool(around.doors._open))
    assert await around.ask(b"/proxy/anthropic/v1/models") == 200


async def test_the_end_of_the_listener_is_the_end_of_its_doors(around: Around) -> None:
    around.wanted = frozenset({ADDRESS})
    await eventually(lambda: bool(around.doors._open))
    around.gate.listener.drain(1.0)
    await around.gate.listener.drained()
    assert await around.gate.refuses((ADDRESS, around.port))


async def test_a_door_waits_for_its_listener() -> None:
    """Doors may look before the listener has begun, and must not take that for done."""
    async with gateway() as gate:
        idle = Listener(gate.listener.service, [], most=10)
        doors = Doors(idle, gate.listener.service, lambda: frozenset({ADDRESS}), free_port())
        with trio.move_on_after(0.05):
            await doors.run()
        assert not doors._open


async def test_what_a_sandbox_gets_at_the_public_listener() -> None:
    """It reaches a listener on every address by the gateway of its network, also without any other way out."""
    asked: list[str] = []

    class Site:
        def __init__(self, name: str) -> None:
            self.name = name

        async def decide(self, request: Request) -> Decision:
            asked.append(self.name)
            return Reply(200, [])

    async def sandbox_host(request: Request, site: object) -> Decision:
        asked.append("sandbox host")
        return Reply(200, [])

    inner = Inner("cli-server", (ip_network("10.213.0.0/16"),), ProxyOnly(Anthropic(), misdirected))
    sites = Sites("localhost", Site("main"), sandbox_host, misdirected, misdirected, (), inner=inner)

    async def status(host: str, target: bytes, client: str) -> int:
        request = Request(b"GET", target, [], host, None, client, "http", local_address="10.213.0.1")
        found = await sites.decide(request)
        assert isinstance(found, Reply)
        return found.status

    hosts = ("localhost", "10.213.0.1", "oc-a123456789abcdef.localhost", "cli-server")
    for host in hosts:
        assert await status(host, b"/api/auth/register", "10.213.0.2") == 421
        assert await status(host, b"/proxy/anthropic/v1/messages", "10.213.0.2") == 200
    assert not asked
    for host in hosts[:3]:
        assert await status(host, b"/", "198.51.100.1") == 200
    assert asked == ["main", "main", "sandbox host"]
    assert await status("cli-server", b"/", "198.51.100.1") == 421


async def test_a_sandbox_has_a_share_of_the_connections() -> None:
    """Its flood leaves room for people."""
    with limit(MAX_CONNECTIONS_OF_SANDBOX=3):
        async with gateway(most=100, origin=True) as gate:
            gate.listener.service.never_trusted = (ip_network("127.0.0.0/8"),)
            crowd = [await gate.client() for _ in range(3)]
            await eventually(lambda: gate.listener.open_connections == 3)
            extra = await gate.client()
            assert (await extra.response()).status == 503
            gate.listener.service.never_trusted = ()
            await gate.still_serves()
            for client in crowd:
                client.close()


def test_a_sandbox_is_never_believed_where_it_says_it_comes_from() -> None:
    """It may be within what the operator trusts: 10.0.0.0/8 is a proxy's network, too."""
    headers = [(b"x-forwarded-for", b"198.51.100.1")]
    trusted, never = (ip_network("10.0.0.0/8"),), (ip_network("10.213.0.0/16"),)
    assert client_origin(headers, "10.1.0.1", trusted, "http", never=never) == ("198.51.100.1", "http")
    assert client_origin(headers, "10.213.0.2", trusted, "http", never=never) == ("10.213.0.2", "http")
