"""Signs of life, the order of connections, and duties: on a database, with clocks that are moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

from daemon.db.database import DatabaseUnavailable
from daemon.db.listen import Notifications
from daemon.sandboxes.activity import Activity
from daemon.sandboxes.duty import Duty
from daemon.secret import Keyring
from daemon.store import replicas as store
from daemon.store import tunnels
from daemon.store.replicas import Place
from daemon.tunnel.places import Places
from daemon.tunnel.presence import Presence
from daemon.tunnel.replicas import DEAD_SECONDS, Replicas
from daemon.tunnel.ways import Ways
from daemon.wire import limits

if TYPE_CHECKING:
    from daemon.db.database import Connection, Database

pytestmark = pytest.mark.needs("postgres")
W, BOX, OTHER = "w" * 16, "b" * 16, "o" * 16
ONE, TWO = "one" + "1" * 13, "two" + "2" * 13
SETUP = f"""
INSERT INTO workspaces (id, name) VALUES ('{W}', 'Work');
INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES
    ('{BOX}', '{W}', 'Laptop', 'local', 'offline'), ('{OTHER}', '{W}', 'Desk', 'local', 'offline');
"""


@pytest.fixture
async def boxes(db: Database) -> Database:
    await execute(db, SETUP)
    return db


async def execute(db: Database, query: str, *args: object) -> list[tuple[Any, ...]]:
    def op(conn: Connection) -> list[tuple[Any, ...]]:
        cursor = conn.execute(query.encode(), args or None)
        return cursor.fetchall() if cursor.description else []

    return await db.run(op)


async def statuses(db: Database) -> dict[str, str]:
    return dict(await execute(db, "SELECT id, status FROM sandboxes"))


async def later(db: Database, seconds: float) -> None:
    """All signs of life are older by so much."""
    await execute(db, "UPDATE replicas SET heartbeat_at = heartbeat_at - make_interval(secs => %s)", seconds)
    await execute(db, "UPDATE sandboxes SET last_heartbeat_at = last_heartbeat_at - make_interval(secs => %s)", seconds)


async def up(db: Database, name: str, sandbox: str, connection: str, order: int = 1) -> Presence:
    """An agent is connected to a replica."""
    presence = Presence(db, only_one=False, replica=name)
    presence.up(sandbox, connection, order=order)
    await presence.flush()
    return presence


async def test_a_machine_is_found_where_it_is(boxes: Database) -> None:
    await Replicas(boxes, ONE, "http://one:1", "1").once()
    assert await boxes.run(store.find_place, BOX) is None
    presence = await up(boxes, ONE, BOX, "1")
    assert await boxes.run(store.find_place, BOX) == Place("1", ONE, "http://one:1")
    presence.down(BOX, "1")
    await presence.flush()
    assert await boxes.run(store.find_place, BOX) is None


async def test_who_gives_no_sign_is_gone_with_its_tunnels(boxes: Database) -> None:
    judge = Replicas(boxes, ONE, "http://one:1", "1", beat=60.0, dead=DEAD_SECONDS)
    await Replicas(boxes, TWO, "http://two:1", "1").once()
    await judge.once()
    mine, theirs = await up(boxes, ONE, BOX, "1"), await up(boxes, TWO, OTHER, "2")
    judge._steady_since -= DEAD_SECONDS  # it has beaten for so long
    await later(boxes, DEAD_SECONDS / 2)
    await judge.once()
    assert await statuses(boxes) == {BOX: "running", OTHER: "running"}
    await later(boxes, DEAD_SECONDS / 2 + 1)
    await judge.once()
    assert await statuses(boxes) == {BOX: "running", OTHER: "offline"}
    assert await execute(boxes, "SELECT id FROM replicas") == [(ONE,)]
    await theirs.beat()  # it was not dead, only silent
    await Replicas(boxes, TWO, "http://two:1", "1").once()
    assert await statuses(boxes) == {BOX: "running", OTHER: "running"}
    assert await boxes.run(store.find_place, OTHER) == Place("2", TWO, "http://two:1")
    await mine.beat()


async def test_news_of_who_is_gone_that_were_missed_are_asked_for(
    boxes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a stream through one that hangs would wait for ever: on a hop nobody pings."""
    monkeypatch.setattr(limits, "IDLE_UPSTREAM_SECONDS", 0.01)
    await Replicas(boxes, ONE, "http://one:1", "1").once()
    nobody = cast("Any", None)
    ways = Ways(Keyring(b"k" * 32), "me", nobody, Places(boxes, Notifications("")))
    cut: list[str] = []
    monkeypatch.setattr(ways, "cut", cut.append)
    for name in (ONE, TWO):
        upstream = ways.hop(BOX, Place("1", name, "http://it:1"))._hop
        upstream.exchanges.add(nobody)  # or it would be forgotten by itself
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ways.run)
        await trio.sleep(0.05)
        assert not cut, "nothing was missed"
        ways.missed()
        with trio.fail_after(10):
            while not cut:  # noqa: ASYNC110 - nobody tells us
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert cut == [TWO]


async def test_after_a_time_without_the_database_nobody_is_judged(boxes: Database) -> None:
    """Everybody's signs are old then, and who is back first must not take the others for dead."""

    class Away:
        away = False

        async def run(self, *args: Any, **kwargs: Any) -> Any:
            if self.away:
                raise DatabaseUnavailable("it is away")
            return await boxes.run(*args, **kwargs)

    db: Any = Away()
    judge = Replicas(db, ONE, "http://one:1", "1", beat=0.01, dead=DEAD_SECONDS)
    await Replicas(boxes, TWO, "http://two:1", "1").once()
    await up(boxes, TWO, OTHER, "2")
    await judge.once()
    judge._steady_since -= 2 * DEAD_SECONDS
    await later(boxes, DEAD_SECONDS + 1)
    db.away = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(judge.run)
        with trio.fail_after(30):
            while judge._steady_since < 1e9:  # noqa: ASYNC110
                await trio.sleep(0.005)
            db.away = False
            while judge._steady_since > 1e9:  # noqa: ASYNC110
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    assert await statuses(boxes) == {BOX: "offline", OTHER: "running"}
    assert (TWO,) in await execute(boxes, "SELECT id FROM replicas")


async def test_a_process_that_was_stopped_judges_nobody_at_once(boxes: Database) -> None:
    judge = Replicas(boxes, ONE, "http://one:1", "1", dead=DEAD_SECONDS)
    await Replicas(boxes, TWO, "http://two:1", "1").once()
    await judge.once()
    judge._steady_since -= 2 * DEAD_SECONDS
    judge._last -= 30.0  # nothing happened here for so long
    await later(boxes, DEAD_SECONDS + 1)
    await judge.once()
    assert (TWO,) in await execute(boxes, "SELECT id FROM replicas")


async def test_who_ends_by_plan_makes_nobody_offline_at_once(boxes: Database) -> None:
    judge = Replicas(boxes, ONE, "http://one:1", "1", beat=60.0, dead=DEAD_SECONDS)
    await judge.once()
    judge._steady_since -= 2 * DEAD_SECONDS
    ending, presence = Replicas(boxes, TWO, "http://two:1", "1"), await up(boxes, TWO, OTHER, "2")
    await ending.once()
    await later(boxes, 60)
    await presence.beat()
    presence.hand_on("2")
    await ending._leave()
    await judge.once()
    assert (await statuses(boxes))[OTHER] == "running"
    assert await execute(boxes, "SELECT id FROM replicas") == [(ONE,)]
    await later(boxes, DEAD_SECONDS + 1)
    await judge.once()
    assert (await statuses(boxes))[OTHER] == "offline", "its agent did not come back"


async def test_an_older_connection_never_takes_the_place_of_a_newer(boxes: Database) -> None:
    """Written late, because its replica's database was slow."""
    lost: list[str] = []
    newer = await up(boxes, TWO, BOX, "new", order=2)
    older = Presence(boxes, only_one=False, lost=lost.append, replica=ONE)
    older.up(BOX, "old", order=1)
    await older.flush()
    assert lost == ["old"]
    query = "SELECT tunnel_connection, tunnel_replica FROM sandboxes WHERE id = %s"
    assert await execute(boxes, query, BOX) == [("new", TWO)]
    newer.down(BOX, "new")
    await newer.flush()
    found = await boxes.run(tunnels.next_order)
    assert await boxes.run(tunnels.next_order) > found


async def test_one_has_a_duty_until_it_says_nothing_more(db: Database) -> None:
    first, second = Duty(db, "x", ONE, 30.0), Duty(db, "x", TWO, 30.0)
    assert await first.is_ours()
    assert not await second.is_ours()
    assert await first.is_ours()
    assert await Duty(db, "y", TWO, 30.0).is_ours(), "another one's"
    await execute(db, "UPDATE duties SET until = now() - interval '1 second' WHERE name = 'x'")
    assert await second.is_ours()
    assert not await first.is_ours()
    await Replicas(db, TWO, "http://two:1", "1")._leave()
    assert await first.is_ours(), "who ends gives it up"
    assert await Duty(db, "x", None, 30.0).is_ours(), "who is alone asks nobody"


async def test_a_use_is_written_at_once_when_another_replica_is_about_to_pause(boxes: Database) -> None:
    """Between claim and hand-over there is a second; without a word the use would be written within five."""
    activity = Activity(boxes)
    fresh = "SELECT 1 FROM sandboxes WHERE id = %s AND last_activity_at > now() - interval '1 minute'"
    old = "UPDATE sandboxes SET last_activity_at = now() - interval '1 hour' RETURNING id"

    async def until_written() -> None:
        with trio.fail_after(1.0):
            while not await execute(boxes, fresh, BOX):  # noqa: ASYNC110
                await trio.sleep(0.01)

    await execute(boxes, old)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(activity.run)
        activity.touch(BOX)  # the first use after a long time is urgent by itself
        await until_written()
        await execute(boxes, old)
        activity.touch(BOX)  # the next is not
        activity.hurry(OTHER)
        with pytest.raises(trio.TooSlowError):
            await until_written()
        activity.hurry(BOX)
        await until_written()
        nursery.cancel_scope.cancel()
