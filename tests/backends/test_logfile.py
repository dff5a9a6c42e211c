"""The kept output: bounded, without secrets, and readable while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from backends.logfile import LogWriter, Redactor, secrets_in, segment_numbers, segment_path
from backends.logreader import last_lines, read_log

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"0123456789abcdef"
TEXT = b"before 0123456789abcdef after 0123 and 0123456789abcdef"
CLEAN = b"before [redacted] after 0123 and [redacted]"


def test_a_secret_is_found_however_the_stream_is_cut() -> None:
    """Lesson of the protocol tests: every sample whole, byte by byte, and cut at each place."""
    for cut in range(len(TEXT) + 1):
        redactor = Redactor([SECRET])
        assert redactor.feed(TEXT[:cut]) + redactor.feed(TEXT[cut:]) + redactor.flush() == CLEAN
    redactor = Redactor([SECRET, b"after 9999"])
    assert b"".join(redactor.feed(bytes([byte])) for byte in TEXT) + redactor.flush() == CLEAN


def test_only_what_may_be_a_secret_is_held_back() -> None:
    redactor = Redactor([SECRET])
    assert redactor.feed(b"a line\n") == b"a line\n"
    assert redactor.feed(b"maybe 0123") == b"maybe "
    assert redactor.feed(b"4 no") == b"01234 no"


def test_which_variables_are_secrets() -> None:
    found = secrets_in(
        {
            "OPENCODE_SERVER_PASSWORD": "long-password",
            "ANTHROPIC_API_KEY": "long-token",
            "KEY": "short",
            "HOME": "/home/agent",
        }
    )
    assert set(found) == {b"long-password", b"long-token", b"b3BlbmNvZGU6bG9uZy1wYXNzd29yZA=="}
    assert secrets_in({}) == []


def test_the_log_is_bounded_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    directory = str(tmp_path)
    for run in range(3):
        writer = LogWriter(directory, [], segment_bytes=1000)
        for line in range(100):
            writer.write(b"run %d line %03d of many\n" % (run, line))
        writer.close()
        assert len(segment_numbers(directory)) <= 2
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    kept = b"".join((tmp_path / path.name).read_bytes() for path in sorted(tmp_path.iterdir()))
    assert kept.endswith(b"run 2 line 098 of many\nrun 2 line 099 of many\n")
    assert len(kept) > 1000


def test_one_huge_piece_is_bounded_too(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), [], segment_bytes=1000)
    writer.write(b"x" * 10_000 + b"end")
    writer.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert last_lines(str(tmp_path), 1)[0].endswith("x")


def test_a_full_disk_loses_output_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter(str(tmp_path), [])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("backends.logfile.os.write", full)
        writer.write(b"lost\n")
    writer.write(b"kept\n")
    writer.close()
    assert last_lines(str(tmp_path), 5) == ["kept"]


async def collect(directory: Path, ended: trio.Event | None = None) -> bytes:
    """Everything that a reader sees."""
    return b"".join([piece async for piece in read_log(str(directory), ended)])


async def test_a_reader_without_following_ends(tmp_path: Path) -> None:
    assert await collect(tmp_path) == b""
    writer = LogWriter(str(tmp_path), [], segment_bytes=10)
    writer.write(b"0123456789abcdef")
    assert await collect(tmp_path) == b"0123456789abcdef"
    writer.close()


async def test_following_survives_rotation_and_says_what_it_missed(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), [], segment_bytes=100)
    ended = trio.Event()
    seen = b""
    progress = trio.Event()

    async def follow() -> None:
        nonlocal seen
        async for piece in read_log(str(tmp_path), ended):
            seen += piece
            progress.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        writer.write(b"a" * 90)
        await progress.wait()
        writer.write(b"b" * 20)  # on into the second segment
        with trio.fail_after(30):
            while len(seen) < 110:
                progress = trio.Event()
                await progress.wait()
        writer.write(b"c" * 500)  # the reader's segment and more are gone before it looks
        ended.set()
    writer.close()
    assert seen.startswith(b"a" * 90 + b"b" * 20)
    assert b"c" * 100 in seen


async def test_a_reader_that_was_too_slow_is_told(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), [], segment_bytes=100)
    writer.write(b"a" * 100)
    pieces = read_log(str(tmp_path), trio.Event())
    assert await anext(pieces) == b"a" * 100
    writer.write(b"b" * 350)
    assert await anext(pieces) == b"[cli-server] output was skipped here\n"
    assert await anext(pieces) == b"b" * 100
    await pieces.aclose()
    writer.close()


def test_the_last_lines_are_of_the_last_run(tmp_path: Path) -> None:
    assert last_lines(str(tmp_path / "none"), 3) == []
    writer = LogWriter(str(tmp_path), [])
    writer.line("now started")
    writer.write(b"old\n")
    writer.line("now ended with status 1")
    writer.line("later started")
    assert last_lines(str(tmp_path), 3) == []
    writer.write(b"one\n\n\x1b[91m\x1b[1mError: \x1b[0mtwo\r\n" + b"x" * 1000 + b"\n\xff\n")
    writer.close()
    assert last_lines(str(tmp_path), 3) == ["Error: two", "x" * 300, "\ufffd"]


@pytest.mark.parametrize("name", ["opencode.x.log", "opencode..log", "other", "opencode.000001.log.old"])
def test_other_files_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("stays")
    writer = LogWriter(str(tmp_path), [], segment_bytes=1)
    writer.write(b"12345")
    writer.close()
    assert (tmp_path / name).read_text() == "stays"
    assert segment_path(str(tmp_path), 5) == str(tmp_path / "opencode.000005.log")
