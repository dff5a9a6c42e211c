#!/usr/bin/env python3
"""A program in opencode's place that says any bytes it is told to, and remembers every byte it was asked with.

It answers the health check, so that it counts as running. ``/raw?say=`` (base64url) writes just these bytes and goes on
reading; with ``end=close`` it closes the connection behind them, ``late=`` are further bytes, written apart. ``/seen``
tells every other request that came, in the order of arrival: method, target, head and body; ``/forget`` forgets them.
``/env`` tells its environment.
``/ws?mode=`` takes any upgrade: ``echo``, ``deaf`` (reads nothing more) or ``flood`` (writes without end). Anything
else is remembered and answered with ``ok``. It reads requests as the RFC has them and nothing beside: one length, or
chunks without extensions. Standard library only: it runs inside the sandbox.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socketserver
import threading
from urllib.parse import parse_qs

SEEN: list[dict[str, str]] = []
LOCK = threading.Lock()


def answer(text: str, kind: str = "application/json") -> bytes:
    """A plain answer."""
    body = text.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind.encode(), len(body), body)


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Answer its requests until somebody has enough."""
        try:
            while self._one():
                pass
        except OSError:
            return

    def _one(self) -> bool:
        lines = []
        while (line := self.rfile.readline(100_000)) not in (b"\r\n", b""):
            lines.append(line)
        if not lines:
            return False
        method, target, _ = lines[0].decode("latin-1").split(" ", 2)
        fields = [line.decode("latin-1").partition(":") for line in lines[1:]]
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = self._body(headers)
        path, _, query = target.partition("?")
        return self._answer(method, target, path, {key: values[0] for key, values in parse_qs(query).items()}, (
            b"".join(lines).decode("latin-1"), body.decode("latin-1")))  # fmt: skip

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(headers.get("content-length", 0)))

    def _answer(self, method: str, target: str, path: str, query: dict[str, str], raw: tuple[str, str]) -> bool:
        if path == "/global/health":
            self.wfile.write(answer('{"healthy": true, "version": "0"}'))
        elif path == "/session/status":
            self.wfile.write(answer("{}"))
        elif path == "/raw":
            self.wfile.write(base64.urlsafe_b64decode(query["say"]))
            if "late" in query:
                self.wfile.write(base64.urlsafe_b64decode(query["late"]))
            return query.get("end") != "close"
        elif path == "/seen":
            with LOCK:
                self.wfile.write(answer(json.dumps(SEEN)))
        elif path == "/forget":
            with LOCK:
                SEEN.clear()
            self.wfile.write(answer("{}"))
        elif path == "/env":
            self.wfile.write(answer(json.dumps(dict(os.environ))))
        elif path == "/ws":
            self._upgraded(query["mode"])
            return False
        else:
            with LOCK:
                SEEN.append({"method": method, "target": target, "head": raw[0], "body": raw[1]})
            self.wfile.write(answer("ok" if method != "HEAD" else ""))
        return True

    def _upgraded(self, mode: str) -> None:
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while mode == "flood":
            self.wfile.write(bytes(65536))
        if mode == "deaf":
            threading.Event().wait()
        while data := self.connection.recv(65536):
            self.wfile.write(data)


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    """Serve as ``opencode serve`` is told to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="version", version="0.0.0")
    parser.add_argument("command")
    parser.add_argument("--hostname", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments, _ = parser.parse_known_args()
    Server((arguments.hostname, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
