#!/usr/bin/env python3
"""A program in opencode's place whose answers do not end by themselves: what cuts them is the server.

``/events`` is a stream of events, ``/download`` a body of a terabyte, ``/upload`` reads and says nothing, ``/socket``
is a WebSocket that speaks and does not listen; all of them say something twenty times a second. ``/listen`` opens
another port that answers the same, ``/say?text=`` writes a line into the log, ``/key`` tells the proxy token. It is
deaf to SIGTERM, as a hostile program would be. It is no opencode otherwise: it answers the health check, so that it
counts as running, and says that it does nothing. Standard library only: it runs inside the sandbox, and on a machine
that joins as ``streaming_opencode.py serve --port PORT``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAUSE = 0.05  # seconds between the signs of life
PIECE = b"x" * 1024
ENDLESS = 1 << 40  # bytes that a download promises
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, perhaps for ever."""
        parts = urlsplit(self.path)
        if parts.path == "/events":
            self._forever(200, b"data: tick\n\n", ("Content-Type", "text/event-stream"))
        elif parts.path == "/download":
            kind = ("Content-Type", "application/octet-stream")
            self._forever(200, PIECE, kind, ("Content-Length", str(ENDLESS)))
        elif parts.path == "/socket":
            key = self.headers.get("Sec-WebSocket-Key", "") + GUID
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
            self._forever(101, b"\x81\x04tick", *upgrade)
        elif parts.path == "/listen":
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._answer({"port": server.server_port})
        elif parts.path == "/say":
            print(parse_qs(parts.query)["text"][0], flush=True)
            self._answer({})
        elif parts.path == "/key":
            self._answer({"key": os.environ.get("ANTHROPIC_API_KEY")})
        elif parts.path == "/session/status":
            self._answer({})
        else:
            self._answer({"healthy": True, "version": "0"})

    def do_POST(self) -> None:
        """Read, without a word."""
        while self.rfile.read(1):
            pass
        self.close_connection = True

    def _forever(self, status: int, piece: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(PAUSE)
        except OSError:
            pass  # whoever listened has left

    def _answer(self, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def main() -> None:
    """Serve as ``opencode serve`` is told to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="version", version="0.0.0")
    parser.add_argument("command")
    parser.add_argument("--hostname", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments, _ = parser.parse_known_args()
    server = ThreadingHTTPServer((arguments.hostname, arguments.port), Handler)
    print(f"streaming on port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
