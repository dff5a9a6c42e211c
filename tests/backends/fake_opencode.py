#!/usr/bin/env python3
"""Stands in for opencode where a test wants to look around inside a sandbox, or wants opencode to misbehave.

``/global/health`` answers as opencode does. ``/run?command=`` runs a shell command inside and answers with its output,
``/say?text=`` writes a line.
Variables: FAKE_EXIT (a status, at once), FAKE_SAY (printed first), FAKE_HEALTH ("html", "sick" or "silent"),
FAKE_STUBBORN (ignores SIGTERM, and starts a process that does so too and gets away from its parent and its session),
FAKE_EAT (bytes of memory that it takes at its start).
Standard library only: it runs where nothing else is visible.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RUNAWAY = "trap '' TERM HUP; setsid sh -c 'sleep 7777 & sleep 7777' & sleep 0.1"


class Handler(BaseHTTPRequestHandler):
    """Answers to whoever knows the password."""

    def do_GET(self) -> None:
        """Answer."""
        parts = urlsplit(self.path)
        basic = base64.b64encode(f"opencode:{os.environ['OPENCODE_SERVER_PASSWORD']}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {basic}":
            self._answer(401, "")
        elif parts.path == "/run":
            command = parse_qs(parts.query)["command"][0]
            done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
            self._answer(200, done.stdout + done.stderr)
        elif parts.path == "/say":
            print(parse_qs(parts.query)["text"][0], flush=True)
            self._answer(200, "")
        else:
            self._health(os.environ.get("FAKE_HEALTH"))

    def _health(self, mood: str | None) -> None:
        if mood == "silent":
            time.sleep(1000)
        self._answer(200, "<!doctype html>" if mood == "html" else json.dumps({"healthy": mood is None}))

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def main() -> None:
    """Do as ``opencode serve`` is told to."""
    if sys.argv[1] == "--version":
        print("0.0.0")
        return
    print(os.environ.get("FAKE_SAY", "fake opencode is starting"), flush=True)
    if "FAKE_EXIT" in os.environ:
        sys.exit(int(os.environ["FAKE_EXIT"]))
    if "FAKE_STUBBORN" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.run(["/bin/sh", "-c", RUNAWAY], check=True)
    eaten = b"x" * int(os.environ.get("FAKE_EAT", "0"))
    options = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    server = ThreadingHTTPServer((options["--hostname"], int(options["--port"])), Handler)
    server.daemon_threads = True
    server.serve_forever()
    del eaten  # until now it was kept


if __name__ == "__main__":
    main()
