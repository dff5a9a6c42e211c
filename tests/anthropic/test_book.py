"""The book of usage on the real database: everything arrives, once, whatever happens to the database meanwhile."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import psycopg
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from daemon.anthropic.book import MOST_SUMS, Runner, UsageBook, utc_now
from daemon.anthropic.meter import Usage
from daemon.db.database import Connection, Database, DatabaseUnavailable
from daemon.store.usage import UsageEntry, add_usage, was_committed
from tests.db.tools import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.needs("postgres")

P = ParamSpec("P")
T = TypeVar("T")
NOW = datetime(2026, 2, 28, 17, 42, 59, 7, tzinfo=UTC)
HOUR = datetime(2026, 2, 28, 17, tzinfo=UTC)
DAY = NOW.date()
USAGE = Usage("claude-sonnet-4-5", 1, 10, 20, 30, 40)


class Unsteady:
    """A database that fails in one way, as long as it is told to. Each way is one that a real one has."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.fails = ""
        self.failed = 0

    async def run(self, op: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if not self.fails:
            return await self.db.run(op, *args, **kwargs)
        self.failed += 1
        if self.fails == "away":
            raise DatabaseUnavailable("cannot connect to the database")
        if self.fails == "lost before commit":
            await self.db.run(_roll_back_after, lambda conn: op(conn, *args, **kwargs))
        assert self.fails == "lost after commit"
        await self.db.run(op, *args, **kwargs)
        raise DatabaseUnavailable("the connection to the database was lost")


def _roll_back_after(conn: Connection, op: Callable[[Connection], object]) -> None:
    op(conn)
    raise DatabaseUnavailable("the connection to the database was lost")


def _rows(conn: Connection) -> list[tuple[object, ...]]:
    return conn.execute("SELECT * FROM usage_daily ORDER BY day, workspace_id, sandbox_id, model").fetchall()


def _hours(conn: Connection) -> list[tuple[object, ...]]:
    return conn.execute(
        "SELECT hour, workspace_id, sandbox_id, requests::int FROM usage_hourly ORDER BY hour, sandbox_id"
    ).fetchall()


def _sums(conn: Connection) -> tuple[int, ...]:
    row = conn.execute(
        "SELECT sum(requests)::int, sum(input_tokens)::int, sum(output_tokens)::int,"
        " sum(cache_read_tokens)::int, sum(cache_write_tokens)::int FROM usage_daily"
    ).fetchone()
    assert row is not None
    return row


def make_book(runner: Runner, most_sums: int = MOST_SUMS) -> UsageBook:
    return UsageBook(runner, now=lambda: NOW, first_pause=0.001, most_sums=most_sums)


@asynccontextmanager
async def running(book: UsageBook) -> AsyncIterator[trio.Nursery]:
    """The book with its service, which is cancelled at the end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(book.run)
        yield nursery
        nursery.cancel_scope.cancel()


async def written(book: UsageBook) -> None:
    await eventually(lambda: not book.waiting)


async def test_usage_is_booked_by_day_workspace_sandbox_and_model(db: Database) -> None:
    book = make_book(db)
    async with running(book):
        book.add("w1", "s1", USAGE)
        book.add("w1", "s1", Usage("claude-haiku-4-5", 1, 1, 2, 3, 4))
        book.add("w2", "s2", USAGE)
        await written(book)
        book.add("w1", "s1", USAGE)
        await written(book)
        with trio.fail_after(30):
            await wait_all_tasks_blocked()  # with nothing to write it sleeps
    assert await db.run(_rows) == [
        (DAY, "w1", "s1", "claude-haiku-4-5", 1, 1, 2, 3, 4),
        (DAY, "w1", "s1", "claude-sonnet-4-5", 2, 20, 40, 60, 80),
        (DAY, "w2", "s2", "claude-sonnet-4-5", 1, 10, 20, 30, 40),
    ]
    assert await db.run(_hours) == [(HOUR, "w1", "s1", 3), (HOUR, "w2", "s2", 1)]


async def test_a_new_day_is_a_new_row(db: Database) -> None:
    times = [NOW, NOW + timedelta(days=1)]
    book = UsageBook(db, now=lambda: times[0])
    async with running(book):
        book.add("w", "s", USAGE)
        times.pop(0)
        book.add("w", "s", USAGE)
        await written(book)
    assert [row[0] for row in await db.run(_rows)] == [date(2026, 2, 28), date(2026, 3, 1)]
    assert [row[0] for row in await db.run(_hours)] == [HOUR, HOUR + timedelta(days=1)]


async def test_a_new_hour_is_a_new_row_of_the_hours_only(db: Database) -> None:
    times = [NOW, NOW + timedelta(hours=1)]
    book = UsageBook(db, now=lambda: times[0])
    async with running(book):
        book.add("w", "s", USAGE)
        times.pop(0)
        book.add("w", "s", USAGE)
        await written(book)
    assert await db.run(_hours) == [(HOUR, "w", "s", 1), (HOUR + timedelta(hours=1), "w", "s", 1)]
    assert await db.run(_rows) == [(DAY, "w", "s", USAGE.model, 2, 20, 40, 60, 80)]


async def test_where_memory_ends_for_hours_the_books_go_on(db: Database) -> None:
    times = iter([NOW + timedelta(hours=number) for number in range(3)])
    book = UsageBook(db, now=lambda: next(times), most_sums=2)
    for _ in range(3):
        book.add("w", "s", USAGE)
    assert (book.waiting, book.lost) == (1, 0)
    async with running(book):
        await written(book)
    assert [row[3] for row in await db.run(_hours)] == [1, 1]
    assert await db.run(_sums) == (3, 30, 60, 90, 120)


def test_the_time_is_one_of_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
    assert abs(utc_now() - datetime.now().astimezone()) < timedelta(minutes=1)


async def test_many_calls_at_once_and_two_replicas_make_the_right_sums(db: Database) -> None:
    books = [make_book(db), make_book(db)]

    async def call(book: UsageBook, number: int) -> None:
        await trio.lowlevel.checkpoint()
        book.add("w", f"s{number % 7}", USAGE)

    async with running(books[0]), running(books[1]):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(call, books[number % 2], number)
        for book in books:
            await written(book)
    assert await db.run(_sums) == (200, 2000, 4000, 6000, 8000)


@pytest.mark.parametrize("way", ["away", "lost before commit", "lost after commit"])
async def test_nothing_is_lost_and_nothing_is_double(db: Database, way: str) -> None:
    unsteady = Unsteady(db)
    book = make_book(unsteady)
    async with running(book):
        unsteady.fails = way
        book.add("w", "s", USAGE)
        await eventually(lambda: unsteady.failed >= 3)
        book.add("w", "s", USAGE)  # while an earlier batch is in doubt
        unsteady.fails = ""
        await written(book)
    assert await db.run(_sums) == (2, 20, 40, 60, 80)
    assert await db.run(_hours) == [(HOUR, "w", "s", 2)]


async def test_a_server_that_cannot_be_reached_is_tried_again(db: Database) -> None:
    """With the real driver: what it raises is what the book waits out."""
    unsteady = Unsteady(Database("host=/nonexistent dbname=x"))
    book = make_book(unsteady)
    with capture_logs() as logs:
        async with running(book):
            book.add("w", "s", USAGE)
            await eventually(lambda: len(logs) >= 2)
            unsteady.db = db
            await written(book)
    assert await db.run(_sums) == (1, 10, 20, 30, 40)
    assert {entry["event"] for entry in logs} == {"usage is not written yet"}


async def test_the_rest_is_written_at_shutdown(db: Database) -> None:
    unsteady = Unsteady(db)
    unsteady.fails = "away"
    book = make_book(unsteady)
    async with running(book):
        book.add("w", "s", USAGE)
        await eventually(lambda: unsteady.failed > 0)
        unsteady.fails = ""
        book.add("w", "s", USAGE)
    assert not book.waiting
    assert await db.run(_sums) == (2, 20, 40, 60, 80)


async def test_shutdown_without_a_database_ends_and_says_what_is_lost(db: Database) -> None:
    unsteady = Unsteady(db)
    unsteady.fails = "away"
    book = make_book(unsteady)
    with capture_logs() as logs, trio.fail_after(30):
        async with running(book):
            book.add("w", "s", USAGE)
    assert logs[-1]["event"] == "usage is left unwritten"
    assert logs[-1]["sums"] == 1


async def test_cancelled_in_the_middle_of_writing_it_writes_once(db: Database, database_url: str) -> None:
    book = make_book(db)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE usage_daily")
        async with trio.open_nursery() as outer, running(book):
            book.add("w", "s", USAGE)
            await eventually(lambda: bool(_waiting_for_a_lock(other)))
            outer.start_soon(_unlock, other, _waiting_for_a_lock(other))
    assert not book.waiting
    assert await db.run(_sums) == (1, 10, 20, 30, 40)


def _waiting_for_a_lock(conn: psycopg.Connection) -> set[int]:
    """The server's processes that wait."""
    return {row[0] for row in conn.execute("SELECT pid FROM pg_locks WHERE NOT granted").fetchall()}


async def _unlock(conn: psycopg.Connection, cancelled: set[int]) -> None:
    """As soon as the last attempt, which comes after the cancelled one, waits too."""
    await eventually(lambda: bool(_waiting_for_a_lock(conn) - cancelled))
    conn.rollback()


async def test_memory_is_bounded_and_what_it_cannot_hold_is_counted(db: Database) -> None:
    unsteady = Unsteady(db)
    unsteady.fails = "away"
    book = make_book(unsteady, most_sums=3)
    with capture_logs() as logs:
        async with running(book):
            for number in range(5):
                book.add("w", f"s{number}", USAGE)
            book.add("w", "s0", USAGE)  # has its place
            assert (book.waiting, book.lost) == (3, 2)
            await eventually(lambda: unsteady.failed > 0)
            book.add("w", "s4", USAGE)
            assert (book.waiting, book.lost) == (3, 3)
            unsteady.fails = ""
            await written(book)
            book.add("w", "s4", USAGE)
            await written(book)
    assert [row[2:5] for row in await db.run(_rows)] == [
        ("s0", USAGE.model, 2),
        ("s1", USAGE.model, 1),
        ("s2", USAGE.model, 1),
        ("s4", USAGE.model, 1),
    ]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "usage is lost: the database is away and memory is full"
    ]


async def test_an_error_of_ours_ends_the_service_and_keeps_what_waits(db: Database) -> None:
    """The supervisor starts it again; nothing was lost by then."""

    def drop(conn: Connection) -> None:
        conn.execute("ALTER TABLE usage_daily RENAME TO gone")

    def bring_back(conn: Connection) -> None:
        conn.execute("ALTER TABLE gone RENAME TO usage_daily")

    await db.run(drop)
    book = make_book(db)
    book.add("w", "s", USAGE)
    with pytest.raises(psycopg.errors.UndefinedTable):
        await book.run()
    await db.run(bring_back)
    async with running(book):
        await written(book)
    assert await db.run(_sums) == (1, 10, 20, 30, 40)


ENTRY = UsageEntry(DAY, "w", "s", "m", 1, 0, 0, 0, 0)


async def test_two_replicas_write_in_one_order(db: Database, database_url: str, nursery: trio.Nursery) -> None:
    """So that they never wait for each other: here the second one waits with nothing in its hands."""
    first, second = (replace(ENTRY, sandbox_id=sandbox_id) for sandbox_id in ("s1", "s2"))
    with psycopg.connect(database_url) as other:
        add_usage(other, [first])
        nursery.start_soon(db.run, add_usage, [second, first])
        await eventually(lambda: bool(_waiting_for_a_lock(other)))
        other.execute("SET LOCAL lock_timeout = '200ms'")
        add_usage(other, [second])


async def test_whether_a_transaction_was_committed(db: Database, database_url: str) -> None:
    ids: list[str] = []
    await db.run(add_usage, [ENTRY], ids.append)
    with psycopg.connect(database_url) as other:
        add_usage(other, [ENTRY], ids.append)
        assert await db.run(was_committed, ids[1]) is None
        other.rollback()
        assert await db.run(was_committed, ids[0]) is True
        assert await db.run(was_committed, ids[1]) is False
        assert await db.run(was_committed, "4000000000") is False  # the database was restored to a time before it
        assert await db.run(was_committed, "1") is True
