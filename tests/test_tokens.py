"""The colours of everything that people see: enough contrast in both schemes, computed from the file itself."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

TOKENS = (Path(__file__).parents[1] / "daemon" / "pages" / "tokens.css").read_text(encoding="utf-8")

GROUNDS = ("bg", "surface", "raised", "accent-soft")
# Least contrast with each ground (WCAG 2.2, 1.4.3, 1.4.6 and 1.4.11).
LEAST = {
    "text": 7.0,
    "quiet": 4.5,
    "accent": 4.5,
    "ok": 4.5,
    "wait": 4.5,
    "warn": 4.5,
    "bad": 4.5,
    "idle": 4.5,
    "line-strong": 3.0,
    "focus": 3.0,
}
COLOURS = {*GROUNDS, *LEAST, "line", "accent-text"}


def _blocks() -> dict[str, dict[str, str]]:
    """The declarations of each rule, by its selector."""
    plain = re.sub(r"/\*.*?\*/", "", TOKENS, flags=re.DOTALL)
    found = re.findall(r"(:root[^{\s]*)\s*\{([^{}]*)\}", plain)
    assert plain.count(":root") == len(found)
    return {selector: dict(re.findall(r"([\w-]+):\s*([^;]+);", body)) for selector, body in found}


BLOCKS = _blocks()
LIGHT, DARK = BLOCKS[":root"], BLOCKS[':root[data-theme="dark"]']


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    faint, bright = sorted((_luminance(first), _luminance(second)))
    return (bright + 0.05) / (faint + 0.05)


def test_the_formula_is_the_standard_s() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_system_s_dark_and_the_chosen_dark_are_the_same() -> None:
    assert list(BLOCKS) == [":root", ':root:not([data-theme="light"])', ':root[data-theme="dark"]']
    assert BLOCKS[':root:not([data-theme="light"])'] == DARK
    assert TOKENS.index("@media (prefers-color-scheme: dark) {") < TOKENS.index(":root:not(")


def test_both_schemes_have_every_colour() -> None:
    for scheme, name in ((LIGHT, "light"), (DARK, "dark")):
        assert scheme["color-scheme"] == name
        assert {key.removeprefix("--") for key, value in scheme.items() if value.startswith("#")} == COLOURS
        assert all(re.fullmatch(r"#[0-9a-f]{6}", scheme[f"--{name}"]) for name in COLOURS)
    assert set(LIGHT) - set(DARK) == {"--radius", "--radius-small", "--font", "--mono"}


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_is_enough(scheme: dict[str, str]) -> None:
    for (name, least), ground in product(LEAST.items(), GROUNDS):
        assert _contrast(scheme[f"--{name}"], scheme[f"--{ground}"]) >= least, (name, ground)
    assert _contrast(scheme["--accent-text"], scheme["--accent"]) >= 4.5


def test_it_asks_for_nothing_from_elsewhere() -> None:
    assert "url(" not in TOKENS
    assert "@import" not in TOKENS
    assert "</" not in TOKENS, "the text stands in a style element"
