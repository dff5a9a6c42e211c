"""``make sizing``: fill a database, measure what a daemon does by itself, then a daemon under load; print tables.

``make sizing ARGS=small`` does the same with small numbers, to see that it works: its figures say nothing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import structlog
import trio

from bench.processes import process, wait_for_line
from bench.sizing import fill, paper, report
from bench.sizing.cluster import all_known
from bench.sizing.live import live
from bench.sizing.rounds import all_rounds
from bench.sizing.server import server
from bench.sizing.size import FULL, SMALL, Size
from bench.tables import machine


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _measure(folder: Path, size: Size) -> None:
    known = trio.run(all_known, size)
    (folder / "postgres").mkdir(mode=0o755)
    log = folder / "opencode.log"
    with (
        process([sys.executable, "-m", "bench.sizing.opencode"], log=log, talks=True) as opencode,
        server(folder / "postgres") as database,
    ):
        upstream = int(wait_for_line(opencode, log))
        _say("filling the database")
        fill.fill(database.admin, size)
        _say("rounds of the reconciler, the sweeper and others")
        rounds = trio.run(all_rounds, database, size, upstream)
        fill.reset(database.admin)
        _say("a daemon at rest, with tunnels, and under load")
        whole = live(database, size, upstream, folder)
        rows = [*report.further(size, whole, known), *paper.replicas(size, whole), *paper.network(size)]
        rows += paper.database(database, size, whole)
    print(f"{machine()}; {size.sandboxes:,} sandboxes, of which {size.running:,} run, {size.machines:,} machines\n")
    tables = (
        report.rounds_table(size, rounds), report.rest_table(size, whole), report.latency_table(whole),
        report.statements_table(whole.loaded.cost), paper.table(rows),
    )  # fmt: skip
    print("\n\n".join(tables))
    if whole.loaded.found.wrong:
        print(f"\nNot answered well: {whole.loaded.found.wrong}")


def main() -> None:
    """Of the size that is asked for."""
    sizes = {"": FULL, "small": SMALL}
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    if wanted not in sizes:
        raise SystemExit(f"{wanted!r} is no size: small, or nothing for all of it")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors; each sandbox is a warning
    with tempfile.TemporaryDirectory(prefix="cli-server-sizing-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the database may run as another user
        _measure(folder, sizes[wanted])


if __name__ == "__main__":
    main()
