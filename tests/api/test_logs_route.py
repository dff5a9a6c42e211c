"""The log of a sandbox: read, followed, and what ends it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from backends.base import BackendError, BackendUnavailable, SandboxGone
from tests.api.crew import PATIENCE, Live, live

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from daemon.db.database import Database
    from tests.api.support import Bench


class Logs:
    """A backend that has nothing but logs, which the test writes."""

    def __init__(self) -> None:
        self.write, self._read = trio.open_memory_channel[bytes | BackendError](100)
        self.failure: BackendError | None = None
        self.asked: list[tuple[str, bool]] = []
        self.left = trio.Event()

    @asynccontextmanager
    async def logs(self, sandbox_id: str, *, follow: bool) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """As :class:`backends.base.Backend`."""
        self.asked.append((sandbox_id, follow))
        if self.failure is not None:
            raise self.failure
        try:
            yield self._pieces()
        finally:
            self.left.set()

    async def _pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._read:
            if isinstance(piece, BackendError):
                raise piece
            yield piece


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
async def system(
    logs: Logs, db: Database, database_url: str, make_bench: Callable[..., Bench], tmp_path: Path
) -> AsyncIterator[Live]:
    async with live(db, database_url, make_bench, tmp_path / "api.sock", parts={"backend": logs}) as found:
        yield found


@pytest.mark.parametrize(
    ("query", "follow"),
    [("", False), ("?follow=true", True), ("?follow=1", True), ("?follow", True), ("?follow=false", False),
     ("?follow=0", False)],
)  # fmt: skip
async def test_the_whole_log(system: Live, logs: Logs, query: str, follow: bool) -> None:
    box = await system.crew.box()
    for piece in (b"one\n", b"t\xff\x00wo\n"):
        logs.write.send_nowait(piece)
    logs.write.close()
    async with system.get("developer", f"/api/sandboxes/{box}/logs{query}") as answer:
        assert answer.status_code == 200
        # What a sandbox says must never be taken for a page of the main host.
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert await answer.read_all() == b"one\nt\xff\x00wo\n"
    assert logs.asked == [(box, follow)]
    await logs.left.wait()


async def test_it_is_followed_as_it_is_written(system: Live, logs: Logs) -> None:
    box = await system.crew.box()
    async with system.get("developer", f"/api/sandboxes/{box}/logs?follow=1") as answer:
        assert answer.status_code == 200
        for piece in (b"one\n", b"two\n"):
            logs.write.send_nowait(piece)
            assert await answer.read() == piece
        assert not logs.left.is_set()
    with trio.fail_after(PATIENCE):  # the client has left
        await logs.left.wait()


async def test_none_yet(system: Live, logs: Logs) -> None:
    box = await system.crew.box("creating")
    logs.failure = SandboxGone("there is no such sandbox")
    async with system.get("developer", f"/api/sandboxes/{box}/logs?follow=1") as answer:
        assert answer.status_code == 200
        assert await answer.read_all() == b""


async def test_trouble(system: Live, logs: Logs) -> None:
    box = await system.crew.box()
    logs.write.send_nowait(b"one\n")
    logs.write.send_nowait(BackendUnavailable("docker is away"))
    async with system.get("developer", f"/api/sandboxes/{box}/logs") as answer:
        assert await answer.read_all() == b"one\n\n[the log cannot be read further: docker is away]\n"
    logs.write.send_nowait(SandboxGone("it is gone"))
    async with system.get("developer", f"/api/sandboxes/{box}/logs") as answer:
        assert await answer.read_all() == b""
    assert logs.left.is_set()


@pytest.mark.parametrize("way", ["logout", "removed", "demoted"])
async def test_it_ends_with_the_session_and_the_role(system: Live, logs: Logs, way: str) -> None:
    """Lesson: logout, role change and member removal left the live streams working."""
    crew = system.crew
    box = await crew.box()
    member = f"{crew.path}/members/{crew.id_of('developer')}"
    async with system.get("developer", f"/api/sandboxes/{box}/logs?follow=1") as answer:
        logs.write.send_nowait(b"one\n")
        assert await answer.read() == b"one\n"
        began = trio.current_time()
        if way == "logout":
            await crew["developer"].post("/api/auth/logout")
        elif way == "removed":
            await crew["owner"].delete(member)
        else:
            await crew["owner"].put(member, {"role": "guest"})
        assert await answer.read_all() == b""
        assert trio.current_time() - began < 30  # it takes milliseconds; by looking it would take a minute
    assert logs.left.is_set()


async def test_guests_and_strangers(system: Live, logs: Logs) -> None:
    box = await system.crew.box()
    for role, status in (("guest", 403), ("stranger", 404)):
        for query in ("", "?follow=1"):
            assert (await system.crew[role].get(f"/api/sandboxes/{box}/logs{query}")).status_code == status
    assert logs.asked == []
