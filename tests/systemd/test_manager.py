"""The two protocols by themselves: variables, descriptors, datagrams."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest
import structlog.testing
import trio
import trio.testing

from daemon.systemd import NO_MANAGER, Inherited, Manager, take_manager
from tests.systemd.manager import NotifySocket, notify_socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PID = 4711


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    """A notify socket of either kind."""
    with notify_socket(
        str(tmp_path / "notify") if request.param == "path" else f"@cli-server-test-{os.getpid()}"
    ) as it:
        yield it


# The environment


def test_without_a_manager_nothing_is_found_and_nothing_is_taken() -> None:
    environ = {"PATH": "/bin", "LISTEN": "127.0.0.1:1"}
    assert take_manager(environ, PID) == NO_MANAGER
    assert environ == {"PATH": "/bin", "LISTEN": "127.0.0.1:1"}


def test_what_a_manager_gives_is_taken_out() -> None:
    """Children must not speak in our name, nor take our sockets for theirs."""
    environ = {
        "PATH": "/bin",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(PID),
        "LISTEN_FDS": "2",
        "LISTEN_PID": str(PID),
        "LISTEN_FDNAMES": "cli-server.socket:other",
        "LISTEN_PIDFDID": "1",
    }
    sockets = (Inherited(3, "cli-server.socket"), Inherited(4, "other"))
    assert take_manager(environ, PID) == Manager("/run/systemd/notify", 60.0, sockets)
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"NOTIFY_SOCKET": "@abstract"}, Manager("@abstract")),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, NO_MANAGER),
        ({"NOTIFY_SOCKET": "relative"}, NO_MANAGER),
        ({"NOTIFY_SOCKET": "@"}, NO_MANAGER),
        ({"NOTIFY_SOCKET": "/" + "x" * 107}, NO_MANAGER),
        ({"WATCHDOG_USEC": "500000"}, Manager(watchdog_seconds=0.5)),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, NO_MANAGER),
        ({"WATCHDOG_USEC": "soon"}, NO_MANAGER),
        ({"WATCHDOG_USEC": "-1"}, NO_MANAGER),
        ({"LISTEN_FDS": "1"}, NO_MANAGER),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, NO_MANAGER),
        ({"LISTEN_FDS": "x", "LISTEN_PID": "1"}, NO_MANAGER),
        ({"LISTEN_FDS": "1", "LISTEN_PID": str(PID)}, Manager(inherited=(Inherited(3, "unnamed"),))),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_variables_mean(given: dict[str, str], expected: Manager) -> None:
    assert take_manager(given, PID) == expected
    assert given == {}


@pytest.mark.parametrize("count", ["", "0", "-1", "x", "65", "9" * 30, "٣"])
def test_a_number_of_sockets_that_cannot_be_is_refused_in_one_line(count: str) -> None:
    with pytest.raises(ValueError, match=r"LISTEN_FDS .* is not a number of sockets, 1 to 64"):
        take_manager({"LISTEN_FDS": count, "LISTEN_PID": str(PID)}, PID)


# Descriptors


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_socket_that_listens_is_used(family: socket.AddressFamily, host: str) -> None:
    with socket.create_server((host, 0), family=family) as server:
        address = server.getsockname()
        with Inherited(os.dup(server.fileno()), "x").listening() as sock:
            assert sock.getsockname() == address
            assert not sock.get_inheritable()


@pytest.mark.parametrize("kind", ["unbound", "datagram", "unix", "connected"])
def test_a_socket_of_another_kind_is_refused(kind: str, tmp_path: Path) -> None:
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM) as sock:
        if kind == "unix":
            sock.bind(str(tmp_path / "socket"))
            sock.listen()
        with socket.create_server(("127.0.0.1", 0)) as server:
            if kind == "connected":
                sock.connect(server.getsockname())
            with pytest.raises(ValueError, match=r"descriptor [0-9]+ \(x\) is no TCP socket that listens"):
                Inherited(sock.fileno(), "x").listening()


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (
        (tmp_path / "file").open("w") as file,
        pytest.raises(ValueError, match=r"\(x\) is no socket \(Socket operation"),
    ):
        Inherited(file.fileno(), "x").listening()
    with pytest.raises(ValueError, match=r"descriptor 999 \(x\) is no socket \(Bad file descriptor\)"):
        Inherited(999, "x").listening()


# Messages


async def test_what_is_said(manager: NotifySocket) -> None:
    us = Manager(manager.name)
    await us.status("two\nlines")
    await us.ready("serving http://localhost:8080/")
    await us.stopping("until later")
    assert manager.rest() == [
        "STATUS=two lines",
        "READY=1\nSTATUS=serving http://localhost:8080/",
        "STOPPING=1\nSTATUS=until later",
    ]


async def test_without_a_manager_nothing_is_said() -> None:
    await NO_MANAGER.ready("x")
    await NO_MANAGER.stopping("x")


@pytest.mark.parametrize("broken", ["missing", "a file", "a stream", "nobody listens", "not a name"])
async def test_a_broken_notify_socket_costs_a_line_and_nothing_else(tmp_path: Path, broken: str) -> None:
    path = str(tmp_path / "notify")
    if broken == "not a name":
        path += "\0"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        if broken == "a file":
            (tmp_path / "notify").touch()
        elif broken == "a stream":
            stream.bind(path)
            stream.listen()
        elif broken == "nobody listens":
            with notify_socket(path):
                pass
        with structlog.testing.capture_logs() as logs:
            await Manager(path).ready("x")
    (line,) = logs
    assert (line["event"], line["what"]) == ("the service manager was not told", "READY=1")
    assert line["reason"]


async def test_a_manager_that_does_not_read_holds_nobody_up(manager: NotifySocket) -> None:
    us = Manager(manager.name)
    with structlog.testing.capture_logs() as logs, trio.fail_after(10):
        while not logs:  # how much fits is the system's choice
            await us.status("x")
    assert logs[0]["reason"] == "it does not read"


async def test_a_manager_that_reads_late_is_waited_for(manager: NotifySocket) -> None:
    us = Manager(manager.name)
    sent = 0
    with trio.move_on_after(0.2) as full:
        while True:
            await us.status(str(sent))
            sent += 1
    assert full.cancelled_caught
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(us.ready, "at last")
            await trio.testing.wait_all_tasks_blocked()
            while not (manager.heard and manager.heard[-1].startswith("READY=1")):
                manager.rest()
                await trio.lowlevel.checkpoint()
    assert not logs
    assert manager.heard[:-1] == [f"STATUS={number}" for number in range(sent)]


# Watchdog


async def test_the_watchdog_is_fed_in_time(manager: NotifySocket) -> None:
    interval = 0.2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Manager(manager.name, interval).watchdog)
        started = time.monotonic()
        for _ in range(4):
            assert await trio.to_thread.run_sync(manager.next) == "WATCHDOG=1"
        # The first at once and three more at half of the interval each.
        assert time.monotonic() - started >= 3 * interval / 2 * 0.9
        nursery.cancel_scope.cancel()


async def test_the_watchdog_is_not_fed_while_the_loop_hangs(manager: NotifySocket) -> None:
    us = Manager(manager.name, 0.02)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(us.watchdog)
        while len(manager.heard) < 3:
            await trio.sleep(0.01)
            manager.rest()
        time.sleep(0.3)  # noqa: ASYNC251 - the loop hangs
        assert manager.rest() == [], "thirty would have been due"
        with trio.fail_after(30):
            while not manager.rest():  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert set(manager.heard) == {"WATCHDOG=1"}


# A start that takes long


async def test_a_long_start_asks_for_more_time(manager: NotifySocket) -> None:
    begun = trio.Event()

    async def start() -> None:
        begun.set()
        await trio.testing.wait_all_tasks_blocked()

    await Manager(manager.name).patiently("looking", start)
    assert begun.is_set()
    assert manager.rest() == ["STATUS=looking", "EXTEND_TIMEOUT_USEC=60000000"]


async def test_what_goes_wrong_in_a_long_start_comes_out_as_it_is() -> None:
    """In a group, the command line would not know it for what it is."""

    async def start() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await NO_MANAGER.patiently("looking", start)


async def test_a_long_start_can_be_cancelled() -> None:
    with trio.move_on_after(0.01) as scope:
        await NO_MANAGER.patiently("looking", trio.sleep_forever)
    assert scope.cancelled_caught
