"""The order in which connections are written, as a table and against a model database whose attempts break off."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tunnel.notes import MOST_CHANGES, Notes


def taken(notes: Notes) -> list[tuple[str, str]]:
    """What is to be written, as ("up" or "down", connection)."""
    return [("up" if change.up else "down", change.connection_id) for change in notes.take()]


def written(notes: Notes, *refused: str) -> list[tuple[str, str]]:
    """As :func:`taken`, and written."""
    found = taken(notes)
    notes.done(refused)
    return found


def test_a_beginning_and_an_end() -> None:
    notes = Notes()
    notes.up("s", "a", None)
    assert (notes.live(), notes.written(), notes.waits("a")) == (["a"], [], True)
    assert written(notes) == [("up", "a")]
    assert (notes.live(), notes.written(), notes.waits("a")) == (["a"], ["a"], False)
    notes.down("a")
    assert (notes.live(), notes.written(), notes.waits("a")) == ([], [], True)
    assert written(notes) == [("down", "a")]
    assert written(notes) == []
    assert not notes.waiting


def test_what_ended_before_it_was_written_need_not_be() -> None:
    notes = Notes()
    notes.up("s", "a", None)
    notes.down("a")
    notes.down("a")
    assert taken(notes) == []
    assert not notes.waits("a")


def test_what_may_have_been_written_must_be_ended() -> None:
    """An attempt that broke off was perhaps carried out; it is made again, and then the end of it."""
    notes = Notes()
    notes.up("s", "a", None)
    assert taken(notes) == [("up", "a")]
    notes.down("a")
    assert taken(notes) == [("up", "a")]
    notes.done(())
    assert written(notes) == [("down", "a")]


def test_the_end_of_the_older_comes_after_the_beginning_of_the_newer() -> None:
    notes = Notes()
    notes.up("s", "old", None)
    written(notes)
    notes.up("s", "new", None)
    notes.down("old")
    assert written(notes) == [("up", "new"), ("down", "old")]


def test_the_newer_one_is_gone_before_it_was_written() -> None:
    notes = Notes()
    notes.up("s", "old", None)
    written(notes)
    notes.up("s", "new", None)
    notes.down("old")
    notes.down("new")
    assert written(notes) == [("down", "old")]


def test_the_last_words_of_an_older_one_do_not_bring_it_back() -> None:
    notes = Notes()
    notes.up("s", "old", None)
    notes.up("s", "new", None)
    written(notes)
    notes.up("s", "old", {"host": "x"})
    assert taken(notes) == []


def test_what_a_machine_says_comes_with_its_beginning_or_later() -> None:
    notes = Notes()
    notes.up("s", "a", {"host": "x"})
    notes.up("s", "a", None)
    (change,) = notes.take()
    assert change.info == {"host": "x"}
    notes.up("s", "a", {"host": "y"})
    notes.up("s", "a", {"host": "z"})
    assert change.info == {"host": "x"}, "it is being written by a thread"
    notes.done(())
    assert taken(notes) == [], "one that has always something new to say is heard once a round"
    notes.next_round()
    (change,) = notes.take()
    assert (change.up, change.info) == (True, {"host": "z"})
    notes.up("s", "a", {"host": "x"})
    notes.down("a")
    notes.done(())
    notes.next_round()
    assert written(notes) == [("down", "a")]


def test_a_machine_is_heard_when_it_first_speaks() -> None:
    notes = Notes()
    notes.up("s", "a", None)
    written(notes)
    notes.up("s", "a", {"host": "x"})
    assert written(notes) == [("up", "a")]


def test_who_is_replaced_has_nothing_more_to_say() -> None:
    notes = Notes()
    notes.up("s", "old", {"host": "x"})
    written(notes)
    notes.up("s", "old", {"host": "y"})
    notes.up("s", "new", None)
    notes.next_round()
    assert written(notes) == [("up", "new")]


def test_who_is_refused_is_told_once() -> None:
    notes = Notes()
    notes.up("s", "a", None)
    notes.up("t", "b", None)
    notes.take()
    notes.up("s", "a", {"host": "x"})
    notes.down("b")
    assert notes.done(["a", "b"]) == ["a"], "the other one has ended by itself"
    assert written(notes) == [("down", "b")]
    notes.down("a")
    assert not notes.waiting
    assert notes.lost(["a", "b", "c"]) == []


def test_a_crowd_is_written_in_pieces_by_sandbox() -> None:
    notes = Notes()
    for number in reversed(range(MOST_CHANGES + 1)):
        notes.up(f"{number:03}", str(number), None)
    first = written(notes)
    assert first == [("up", str(number)) for number in range(1, MOST_CHANGES + 1)]
    assert written(notes) == [("up", "0")]


SANDBOXES = ("s", "t")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("up"), st.sampled_from(SANDBOXES)),
        st.tuples(st.just("again"), st.integers(0, 20)),
        st.tuples(st.just("down"), st.integers(0, 20)),
        st.tuples(st.just("write"), st.sampled_from(["good", "broken before", "broken after"])),
    ),
    max_size=30,
)


@dataclass
class _Model:
    """A database of connections, and what really happened."""

    notes: Notes = field(default_factory=Notes)
    rows: dict[str, str | None] = field(default_factory=dict)
    sandboxes: list[str] = field(default_factory=list)  # of each connection
    newest: dict[str, int] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)

    def step(self, what: str, how: object) -> None:
        if what == "up":
            number = len(self.sandboxes)
            self.sandboxes.append(str(how))
            self.newest[str(how)] = number
            self.live.add(number)
            self.notes.up(str(how), str(number), None)
        elif what == "write":
            self.write(str(how))
            self.notes.next_round()
        elif isinstance(how, int) and how in self.live:
            if what == "again":
                self.notes.up(self.sandboxes[how], str(how), {"host": "x"})
            else:
                self.live.remove(how)
                self.notes.down(str(how))

    def write(self, outcome: str) -> bool:
        changes = self.notes.take()
        if outcome != "broken before":
            for change in changes:
                if change.up:
                    self.rows[change.sandbox_id] = change.connection_id
                elif self.rows[change.sandbox_id] == change.connection_id:
                    self.rows[change.sandbox_id] = None
        if outcome == "good":
            self.notes.done(())
        return bool(changes)

    def settle(self) -> None:
        while self.write("good"):
            pass
        assert not self.notes.waiting


@given(STEPS)
@pytest.mark.parametrize("end", [False, True])
def test_in_the_end_the_database_says_what_is(end: bool, steps: list[tuple[str, object]]) -> None:
    model = _Model()
    for what, how in steps:
        model.step(what, how)
    if end:
        for number in sorted(model.live):
            model.step("down", number)
    model.settle()
    for sandbox, number in model.newest.items():
        if number in model.live:
            assert model.rows[sandbox] == str(number)
        elif not any(model.sandboxes[other] == sandbox for other in model.live):
            assert model.rows.get(sandbox) is None
