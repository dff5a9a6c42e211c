"""The browser of tests is not disturbed by networks that come and go beside it."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.chromium import chromium
from tests.support.world import as_root

# What comes and goes, as the engine's networks do.
COMES = ("ip", "link", "add", "cli-test-net", "type", "bridge")
ADDRESS = ("ip", "address", "add", "10.255.254.1/30", "dev", "cli-test-net")
UP = ("ip", "link", "set", "cli-test-net", "up")
GOES = ("ip", "link", "delete", "cli-test-net")


# More than it has connections to one host at once: those that wait for one are what it gives up.
FETCHES = """async () => {
    const made = await Promise.allSettled(Array.from({length: 9}, (_, number) => fetch(`/slow?${number}`)))
    return made.map((each) => each.status)
}"""


class Slow(BaseHTTPRequestHandler):
    """Answers what is slow once the networks have come and gone."""

    asked = threading.Event()
    answer = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            self.asked.set()
            self.answer.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def disturb() -> None:
    """Once something is under way."""
    Slow.asked.wait(30)
    for command in (COMES, ADDRESS, UP, GOES):
        subprocess.run(as_root(*command), check=True)
    threading.Event().wait(2)  # Chromium waits a little itself before it believes it
    Slow.answer.set()


@pytest.mark.needs("chromium", "root")
def test_what_is_loaded_goes_on_while_networks_come_and_go() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threads = [threading.Thread(target=work) for work in (server.serve_forever, disturb)]
        for thread in threads:
            thread.start()
        try:
            with chromium() as browser:
                page = browser.new_page()
                page.goto(f"http://127.0.0.1:{server.server_port}/")
                assert page.evaluate(FETCHES) == ["fulfilled"] * 9
        finally:
            server.shutdown()
            for thread in threads:
                thread.join()
