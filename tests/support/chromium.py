"""A real Chromium for tests, with the flags that keep it quiet."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

DOMAIN = "sandboxes.test"
FOREIGN = "elsewhere.test"  # somebody else's site
_RESOLVE = "--host-resolver-rules=" + ",".join(f"MAP {host} 127.0.0.1" for host in (DOMAIN, f"*.{DOMAIN}", FOREIGN))
PROGRAM = Path(__file__).with_name("deaf_chromium.py")
ARTIFACTS = Path(__file__).parent.parent / "artifacts"
_FLAGS = [
    "--no-sandbox",  # Chromium's own sandbox does not run as root, as which CI runs
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. It resolves ``*.localhost`` by itself, and :data:`DOMAIN` with all below it.

    Hosts below ``localhost`` are different *sites* to it, hosts below any other domain are the same one.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=[*_FLAGS, _RESOLVE])
        try:
            yield browser
        finally:
            browser.close()


def artifact(*parts: str) -> Path:
    """Where a test keeps a picture for people to look at."""
    path = ARTIFACTS.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
