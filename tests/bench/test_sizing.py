"""``make sizing`` works: with small numbers, everything that the tables tell of happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.sizing.load import Found
from bench.sizing.server import Cost, read_log
from bench.sizing.size import FULL, ident, ident_sql
from daemon.ids import is_id

ROOT = Path(__file__).parents[2]
LOG = """\
2026-01-01 00:00:00.000 UTC [1] LOG:  duration: 0.100 ms  statement: BEGIN
2026-01-01 00:00:00.000 UTC [1] LOG:  duration: 0.250 ms  parse <unnamed>: SELECT a
2026-01-01 00:00:00.000 UTC [1] LOG:  duration: 0.500 ms  bind <unnamed>: SELECT a
2026-01-01 00:00:00.000 UTC [1] LOG:  duration: 1.000 ms  execute <unnamed>: SELECT a
2026-01-01 00:00:00.000 UTC [1] LOG:  duration: 2.000 ms  statement: SELECT b
2026-01-01 00:00:00.000 UTC [1] LOG:  duration: 0.100 ms  statement: COMMIT
2026-01-01 00:00:00.000 UTC [1] LOG:  checkpoint starting: time
"""


@pytest.mark.needs("postgres")
def test_a_small_installation_is_measured() -> None:
    command = [sys.executable, "-m", "bench.sizing", "small"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    rows = {each[0]: each for each in cells if each}
    assert rows["requests that were not answered well"][1] == "0", done.stdout[-1000:]
    assert rows["streams that broke, of all that were open"][1] == "0"
    for kind in ("through tunnels", "to sandboxes", "API", "upstream"):
        assert float(rows[kind][1].replace(",", "")) > 0
    assert float(rows["statements a second"][2]) >= 0


def test_the_documented_tables_are_those_that_are_printed() -> None:
    """docs/sizing.md has the output of a run; a figure that has another name by now belongs to it no more."""
    text = (ROOT / "docs" / "sizing.md").read_text()
    for line in (
        "| one round |",
        "| the daemon in a process of its own |",
        "| requests |",
        "| | measured | computed | assumed |",
    ):
        assert line in text
    assert f"{FULL.sandboxes:,} sandboxes, of which {FULL.running:,} run" in text


def test_statements_are_counted_by_the_servers_log() -> None:
    cost = Cost()
    read_log(LOG, cost)
    assert (cost.statements, cost.transactions, cost.ms) == (2, 1, 3.75)
    assert cost.by_statement["SELECT a"].count == 1


def test_ids_are_as_the_product_makes_them() -> None:
    assert is_id(ident("sandbox", 7))
    assert ident_sql("sandbox", "7") == "'s' || substr(md5('sandbox' || 7), 1, 15)"


def test_quantiles() -> None:
    found = Found({"x": [float(number) for number in range(100, 0, -1)]})
    assert (found.quantile("x", 0.5), found.quantile("x", 0.99)) == (51.0, 100.0)
