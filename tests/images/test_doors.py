"""The doors of a sandbox without a container: what they read, and what passes through them.

A second address of loopback stands for the container's own, so that a door and its server can have one port here too.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tests.images.sandbox_files import load_doors
from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

doors: Any = load_doors()

OUTSIDE = "127.0.0.2"
SECONDS = 30.0
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def line(address: str, port: int, state: str = "0A") -> str:
    """A line as the kernel writes it."""
    return (
        f"   0: {address}:{port:04X} {'0' * len(address)}:0000 {state} 00000000:00000000 00:00000000 00000000  1000\n"
    )


LOCAL, ANY, RESOLVER, OWN = "0100007F", "00000000", "0B00007F", "0201D50A"
LOCAL6, ANY6, MAPPED = "0" * 24 + "01000000", "0" * 32, "0000000000000000FFFF00000100007F"


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of a little-endian machine")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        ([line(LOCAL, 3000)], {3000: "127.0.0.1"}),
        ([line(LOCAL6, 3000)], {3000: "::1"}),
        ([line(LOCAL, 3000), line(LOCAL6, 3000)], {3000: "127.0.0.1"}),
        ([line(MAPPED, 3000)], {3000: "127.0.0.1"}),
        ([line(ANY, 3000)], {}),
        ([line(ANY6, 3000)], {}),
        ([line(LOCAL, 3000), line(ANY6, 3000)], {}),
        ([line(LOCAL, 3000), line(OWN, 3000)], {3000: "127.0.0.1"}),  # its own door
        ([line(OWN, 3000)], {}),
        ([line(RESOLVER, 40123)], {}),
        ([line(LOCAL, 80)], {}),
        ([line(LOCAL, 1023), line(LOCAL, 1024)], {1024: "127.0.0.1"}),
        ([line(LOCAL, 3000, state="01"), line(LOCAL, 3001, state="06")], {}),
        ([line(LOCAL, 65535), line(ANY, 4096)], {65535: "127.0.0.1"}),
    ],
)
def test_what_is_behind_loopback(lines: list[str], expected: dict[int, str]) -> None:
    assert doors.behind_loopback([HEAD + "".join(lines)]) == expected
    assert doors.behind_loopback([HEAD + one for one in lines]) == expected, "from the tables of both families together"


def test_addresses_of_loopback_are_not_ones_own() -> None:
    assert not [address for address in doors.own_addresses() if address.startswith("127.")]


# The program with an address and ports of the test: others of this machine are not its business.
PROGRAM = """
import asyncio, sys
from tests.images.sandbox_files import load_doors
doors = load_doors()
real, ports = doors.behind_loopback, {int(port) for port in sys.argv[2].split(",")}
doors.behind_loopback = lambda tables: {port: at for port, at in real(tables).items() if port in ports}
doors.own_addresses = lambda: ["127.0.0.2"]
asyncio.run(doors.watch(doors.Doors(int(sys.argv[1])), 0.02))
"""


@contextmanager
def running(*ports: int, most: int = 100) -> Iterator[subprocess.Popen[bytes]]:
    """The program, with doors for ``ports``."""
    command = [sys.executable, "-c", PROGRAM, str(most), ",".join(map(str, ports))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        yield process
        assert process.poll() is None, process.communicate()[1].decode()
    finally:
        process.terminate()
        said = process.communicate(timeout=SECONDS)[1].decode()
    assert not said, "it says nothing unless it fails"


def serve(address: str = "127.0.0.1", port: int | None = None) -> socket.socket:
    """A listening socket. Nobody else takes its port, also while it is closed."""
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.settimeout(SECONDS)
    listener.bind((address, free_port() if port is None else port))
    listener.listen(200)
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def knock(port: int) -> socket.socket:
    """A connection through the door, as soon as it is open."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection((OUTSIDE, port), SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the door does not open"
            time.sleep(0.01)


def wait_shut(port: int) -> None:
    """Wait until nobody listens outside."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection((OUTSIDE, port), SECONDS).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return
        assert time.monotonic() < deadline, "the door stays open"
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_server_on_localhost_is_reached_and_ends_pass_both_ways(address: str) -> None:
    with closing(serve(address)) as server, running(port_of(server)), closing(knock(port_of(server))) as client:
        with closing(server.accept()[0]) as inside:
            inside.settimeout(SECONDS)
            client.sendall(b"question" * 100_000)
            client.shutdown(socket.SHUT_WR)
            assert read_all(inside) == b"question" * 100_000
            inside.sendall(b"answer after the end of the question")
        assert read_all(client) == b"answer after the end of the question"


def test_a_cut_is_no_end() -> None:
    with closing(serve()) as server, running(port_of(server)), closing(knock(port_of(server))) as client:
        inside = server.accept()[0]
        inside.sendall(b"half of")
        assert client.recv(100) == b"half of"
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        inside.close()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_a_slow_reader_slows_its_writer_and_nobody_else() -> None:
    with closing(serve()) as server, running(port_of(server)), closing(knock(port_of(server))) as slow:
        inside = server.accept()[0]
        inside.setblocking(False)
        sent = 0
        while select.select([], [inside], [], 0.3)[1]:  # until nothing moves any more
            sent += inside.send(bytes(65536))
            assert sent < 1 << 28, "the door takes whatever comes"
        with closing(knock(port_of(server))) as quick, closing(server.accept()[0]) as other:
            other.sendall(b"hello")
            assert quick.recv(100) == b"hello"
        inside.close()
        slow.settimeout(SECONDS)
        assert len(read_all(slow)) == sent, "nothing is lost"


def test_a_door_goes_with_its_server_and_comes_back() -> None:
    server = serve()
    port = port_of(server)
    with running(port):
        knock(port).close()
        server.close()
        wait_shut(port)
        with closing(serve("0.0.0.0", port)), closing(knock(port)):
            pass
        with closing(serve("127.0.0.1", port)) as again, closing(knock(port)) as client, closing(again.accept()[0]):
            client.sendall(b"x")


def test_a_connection_outlives_its_door() -> None:
    """A server that stops listening finishes what it has begun."""
    server = serve()
    port = port_of(server)
    with running(port), closing(knock(port)) as client, closing(server.accept()[0]) as inside:
        server.close()
        wait_shut(port)
        inside.sendall(b"last words")
        inside.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"last words"


def test_a_port_that_somebody_else_has_is_left_alone_until_it_is_free() -> None:
    with closing(serve()) as server:
        port = port_of(server)
        with closing(serve(OUTSIDE, port)) as other, running(port):
            with closing(socket.create_connection((OUTSIDE, port), SECONDS)), closing(other.accept()[0]):
                pass
            other.close()
            with closing(knock(port)), closing(server.accept()[0]):
                pass


def test_connections_beyond_the_limit_are_refused_and_the_others_live() -> None:
    with closing(serve()) as server, running(port_of(server), most=3):
        port = port_of(server)
        clients = [knock(port) for _ in range(3)]
        inside = [server.accept()[0] for _ in clients]
        with closing(knock(port)) as refused, pytest.raises(ConnectionResetError):
            refused.recv(1)
        for number, (client, end) in enumerate(zip(clients, inside, strict=True)):
            end.sendall(b"%d" % number)
            assert client.recv(10) == b"%d" % number
        for end in (*clients[:1], *inside[:1]):
            end.close()
        deadline = time.monotonic() + SECONDS
        while True:  # as soon as it has noticed
            with closing(knock(port)) as client:
                try:
                    client.sendall(b"room")
                    client.settimeout(0.2)
                    client.recv(1)
                except TimeoutError:
                    break
                except ConnectionError:
                    assert time.monotonic() < deadline
        for end in (*clients, *inside):
            end.close()


def test_many_connections_leave_nothing_behind() -> None:
    with closing(serve()) as server, running(port_of(server), most=1000) as process:
        port = port_of(server)
        knock(port).close()
        server.accept()[0].close()
        before = len(os.listdir(f"/proc/{process.pid}/fd"))
        for _ in range(5):
            clients = [knock(port) for _ in range(150)]
            inside = [server.accept()[0] for _ in clients]
            for end in (*clients, *inside):
                end.close()
        deadline = time.monotonic() + SECONDS
        while len(os.listdir(f"/proc/{process.pid}/fd")) > before:
            assert time.monotonic() < deadline, "descriptors are left over"
            time.sleep(0.01)


def test_a_server_that_does_not_answer_is_a_cut() -> None:
    """Its queue is full: who knocks learns it after some seconds, rather than never."""
    with closing(serve()) as server:
        server.listen(0)
        port = port_of(server)
        full = [socket.socket() for _ in range(3)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        with running(port), closing(knock(port)) as client:
            client.settimeout(doors.DIAL_SECONDS + SECONDS)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        for one in full:
            one.close()
