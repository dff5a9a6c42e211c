"""The real daemon below a service manager: when it says what, and restarts that refuse nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.product import ROOT, STOP_SECONDS, Product
from tests.systemd.manager import GIVE_SOCKETS, OPENCODE_BIN, notify_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.timeout(180)]

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_RESTART_SECONDS = 60.0  # for a client that waits in the queue of the socket while a busy machine starts the daemon


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """The socket that the manager opened and keeps."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        yield sock


@contextmanager
def ended(made: Product) -> Iterator[Product]:
    """Whatever happens, it does not stay behind."""
    try:
        yield made
    finally:
        made.close()


def activated(folder: Path, listening: socket.socket, **env: str) -> Product:
    """A daemon that inherits ``listening``."""
    port = listening.getsockname()[1]
    fd = listening.fileno()
    return Product(
        folder,
        {"OPENCODE_BIN": OPENCODE_BIN, **env},
        port,
        program=("-c", GIVE_SOCKETS, str(fd), "cli-server.socket"),
        fds=(fd,),
    )


# Notify


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_it_says_when_it_is_ready_lives_and_ends(tmp_path: Path, database_url: str, kind: str) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@cli-server-test-daemon-{os.getpid()}"
    env = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000", "DATABASE_URL": database_url}
    with notify_socket(name) as manager, ended(Product(tmp_path, env)) as made:
        made.start(ready=False)
        assert manager.next() == "STATUS=bringing the database up to date"
        ready = manager.until("READY=1")
        assert ready == f"READY=1\nSTATUS=serving http://localhost:{made.port}/"
        with socket.create_connection(("127.0.0.1", made.port)):  # no later: who waits for READY may connect
            pass
        assert not [message for message in manager.heard if message.startswith("STOPPING")]
        for _ in range(3):
            manager.until("WATCHDOG=1")
        made.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        assert manager.until("STOPPING=1") == "STOPPING=1\nSTATUS=shutting down; requests have 10 s to end"
        assert made.process.wait(STOP_SECONDS) == 0  # type: ignore[union-attr]
        assert not [message for message in manager.rest() if "READY" in message]


def test_a_database_that_is_away_is_waited_for_and_more_time_asked(tmp_path: Path) -> None:
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "DATABASE_URL": "postgresql://u@127.0.0.1:1/none"}
    with notify_socket(env["NOTIFY_SOCKET"]) as manager, ended(Product(tmp_path, env)) as made:
        made.start(ready=False)
        manager.until("EXTEND_TIMEOUT_USEC=60000000")
        made.kill()
        assert not [message for message in manager.heard + manager.rest() if "READY" in message]


def test_a_notify_socket_that_is_missing_harms_nobody(tmp_path: Path, database_url: str) -> None:
    env = {
        "NOTIFY_SOCKET": "/nowhere/notify",
        "WATCHDOG_USEC": "100000",
        "DATABASE_URL": database_url,
        "OPENCODE_BIN": OPENCODE_BIN,
    }
    with ended(Product(tmp_path, env)) as made:
        made.start()
        assert made.readiness() == 200
        assert "the service manager was not told" in made.log
        assert made.stop() == 0


def test_children_get_neither_the_variables_nor_the_socket(tmp_path: Path, listening: socket.socket) -> None:
    """The embedded database is one. It would go on listening when the daemon is gone."""
    made = activated(tmp_path, listening, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="60000000")
    inode = os.fstat(listening.fileno()).st_ino
    with notify_socket(str(tmp_path / "notify")), ended(made):
        made.start()
        assert made.process is not None
        assert inode in _sockets(made.process.pid)
        children = _descendants(made.process.pid)
        assert children
        deadline = time.monotonic() + 10
        for pid in children:
            while said := _given(pid, inode):  # one that was just started is the daemon itself for a moment
                assert time.monotonic() < deadline, said
                time.sleep(0.01)


def _descendants(pid: int) -> list[int]:
    """Its children and theirs; those that end meanwhile are left out."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found + [below for child in found for below in _descendants(child)]


def _given(pid: int, inode: int) -> list[str]:
    """What a process has of what is the daemon's alone. One that has ended has nothing."""
    with suppress(FileNotFoundError, ProcessLookupError):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        names = [name for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS") if name.encode() in environ]
        return names + (["the socket"] if inode in _sockets(pid) else [])
    return []


def _sockets(pid: int) -> set[int]:
    """The inodes behind a process's descriptors."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
            found.add(entry.stat().st_ino)
    return found


# Sockets


class Clients:
    """Clients that come one after the other, each with a connection of its own, as long as the test lasts."""

    def __init__(self, port: int, count: int) -> None:
        self.results: list[str] = []
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        return self.results.count("answered")

    def wait(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _RESTART_SECONDS
        while not what():
            assert time.monotonic() < deadline, self.results[-20:]
            time.sleep(0.01)

    def more(self, count: int = 20) -> None:
        """Wait until so many more were answered."""
        wanted = self.answered + count
        self.wait(lambda: self.answered >= wanted)

    def _run(self) -> None:
        while not self._over.is_set():
            self.results.append(self._once())

    def _once(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self._port), _RESTART_SECONDS) as sock:
                sock.sendall(REQUEST)
                answer = b""
                while piece := sock.recv(65536):
                    answer += piece
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return f"broken: {error}"
        return "answered" if answer.startswith(b"HTTP/1.1 200 ") else f"unanswered: {answer!r}"


def test_a_restart_refuses_nobody_and_answers_everybody(
    tmp_path: Path, database_url: str, listening: socket.socket
) -> None:
    with ended(activated(tmp_path, listening, DATABASE_URL=database_url)) as made:
        made.start()
        with Clients(made.port, 4) as clients:
            for _ in range(2):
                clients.more()
                assert made.stop() == 0
                made.start(ready=False)
            clients.more()
        assert set(clients.results) == {"answered"}


def test_a_kill_refuses_nobody_and_cuts_only_what_was_under_way(
    tmp_path: Path, database_url: str, listening: socket.socket
) -> None:
    with ended(activated(tmp_path, listening, DATABASE_URL=database_url)) as made:
        made.start()
        with Clients(made.port, 4) as clients:
            clients.more()
            before = len(clients.results)
            made.kill()
            made.start(ready=False)
            clients.more()
        lost = [result for result in clients.results if result != "answered"]
        assert len(lost) <= 4, lost  # at most the connection that each client had at that moment
        assert not [result for result in clients.results[:before] if result != "answered"]
        assert "refused" not in clients.results


def test_who_comes_before_the_daemon_is_answered(tmp_path: Path, database_url: str, listening: socket.socket) -> None:
    """How the manager starts it at all: somebody connects."""
    with ended(activated(tmp_path, listening, DATABASE_URL=database_url)) as made:
        with Clients(made.port, 2) as clients:
            made.start(ready=False)
            clients.more(5)
        assert set(clients.results) == {"answered"}


def test_the_urls_have_the_port_of_the_socket(tmp_path: Path, database_url: str, listening: socket.socket) -> None:
    with ended(activated(tmp_path, listening, DATABASE_URL=database_url, LISTEN="127.0.0.1:1")) as made:
        made.start()
        assert f"cli-server is ready: http://localhost:{made.port}/" in made.log
        assert "LISTEN is not used: the service manager opened another socket" in made.log
        assert f"127.0.0.1:{made.port}" in made.log


def test_a_listen_that_fits_is_no_contradiction(tmp_path: Path, database_url: str, listening: socket.socket) -> None:
    with ended(activated(tmp_path, listening, DATABASE_URL=database_url)) as made:
        made.start()
        assert "LISTEN is not used" not in made.log


@pytest.mark.parametrize("kind", ["datagram", "pipe"])
def test_what_is_no_listening_socket_stops_the_start_in_one_line(tmp_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        reading, writing = os.pipe()
        fd = datagram.fileno() if kind == "datagram" else reading
        command = [sys.executable, "-c", GIVE_SOCKETS, str(fd), "mine", "serve", "--data-dir", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, pass_fds=(fd,))
        os.close(reading)
        os.close(writing)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("cli-server: LISTEN_FDS: descriptor 3 (mine) is no ")
    assert line.endswith("correct ListenStream= of the socket unit")
