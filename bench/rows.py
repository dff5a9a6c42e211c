"""What is measured of each contender in each round, and the bars of the project as ratios within a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench import measures
from bench.contenders import BIG_BYTES
from bench.neighbours import WEBSOCKET
from bench.ours import PLAIN, TUNNEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.contenders import Contender
    from bench.neighbours import Pair
    from bench.tables import Results

CONNECTIONS: Final = (1, 16, 256)
STREAMS: Final = 1000
FIRST_EVENTS: Final = 50
BIG_TIMES: Final = 5  # 1 GB


def _small(connections: int) -> str:
    return f"small GET, {connections} connection{'s' * (connections > 1)}"


def _cpu(results: Results, row: str, column: str, figures: Sequence[float]) -> None:
    """The sum of all processes; of a tunnel, each of its two ends too."""
    results.add(row, column, sum(figures))
    if len(figures) > 1:
        results.add(f"{row}, server's end", column, figures[0])
        results.add(f"{row}, client's end", column, figures[1])


def measure(contender: Contender, big: Path, seconds: int, results: Results) -> None:
    """Small GETs, and a large body each way."""
    for connections in CONNECTIONS:
        load = measures.small_gets(contender.small, connections, seconds)
        at = _small(connections)
        results.add(f"{at}: requests/s", contender.name, load.rate)
        results.add(f"{at}: p50, ms", contender.name, load.p50)
        results.add(f"{at}: p99, ms", contender.name, load.p99)
        _cpu(results, f"{at}: CPU per request, µs", contender.name, load.cpus)
    down = measures.download(contender.bulk, BIG_BYTES)
    up = measures.upload(contender.bulk, big)
    add_transfers(results, contender.name, down, up)
    results.add("first event of an SSE, ms", contender.name, measures.first_event(contender.bulk, FIRST_EVENTS))


def add_transfers(results: Results, column: str, down: measures.Transfer, up: measures.Transfer) -> None:
    """A large body each way."""
    for way, transfer in (("down", down), ("up", up)):
        results.add(f"200 MB {way}: GB/s", column, transfer.rate / 1e9)
        _cpu(results, f"200 MB {way}: CPU, ms", column, [cpu * 1e3 for cpu in transfer.cpus])


def measure_messages(pair: Pair, results: Results) -> None:
    """The same bytes as messages of plain trio-websocket."""
    add_transfers(results, WEBSOCKET, pair.transfer("down", BIG_BYTES), pair.transfer("up", BIG_BYTES))


def measure_memory(contender: Contender, results: Results) -> None:
    """Once for each contender: it takes long and varies little."""
    if len(contender.bulk.pids) == 1:
        kib = measures.idle_streams(contender.bulk, STREAMS) / 1024
        results.add(f"memory per idle SSE stream ({STREAMS}), KiB", contender.name, kib)
    growth = measures.growth(contender.bulk, BIG_BYTES, BIG_TIMES) / 1e6
    results.add("memory growth while 1 GB passes, MB", contender.name, growth)


def proxy_bars(results: Results) -> list[tuple[str, float, str]]:
    """Of the gateway."""
    chp, nginx = "configurable-http-proxy", "nginx, unbuffered"
    at = _small(16)
    return [
        (f"small GETs at 16, requests/s, × {chp}", results.ratio(f"{at}: requests/s", PLAIN, chp), "≥ 1.0"),
        (f"CPU per small GET at 16, × {chp}", results.ratio(f"{at}: CPU per request, µs", PLAIN, chp), "≤ 1.0"),
        ("200 MB down, × nginx unbuffered", results.ratio("200 MB down: GB/s", PLAIN, nginx), "≥ 3"),
        ("200 MB up, × nginx unbuffered", results.ratio("200 MB up: GB/s", PLAIN, nginx), "≥ 3"),
    ]


def tunnel_bars(results: Results) -> list[tuple[str, float, str]]:
    """Of the tunnel."""
    row = f"{_small(16)}: requests/s"
    return [
        ("200 MB down, × plain trio-websocket", results.ratio("200 MB down: GB/s", TUNNEL, WEBSOCKET), "≥ 0.6"),
        ("200 MB up, × plain trio-websocket", results.ratio("200 MB up: GB/s", TUNNEL, WEBSOCKET), "≥ 0.6"),
        ("small GETs at 16, requests/s, × our gateway alone", results.ratio(row, TUNNEL, PLAIN), "≥ 0.5"),
    ]
