"""docs/threat-model.md is about tests that exist, says something of everybody, and leaves out no file of this suite."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS: Final = Path(__file__).parents[1]
TEXT: Final = (TESTS.parent / "docs" / "threat-model.md").read_text()
ACTORS: Final = {
    "Anonymous", "Guest", "Member", "Hostile sandbox", "Hostile page", "Hostile agent", "Hostile server",
    "Provider", "Operator",
}  # fmt: skip
_NAME: Final = re.compile(r"`([\w/]+\.py)::([\w:]+)`")


class Row(NamedTuple):
    """A line of a table: who, what, and the tests by file and name."""

    actor: str
    act: str
    verdict: str
    how: str
    tests: tuple[tuple[str, str], ...]
    rest: str  # of the last cell, without the names


def rows() -> Iterator[Row]:
    """All that the document says of acts."""
    for section in TEXT.partition("## Who can do what")[2].partition("\n## ")[0].split("\n### ")[1:]:
        actor = section.partition("\n")[0].strip()
        for line in re.findall(r"^\| (?!act \|)(.+) \|$", section, re.MULTILINE):
            act, verdict, how, shown = (cell.strip() for cell in line.split(" | "))
            names = tuple((path, name) for path, name in _NAME.findall(shown))
            yield Row(actor, act, verdict, how, names, _NAME.sub("", shown).strip(" ,"))


ROWS: Final = tuple(rows())


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file, and of the classes that hold some, as pytest has them."""
    tree = ast.parse((TESTS / path).read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inner = [one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            held = {f"{node.name}::{name}" for name in inner if name.startswith("test_")}
            found |= held | ({node.name} if held else set())
    return frozenset(found)


def test_everybody_is_spoken_of() -> None:
    spoken = {row.actor for row in ROWS}
    assert spoken >= ACTORS
    assert all(sum(row.actor == actor for row in ROWS) >= 3 for actor in spoken)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.actor}: {row.act}")
def test_each_row_is_shown_by_tests(row: Row) -> None:
    assert row.verdict in ("can", "cannot")
    assert row.how
    assert row.tests, "what no test shows is a hope, not a row"
    assert row.rest == "", "tests only, by path and name"
    for path, name in row.tests:
        assert (TESTS / path).is_file(), f"there is no tests/{path}"
        assert name in names_in(path), f"tests/{path} has no {name}"


def test_no_file_of_the_suite_is_left_out() -> None:
    named = {path for row in ROWS for path, _ in row.tests}
    here = {f"security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert here - named - {"security/test_threat_model.py"} == set(), "a row each, or nobody knows what they show"
