"""What follows on paper from what was measured: each figure with its formula, and what was assumed for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.sizing.fill import MODELS
from daemon.db.database import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.sizing.live import Live
    from bench.sizing.server import Server
    from bench.sizing.size import Size

# Assumed. A daemon is one process whose work is done by one core; above this share of it the waits grow quickly.
_CORE: Final = 0.6
_CONNECTIONS: Final = MAX_SIZE + 1  # of a replica to the database, with the one that listens
_DATABASE_CONNECTIONS: Final = 100  # PostgreSQL's own default
_ENTRIES: Final = 5  # of a user in the audit log, in a day
_CYCLES: Final = 2  # pauses and resumes of a running sandbox, in a day; an event for each of four statuses
_RETURNS: Final = 4  # comings and goings of a machine, in a day; two events
_HOURS: Final = 8  # of a day in which a sandbox calls a model
# Bytes of the fakes' answers, and of heads both ways with cookies and forwarded headers; a browser sends some more.
_BODY: Final = 2048
_HEADS: Final = 1500
_PINGS: Final = 4 * 90 / 20.0  # bytes a second of an idle tunnel: two pings and their answers, each a packet, each 20 s
_KIB: Final = 1024.0
_MIB: Final = 1024.0**2
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. ``kind``: "measured", "computed" or "assumed"; ``how``: the formula, or the reason."""

    what: str
    value: str
    kind: str
    how: str


def table(rows: list[Row]) -> str:
    """In Markdown, a column for each kind."""
    kinds = ("measured", "computed", "assumed")
    lines = ["| | measured | computed | assumed | how |", "|---|---:|---:|---:|---|"]
    for row in rows:
        cells = " | ".join(row.value if row.kind == kind else "" for kind in kinds)
        lines.append(f"| {row.what} | {cells} | {row.how} |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Each:
    """What one of something costs. Seconds of CPU, bytes."""

    request: float  # of any kind, with its share of everything that goes on meanwhile
    tunnel: float
    tunnel_cpu: float
    page: float  # with its two connections and its upstream


def _each(size: Size, live: Live) -> _Each:
    calls = sum(len(found) for kind, found in live.loaded.found.ms.items() if kind != "upstream")
    return _Each(
        (live.loaded.cpu - live.tunnels.cpu) * live.loaded.seconds / max(1, calls),
        (live.tunnels.memory - live.alone.memory) / size.machines,
        max(0.0, live.tunnels.cpu - live.alone.cpu) / size.machines,
        max(0, live.loaded.memory - live.tunnels.memory) / (2 * size.active),
    )


def replicas(size: Size, live: Live) -> list[Row]:
    """How much one can do, and how many it takes."""
    each = _each(size, live)
    room = (_CORE - live.tunnels.cpu) / each.request
    cpu = live.loaded.cpu / _CORE
    connections = _DATABASE_CONNECTIONS // _CONNECTIONS
    return [
        Row("a replica uses of its core, at most", f"{_CORE:.0%}", "assumed", "above it, waits grow quickly"),
        Row(
            "CPU of the daemon for a request, and what goes on beside", f"{each.request * 1000:.2f} ms", "computed",
            "(CPU under load - CPU at rest) / requests",
        ),
        Row("requests a second for one replica with all tunnels", f"{room:.0f}", "computed", "(60% - at rest) / each"),
        Row("replicas for the load that was measured, by CPU", f"{cpu:.2f}", "computed", "CPU under load / 60%"),
        Row("memory of a tunnel", f"{each.tunnel / _KIB:.0f} KiB", "computed", "growth / tunnels"),
        Row("memory of a page in use", f"{each.page / _KIB:.0f} KiB", "computed", "growth under load / pages"),
        Row(
            "memory of one replica that serves everybody", f"{live.loaded.memory / _MIB:.0f} MiB", "measured",
            "private memory under load; Kubernetes' inventory comes on top",
        ),
        Row("files of one replica that serves everybody", str(live.loaded.files), "measured", "the most under load"),
        Row(
            "replicas that a database of 100 connections takes", str(connections), "computed",
            f"{_DATABASE_CONNECTIONS} / {_CONNECTIONS}",
        ),
        Row(
            "replicas for this installation", str(max(2, math.ceil(cpu) + 1)), "computed",
            "by CPU, and one that may be away",
        ),
    ]  # fmt: skip


def network(size: Size) -> list[Row]:
    """What goes over it besides large files and the streams of models."""
    requests = 2 * size.rate * (_BODY + _HEADS) * 2 / _KIB
    tunnels = size.machines * _PINGS / _KIB
    return [
        Row(
            "bytes of a request, heads and body",
            str(_BODY + _HEADS),
            "assumed",
            "what the fakes answer; no large files",
        ),
        Row("network, KiB a second, for requests", f"{requests:,.0f}", "computed", "requests × bytes × 2 (in and out)"),
        Row(
            "network, KiB a second, for idle tunnels", f"{tunnels:,.0f}", "computed", "tunnels × 4 packets of 90 / 20 s"
        ),
    ]


def _bytes_each(server: Server, name: str) -> float:
    """Of a row, with its part of the indexes."""
    query = f"SELECT pg_total_relation_size('{name}')::float8 / greatest(1, (SELECT count(*) FROM {name}))"
    return server.number(query)


def database(server: Server, size: Size, live: Live) -> list[Row]:
    """What it grows by."""
    daily = {
        "audit": (size.users * _ENTRIES, f"{size.users:,} users × {_ENTRIES}"),
        "usage_daily": (size.running * MODELS, f"{size.running:,} sandboxes × {MODELS} models"),
        "events": (
            size.running * _CYCLES * 4 + size.machines * _RETURNS * 2,
            f"{size.running:,} × {_CYCLES} × 4 + {size.machines:,} machines × {_RETURNS} × 2",
        ),
        "usage_hourly": (size.running * _HOURS, f"{size.running:,} sandboxes × {_HOURS} hours"),
    }
    kept = {"audit": 365, "usage_daily": 365, "events": 1, "usage_hourly": 2}
    rows, year = [], 0.0
    for name, (count, why) in daily.items():
        each = _bytes_each(server, name)
        year += each * count * kept[name]
        rows.append(Row(f"`{name}`: bytes of a row, with indexes", f"{each:.0f}", "measured", "table / rows"))
        rows.append(Row(f"`{name}`: rows of a day", f"{count:,}", "assumed", why))
    rows.append(
        Row(
            "these four after a year",
            f"{year / _MIB:,.0f} MiB",
            "computed",
            "bytes × rows × days kept (365, 365, 1, 2)",
        )
    )
    others = server.number("SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables") - sum(
        server.number(f"SELECT pg_total_relation_size('{name}')") for name in daily
    )
    rows.append(Row("everything else", f"{others / _MIB:,.0f} MiB", "measured", "all other tables, with indexes"))
    rows.extend(_log(live))
    return rows


def _log(live: Live) -> Iterator[Row]:
    rest, load = live.tunnels.cost, live.loaded.cost
    quiet, busy = (cost.wal / cost.seconds * _DAY / _MIB for cost in (rest, load))
    yield Row("write-ahead log of a day, at rest", f"{quiet:,.0f} MiB", "computed", "bytes a second × 86,400")
    yield Row("write-ahead log of a day under this load", f"{busy:,.0f} MiB", "computed", "the same")
