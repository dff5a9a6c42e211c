"""Codes that are used once, tokens that end with what they stand on, and connections that do not end each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import trio

from daemon.ids import new_id
from daemon.store import tunnels
from daemon.store.audit import Actor
from daemon.store.tunnels import NewLocalSandbox
from daemon.store.workspaces import NotAllowed, WorkspaceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from daemon.db.database import Database
    from daemon.store.sandboxes import SandboxRow

    Conn = psycopg.Connection[TupleRow]

W, BOX, OTHER = "w" * 16, "b" * 16, "o" * 16
IP = "192.0.2.1"
DEV = Actor("dev", IP)
SETUP = f"""
INSERT INTO users (id, username) VALUES ('dev', 'Dev'), ('guest', 'Guest'), ('stranger', 'Stranger');
INSERT INTO workspaces (id, name) VALUES ('{W}', 'Work');
INSERT INTO members (workspace_id, user_id, role) VALUES ('{W}', 'dev', 'developer'), ('{W}', 'guest', 'guest');
INSERT INTO sandboxes (id, workspace_id, name, type, status, created_by, tunnel_token_hash) VALUES
    ('{BOX}', '{W}', 'Laptop', 'local', 'offline', 'dev', 'token'),
    ('{OTHER}', '{W}', 'Desk', 'local', 'offline', 'dev', 'other'),
    ('{"c" * 16}', '{W}', 'Cloud', 'cloud', 'running', 'dev', NULL);
"""
# What takes the right to connect machines away from who made a code or let a machine in.
REVOCATIONS = (
    "UPDATE members SET role = 'guest' WHERE user_id = 'dev'",
    "DELETE FROM members WHERE user_id = 'dev'",
    "UPDATE users SET disabled_at = now() WHERE id = 'dev'",
    "UPDATE workspaces SET deleted_at = now()",
)


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SETUP.encode())
        yield connection


def one(conn: Conn, query: str, *args: object) -> Any:
    row = conn.execute(query.encode(), args).fetchone()
    return row if row is None or len(row) > 1 else row[0]


def new(name: str | None = None) -> NewLocalSandbox:
    sandbox_id = new_id()
    return NewLocalSandbox(sandbox_id, name, sandbox_id.encode())


def state(conn: Conn, sandbox_id: str = BOX) -> tuple[str, str | None]:
    found: tuple[str, str | None] = one(
        conn, "SELECT status, tunnel_connection FROM sandboxes WHERE id = %s", sandbox_id
    )
    return found


def events(conn: Conn) -> int:
    count: int = one(conn, "SELECT count(*) FROM events WHERE kind = 'sandbox.updated'")
    return count


# Codes


def test_a_code_lets_one_machine_in(conn: Conn) -> None:
    expires_at = tunnels.create_code(conn, b"code", W, DEV)
    assert 590 < one(conn, "SELECT extract(epoch FROM %s - now())::float8", expires_at) <= 600
    assert tunnels.redeem_code(conn, b"wrong", new(), IP) is None
    wanted = new("ada's laptop")
    made = tunnels.redeem_code(conn, b"code", wanted, IP)
    assert made is not None
    assert (made.id, made.workspace_id, made.name, made.type, made.status, made.created_by) == (
        wanted.id, W, "ada's laptop", "local", "offline", "dev",
    )  # fmt: skip
    assert made.agent_info is None
    assert tunnels.redeem_code(conn, b"code", new(), IP) is None
    found = tunnels.find_tunnel(conn, made.id)
    assert found == tunnels.Tunnel(wanted.tunnel_token_hash, W, "offline", allowed=True)


def test_a_machine_without_a_name_gets_one(conn: Conn) -> None:
    tunnels.create_code(conn, b"code", W, DEV)
    made = tunnels.redeem_code(conn, b"code", new(), IP)
    assert made is not None
    assert made.name == f"machine-{made.id[:4]}"


def test_who_may_make_a_code(conn: Conn) -> None:
    with pytest.raises(NotAllowed):
        tunnels.create_code(conn, b"code", W, Actor("guest", IP))
    with pytest.raises(WorkspaceNotFound):
        tunnels.create_code(conn, b"code", W, Actor("stranger", IP))
    assert one(conn, "SELECT count(*) FROM agent_codes") == 0


@pytest.mark.parametrize("revocation", [*REVOCATIONS, "UPDATE agent_codes SET expires_at = now()"])
def test_a_code_ends_with_what_it_stands_on(conn: Conn, revocation: str) -> None:
    tunnels.create_code(conn, b"code", W, DEV)
    conn.execute(revocation.encode())
    assert tunnels.redeem_code(conn, b"code", new(), IP) is None
    assert one(conn, "SELECT count(*) FROM sandboxes WHERE type = 'local'") == 2


async def test_of_many_at_once_one_gets_in(db: Database) -> None:
    await db.run(lambda conn: conn.execute(SETUP.encode()) and None)
    await db.run(tunnels.create_code, b"code", W, DEV)
    outcomes: list[SandboxRow | None] = []

    async def redeem() -> None:
        outcomes.append(await db.run(tunnels.redeem_code, b"code", new(), IP))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(redeem)
    assert len(outcomes) == 8
    assert sum(outcome is not None for outcome in outcomes) == 1


async def test_a_code_and_the_end_of_its_workspace_at_once(db: Database) -> None:
    """Whoever is first, no machine is left in a workspace that is gone, and nobody fails."""
    await db.run(lambda conn: conn.execute(SETUP.encode()) and None)
    await db.run(lambda conn: conn.execute(b"DELETE FROM sandboxes") and None)
    outcomes: list[SandboxRow | None] = []

    def end(conn: Conn) -> None:
        conn.execute("UPDATE workspaces SET deleted_at = now()")
        conn.execute("UPDATE sandboxes SET status = 'deleting'")

    async def redeem(hashed: bytes) -> None:
        outcomes.append(await db.run(tunnels.redeem_code, hashed, new(), IP))

    codes = [b"code%d" % number for number in range(4)]
    for code in codes:
        await db.run(tunnels.create_code, code, W, DEV)
    async with trio.open_nursery() as nursery:
        for code in codes:
            nursery.start_soon(redeem, code)
        nursery.start_soon(db.run, end)
    assert len(outcomes) == 4
    left = await db.run(lambda conn: conn.execute("SELECT DISTINCT status FROM sandboxes").fetchall())
    assert left in ([], [("deleting",)])


# Tokens


@pytest.mark.parametrize("revocation", [*REVOCATIONS, "UPDATE sandboxes SET status = 'deleting'",
                                        "UPDATE sandboxes SET created_by = NULL"])  # fmt: skip
def test_a_tunnel_ends_with_what_it_stands_on(conn: Conn, revocation: str) -> None:
    """Lesson: member removal left tunnels working."""
    before = tunnels.find_tunnel(conn, BOX)
    assert before is not None
    assert (before.token_hash, before.allowed) == (b"token", True)
    conn.execute(revocation.encode())
    after = tunnels.find_tunnel(conn, BOX)
    assert after is not None
    assert not after.allowed


def test_only_local_sandboxes_have_tunnels(conn: Conn) -> None:
    for sandbox_id in ("c" * 16, "x" * 16, "x", "", "\0"):
        assert tunnels.find_tunnel(conn, sandbox_id) is None
    conn.execute("UPDATE sandboxes SET tunnel_token_hash = NULL")
    assert tunnels.find_tunnel(conn, BOX) is None


# Presence


def test_up_and_down(conn: Conn) -> None:
    count = events(conn)
    assert tunnels.tunnel_up(conn, BOX, "1", {"host": "laptop"})
    assert state(conn) == ("running", "1")
    assert events(conn) == count + 1
    assert one(conn, "SELECT last_heartbeat_at FROM sandboxes WHERE id = %s", BOX) is not None
    assert tunnels.tunnel_up(conn, BOX, "1")
    assert one(conn, "SELECT agent_info, generation FROM sandboxes WHERE id = %s", BOX) == ({"host": "laptop"}, 2)
    assert events(conn) == count + 1, "nothing has changed"
    assert tunnels.tunnel_up(conn, BOX, "1", {"host": "tower"})
    assert events(conn) == count + 2
    assert tunnels.tunnel_down(conn, BOX, "1")
    assert state(conn) == ("offline", None)
    assert events(conn) == count + 3
    assert not tunnels.tunnel_down(conn, BOX, "1")
    assert state(conn, OTHER) == ("offline", None)


def test_the_end_of_an_older_connection_is_no_end(conn: Conn) -> None:
    """Lesson: a reconnecting agent was marked offline by the clean-up of its older connection."""
    assert tunnels.tunnel_up(conn, BOX, "old")
    assert tunnels.tunnel_up(conn, BOX, "new")
    assert not tunnels.tunnel_down(conn, BOX, "old")
    assert state(conn) == ("running", "new")
    assert tunnels.tunnel_down(conn, BOX, "new")
    assert state(conn) == ("offline", None)


async def test_an_older_end_and_a_newer_beginning_at_once(db: Database) -> None:
    """In whichever order they come, the newer one counts."""
    await db.run(lambda conn: conn.execute(SETUP.encode()) and None)
    await db.run(tunnels.tunnel_up, BOX, "0")
    for number in range(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.run, tunnels.tunnel_down, BOX, str(number))
            nursery.start_soon(db.run, tunnels.tunnel_up, BOX, str(number + 1))
        query = b"SELECT status, tunnel_connection FROM sandboxes WHERE id = %s"
        row = await db.run(lambda conn, query=query: conn.execute(query, (BOX,)).fetchone())  # type: ignore[misc]
        assert row == ("running", str(number + 1))


@pytest.mark.parametrize("end", ["UPDATE sandboxes SET status = 'deleting'", "DELETE FROM sandboxes"])
def test_nothing_is_up_that_is_being_deleted(conn: Conn, end: str) -> None:
    tunnels.tunnel_up(conn, BOX, "1")
    conn.execute(end.encode())
    assert not tunnels.tunnel_up(conn, BOX, "1")
    assert not tunnels.tunnel_up(conn, BOX, "2")
    assert not tunnels.tunnel_down(conn, BOX, "1")
    assert tunnels.heartbeat(conn, ["1"]) == set()
    assert tunnels.expire_tunnels(conn, 0) == []
    assert tunnels.forget_tunnels(conn) == []
    assert not one(conn, "SELECT 1 FROM sandboxes WHERE type = 'local' AND status <> 'deleting'")


def test_a_cloud_sandbox_is_no_tunnels_business(conn: Conn) -> None:
    cloud = "c" * 16
    assert not tunnels.tunnel_up(conn, cloud, "1")
    conn.execute("UPDATE sandboxes SET tunnel_connection = '1' WHERE id = %s", (cloud,))
    assert not tunnels.tunnel_down(conn, cloud, "1")
    assert tunnels.heartbeat(conn, ["1"]) == set()
    assert tunnels.expire_tunnels(conn, 0) == tunnels.forget_tunnels(conn) == []
    assert state(conn, cloud) == ("running", "1")


def age(conn: Conn, seconds: float, sandbox_id: str = BOX) -> None:
    query = "UPDATE sandboxes SET last_heartbeat_at = now() - make_interval(secs => %s) WHERE id = %s"
    conn.execute(query, (seconds, sandbox_id))


def test_without_heartbeats_a_sandbox_is_offline_and_comes_back_with_the_next(conn: Conn) -> None:
    tunnels.tunnel_up(conn, BOX, "1")
    tunnels.tunnel_up(conn, OTHER, "2")
    count = events(conn)
    age(conn, 50)
    age(conn, 40, OTHER)
    assert tunnels.heartbeat(conn, ["1", "2", "3"]) == {"1", "2"}
    assert events(conn) == count, "a heartbeat is no news"
    assert tunnels.expire_tunnels(conn, 45) == []
    age(conn, 50)
    age(conn, 40, OTHER)
    assert tunnels.expire_tunnels(conn, 45) == [BOX]
    assert state(conn) == ("offline", "1")
    assert state(conn, OTHER) == ("running", "2")
    assert tunnels.heartbeat(conn, ["1"]) == {"1"}
    assert state(conn) == ("running", "1")
    tunnels.tunnel_down(conn, BOX, "1")
    assert tunnels.heartbeat(conn, ["1"]) == set()
    assert state(conn) == ("offline", None)


def test_a_daemon_that_is_the_only_one_forgets_what_was(conn: Conn) -> None:
    tunnels.tunnel_up(conn, BOX, "1")
    assert tunnels.forget_tunnels(conn) == [BOX]
    assert state(conn) == ("offline", None)
    assert tunnels.heartbeat(conn, ["1"]) == set()


# What a machine says of itself


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, {}),
        ({"host": "ada's laptop", "system": "Linux 6.1 é"}, {"host": "ada's laptop", "system": "Linux 6.1 é"}),
        ({"cpus": 8, "load": 0.5, "battery": True}, {"cpus": "8", "load": "0.5", "battery": "true"}),
        ({"a": None, "b": [], "c": {}, "d": float("nan"), "e": 10**5000, "f": "x"}, {"f": "x"}),
        ({"a": "x\0\x1b[31m\ny\ud800\u202e"}, {"a": "x[31my"}),
        ({"a": "x" * 10**6}, {"a": "x" * 200}),
        ({"": "x", " ": "x", "a\nb": "x", "k" * 50: "x"}, {"k" * 40: "x"}),
        ({str(number): "x" for number in range(50)}, {str(number): "x" for number in range(20)}),
    ],
)
def test_what_is_kept_of_it(conn: Conn, said: dict[str, object], kept: dict[str, str]) -> None:
    assert tunnels.tunnel_up(conn, BOX, "1", said)
    assert one(conn, "SELECT agent_info FROM sandboxes WHERE id = %s", BOX) == kept
