"""Notifications arrive, and where one may have been missed, that is told."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio

from daemon.db import listen
from daemon.db.listen import Notifications
from tests.db.tools import eventually, fetch

if TYPE_CHECKING:
    from pathlib import Path


def notify(conninfo: str, *payloads: str) -> None:
    with psycopg.connect(conninfo) as conn:
        for payload in payloads:
            conn.execute("SELECT pg_notify('cli_server', %s)", (payload,))


def listener_pid(conninfo: str) -> int:
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'cli-server'"
    )
    ((pid,),) = fetch(conninfo, query)
    return int(pid)


class Heard:
    """Records what a :class:`Notifications` tells."""

    def __init__(self, notifications: Notifications, *words: str) -> None:
        self.calls: list[list[str]] = []
        self.gaps: list[bool] = []
        for word in words:
            notifications.subscribe(word, lambda others, word=word: self.calls.append([word, *others]))  # type: ignore[misc]
        notifications.on_gap(lambda: self.gaps.append(notifications.connected))


async def test_each_word_has_its_subscribers(database_url: str) -> None:
    notifications = Notifications(database_url)
    heard = Heard(notifications, "event", "member", "member")
    assert not notifications.connected
    async with trio.open_nursery() as nursery:
        await nursery.start(notifications.run)
        assert notifications.connected
        assert heard.gaps == [True]
        notify(database_url, "event 17", "unknown thing", "", "member w u", "event")
        await eventually(lambda: len(heard.calls) == 4)
        nursery.cancel_scope.cancel()
    assert heard.calls == [["event", "17"], ["member", "w", "u"], ["member", "w", "u"], ["event"]]
    assert not notifications.connected


async def test_a_lost_connection_is_told_at_once_and_made_again(database_url: str) -> None:
    notifications = Notifications(database_url)
    heard = Heard(notifications, "event")
    async with trio.open_nursery() as nursery:
        await nursery.start(notifications.run)
        fetch(database_url, "SELECT pg_terminate_backend(%s, 5000)", [listener_pid(database_url)])
        await eventually(lambda: heard.gaps == [True, False])
        notify(database_url, "event 1")  # nobody listens
        await eventually(lambda: heard.gaps == [True, False, True])
        notify(database_url, "event 2")
        await eventually(lambda: heard.calls == [["event", "2"]])
        nursery.cancel_scope.cancel()


async def test_a_quiet_server_is_asked_and_kept(database_url: str) -> None:
    notifications = Notifications(database_url, keepalive=0.02)
    heard = Heard(notifications, "event")

    def asked() -> bool:
        rows = fetch(database_url, "SELECT query FROM pg_stat_activity WHERE pid = %s", [pid])
        return rows == [("SELECT 1",)]

    async with trio.open_nursery() as nursery:
        await nursery.start(notifications.run)
        pid = listener_pid(database_url)
        await eventually(asked)
        notify(database_url, *(f"event {number}" for number in range(50)))
        await eventually(lambda: len(heard.calls) == 50)
        assert heard.gaps == [True]
        nursery.cancel_scope.cancel()


async def test_a_dead_server_is_noticed(database_url: str) -> None:
    """A peer that is gone without a word (here: stopped) answers no keepalive."""
    notifications = Notifications(database_url, keepalive=0.02, answer_within=0.3)
    heard = Heard(notifications, "event")
    async with trio.open_nursery() as nursery:
        await nursery.start(notifications.run)
        pid = listener_pid(database_url)
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(lambda: heard.gaps[:3] == [True, False, True])
        finally:
            os.kill(pid, signal.SIGCONT)

        def told() -> bool:
            """Again and again: a busy server may have been taken for dead once more meanwhile."""
            notify(database_url, "event 3")
            return bool(heard.calls)

        await eventually(told)
        assert heard.calls[0] == ["event", "3"]
        nursery.cancel_scope.cancel()


async def test_a_failing_callback_ends_it_with_a_gap(database_url: str) -> None:
    """An invalidation that was not carried out must not go unnoticed."""
    notifications = Notifications(database_url)
    heard = Heard(notifications)

    def fail(words: list[str]) -> None:
        raise LookupError(words)

    notifications.subscribe("event", fail)
    with pytest.RaisesGroup(LookupError):
        async with trio.open_nursery() as nursery:
            await nursery.start(notifications.run)
            notify(database_url, "event 1")
    assert heard.gaps == [True, False]


async def test_it_waits_for_a_database_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(listen, "LONGEST_PAUSE", 0.01)
    notifications = Notifications(f"host={tmp_path} user=u dbname=d")
    heard = Heard(notifications)
    with trio.move_on_after(0.1) as scope:
        await notifications.run()
    assert scope.cancelled_caught
    assert heard.gaps == []


async def test_cancelled_while_connecting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        notifications = Notifications(f"host={tmp_path} user=u dbname=d connect_timeout=30")
        with trio.fail_after(10), trio.move_on_after(0.1):
            await notifications.run()
