"""What is kept in memory of the database is never older than the latest change that was announced."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from daemon.gateway import lookup
from daemon.gateway.lookup import CachedLookup


class Table:
    """A database of one table. ``gate``: queries wait for it after they read."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.queries: list[str] = []
        self.gate: trio.Event | None = None
        self.fresh = True

    async def find(self, key: str) -> str | None:
        """Read a row."""
        self.queries.append(key)
        found = self.rows.get(key)
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        return found

    def lookup(self) -> CachedLookup[str, str]:
        """A lookup of this table."""
        return CachedLookup(self.find, lambda: self.fresh)


async def test_an_answer_is_kept() -> None:
    table = Table()
    table.rows["a"] = "1"
    found = table.lookup()
    assert found.kept("a") is None
    assert [await found.get("a") for _ in range(3)] == ["1", "1", "1"]
    assert found.kept("a") == "1"
    assert table.queries == ["a"]


async def test_absence_is_not_kept() -> None:
    table = Table()
    found = table.lookup()
    assert await found.get("a") is None
    table.rows["a"] = "1"
    assert await found.get("a") == "1"


@pytest.mark.parametrize("how", ["key", "match", "all"])
async def test_what_is_forgotten_is_asked_for_again(how: str) -> None:
    table = Table()
    table.rows |= {"a": "1", "b": "1"}
    found = table.lookup()
    await found.get("a")
    await found.get("b")
    table.rows["a"] = "2"
    if how == "key":
        found.forget_key("a")
    elif how == "match":
        found.forget(lambda key, value: (key, value) == ("a", "1"))
    else:
        found.clear()
    assert await found.get("a") == "2"
    assert await found.get("b") == "1"
    assert table.queries == ["a", "b", "a"] + (["b"] if how == "all" else [])


async def test_a_change_during_the_query_is_not_missed() -> None:
    """A logout that is announced while the old answer is on its way: the old answer must not be kept, nor used."""
    table = Table()
    table.rows["a"] = "old"
    table.gate = trio.Event()
    found = table.lookup()
    answers: list[str | None] = []

    async def ask() -> None:
        answers.append(await found.get("a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        table.rows["a"] = "new"
        found.forget_key("a")
        table.gate.set()
    assert answers == ["new"]
    assert found.kept("a") == "new"


async def test_a_row_that_changes_all_the_time_is_used_and_not_kept() -> None:
    table = Table()
    table.rows["a"] = "1"
    found = table.lookup()

    async def find(key: str) -> str | None:
        found.forget_key("another")
        return await table.find(key)

    found._find = find
    assert await found.get("a") == "1"
    assert found.kept("a") is None
    assert len(table.queries) == 3


async def test_nothing_is_kept_while_changes_are_not_announced() -> None:
    table = Table()
    table.rows["a"] = "1"
    table.fresh = False
    found = table.lookup()
    assert [await found.get("a"), await found.get("a")] == ["1", "1"]
    assert table.queries == ["a", "a"]


async def test_an_answer_is_kept_for_a_time_only(autojump_clock: trio.testing.MockClock) -> None:
    table = Table()
    table.rows["a"] = "1"
    found = table.lookup()
    await found.get("a")
    await trio.sleep(lookup.KEPT_SECONDS - 1)
    assert found.kept("a") == "1"
    await trio.sleep(2)
    assert found.kept("a") is None
    assert await found.get("a") == "1"
    assert table.queries == ["a", "a"]


async def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MOST", 2)
    table = Table()
    table.rows |= {"a": "1", "b": "2", "c": "3"}
    found = table.lookup()
    for key in "abc":
        await found.get(key)
    assert [found.kept(key) for key in "abc"] == [None, "2", "3"]


async def test_errors_pass_and_nothing_is_kept() -> None:
    """Lesson: database errors were shown as "not found"."""

    async def find(key: str) -> str | None:
        raise ConnectionError("no database")

    found: CachedLookup[str, str] = CachedLookup(find, lambda: True)
    with pytest.raises(ConnectionError):
        await found.get("a")
    assert found.kept("a") is None
