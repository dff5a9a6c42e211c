"""Backends that behave badly in one way each, and the few parts around them that the services need."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from backends.base import (
    Address,
    BackendError,
    BackendRejected,
    BackendUnavailable,
    Limits,
    Observed,
    SandboxGone,
    SandboxSpec,
)
from daemon.ids import new_id
from daemon.sandboxes.lifecycle import Lifecycle
from daemon.store import sandboxes as store
from daemon.store.audit import Actor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from daemon.db.database import Connection, Database
    from daemon.store.sandboxes import SandboxRow

SOMEBODY = Actor(new_id(), "192.0.2.1")  # who may act is decided elsewhere
DEADLINE = 30.0  # seconds for anything that should happen soon; a busy machine may be slow


class Good:
    """Does what it is told at once, and remembers it. ``existing``: what :meth:`inventory` reports, by id."""

    name = "fake"

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.existing: dict[str, Observed] = {}
        self.acting: dict[str, int] = {}
        self.overlaps: list[str] = []  # ids for which two calls were under way at the same time
        self.changed = trio.Condition()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        yield

    async def check(self) -> None:
        """Well."""

    @asynccontextmanager
    async def _call(self, name: str, subject: str) -> AsyncIterator[None]:
        self.calls.append((name, subject))
        self.acting[subject] = self.acting.get(subject, 0) + 1
        if self.acting[subject] > 1:
            self.overlaps.append(subject)
        try:
            await trio.lowlevel.checkpoint()
            yield
        finally:
            self.acting[subject] -= 1

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """It is all here."""

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        async with self._call("start", spec.id):
            await self.start(spec.id)
            self.existing[spec.id] = Observed(spec.id, spec.workspace_id, running=True)
            return Address("127.0.0.1", 1)

    async def pause(self, sandbox_id: str) -> None:
        async with self._call("pause", sandbox_id):
            await self.stop(sandbox_id)
            if (seen := self.existing.get(sandbox_id)) is not None:
                self.existing[sandbox_id] = Observed(sandbox_id, seen.workspace_id, running=False)

    async def destroy(self, sandbox_id: str, workspace_id: str) -> None:
        async with self._call("destroy", sandbox_id):
            await self.remove(sandbox_id)
            self.existing.pop(sandbox_id, None)

    async def destroy_workspace(self, workspace_id: str) -> None:
        async with self._call("destroy_workspace", workspace_id):
            if any(seen.running and seen.workspace_id == workspace_id for seen in self.existing.values()):
                raise BackendUnavailable("a sandbox of the workspace still runs")
            await self.remove(workspace_id)

    async def inventory(self) -> dict[str, Observed]:
        return dict(self.existing)

    async def address(self, sandbox_id: str) -> Address | None:
        seen = self.existing.get(sandbox_id)
        return Address("127.0.0.1", 1) if seen is not None and seen.running else None

    async def port_address(self, sandbox_id: str, port: int) -> Address | None:
        return None

    async def ports(self, sandbox_id: str) -> list[int]:
        return []

    async def disk_bytes(self, workspace_id: str) -> int | None:
        return 0

    def logs(self, sandbox_id: str, *, follow: bool) -> Any:
        raise SandboxGone("there is no log")

    # What the others do otherwise

    async def start(self, sandbox_id: str) -> None:
        """Nothing keeps it."""

    async def stop(self, sandbox_id: str) -> None:
        """Nothing keeps it."""

    async def remove(self, name: str) -> None:
        """Nothing keeps it."""

    def die(self, sandbox_id: str, detail: str) -> None:
        """Its processes end by themselves."""
        seen = self.existing[sandbox_id]
        self.existing[sandbox_id] = Observed(sandbox_id, seen.workspace_id, running=False, detail=detail)

    def called(self, name: str) -> list[str]:
        """The subjects of all calls of this name."""
        return [subject for called, subject in self.calls if called == name]


class Slow(Good):
    """Every call waits for the gate. A start that is cancelled leaves something running, as it may."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    async def start(self, sandbox_id: str) -> None:
        self.existing[sandbox_id] = Observed(sandbox_id, "w", running=True)
        await self.gate.wait()

    async def stop(self, sandbox_id: str) -> None:
        await self.gate.wait()

    async def remove(self, name: str) -> None:
        await self.gate.wait()


class NeverReady(Good):
    """Those in ``stuck`` never become healthy."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck: set[str] = set()

    async def start(self, sandbox_id: str) -> None:
        if sandbox_id in self.stuck:
            await trio.sleep_forever()


class DiesAtStart(Good):
    """Starts, and ends at once."""

    async def start(self, sandbox_id: str) -> None:
        raise BackendRejected("opencode exited with status 1: no such option")


class FarAway(Good):
    """What it needs comes from far away: it tells how far it is, and waits for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.fault: BackendError | None = None

    async def fetch(self, progress: Callable[[str], None]) -> None:
        progress("fetching the image: 1 of 2 MiB")
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault


class UnavailableThenGood(Good):
    """Does not answer the first ``times`` calls of each kind."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def _fail(self, name: str) -> None:
        if len(self.called(name)) <= self.times:
            raise BackendUnavailable("the backend does not answer")

    async def start(self, sandbox_id: str) -> None:
        self._fail("start")

    async def stop(self, sandbox_id: str) -> None:
        self._fail("pause")

    async def remove(self, name: str) -> None:
        self._fail("destroy")


class Defective(Good):
    """Raises what no backend may raise."""

    async def start(self, sandbox_id: str) -> None:
        raise ZeroDivisionError

    async def remove(self, name: str) -> None:
        raise ZeroDivisionError


class BadInventory(Good):
    """Cannot say what exists."""

    async def inventory(self) -> dict[str, Observed]:
        raise BackendUnavailable("the list is incomplete")


class Notes:
    """Notifications that can be lost: nothing arrives but what a test sends."""

    def __init__(self) -> None:
        self.connected = True
        self.callbacks: dict[str, list[Callable[[list[str]], None]]] = {}

    def subscribe(self, word: str, callback: Callable[[list[str]], None]) -> None:
        self.callbacks.setdefault(word, []).append(callback)

    def on_gap(self, callback: Callable[[], None]) -> None:
        """No gaps here."""

    def send(self, word: str, *words: str) -> None:
        for callback in self.callbacks.get(word, []):
            callback(list(words))


def spec_of(row: SandboxRow) -> SandboxSpec:
    return SandboxSpec(row.id, row.workspace_id, "password", {}, Limits(1, 1, 1))


def lifecycle(
    db: Database, backend: Any, notes: Notes | None = None, *, take_over: bool = False, **more: Any
) -> Lifecycle:
    notifications: Any = notes or Notes()
    return Lifecycle(db, backend, spec_of, notifications, take_over=take_over, **more)


async def add(db: Database, status: str, kind: str = "cloud", **columns: Any) -> str:
    """A sandbox in its own workspace; its id."""
    sandbox_id, workspace_id = new_id(), new_id()

    def insert(conn: Connection) -> None:
        conn.execute("INSERT INTO workspaces (id, name) VALUES (%s, 'w')", (workspace_id,))
        conn.execute(
            "INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES (%s, %s, 'n', %s, %s)",
            (sandbox_id, workspace_id, kind, status),
        )

    await db.run(insert)
    await change(db, sandbox_id, **columns)
    return sandbox_id


async def change(db: Database, sandbox_id: str, **columns: Any) -> None:
    """Set columns of the row behind everybody's back."""

    def update(conn: Connection) -> None:
        for name, value in columns.items():
            conn.execute(f"UPDATE sandboxes SET {name} = %s WHERE id = %s".encode(), (value, sandbox_id))

    await db.run(update)


async def row_of(db: Database, sandbox_id: str) -> SandboxRow:
    found = await db.run(store.find_sandbox, sandbox_id)
    assert found is not None
    return found


async def status_of(db: Database, sandbox_id: str) -> str | None:
    found = await db.run(store.find_sandbox, sandbox_id)
    return None if found is None else found.status


async def until_status(db: Database, sandbox_id: str, wanted: str | None) -> None:
    """Wait for the status; ``None``: for the end of the row."""
    with trio.fail_after(DEADLINE):
        while await status_of(db, sandbox_id) != wanted:  # noqa: ASYNC110 - the database sets no events
            await trio.sleep(0.02)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - the fakes set no events
            await trio.sleep(0.01)


@asynccontextmanager
async def running(*services: Callable[[], Any]) -> AsyncIterator[trio.Nursery]:
    """Services that are cancelled at the end of the block, whatever they are doing."""
    async with trio.open_nursery() as nursery:
        for service in services:
            nursery.start_soon(service)
        yield nursery
        nursery.cancel_scope.cancel()
