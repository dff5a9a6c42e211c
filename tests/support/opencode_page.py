"""opencode's own page in Chromium, as a person uses it: a prompt, and a terminal."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.support.chromium import artifact
from tests.support.product import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

OPERATOR_KEY = "sk-ant-the-operators-own-key"
ANSWER = "Hello from the stand-in, which answers word by word."
OPENCODE_MILLISECONDS = 120_000  # its start, on a busy machine
TERMINAL_SECONDS = 60.0
# The title of the session is the whole answer, and may come at any time.
_BEGINS = """(answer) => document.body.innerText.split("\\n").map((line) => line.trim()).some(
    (line) => line.startsWith("Hello from") && !line.includes(answer))"""


@contextmanager
def stand_in() -> Iterator[str]:
    """The Messages API in a process of its own, which gives :data:`ANSWER` word by word; its URL."""
    command = [sys.executable, "-m", "tests.standins.anthropic", "--port", "0", "--key", OPERATOR_KEY]
    with subprocess.Popen([*command, "--word-delay", "0.05"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.terminate()


def wait_for_page(page: Page) -> None:
    """Wait until it is loaded, whether it knows a project already or not."""
    page.get_by_text("Nothing here yet").or_(page.get_by_text("Add project")).first.wait_for(
        timeout=OPENCODE_MILLISECONDS
    )


def prompt(page: Page, folder: str, pictures: str, upstream: str) -> None:
    """Ask in the project ``folder``, and watch the answer come word by word. ``upstream``: where the stand-in is.

    It waits with the third word until the first ones were seen: a page on a busy machine sees many at once.
    """
    wait_for_page(page)
    _tell(upstream, "hold")
    page.screenshot(path=artifact(pictures, "4-opencode.png"))
    origin = re.match(r"https?://[^/]+", page.url)
    assert origin is not None
    # It does not show what comes before it hears of events, which on a busy machine can be all of the answer.
    with page.expect_response("**/global/event*", timeout=OPENCODE_MILLISECONDS):
        page.goto(f"{origin[0]}/{urlsafe_b64encode(folder.encode()).decode().rstrip('=')}/session")
    editor = page.locator('[contenteditable="true"]').first
    editor.click()
    page.keyboard.type("hello there")
    _send(page)
    # The first words are shown before the last ones are there.
    page.wait_for_function(_BEGINS, arg=ANSWER, timeout=OPENCODE_MILLISECONDS)
    page.screenshot(path=artifact(pictures, "5-answering.png"))
    _tell(upstream, "release")
    page.get_by_text(ANSWER).first.wait_for(timeout=OPENCODE_MILLISECONDS)
    page.screenshot(path=artifact(pictures, "6-answered.png"))


def _tell(upstream: str, word: str) -> None:
    """Have the stand-in ``hold`` its answers, or ``release`` them."""
    connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=30)
    connection.request("POST", f"/__{word}")
    assert connection.getresponse().status == 200
    connection.close()


def _send(page: Page) -> None:
    """Press Enter until opencode's page takes it: it does not before it has loaded its providers."""
    deadline = time.monotonic() + OPENCODE_MILLISECONDS / 1000
    while "/ses_" not in page.url:
        assert time.monotonic() < deadline
        page.keyboard.press("Enter")
        with suppress(PlaywrightTimeout):
            page.wait_for_url("**/ses_*", timeout=3000, wait_until="commit")


def terminal(page: Page, folder: Path, pictures: str) -> None:
    """Type into the terminal; what it does is seen in ``folder``, for the terminal is drawn and not text."""
    marker = folder / "typed"
    type_into_terminal(page, lambda: marker.read_text() if marker.exists() else "", pictures)


def type_into_terminal(page: Page, written: Callable[[], str], pictures: str) -> None:
    """As :func:`terminal`; ``written`` gives the content of the file ``typed`` in its folder, or nothing."""
    with page.expect_websocket() as socket:
        page.keyboard.press("Control+`")
    assert "/pty/" in socket.value.url
    deadline = time.monotonic() + TERMINAL_SECONDS
    while not (text := written()):
        assert time.monotonic() < deadline
        page.locator("canvas").first.click()
        # Before the terminal is connected what is typed is lost: all of it, or the beginning. No end of this line by
        # itself waits for anything, or writes anything else.
        page.keyboard.type("echo te$((40+2))rm >typed; cat typed\n")
        again = time.monotonic() + 1
        while not written() and time.monotonic() < again:
            page.wait_for_timeout(50)
    assert text == "te42rm\n"
    page.wait_for_timeout(100)  # for the picture
    page.screenshot(path=artifact(pictures, "7-terminal.png"))
