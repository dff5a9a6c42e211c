"""What is printed: medians in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Results:
    """Figures by row and column. A column that has no figure in a row is left empty there."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, column: str, value: float) -> None:
        """One more measurement."""
        self._rows[row][column].append(value)

    def median(self, row: str, column: str) -> float:
        """Of all measurements."""
        return statistics.median(self._rows[row][column])

    def ratio(self, row: str, column: str, other: str) -> float:
        """One column by another one, within this run."""
        return self.median(row, column) / self.median(row, other)

    def table(self, columns: Sequence[str]) -> str:
        """All rows that one of these columns has."""
        lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for row, figures in self._rows.items():
            if any(column in figures for column in columns):
                cells = [number(self.median(row, column)) if column in figures else "" for column in columns]
                lines.append(f"| {row} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def number(value: float) -> str:
    """Three digits, or all of a large number."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bars(rows: Iterable[tuple[str, float, str]]) -> str:
    """Ratios, and what they are to reach."""
    lines = ["| ratio | measured | to reach |", "|---|---:|---:|"]
    return "\n".join([*lines, *(f"| {name} | {value:.2f} | {bar} |" for name, value, bar in rows)])


def machine() -> str:
    """Where this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, Python {platform.python_version()}"
