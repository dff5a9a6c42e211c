"""The upstream of the benchmarks for bulk and events; small GETs come from nginx.

Uploads are dropped in the kernel (MSG_TRUNC), so that they cost little. Downloads are a file, given with sendfile. An
event stream sends one event at once and then nothing until the client leaves. Takes the file's path, prints its port.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_HEALTH = b'{"healthy":true,"version":"bench"}'  # an agent connects only to what says that it is opencode
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"10\r\ndata: connected\n\r\n1\r\n\n\r\n"
)


def _head(connection: socket.socket) -> tuple[bytes, int] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, len(rest)


def _serve(connection: socket.socket, body: str) -> None:
    buffer = bytearray(1 << 20)
    with connection:
        while (received := _head(connection)) is not None:
            head, have = received
            if head.startswith(b"GET /events"):
                connection.sendall(_STREAM)
                connection.recv(1)
                return
            if head.startswith(b"GET /big"):
                with open(body, "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
                    connection.sendfile(file)
                continue
            if head.startswith(b"GET /global/health"):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_HEALTH), _HEALTH))
                continue
            match = _LENGTH.search(head)
            left = (int(match[1]) if match else 0) - have
            if b"100-continue" in head.lower():
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while left > 0:
                left -= connection.recv_into(buffer, min(left, len(buffer)), socket.MSG_TRUNC) or left
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")


def main() -> None:
    """Serve for ever."""
    threading.stack_size(256 * 1024)  # a thousand streams
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection, sys.argv[1]), daemon=True).start()


if __name__ == "__main__":
    main()
