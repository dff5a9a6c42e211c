"""What a service manager gives us: listening sockets that it opened, and a socket to tell it how we are.

systemd's protocols are a few variables and datagrams (sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)), so that
no library is needed. A notify socket that is missing or broken costs a line of the log and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import trio

from daemon.supervise import beside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

log = structlog.get_logger(__name__)

_FIRST_FD: Final = 3  # sd_listen_fds(3)
_MOST_FDS: Final = 64  # addresses of one listener; a larger number is a mistake
_LONGEST_PATH: Final = 107  # bytes of a Unix socket's name (sun_path)
# systemd reads its socket at once. A manager that hangs must not hold up a shutdown.
_SEND_SECONDS: Final = 1.0
# A long start asks for so much more time, twice as often as it would run out.
_EXTENSION_SECONDS: Final = 60.0
_VARIABLES: Final = (
    "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inherited:
    """A descriptor that the service manager opened; ``name`` is what it calls it."""

    fd: int
    name: str

    def listening(self) -> socket.socket:
        """The socket. Raises :class:`ValueError` if it is not one that accepts TCP connections."""
        try:
            sock = socket.socket(fileno=self.fd)
            stream = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6)
            fits = stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        except OSError as error:
            raise ValueError(f"descriptor {self.fd} ({self.name}) is no socket ({error.strerror})") from None
        if not fits:
            sock.detach()
            raise ValueError(f"descriptor {self.fd} ({self.name}) is no TCP socket that listens")
        return sock


@dataclass(frozen=True, slots=True)
class Manager:
    """The service manager of this process; with nothing in it there is none, and everything is quietly not done."""

    notify_socket: str = ""  # a path, or "@" and an abstract name
    watchdog_seconds: float = 0.0  # without a sign of life for so long we are killed; 0: never
    inherited: tuple[Inherited, ...] = ()

    async def ready(self, status: str) -> None:
        """The start is over, and connections are answered."""
        await self._send("READY=1", _status(status))

    async def status(self, status: str) -> None:
        """A word for people: ``systemctl status`` shows it."""
        await self._send(_status(status))

    async def stopping(self, status: str) -> None:
        """The end has begun; it has its own time limit, and the watchdog's is over."""
        await self._send("STOPPING=1", _status(status))

    async def watchdog(self) -> None:
        """Show for ever that the event loop turns, at half of the interval, as sd_watchdog_enabled(3) asks for.

        The loop and nothing more. What it does not turn for, nobody is answered by, and a restart is the only way out.
        A background service that hangs or fails has a way of its own (:mod:`daemon.supervise`, ``/readyz``), and would
        be no reason to cut everybody's streams.
        """
        while True:
            await self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)

    async def patiently(self, status: str, function: Callable[[], Awaitable[None]]) -> None:
        """Run a part of the start that may take longer than the manager allows for one, and keep it waiting."""
        await self.status(status)
        await beside(self._ask_for_time, function)

    async def _ask_for_time(self) -> None:
        while True:
            await self._send(f"EXTEND_TIMEOUT_USEC={_EXTENSION_SECONDS * 1e6:.0f}")
            await trio.sleep(_EXTENSION_SECONDS / 2)

    async def _send(self, *lines: str) -> None:
        if not self.notify_socket:
            return
        name = "\0" + self.notify_socket[1:] if self.notify_socket.startswith("@") else self.notify_socket
        try:
            with trio.fail_after(_SEND_SECONDS), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
                # Connected, because only then the kernel says when the receiver has room.
                plain.connect(name)
                sock = trio.socket.from_stdlib_socket(plain)
                await sock.send("\n".join(lines).encode())
        except (OSError, ValueError, trio.TooSlowError) as error:
            log.warning("the service manager was not told", what=lines[0], reason=str(error) or "it does not read")


NO_MANAGER: Final = Manager()


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"


def take_manager(environ: MutableMapping[str, str], pid: int) -> Manager:
    """What the environment says about the service manager of process ``pid``. Raises :class:`ValueError`.

    Its variables are taken out: children must not speak in our name. The descriptors are closed to them.
    """
    given = {name: environ.pop(name, "").strip() for name in _VARIABLES}
    return Manager(_notify_socket(given["NOTIFY_SOCKET"]), _watchdog(given, pid), _inherited(given, pid))


def _notify_socket(name: str) -> str:
    """The socket's name, empty for none and for kinds that we cannot reach (vsock, of virtual machines)."""
    fits = name[:1] in ("/", "@") and 1 < len(os.fsencode(name)) <= _LONGEST_PATH
    return name if fits else ""


def _watchdog(given: dict[str, str], pid: int) -> float:
    """Seconds; 0 if nobody watches, or another process is watched."""
    microseconds, watched = given["WATCHDOG_USEC"], given["WATCHDOG_PID"]
    if not _number(microseconds) or watched not in ("", str(pid)):
        return 0.0
    return int(microseconds) / 1e6


def _inherited(given: dict[str, str], pid: int) -> tuple[Inherited, ...]:
    """The descriptors, if they are meant for us: a shell between the manager and us would have passed them on."""
    if given["LISTEN_PID"] != str(pid):
        return ()
    count = given["LISTEN_FDS"]
    if not _number(count) or not 0 < int(count) <= _MOST_FDS:
        raise ValueError(f'LISTEN_FDS "{count[:20]}" is not a number of sockets, 1 to {_MOST_FDS}')
    names = given["LISTEN_FDNAMES"].split(":") if given["LISTEN_FDNAMES"] else []
    found = []
    for index in range(int(count)):
        fd = _FIRST_FD + index
        with contextlib.suppress(OSError):  # one that is not open is found out when it is used
            os.set_inheritable(fd, False)
        found.append(Inherited(fd, names[index] if index < len(names) else "unnamed"))
    return tuple(found)


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18
