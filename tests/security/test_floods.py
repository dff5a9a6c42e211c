"""Floods and slowness against the real daemon: meanwhile somebody who is signed in works on, memory and files stay
within bounds, and in the end everything is given back. No times are asserted but deadlines."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import find_program
from tests.support.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.visitor import Visitor

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(180), pytest.mark.alone]

HALF_OPEN: Final = 10_000
ADDRESSES: Final = 8  # from each of so many addresses of this machine; one has 28,000 ports of its own
# The kernel's part is not in it. Python's task, its buffers and the parser are some 20 KiB.
BYTES_PER_CONNECTION: Final = 64 * 1024
ANSWERED: Final = 30.0  # seconds until an ordinary request must have been answered, on two busy processors
RELEASED: Final = 30.0
STARTS: Final = (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")


@dataclass
class Besieged:
    """The daemon, who works there, and what it needed before anybody attacked it."""

    product: Product
    visitor: Visitor
    files: int = 0
    answered: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self.product.process is not None
        return self.product.process.pid

    def open_files(self) -> int:
        """How many descriptors it has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self) -> int:
        """Memory in use, bytes."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def work(self) -> None:
        """An ordinary request, from a connection of its own, is answered in time."""
        begun = time.monotonic()
        answer = self.visitor.request("GET", "localhost", "/api/auth/me", seconds=ANSWERED)
        assert answer.status == 200, answer.body
        self.answered.append(time.monotonic() - begun)

    def until_released(self) -> None:
        """The attackers have gone: what they cost is given back."""
        self.until(lambda: self.open_files() <= self.files + 16)
        self.work()

    def until(self, what: Callable[[], bool]) -> None:
        """Wait for it."""
        deadline = time.monotonic() + RELEASED
        while not what():
            assert time.monotonic() < deadline, f"{self.open_files()} open files"
            time.sleep(0.05)


@contextmanager
def besieged(folder: Path, most_files: int | None = None) -> Iterator[Besieged]:
    """Run the daemon, with a limit of open files that it cannot raise."""
    made = Product(folder)
    if most_files is not None:
        code = (
            "import resource, sys; from daemon.cli import main; sys.argv = ['cli-server', *sys.argv[1:]]; "
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({most_files}, {most_files})); main()"
        )
        made = Product(folder, program=("-c", code))
    made.start()
    try:
        visitor = made.visitor()
        visitor.register()
        found = Besieged(made, visitor)
        for _ in range(20):
            found.work()
        found.files = found.open_files()
        yield found
        assert "Traceback" not in made.log
    finally:
        made.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """One daemon for all attackers that it may be attacked by in turn."""
    with besieged(tmp_path_factory.mktemp("floods")) as made:
        yield made


def while_it_lasts(daemon: Besieged, attack: subprocess.Popen[bytes], at_least: int = 3) -> None:
    """Somebody works as long as the attack lasts."""
    try:
        while attack.poll() is None:
            daemon.work()
            time.sleep(0.05)
    finally:
        attack.kill()
        attack.wait()
    assert len(daemon.answered) >= at_least
    print(f"\n    {len(daemon.answered)} requests answered, the slowest in {max(daemon.answered):.2f} s")


SLOW: Final = {
    "heads": ["-H", "-i", "1", "-x", "16"],
    "bodies": ["-B", "-i", "1", "-x", "16", "-s", "1000000"],
    "reads": ["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"],
}


@pytest.mark.needs("slowhttptest")
@pytest.mark.parametrize("what", SLOW)
def test_slow_clients_delay_nobody(daemon: Besieged, what: str) -> None:
    """Lesson: no header or idle timeouts (slowloris)."""
    daemon.answered.clear()
    program = find_program("slowhttptest")
    assert program is not None
    url = f"http://127.0.0.1:{daemon.product.port}/api/openapi.json"
    command = [str(program), *SLOW[what], "-c", "400", "-r", "400", "-l", "3", "-p", "2", "-u", url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as attack:
        while_it_lasts(daemon, attack)
    daemon.work()


@pytest.mark.needs("wrk")
@pytest.mark.parametrize("path", ["/healthz", "/api/auth/me", "/api/openapi.json"])
def test_a_flood_of_requests_keeps_nobody_out(daemon: Besieged, path: str) -> None:
    daemon.answered.clear()
    program = find_program("wrk")
    assert program is not None
    url = f"http://127.0.0.1:{daemon.product.port}{path}"
    command = [str(program), "-t1", "-c100", "-d2s", url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as attack:
        while_it_lasts(daemon, attack, at_least=1)
    daemon.work()


def test_requests_without_end_on_one_connection_whose_answers_nobody_reads(daemon: Besieged) -> None:
    before = daemon.resident()
    asked = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    with ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.product.port)))
            sock.settimeout(0.1)
            with suppress(TimeoutError):
                while True:
                    sock.sendall(asked)
        daemon.work()
        grown = daemon.resident() - before
    print(f"\n    {grown >> 10} KiB more for 20 of them")
    assert grown < 64 << 20
    daemon.work()


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Let this process have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.fail(f"this process may open {hard} files only; ulimit -Hn must allow {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_open(daemon: Besieged, count: int, stack: ExitStack, every: int = 500) -> list[socket.socket]:
    """Connect so often, and say nothing, or half a head. The kernel's queue is not to be what they wait for."""
    sockets = []
    for number in range(count):
        sock = stack.enter_context(socket.socket())
        sock.bind((f"127.0.1.{1 + number % ADDRESSES}", 0))
        sock.settimeout(ANSWERED)
        sock.connect(("127.0.0.1", daemon.product.port))
        sock.sendall(STARTS[number % len(STARTS)])
        sockets.append(sock)
        if number % every == every - 1:
            daemon.work()
    return sockets


def test_ten_thousand_half_open_connections(daemon: Besieged) -> None:
    """What limits them: MAX_CONNECTIONS (16,384), or a third of the files that the daemon may open if that is less."""
    daemon.until_released()  # what all tests before this one cost, too
    before = daemon.resident()
    with many_files(HALF_OPEN), ExitStack() as stack:
        half_open(daemon, HALF_OPEN, stack)
        files, grown = daemon.open_files() - daemon.files, daemon.resident() - before
        for _ in range(10):
            daemon.work()
        limit = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[0]
        print(
            f"\n    {files} of {HALF_OPEN} held, of {limit} files; {grown >> 20} MiB, {grown // files} B each;", end=""
        )
        print(f" the slowest answer {max(daemon.answered[-30:]):.2f} s")
        assert files < limit
        assert files > min(HALF_OPEN, (limit - 256) // 3) - 200
        assert grown < HALF_OPEN * BYTES_PER_CONNECTION
    daemon.until_released()


def test_half_open_connections_beyond_every_limit(tmp_path: Path) -> None:
    """More than may be: those that wait longest without a request make way, and nobody is turned away."""
    with besieged(tmp_path, most_files=1256) as daemon, ExitStack() as stack:
        stream = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.product.port)))
        jar = "; ".join(f"{name}={value}" for name, value in daemon.visitor.cookies["localhost"].items())
        stream.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nCookie: {jar}\r\n\r\n".encode())
        assert stream.recv(15) == b"HTTP/1.1 200 OK"
        with many_files(3000):
            half_open(daemon, 3000, stack, every=50)
            assert daemon.open_files() < 1256
            stream.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    assert stream.recv(65536), "the stream was cut"
        stack.close()
        daemon.until_released()


def test_out_of_files_the_accept_loop_goes_on(tmp_path: Path) -> None:
    """However it comes about: the daemon has no file left, and has some again later."""
    with besieged(tmp_path) as daemon:
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        with ExitStack() as stack:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (daemon.files + 20, hard))
            for number in range(200):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.product.port)))
                sock.sendall(STARTS[number % len(STARTS)])
            daemon.until(lambda: "cannot accept a connection" in daemon.product.log)
            answer = daemon.visitor.request("GET", "localhost", "/healthz", seconds=ANSWERED)
            assert answer.status == 200
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
            daemon.work()
        daemon.until_released()
