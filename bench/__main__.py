"""``make bench``: nginx, configurable-http-proxy and cli-server side by side, proxying the same upstreams, in one run.

Rounds are interleaved, so that a noisy moment hits everybody; every figure is the median of the rounds. Ratios count.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measures
from bench.contenders import BIG_BYTES, contenders, upstreams

if TYPE_CHECKING:
    from bench.contenders import Contender

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
CONNECTIONS = (1, 16, 256)
STREAMS = 1000
FIRST_EVENTS = 50

Results = dict[str, dict[str, list[float]]]  # by row, by contender


def _round(contender: Contender, big: Path, results: Results) -> None:
    def add(row: str, value: float) -> None:
        results[row][contender.name].append(value)

    for connections in CONNECTIONS:
        load = measures.small_gets(contender.small, connections, SECONDS)
        at = f"small GET, {connections} connection{'s' * (connections > 1)}"
        add(f"{at}: requests/s", load.rate)
        add(f"{at}: p50, ms", load.p50)
        add(f"{at}: p99, ms", load.p99)
        add(f"{at}: CPU per request, µs", load.cpu)
    down = measures.download(contender.bulk, BIG_BYTES)
    add("200 MB down: GB/s", down.rate / 1e9)
    add("200 MB down: CPU, ms", down.cpu * 1e3)
    up = measures.upload(contender.bulk, big)
    add("200 MB up: GB/s", up.rate / 1e9)
    add("200 MB up: CPU, ms", up.cpu * 1e3)
    add("first event of an SSE, ms", measures.first_event(contender.bulk, FIRST_EVENTS))


def _once(contender: Contender, results: Results) -> None:
    kib = measures.idle_streams(contender.bulk, STREAMS) / 1024
    results[f"memory per idle SSE stream ({STREAMS}), KiB"][contender.name].append(kib)
    growth = measures.growth(contender.bulk, BIG_BYTES, 5) / 1e6
    results["memory growth while 1 GB passes, MB"][contender.name].append(growth)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(names: list[str], results: Results) -> str:
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row, by_name in results.items():
        cells = [_number(statistics.median(by_name[name])) for name in names]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _bars(results: Results) -> str:
    """The bars of the project, as ratios within this run."""

    def ratio(row: str, other: str) -> float:
        return statistics.median(results[row]["cli-server"]) / statistics.median(results[row][other])

    chp, nginx = "configurable-http-proxy", "nginx, unbuffered"
    rows = [
        (
            "small GETs at 16, requests/s, × configurable-http-proxy",
            ratio("small GET, 16 connections: requests/s", chp),
            "≥ 1.0",
        ),
        (
            "CPU per small GET at 16, × configurable-http-proxy",
            ratio("small GET, 16 connections: CPU per request, µs", chp),
            "≤ 1.0",
        ),
        ("200 MB down, × nginx unbuffered", ratio("200 MB down: GB/s", nginx), "≥ 3"),
        ("200 MB up, × nginx unbuffered", ratio("200 MB up: GB/s", nginx), "≥ 3"),
    ]
    lines = ["| ratio | measured | to reach |", "|---|---:|---:|"]
    lines += [f"| {name} | {value:.2f} | {bar} |" for name, value, bar in rows]
    return "\n".join(lines)


def _machine() -> str:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    return f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def main() -> None:
    """Measure and print two tables in Markdown."""
    results: Results = defaultdict(lambda: defaultdict(list))
    with (
        tempfile.TemporaryDirectory(prefix="cli-server-bench-") as name,
        upstreams(Path(name)) as up,
        contenders(up) as everybody,
    ):
        names = [contender.name for contender in everybody]
        for number in range(ROUNDS):
            for contender in everybody:
                print(f"round {number + 1} of {ROUNDS}: {contender.name}", flush=True)
                _round(contender, up.folder / "big", results)
        for contender in everybody:
            _once(contender, results)
    print(f"\n{_machine()}; medians of {ROUNDS} rounds of {SECONDS} s\n")
    print(_table(names, results))
    print()
    print(_bars(results))


if __name__ == "__main__":
    main()
