"""Whose listener a port is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from backends import sockets
from backends.sockets import Listeners, find_listener, find_ports, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = """
import socket, sys
host, (port, reuse, twins) = sys.argv[1], map(int, sys.argv[2:])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
for _ in range(twins):
    s = socket.socket(family)
    if reuse:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((host, port))
    s.listen()
    globals()[f"kept{_}"] = s
    port = s.getsockname()[1]
print(port, flush=True)
sys.stdin.read()
"""


class Served:
    """A child process that listens, and ends with its standard input."""

    def __init__(self, host: str, port: int = 0, *, reuse: bool = False, twins: int = 1) -> None:
        command = [sys.executable, "-c", SERVER, host, str(port), str(int(reuse)), str(twins)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def end(self) -> None:
        """End it."""
        with self.process:
            self.process.kill()


@pytest.fixture
def served() -> Iterator[list[Served]]:
    """Servers to be ended."""
    found: list[Served] = []
    yield found
    for server in found:
        server.end()


@pytest.mark.parametrize(
    ("bound", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.5", "127.0.0.5"),
        ("::1", "::1"),
        ("::", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_where_a_listener_is_reached(served: list[Served], bound: str, host: str) -> None:
    served.append(Served(bound))
    found = find_listener(os.getpid(), served[0].port)
    assert found is not None
    assert (found.host, found.port, found.pid) == (host, served[0].port, served[0].process.pid)
    assert found.still_there()
    socket.create_connection((found.host, found.port)).close()
    served[0].end()
    assert not found.still_there()
    assert find_listener(os.getpid(), served[0].port) is None


def test_a_connection_is_no_listener_and_a_stranger_is_not_ours(served: list[Served]) -> None:
    served.append(Served("127.0.0.1"))
    with socket.create_connection(("127.0.0.1", served[0].port)) as connection:
        assert listening(connection.getsockname()[1]) == {}
    assert find_listener(served[0].process.pid, served[0].port) is None, "the root itself is not below the root"
    with socket.create_server(("127.0.0.1", 0)) as own:
        assert find_listener(os.getpid(), own.getsockname()[1]) is None


def test_a_stranger_beside_ours_makes_the_port_nobodys(served: list[Served]) -> None:
    """Lesson: requests must not reach another tenant, not even now and then."""
    served.append(Served("127.0.0.1", reuse=True))
    port = served[0].port
    assert find_listener(os.getpid(), port) is not None
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        assert find_listener(os.getpid(), port) is None
    assert find_listener(os.getpid(), port) is not None


def test_several_listeners_of_ours(served: list[Served]) -> None:
    served.append(Served("127.0.0.1", reuse=True, twins=3))
    assert find_listener(os.getpid(), served[0].port) is not None
    served.append(Served("::1", served[0].port))
    found = find_listener(os.getpid(), served[0].port)
    assert found is not None
    assert found.host == "127.0.0.1"


async def test_what_was_found_is_asked_again(served: list[Served]) -> None:
    """A listener that is gone is not remembered, however fresh the memory."""
    listeners = Listeners(os.getpid())
    served.append(Served("127.0.0.1"))
    found = await listeners.find(served[0].port)
    assert found is not None
    assert await listeners.find(served[0].port) is found
    served[0].end()
    assert await listeners.find(served[0].port) is None


def test_the_ports_that_can_be_reached(served: list[Served]) -> None:
    """Those of :func:`find_listener`, and no stranger's: not beside ours, and not between them."""
    root = os.getpid()
    before = find_ports(root)
    served.append(Served("127.0.0.1"))
    served.append(Served("::"))
    served.append(Served("127.0.0.1", reuse=True, twins=2))
    ports = sorted(server.port for server in served)
    assert [port for port in find_ports(root) if port not in before] == ports
    assert find_ports(served[0].process.pid) == [], "the root itself is not below the root"
    with socket.create_server(("127.0.0.1", 0)), socket.socket() as beside:
        beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        beside.bind(("127.0.0.1", served[2].port))
        beside.listen()
        assert [port for port in find_ports(root) if port not in before] == sorted([served[0].port, served[1].port])
    served[1].end()
    assert [port for port in find_ports(root) if port not in before] == sorted([served[0].port, served[2].port])


def test_a_list_of_ports_has_bounds(served: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may open as many files as the system allows, and listen on all ports."""
    before = find_ports(os.getpid())
    served.extend(Served("127.0.0.1") for _ in range(3))
    ports = sorted([*before, *(server.port for server in served)])
    monkeypatch.setattr(sockets, "_MOST_PORTS", 2)
    assert find_ports(os.getpid()) == ports[:2]
    monkeypatch.setattr(sockets, "_MOST_FILES", 0)
    assert find_ports(os.getpid()) == []
    monkeypatch.undo()
    monkeypatch.setattr(sockets, "LEAST_PORT", ports[-1])
    assert find_ports(os.getpid()) == ports[-1:]


async def test_those_who_ask_together_share_one_scan(served: list[Served], monkeypatch: pytest.MonkeyPatch) -> None:
    listeners = Listeners(os.getpid())
    served.append(Served("127.0.0.1"))
    scans: list[int] = []

    def counted(root: int) -> list[int]:
        scans.append(root)
        return find_ports(root)

    monkeypatch.setattr(sockets, "find_ports", counted)
    found: list[list[int]] = []

    async def ask() -> None:
        found.append(await listeners.ports())

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert len(found) == 20
    assert all(served[0].port in ports for ports in found)
    assert len(scans) <= 2  # a second one on a machine that took more than a second for this
