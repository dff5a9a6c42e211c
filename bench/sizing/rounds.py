"""What a daemon does by itself, one round after the other: its parts in this process, on the real database."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from bench.sizing import fill
from bench.sizing.crowd import Crowd
from bench.sizing.server import Cost, median
from bench.sizing.size import ident
from daemon import config
from daemon.db.database import Database
from daemon.garbage import rarely_searched
from daemon.ids import new_id
from daemon.sandboxes.activity import Activity
from daemon.sandboxes.probe import Probe
from daemon.sandboxes.reconciler import Reconciler
from daemon.sandboxes.sweeper import Sweeper
from daemon.store import access, audit, deletion, expiry, replicas
from daemon.store import sandboxes as store
from daemon.tunnel.presence import Presence
from daemon.tunnel.replicas import DEAD_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bench.sizing.server import Server
    from bench.sizing.size import Size
    from daemon.db.database import Connection

_DEAD: Final = 10  # sandboxes that ended by themselves, all in one round
_TICK: Final = 0.002  # seconds between looks at how long everybody else waits
_A_YEAR: Final = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round. ``cpu``: seconds of this process; ``wait``: the longest that another task had to wait meanwhile."""

    cost: Cost
    cpu: float
    wait: float


@asynccontextmanager
async def _others() -> AsyncIterator[list[float]]:
    """Another task, which would like to run all the time: by how much each of its turns was late."""
    late: list[float] = []

    async def look() -> None:
        while True:
            began = time.perf_counter()
            await trio.sleep(_TICK)
            late.append(time.perf_counter() - began - _TICK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        yield late
        nursery.cancel_scope.cancel()


async def measure(server: Server, what: Callable[[], Awaitable[object]]) -> Round:
    """Do it once."""
    async with _others() as late:
        await trio.sleep(10 * _TICK)
        with server.watch() as cost:
            await trio.sleep(_TICK)  # what it took to begin with the watch is nobody's wait
            late.clear()
            cpu = time.process_time()
            await what()
            cpu, longest = time.process_time() - cpu, max(late, default=0.0)
        cost.seconds -= _TICK
        return Round(cost, cpu, longest)


async def repeat(server: Server, what: Callable[[], Awaitable[object]], times: int) -> Round:
    """The median of several, after one that warms up."""
    await what()
    rounds = [await measure(server, what) for _ in range(times)]
    middle = median([one.cost for one in rounds])
    return Round(middle, sorted(one.cpu for one in rounds)[times // 2], max(one.wait for one in rounds))


@dataclass(frozen=True, slots=True)
class Rounds:
    """All of them. ``sweeps`` by how many were idle, ``others`` by what is done."""

    reconciler: Round
    reconciler_dead: Round
    sweeps: dict[int, Round]
    arrival: Round
    beat: Round
    activity: Round
    others: dict[str, Round]


async def all_rounds(server: Server, size: Size, upstream: int) -> Rounds:
    """``upstream``: the port of what stands for every sandbox's opencode."""
    with rarely_searched():  # as the daemon's process
        return await _all_rounds(server, size, upstream)


async def _all_rounds(server: Server, size: Size, upstream: int) -> Rounds:
    async with Database.open(server.conninfo) as db:
        fill.reset(server.admin)
        crowd = Crowd(upstream, size)
        reconciler = Reconciler(db, crowd)
        quiet = await repeat(server, reconciler.once, size.repeat)
        for number in range(_DEAD):
            crowd.end(ident("sandbox", number))
        dead = await measure(server, reconciler.once)
        sweeps = {count: await _sweep(server, db, crowd, count) for count in size.idle}
        fill.reset(server.admin)
        arrival, beat = await _presence(server, db, size)
        activity = await _activity(server, db, size)
        others = {name: await repeat(server, what, size.repeat) for name, what in _others_of(db, size).items()}
        return Rounds(quiet, dead, sweeps, arrival, beat, activity, others)


async def _sweep(server: Server, db: Database, crowd: Crowd, idle: int) -> Round:
    """One look of the sweeper, which finds so many that nobody uses."""
    fill.reset(server.admin)
    fill.make_idle(server.admin, idle)
    probe = Probe(crowd, lambda _row: "none")
    sweeper = Sweeper(db, Activity(db), config.load({}, {}), probe, new_id())
    done = await measure(server, sweeper.once)
    if (pausing := server.number("SELECT count(*) FROM sandboxes WHERE status = 'pausing'")) != idle:
        raise RuntimeError(f"{pausing:g} of {idle} idle sandboxes were paused")
    return done


async def _presence(server: Server, db: Database, size: Size) -> tuple[Round, Round]:
    """All machines come at the same moment; then their heartbeats."""
    presence = Presence(db, only_one=False)
    for number in range(size.machines):
        presence.up(ident("machine", number), new_id(), {"hostname": "a-machine", "os": "Linux"})
    arrival = await measure(server, presence.flush)
    return arrival, await repeat(server, presence.beat, size.repeat)


async def _activity(server: Server, db: Database, size: Size) -> Round:
    """The times of everything that runs are written, as if all were used within a few seconds."""

    async def flush() -> None:
        activity = Activity(db)
        for number in range(size.running):
            activity.touch(ident("sandbox", number))
        await activity.flush()

    return await repeat(server, flush, size.repeat)


def _others_of(db: Database, size: Size) -> dict[str, Callable[[], Awaitable[object]]]:
    """Statements that are run now and then whatever happens, with their periods."""
    owner = new_id()

    async def was_deleted() -> None:
        await db.run(store.was_deleted, ident("sandbox", size.sandboxes))

    def sign(conn: Connection) -> None:
        replicas.beat(conn, owner, "http://192.0.2.1:8081", "1.0.0")
        replicas.forget_dead(conn, owner, DEAD_SECONDS)

    return {
        "sign of life of one of several replicas, each 2 s": lambda: db.run(sign),
        "orders for the life cycle, each 5 s": lambda: db.run(store.claim, owner, 30.0, most=64),
        "deleted workspaces, each 5 s": lambda: db.run(deletion.emptied_workspaces),
        "a census, each 15 s": lambda: db.run(store.count_by_status),
        "sessions that end, each minute": lambda: db.run(expiry.end_expired),
        "what has expired, each hour": lambda: db.run(access.purge_expired),
        "old entries of the audit log, each hour": lambda: db.run(audit.forget_old, _A_YEAR),
        "was an unknown sandbox deleted here, each 5 s": was_deleted,
    }
