"""Many who accept the same invitation in the same moment: as many join as it has uses."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest

from daemon.auth.roles import Role
from daemon.store import invitations, people, workspaces
from daemon.store.audit import Actor
from daemon.store.invitations import InvitationNotFound, NewInvitation
from daemon.store.people import NewSession
from daemon.store.workspaces import AlreadyMember

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.rows import TupleRow

W = "w" * 16
IP = "192.0.2.1"
OWNER = Actor("o" * 16, IP)
PEOPLE = [letter * 16 for letter in "abcdefgh"]
SETUP = f"""
INSERT INTO users (id, username)
    SELECT name, name FROM unnest('{{{",".join([OWNER.user_id, *PEOPLE])}}}'::text[]) AS name;
INSERT INTO workspaces (id, name) VALUES ('{W}', 'Work');
INSERT INTO members (workspace_id, user_id, role) VALUES ('{W}', '{OWNER.user_id}', 'owner');
"""


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SETUP.encode())
        yield connection


def invite(conn: psycopg.Connection[TupleRow], uses: int) -> bytes:
    new = NewInvitation("i" * 16, b"hash", Role.DEVELOPER, 3600.0, uses)
    with conn.transaction():
        invitations.create(conn, W, OWNER, new)
    return new.token_hash


def together(database_url: str, acts: list[Callable[[psycopg.Connection[TupleRow]], object]]) -> list[str]:
    """Each act in a thread and a transaction of its own, begun at the same time; how each ended, in order."""
    ends = [""] * len(acts)
    gate = threading.Barrier(len(acts))

    def run(number: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as conn:
            gate.wait(30)
            try:
                with conn.transaction():
                    acts[number](conn)
                ends[number] = "ok"
            except (InvitationNotFound, AlreadyMember) as error:
                ends[number] = type(error).__name__

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return ends


def left(conn: psycopg.Connection[TupleRow]) -> tuple[int, int]:
    """Uses left, and members beside the owner."""
    row = conn.execute(
        "SELECT coalesce(max(uses_left), -1), (SELECT count(*) - 1 FROM members WHERE workspace_id = %s)"
        " FROM invitations",
        (W,),
    ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("uses", [1, 3])
def test_as_many_join_as_it_has_uses(conn: psycopg.Connection[TupleRow], database_url: str, uses: int) -> None:
    hashed = invite(conn, uses)
    actors = [Actor(who, IP) for who in PEOPLE]
    ends = together(database_url, [partial(invitations.accept, token_hash=hashed, actor=actor) for actor in actors])
    assert sorted(ends) == ["InvitationNotFound"] * (len(PEOPLE) - uses) + ["ok"] * uses
    assert left(conn) == (0, uses)


def test_one_person_twice_spends_one_use(conn: psycopg.Connection[TupleRow], database_url: str) -> None:
    hashed = invite(conn, 5)
    ends = together(database_url, [lambda conn: invitations.accept(conn, hashed, Actor(PEOPLE[0], IP))] * 4)
    assert sorted(ends) == ["AlreadyMember"] * 3 + ["ok"]
    assert left(conn) == (4, 1)


def test_registrations_at_the_same_time(conn: psycopg.Connection[TupleRow], database_url: str) -> None:
    """Who comes too late is not registered either."""
    hashed = invite(conn, 2)

    def register(conn: psycopg.Connection[TupleRow], name: str) -> None:
        people.register(conn, "closed", name, None, "hash", NewSession(name.encode(), IP, ""), hashed)

    names = ["ann", "ben", "cid", "dan"]
    ends = together(database_url, [partial(register, name=name) for name in names])
    assert sorted(ends) == ["InvitationNotFound"] * 2 + ["ok"] * 2
    assert left(conn) == (0, 2)
    row = conn.execute("SELECT count(*) FROM users WHERE username = ANY(%s)", (names,)).fetchone()
    assert row == (2,)


def test_the_inviter_goes_while_somebody_joins(conn: psycopg.Connection[TupleRow], database_url: str) -> None:
    """Either the joining was first, or there is no invitation any more; nobody joins by one that is gone."""
    conn.execute("INSERT INTO members (workspace_id, user_id, role) VALUES (%s, %s, 'owner')", (W, PEOPLE[0]))
    hashed = invite(conn, 1)
    with psycopg.connect(database_url) as leaving:
        workspaces.remove_member(leaving, W, Actor(PEOPLE[0], IP), OWNER.user_id)
        joined: list[str] = []
        thread = threading.Thread(
            target=lambda: joined.extend(
                together(database_url, [lambda conn: invitations.accept(conn, hashed, Actor(PEOPLE[1], IP))])
            )
        )
        thread.start()
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not conn.execute(waiting.encode()).fetchone():
            assert thread.is_alive()
        leaving.commit()
    thread.join(30)
    assert joined == ["InvitationNotFound"]
    assert conn.execute("SELECT count(*) FROM invitations").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM members WHERE user_id = %s", (PEOPLE[1],)).fetchone() == (0,)
