"""Writes ``tests/chart/golden/*.yaml``: what the chart makes of each value set of its README (``make golden``)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.chart.support import cases, comparable, render

FOLDER: Final = Path(__file__).with_name("golden")


def main() -> None:
    """Write all, and remove those whose case is gone."""
    for former in FOLDER.glob("*.yaml"):
        if former.stem not in cases():
            former.unlink()
    for name, values in cases().items():
        (FOLDER / f"{name}.yaml").write_text(comparable(render(values).text))
        print(f"{FOLDER.name}/{name}.yaml")


if __name__ == "__main__":
    main()
