"""Doors: the addresses at which sandboxes in containers reach the Anthropic proxy, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import trio

from daemon.gateway.doors import Doors, ProxyOnly
from daemon.gateway.exchange import Decision, Reply, Request
from daemon.gateway.origin import client_origin
from tests.gateway.harness import Gateway, gateway
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
async def around() -> AsyncIterator[Around]:
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


def test_a_sandbox_is_never_believed_where_it_says_it_comes_from() -> None:
    """It may be within what the operator trusts: 10.0.0.0/8 is a proxy's network, too."""
    from ipaddress import ip_network

    headers = [(b"x-forwarded-for", b"198.51.100.1")]
    trusted, never = (ip_network("10.0.0.0/8"),), (ip_network("10.213.0.0/16"),)
    assert client_origin(headers, "10.1.0.1", trusted, "http", never=never) == ("198.51.100.1", "http")
    assert client_origin(headers, "10.213.0.2", trusted, "http", never=never) == ("10.213.0.2", "http")
