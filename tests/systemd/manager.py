"""A service manager reduced to what services see of it: a notify socket, and listening sockets that it keeps."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.product import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

# Readiness asks for an opencode; none is started here.
OPENCODE_BIN = str(ROOT / "tests" / "standins" / "hostile_opencode.py")
PATIENCE = 30.0  # seconds for a message of a service that starts on a busy machine

# What systemd does between fork and exec: the descriptors become 3 and following, and the variables say whose they are.
# Run by "python -c", with the numbers of the descriptors and the name in front of the service's own arguments.
GIVE_SOCKETS = """
import fcntl, os, sys
fds, names, *arguments = sys.argv[1:]
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in fds.split(",")]
for number, fd in enumerate(high, 3):
    os.dup2(fd, number)
    os.close(fd)
os.environ |= {"LISTEN_FDS": str(len(high)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "daemon", *arguments])
"""


class NotifySocket:
    """Receives what services say. ``name`` is what ``NOTIFY_SOCKET`` holds."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.socket = sock
        self.name = name
        self.heard: list[str] = []

    def next(self, seconds: float = PATIENCE) -> str:
        """The next message. Raises :class:`TimeoutError`."""
        self.socket.settimeout(seconds)
        message = self.socket.recv(4096).decode()
        self.heard.append(message)
        return message

    def until(self, line: str, seconds: float = PATIENCE) -> str:
        """Read on until a message has this line; that message."""
        while True:
            message = self.next(seconds)
            if line in message.split("\n"):
                return message

    def rest(self) -> list[str]:
        """What is here and was not read yet."""
        found = []
        self.socket.setblocking(False)
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                self.heard += found
                return found


@contextmanager
def notify_socket(name: str) -> Iterator[NotifySocket]:
    """A notify socket at a path, or at an abstract name that begins with ``@``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if name.startswith("@") else name)
        yield NotifySocket(sock, name)
