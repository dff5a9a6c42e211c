"""The tables of what was measured, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.sizing.paper import Row
from bench.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.sizing.cluster import Known
    from bench.sizing.live import Live, Rest
    from bench.sizing.rounds import Round, Rounds
    from bench.sizing.server import Cost
    from bench.sizing.size import Size

_MIB: Final = 1024.0**2
_LONGEST: Final = 90  # characters of a statement
_MOST: Final = 10  # statements


def rounds_table(size: Size, rounds: Rounds) -> str:
    """What a daemon does by itself."""
    columns = ("seconds", "statements", "transactions", "database, ms", "log, KiB", "CPU of the daemon, ms",
               "others wait, ms")  # fmt: skip
    lines = ["| one round | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, one in _rounds(size, rounds):
        cost = one.cost
        cells = (
            cost.seconds,
            cost.statements,
            cost.transactions,
            cost.ms,
            cost.wal / 1024,
            one.cpu * 1e3,
            one.wait * 1e3,
        )
        lines.append(f"| {name} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _rounds(size: Size, rounds: Rounds) -> Iterator[tuple[str, Round]]:
    yield f"reconciler, each 5 s: {size.sandboxes:,} sandboxes, all as they should be", rounds.reconciler
    yield "reconciler: 10 have ended by themselves", rounds.reconciler_dead
    for idle, one in rounds.sweeps.items():
        yield f"sweeper, each 30 s: {size.running:,} run, {idle} are idle", one
    yield f"presence, each 15 s: heartbeats of {size.machines:,} machines", rounds.beat
    yield f"presence: {size.machines:,} machines come at the same moment", rounds.arrival
    yield f"activity, each 5 s: {size.running:,} sandboxes were used", rounds.activity
    yield from rounds.others.items()


def rest_table(size: Size, live: Live) -> str:
    """A daemon that nobody asks for anything, without and with tunnels; and under load."""
    names = ("no tunnel", f"{size.machines:,} tunnels", "under load")
    steps: tuple[tuple[float, int, Cost], ...] = (
        _step(live.alone), _step(live.tunnels), (live.loaded.cpu, live.loaded.memory, live.loaded.cost),
    )  # fmt: skip
    lines = ["| the daemon in a process of its own | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]

    def line(name: str, cells: Iterable[float]) -> None:
        lines.append(f"| {name} | " + " | ".join(map(number, cells)) + " |")

    line("CPU of the daemon, % of a core", (cpu * 100 for cpu, _, _ in steps))
    line("CPU of the database, % of a core", (cost.cpu / cost.seconds * 100 for _, _, cost in steps))
    line("memory of the daemon, MiB", (memory / _MIB for _, memory, _ in steps))
    line("statements a second", (cost.statements / cost.seconds for _, _, cost in steps))
    line("transactions a second", (cost.transactions / cost.seconds for _, _, cost in steps))
    line("write-ahead log, KiB a second", (cost.wal / 1024 / cost.seconds for _, _, cost in steps))
    return "\n".join(lines)


def _step(rest: Rest) -> tuple[float, int, Cost]:
    return rest.cpu, rest.memory, rest.cost


def latency_table(live: Live) -> str:
    """Of each kind of request, also by that of the upstream, asked in the same run."""
    found, seconds = live.loaded.found, live.loaded.seconds
    columns = ("a second", "p50, ms", "p99, ms", "p50, × upstream", "p99, × upstream")
    lines = ["| requests | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    base = [found.quantile("upstream", part) for part in (0.5, 0.99)]
    for kind in sorted(found.ms):
        here = [found.quantile(kind, part) for part in (0.5, 0.99)]
        ratios = [one / other for one, other in zip(here, base, strict=True)]
        lines.append(f"| {kind} | " + " | ".join(map(number, (len(found.ms[kind]) / seconds, *here, *ratios))) + " |")
    return "\n".join(lines)


def statements_table(cost: Cost) -> str:
    """Those that take the database's time, under load."""
    lines = ["| statement | a second | ms each | ms a second |", "|---|---:|---:|---:|"]
    slowest = sorted(cost.by_statement.items(), key=lambda item: -item[1].ms)[:_MOST]
    for text, one in slowest:
        short = " ".join(text.split())[:_LONGEST].replace("|", "")
        cells = one.count / cost.seconds, one.ms / max(1, one.count), one.ms / cost.seconds
        lines.append(f"| `{short}` | " + " | ".join(map(number, cells)) + " |")
    return "\n".join(lines)


def further(size: Size, live: Live, known: Known) -> list[Row]:
    """What has no table of its own."""
    loaded = live.loaded
    lost = sum(loaded.found.wrong.values())
    yes = "measured"
    return [
        Row(f"seconds until {size.machines:,} agents were connected and running", number(live.arrival), yes,
            "one after the other"),
        Row("requests that were not answered well", str(lost), yes, "of all kinds"),
        Row("streams that broke, of all that were open", str(loaded.found.lost), yes,
            f"{2 * size.active + size.streams}"),
        Row("events that came by them", f"{loaded.found.events:,}", yes, "of opencode and of the API"),
        Row("commits a second", number(loaded.commits / loaded.seconds), yes, "`pg_stat_database`"),
        Row("connections to the database", str(loaded.connections), yes, "of one replica, with that which listens"),
        Row("memory of the database's processes", f"{loaded.database_memory / _MIB:.0f} MiB", yes,
            "private; 32 MiB of shared buffers on top"),
        Row("memory of the daemon after the load", f"{live.after / _MIB:.0f} MiB", yes, "private"),
        Row(f"Kubernetes: lists of {known.objects:,} objects", f"{known.listed / _MIB:.0f} MiB", yes,
            "as JSON, with who set which field"),
        Row("Kubernetes: CPU to understand them", f"{known.cpu:.2f} s", yes, "at the start, and when news were missed"),
        Row("Kubernetes: memory that keeps them", f"{known.kept / _MIB:.0f} MiB", yes, "of each replica"),
        Row("Kubernetes: CPU to say what runs", f"{known.look * 1e3:.0f} ms", yes, "each 5 s, where it is reconciled"),
    ]  # fmt: skip
