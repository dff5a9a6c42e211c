"""What stands between browsers and a daemon, ends TLS where it is wanted, and notes what passes.

Browsers tell nothing of answers that they keep from a page. Here it shows that a request did arrive, and its answer.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 65536  # bytes copied at a time
_IDLE_SECONDS: Final = 120.0  # longer than any test; nothing hangs for ever
# Not at the beginning of a line only: a body before it has no line end.
_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/\S*) HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?host: ([^\r\n:]+)", re.IGNORECASE
)
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ")


class Exchange(NamedTuple):
    """A request, and the status of its answer; 0 if there was none."""

    method: str
    host: str
    target: str
    status: int


@dataclass
class Tap:
    """All connections of one listener; each with the bytes of both directions."""

    connections: list[tuple[bytearray, bytearray]] = field(default_factory=list)

    def exchanges(self) -> list[Exchange]:
        """What has passed. Bodies of the tests hold nothing that looks like a head."""
        found = []
        for up, down in list(self.connections):
            statuses = [
                int(status) for status in _STATUS.findall(bytes(down)) if status[:1] != b"1" or status == b"101"
            ]
            for number, (method, target, host) in enumerate(_HEAD.findall(bytes(up))):
                status = statuses[number] if number < len(statuses) else 0
                found.append(Exchange(method.decode(), host.decode(), target.decode(), status))
        return found

    def clear(self) -> None:
        """Forget what has passed; connections that are open go on."""
        for up, down in list(self.connections):
            up.clear()
            down.clear()


@contextmanager
def tap(port: int, upstream: int, *names: str) -> Iterator[Tap]:
    """Listen at ``port`` of 127.0.0.1, with TLS as ``names`` if there are any; what comes goes to ``upstream``."""
    context = None
    if names:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert(*names).configure_cert(context)
    made = Tap()
    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        threading.Thread(target=_accept, args=(server, context, upstream, made), daemon=True).start()
        yield made
        server.shutdown(socket.SHUT_RDWR)  # or the thread would wait on in accept


def _accept(server: socket.socket, context: ssl.SSLContext | None, upstream: int, made: Tap) -> None:
    with suppress(OSError):  # closed: the end
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, context, upstream, made), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext | None, upstream: int, made: Tap) -> None:
    client.settimeout(_IDLE_SECONDS)
    kept = bytearray(), bytearray()
    made.connections.append(kept)
    with (
        suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) if context else client as outer,
        socket.create_connection(("127.0.0.1", upstream), _IDLE_SECONDS) as inner,
    ):
        back = threading.Thread(target=_copy, args=(inner, outer, kept[1]), daemon=True)
        back.start()
        _copy(outer, inner, kept[0])
        back.join(_IDLE_SECONDS)


def _copy(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    """Copy until either side ends, and end the other."""
    with suppress(OSError, ValueError):
        while data := source.recv(_PIECE):
            kept += data
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
