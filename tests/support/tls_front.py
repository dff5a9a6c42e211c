"""TLS before a daemon, as a proxy would end it: for browsers, with a certificate that a test's authority made."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 65536  # bytes copied at a time
_IDLE_SECONDS: Final = 120.0  # longer than any test; nothing hangs for ever


@contextmanager
def tls_front(port: int, upstream: int, *names: str) -> Iterator[None]:
    """Listen with TLS at ``port`` of 127.0.0.1 as ``names``; what comes goes to ``upstream`` as it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(*names).configure_cert(context)
    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        threading.Thread(target=_accept, args=(server, context, upstream), daemon=True).start()
        yield


def _accept(server: socket.socket, context: ssl.SSLContext, upstream: int) -> None:
    with suppress(OSError):  # closed: the end
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, context, upstream), daemon=True).start()


def _serve(client: socket.socket, context: ssl.SSLContext, upstream: int) -> None:
    client.settimeout(_IDLE_SECONDS)
    with (
        suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) as outer,
        socket.create_connection(("127.0.0.1", upstream), _IDLE_SECONDS) as inner,
    ):
        back = threading.Thread(target=_copy, args=(inner, outer), daemon=True)
        back.start()
        _copy(outer, inner)
        back.join(_IDLE_SECONDS)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy until either side ends, and end the other."""
    with suppress(OSError, ValueError):
        while data := source.recv(_PIECE):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
