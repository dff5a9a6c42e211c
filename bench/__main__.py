"""``make bench``: cli-server and its tunnel beside others, on the same upstreams, in one run.

``make bench ARGS=proxies`` and ``make bench ARGS=tunnel`` do one of the two; ``make bench ARGS=starts``
measures how long sandboxes take to start (it needs Docker and ``make images``). Rounds are interleaved, so that a noisy
moment hits everybody; every figure is the median of the rounds. Ratios count.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench import neighbours, ours, rows, starts
from bench.contenders import proxies, upstreams
from bench.idle import idle_agents
from bench.tables import Results, bars, machine, number

if TYPE_CHECKING:
    from bench.contenders import Contender, Upstreams
    from bench.idle import Idle
    from bench.neighbours import Pair

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
AGENTS = int(os.environ.get("BENCH_AGENTS", "500"))
IDLE_SECONDS = int(os.environ.get("BENCH_IDLE_SECONDS", "30"))


def _measure(up: Upstreams, everybody: list[Contender], pair: Pair | None, results: Results) -> None:
    for turn in range(ROUNDS):
        for contender in everybody:
            print(f"round {turn + 1} of {ROUNDS}: {contender.name}", flush=True)
            rows.measure(contender, up.folder / "big", SECONDS, results)
        if pair is not None:
            print(f"round {turn + 1} of {ROUNDS}: {neighbours.WEBSOCKET}", flush=True)
            rows.measure_messages(pair, results)
    for contender in everybody:
        rows.measure_memory(contender, results)


def _run(up: Upstreams, part: str, results: Results) -> tuple[list[str], list[str]]:
    """Everything that runs at the same time. The columns of the two tables."""
    with ExitStack() as stack:
        others = stack.enter_context(proxies(up)) if part != "tunnel" else []
        daemon = stack.enter_context(ours.daemon(up, "cli-server"))
        plain = ours.plain(daemon, up)
        tunnels: list[Contender] = []
        pair = None
        if part != "proxies":
            tunnels.append(stack.enter_context(ours.tunnelled(daemon, up)))
            pair = stack.enter_context(neighbours.websocket_pair(up.folder))
            if neighbours.has_chisel():
                tunnels.append(stack.enter_context(neighbours.chisel(up)))
        _measure(up, [*others, plain, *tunnels], pair, results)
    names = [contender.name for contender in tunnels]
    return [contender.name for contender in (*others, plain)], [plain.name, *names, neighbours.WEBSOCKET]


def _idle_table(idle: Idle) -> str:
    lines = [
        f"| {AGENTS} agents, connected and idle | |",
        "|---|---:|",
        f"| memory of the daemon per tunnel, KiB | {number(idle.memory / 1024)} |",
        f"| CPU of the daemon, % of a core | {number(idle.cpu)} |",
        f"| the same before they came | {number(idle.cpu_without)} |",
        f"| CPU of its database, % of a core | {number(idle.database_cpu)} |",
        f"| the same before they came | {number(idle.database_cpu_without)} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print tables in Markdown."""
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "starts":
        starts.main()
        return
    if part not in ("", "proxies", "tunnel"):
        raise SystemExit(f"{part!r} is no part of the benchmarks: proxies, tunnel, or nothing for both; or starts")
    results = Results()
    idle = None
    with tempfile.TemporaryDirectory(prefix="cli-server-bench-") as name, upstreams(Path(name)) as up:
        columns, tunnel_columns = _run(up, part, results)
        if part != "proxies":
            print(f"{AGENTS} idle agents", flush=True)
            idle = idle_agents(up, AGENTS, IDLE_SECONDS)
    print(f"\n{machine()}; medians of {ROUNDS} rounds of {SECONDS} s\n")
    if part != "tunnel":
        print(results.table(columns), bars(rows.proxy_bars(results)), sep="\n\n", end="\n\n")
    if idle is not None:
        print(results.table(tunnel_columns), bars(rows.tunnel_bars(results)), _idle_table(idle), sep="\n\n", end="\n\n")
        if not neighbours.has_chisel():
            print("chisel is not on PATH, so its column is left out.")


if __name__ == "__main__":
    main()
