"""How much a folder takes: what ``du`` says, within bounds, whatever a sandbox has put there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import trio
import trio.testing

from backends.diskuse import Measures, allocated

_NOBODY = 65534


def du(path: Path) -> int:
    """What the system's own program says."""
    done = subprocess.run(["du", "-sx", "--block-size=1", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def test_it_counts_as_du_does(tmp_path: Path) -> None:
    """Blocks rather than sizes, each file once, no link followed."""
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "file").write_bytes(bytes(100_000))
    os.link(top / "a" / "file", top / "a" / "b" / "again")
    (top / "small").write_bytes(b"x")
    with (top / "holes").open("wb") as file:
        file.truncate(1 << 40)
    (top / "elsewhere").symlink_to("/usr")
    (top / "loop").symlink_to(top)
    (top / "nowhere").symlink_to("/nonexistent")
    os.mkfifo(top / "pipe")
    subprocess.run(["sync", "-f", top], check=True)  # some file systems allocate late
    assert allocated(top) == du(top)
    found = allocated(top)
    assert found is not None
    assert 100_000 < found < 200_000


def test_nothing_takes_nothing(tmp_path: Path) -> None:
    assert allocated(tmp_path / "absent") == 0


def test_a_top_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr")
    with pytest.raises(NotADirectoryError):
        allocated(tmp_path / "link")


def test_its_bounds(tmp_path: Path) -> None:
    """Beyond them nothing is said, rather than a number that is too small."""
    below = tmp_path / "1" / "2" / "3"
    below.mkdir(parents=True)
    for number in range(5):
        (below / str(number)).write_bytes(b"x")
    whole = allocated(tmp_path)
    assert whole == du(tmp_path)
    assert allocated(tmp_path, most_entries=8) == whole
    assert allocated(tmp_path, most_entries=7) is None
    assert allocated(tmp_path, deepest=4) == whole
    assert allocated(tmp_path, deepest=3) is None
    assert allocated(tmp_path, most_seconds=-1) is None


def test_a_nest_of_thousands_ends_early(tmp_path: Path) -> None:
    """Neither the stack nor the descriptors run out."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=directory)
            below = os.open("d", os.O_RDONLY, dir_fd=directory)
            os.close(directory)
            directory = below
    finally:
        os.close(directory)
    try:
        assert allocated(tmp_path) is None
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # for what cleans up after tests it is too deep


def test_what_was_made_unreadable() -> None:
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        (Path(top) / "closed").mkdir(mode=0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(_NOBODY)  # root reads everything
        try:
            assert allocated(Path(top)) is None
        finally:
            os.seteuid(before)


async def test_a_disk_that_takes_its_time_is_measured_once_for_all_who_ask(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Together or one after the other; a quick one is looked at each time."""
    times = []
    took = 0.5

    async def measure(disk: str) -> int | None:
        times.append(disk)
        await trio.sleep(took)
        return 7

    measures = Measures(measure)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(measures.size, "one")
    assert await measures.size("one") == 7
    assert len(times) == 1
    assert await measures.size("other") == 7
    assert len(times) == 2
    took = 0.01
    for _ in range(3):
        await measures.size("quick")
    assert len(times) == 5
    assert not measures._turns, "nothing is kept of who waited"
