"""axe-core, which looks at a page for what keeps people with a keyboard or a screen reader out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROGRAM = Path(__file__).parents[2] / "webui" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
# What it would load ahead are style sheets and sounds, for rules that are off or find nothing here. At times it puts
# the sheets into a document of its own, which the page's policy forbids with a word on the console.
_RUN = "() => axe.run(document, {resultTypes: ['violations'], preload: false})"


@cache
def _script() -> str:
    return PROGRAM.read_text(encoding="utf-8")


def axe(page: Page) -> list[str]:
    """What is serious or critical on the page as it is now: rule, what it says, and the first element of each."""
    # Handed in by the debugger: the page's policy, which forbids scripts of others, stays as it is.
    if not page.evaluate("'axe' in window"):
        page.evaluate(_script())
    result: dict[str, Any] = page.evaluate(_RUN)
    return [
        f"{found['id']} ({found['impact']}): {found['help']}: {found['nodes'][0]['html'][:200]}"
        for found in result["violations"]
        if found["impact"] in GRAVE
    ]
