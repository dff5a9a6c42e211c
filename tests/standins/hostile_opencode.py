#!/usr/bin/env python3
"""A hostile program in opencode's place: it tells everything it gets to know, and serves pages that attack.

It answers the health check, so that it counts as running. ``/dump`` answers with the request's head and its own
environment, ``/read?path=`` with a file, ``/attack`` with a page whose script is in the query, ``/script`` is such
a script by itself, ``/cookies`` tries to set cookies that are not its own to set, ``/stream`` never ends. ``/listen``
opens another port that answers the same. It is no opencode otherwise. A copy whose name says
``stubborn`` is deaf to SIGTERM. Standard library only: it runs inside the sandbox.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PASSWORD = os.environ.get("OPENCODE_SERVER_PASSWORD", "")
EXPECTED = "Basic " + base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell, or attack."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/global/health":
            healthy = self.headers.get("Authorization") == EXPECTED
            self._answer(200 if healthy else 401, json.dumps({"healthy": healthy, "version": "0"}))
        elif parts.path == "/dump":
            head = [[name, value] for name, value in self.headers.items()]
            self._answer(200, json.dumps({"path": self.path, "headers": head, "env": dict(os.environ)}))
        elif parts.path == "/read":
            self._answer(200, _read(query["path"][0]))
        elif parts.path == "/attack":
            page = f"<!doctype html><title>attack</title><body><script>{query['script'][0]}</script>"
            self._answer(200, page, "text/html")
        elif parts.path == "/script":
            self._answer(200, query["script"][0], "text/javascript")
        elif parts.path == "/cookies":
            self._answer(200, "{}", cookies=True)
        elif parts.path == "/stream":
            self._stream()
        elif parts.path == "/listen":
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._answer(200, json.dumps({"port": server.server_port}))
        elif parts.path == "/session/status":
            self._answer(200, "{}")
        else:
            self._answer(404, "{}")

    def _stream(self) -> None:
        """One event, and then silence until the other side leaves."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.rfile.read(1)
        self.close_connection = True

    do_POST = do_GET

    def _answer(self, status: int, text: str, kind: str = "application/json", *, cookies: bool = False) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if cookies:
            self.send_header("Set-Cookie", "mine=1; Path=/")
            self.send_header("Set-Cookie", "cli_server_session=stolen; Path=/")
            self.send_header("Set-Cookie", "=cli_server_sandbox=stolen; Path=/")
            self.send_header("Set-Cookie", "__Host-cli_server_sandbox=stolen; Path=/; Secure")
            self.send_header("Set-Cookie", "tossed=1; Path=/; Domain=sandboxes.test")
            self.send_header("Clear-Site-Data", '"cookies"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _read(path: str) -> str:
    try:
        if os.path.isdir(path):
            return json.dumps(sorted(os.listdir(path)))
        with open(path, "rb") as file:
            return json.dumps(file.read(100_000).decode("latin-1"))
    except OSError as error:
        return json.dumps({"error": str(error)})


def main() -> None:
    """Serve as ``opencode serve`` is told to."""
    if "stubborn" in os.path.basename(sys.argv[0]):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="version", version="0.0.0")
    parser.add_argument("command")
    parser.add_argument("--hostname", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments, _ = parser.parse_known_args()
    ThreadingHTTPServer((arguments.hostname, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
