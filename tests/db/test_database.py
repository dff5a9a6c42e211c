"""Operations are whole: one transaction in one thread, cancelled cleanly, on a connection that lives."""

from __future__ import annotations

import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio
from psycopg import errors

from daemon.db import connect, database
from daemon.db.database import Database, DatabaseUnavailable
from daemon.db.job import TransactionBroken
from tests.db.tools import eventually, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.db.database import Connection


def insert(conn: Connection, name: str) -> str:
    conn.execute("INSERT INTO workspaces (id, name) VALUES (%s, %s)", (name, name))
    return name


def names(conn: Connection) -> list[str]:
    return [name for (name,) in conn.execute("SELECT id FROM workspaces ORDER BY id")]


def backends(conn: Connection) -> list[int]:
    """The server processes of this database's other connections."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return [pid for (pid,) in conn.execute(query)]


def terminate_others(conn: Connection) -> None:
    for pid in backends(conn):
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


async def test_result_is_returned_and_committed(db: Database) -> None:
    def op(conn: Connection, name: str, *, times: int) -> str:
        return insert(conn, name) * times

    assert await db.run(op, "a", times=2) == "aa"
    assert await db.run(names) == ["a"]


async def test_an_error_of_the_operation_rolls_back_and_goes_on_unchanged(db: Database) -> None:
    problem = LookupError("mine")

    def op(conn: Connection) -> None:
        insert(conn, "a")
        raise problem

    with pytest.raises(LookupError) as caught:
        await db.run(op)
    assert caught.value is problem
    assert await db.run(names) == []


async def test_a_constraint_goes_on_unchanged(db: Database) -> None:
    await db.run(insert, "a")
    with pytest.raises(errors.UniqueViolation):
        await db.run(insert, "a")


async def test_a_savepoint_can_be_rolled_back(db: Database) -> None:
    await db.run(insert, "a")

    def op(conn: Connection) -> None:
        with pytest.raises(errors.UniqueViolation), conn.transaction():
            insert(conn, "a")
        insert(conn, "b")

    await db.run(op)
    assert await db.run(names) == ["a", "b"]


async def test_an_operation_cannot_be_two_transactions(db: Database) -> None:
    def op(conn: Connection) -> None:
        insert(conn, "a")
        conn.commit()

    with pytest.raises(psycopg.ProgrammingError):
        await db.run(op)
    assert await db.run(names) == []


async def test_a_swallowed_error_is_not_taken_for_success(db: Database) -> None:
    """A COMMIT after a failed statement rolls back, and psycopg says nothing."""
    await db.run(insert, "a")

    def op(conn: Connection) -> None:
        insert(conn, "b")
        with pytest.raises(errors.UniqueViolation):
            insert(conn, "a")

    with pytest.raises(TransactionBroken):
        await db.run(op)
    assert await db.run(names) == ["a"]


async def test_a_silent_rollback_is_not_taken_for_success(db: Database) -> None:
    def op(conn: Connection) -> None:
        insert(conn, "a")
        raise psycopg.Rollback

    with pytest.raises(TransactionBroken):
        await db.run(op)


async def test_cancelled_in_the_middle_of_a_statement(db: Database, database_url: str) -> None:
    """The statement ends in the server, nothing stays, and the next operation works."""

    def op(conn: Connection) -> None:
        insert(conn, "a")
        conn.execute("SELECT pg_sleep(60)")

    def sleeping() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active'"
        return int(fetch(database_url, query)[0][0])

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.run, op)
            await eventually(lambda: sleeping() == 1)
            nursery.cancel_scope.cancel()
    assert sleeping() == 0
    assert await db.run(names) == []


async def test_cancelled_between_two_statements(db: Database) -> None:
    """A cancel request finds no statement then; the operation is not committed all the same."""
    inserted, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def op(conn: Connection) -> None:
        insert(conn, "a")
        token.run_sync_soon(inserted.set)
        assert go_on.wait(30)
        insert(conn, "b")

    async def release() -> None:
        await trio.sleep(0.1)
        go_on.set()

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        nursery.start_soon(db.run, op)
        await inserted.wait()
        outer.start_soon(release)
        nursery.cancel_scope.cancel()
    assert await db.run(names) == []


async def test_cancelling_has_a_deadline(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that hangs in Python is left to its thread, and its place is not given away twice."""
    monkeypatch.setattr(database, "CANCEL_SECONDS", 0.05)
    monkeypatch.setattr(database, "CUT_SECONDS", 0.05)
    monkeypatch.setattr(database, "POOL_WAIT", 0.05)
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def op(conn: Connection) -> None:
        insert(conn, "a")
        token.run_sync_soon(begun.set)
        assert go_on.wait(30)

    async with Database.open(database_url, max_size=1) as db:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(db.run, op)
                await begun.wait()
                nursery.cancel_scope.cancel()
        with pytest.raises(DatabaseUnavailable, match="no database connection was free"):
            await db.check()
        go_on.set()
        monkeypatch.setattr(database, "POOL_WAIT", 10)
        assert await db.run(names) == []


@pytest.mark.parametrize("queued", [False, True])
async def test_cancelled_before_it_began(database_url: str, *, queued: bool) -> None:
    """Its place is free again, and it is never run."""
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def hold(conn: Connection) -> None:
        token.run_sync_soon(begun.set)
        assert go_on.wait(30)

    async with Database.open(database_url, max_size=1) as db, trio.open_nursery() as nursery:
        if queued:
            nursery.start_soon(db.run, hold)
            await begun.wait()
        with trio.move_on_after(0.05) as scope:
            if not queued:
                scope.cancel()
            await db.run(insert, "never")
        assert scope.cancelled_caught
        go_on.set()
        assert await db.run(names) == []


async def test_exhausted_pool_is_an_error_after_its_deadline(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "POOL_WAIT", 0.05)
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def hold(conn: Connection) -> None:
        token.run_sync_soon(begun.set)
        assert go_on.wait(30)

    async with Database.open(database_url, max_size=1) as db, trio.open_nursery() as nursery:
        nursery.start_soon(db.run, hold)
        await begun.wait()
        with pytest.raises(DatabaseUnavailable, match="no database connection was free"):
            await db.check()
        go_on.set()


async def test_many_at_once_share_few_connections(database_url: str) -> None:
    def op(conn: Connection, number: int) -> int:
        insert(conn, f"{number:03}")
        return conn.info.backend_pid

    used: set[int] = set()

    async def one(db: Database, number: int) -> None:
        used.add(await db.run(op, number))

    async with Database.open(database_url, max_size=3) as db:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, db, number)
        assert len(await db.run(names)) == 100
    assert 1 <= len(used) <= 3
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
    await eventually(lambda: fetch(database_url, query, [list(used)]) == [(0,)])  # the server notices a moment later


async def test_a_statement_has_a_deadline(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "STATEMENT_SECONDS", 0.1)

    def op(conn: Connection) -> None:
        conn.execute("SELECT pg_sleep(60)")

    async with Database.open(database_url) as db:
        with pytest.raises(DatabaseUnavailable, match="the database took too long"):
            await db.run(op)
        await db.check()


async def test_a_dead_connection_is_replaced_before_the_operation(db: Database, database_url: str) -> None:
    await db.check()
    async with Database.open(database_url) as other:
        await other.run(terminate_others)
    calls = []

    def op(conn: Connection) -> str:
        calls.append(conn)
        return insert(conn, "a")

    assert await db.run(op) == "a"
    assert len(calls) == 1


async def test_a_connection_lost_in_the_middle_is_not_tried_again(db: Database, database_url: str) -> None:
    calls = []

    def op(conn: Connection) -> None:
        calls.append(conn)
        insert(conn, "a")
        with psycopg.connect(database_url) as other:
            terminate_others(other)
        insert(conn, "b")

    with pytest.raises(DatabaseUnavailable):
        await db.run(op)
    assert len(calls) == 1
    assert await db.run(names) == []


async def test_a_lost_connection_is_not_taken_for_success(db: Database, database_url: str) -> None:
    def op(conn: Connection) -> None:
        insert(conn, "a")
        with psycopg.connect(database_url) as other:
            terminate_others(other)
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        await db.run(op)


async def test_a_deadlock_is_tried_again(db: Database) -> None:
    both = threading.Barrier(2)
    attempts = []

    def prepare(conn: Connection) -> None:
        conn.execute("INSERT INTO login_failures (bucket, failures) VALUES ('a', 0), ('b', 0)")

    def op(conn: Connection, order: str) -> None:
        attempts.append(order)
        conn.execute("SET LOCAL deadlock_timeout = '20ms'")
        for position, name in enumerate(order):
            conn.execute("UPDATE login_failures SET failures = failures + 1 WHERE bucket = %s", (name,))
            if position == 0 and len(attempts) <= 2:
                both.wait(30)

    await db.run(prepare)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(db.run, op, "ab")
        nursery.start_soon(db.run, op, "ba")
    assert len(attempts) >= 3

    def result(conn: Connection) -> list[int]:
        return [count for (count,) in conn.execute("SELECT failures FROM login_failures")]

    assert await db.run(result) == [2, 2]


async def test_a_connection_unused_for_long_is_replaced(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def op(conn: Connection) -> int:
        return conn.info.backend_pid

    first = await db.run(op)
    assert await db.run(op) == first
    monkeypatch.setattr(database, "IDLE_SECONDS", -1)
    assert await db.run(op) != first


async def test_after_closing_it_says_so(database_url: str) -> None:
    async with Database.open(database_url) as db:
        pass
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await db.check()


async def test_database_errors_are_not_shown_as_absence(tmp_path: Path) -> None:
    """Lesson: database errors were shown as "not found" or as an empty list."""
    async with Database.open(f"host={tmp_path} user=u dbname=d") as db:
        with pytest.raises(DatabaseUnavailable, match="cannot connect to the database"):
            await db.run(names)
        with pytest.raises(DatabaseUnavailable):
            await db.check()


async def test_a_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        async with Database.open(f"host={tmp_path} user=u dbname=d connect_timeout=2") as db:
            with trio.fail_after(30), pytest.raises(DatabaseUnavailable, match="timeout"):
                await db.check()


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://u:s3cr/et@127.0.0.1/d",
        "postgresql://u:x@s3cret@127.0.0.1/d",
        "postgresql://u:s3cr%et@127.0.0.1/d",
        "host=127.0.0.1 password='s3cret port=1",
        "s3cret",
    ],
)
def test_an_unreadable_address_does_not_tell_the_password(conninfo: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        Database(conninfo)
    assert "s3c" not in str(caught.value)
    assert "et@" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "does-not-exist.invalid", "/nowhere"])
async def test_a_failed_connection_does_not_tell_the_password(host: str) -> None:
    db = Database(f"host={host} port=9 user=u password=s3cret dbname=d connect_timeout=2")
    with pytest.raises(DatabaseUnavailable) as caught:
        await db.check()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operation_is_typed(database_url: str) -> None:
    """``run`` takes what the operation takes; this is for mypy."""
    trio.run(partial(_typed, database_url))


async def _typed(database_url: str) -> None:
    async with Database.open(database_url) as db:
        name: str = await db.run(insert, name="a")
        assert name == "a"
