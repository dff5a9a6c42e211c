"""A workspace with one member of each role, a sandbox in it, and what the tests of sandboxes do with them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11
import trio

from daemon.api.hub import EventHub
from daemon.api.server import serve_api
from daemon.db.listen import CHANNEL, Notifications
from daemon.ids import new_id
from tests.api.support import ORIGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from daemon.db.database import Database
    from tests.api.support import Bench, Client

ROLES = ("owner", "maintainer", "developer", "guest")
NOWHERE = "aaaaaaaaaaaaaaaa"
PATIENCE = 30.0  # seconds until something that takes milliseconds is taken to have failed


@dataclass
class Crew:
    """People who are named like their roles, and a stranger, who is no member."""

    bench: Bench
    people: dict[str, Client]
    workspace_id: str

    @property
    def path(self) -> str:
        """The workspace's address."""
        return f"/api/workspaces/{self.workspace_id}"

    def __getitem__(self, role: str) -> Client:
        return self.people[role]

    def id_of(self, role: str) -> str:
        """A user's id."""
        found: str = self.people[role].user["id"]
        return found

    async def box(self, status: str = "running", kind: str = "cloud", workspace_id: str | None = None) -> str:
        """A new sandbox's id."""
        sandbox_id = new_id()
        await self.bench.execute(
            "INSERT INTO sandboxes (id, workspace_id, name, type, status) VALUES (%s, %s, 'box', %s, %s)",
            sandbox_id,
            workspace_id or self.workspace_id,
            kind,
            status,
        )
        return sandbox_id

    async def status_of(self, sandbox_id: str) -> str | None:
        """Its status in the database; ``None`` if its row is gone."""
        rows = await self.bench.execute("SELECT status FROM sandboxes WHERE id = %s", sandbox_id)
        return rows[0][0] if rows else None

    async def remove(self, role: str) -> None:
        """End a membership."""
        await self.bench.execute("DELETE FROM members WHERE user_id = %s", self.id_of(role))

    async def session_of(self, role: str) -> str:
        """The id of somebody's only session."""
        rows = await self.bench.execute("SELECT id FROM sessions WHERE user_id = %s", self.id_of(role))
        ((session_id,),) = rows
        return str(session_id)


async def make_crew(bench: Bench) -> Crew:
    """A new crew."""
    people = {role: await bench.person(role) for role in (*ROLES, "stranger")}
    response = await people["owner"].post("/api/workspaces", {"name": "work"})
    workspace_id = (await response.get_json())["id"]
    for role in ROLES[1:]:
        await bench.execute("INSERT INTO members VALUES (%s, %s, %s)", workspace_id, people[role].user["id"], role)
    return Crew(bench, people, workspace_id)


class Answer:
    """An answer whose body is read as it comes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._wire = h11.Connection(h11.CLIENT)
        self._kept = b""
        self.status_code = 0
        self.headers: dict[str, str] = {}

    async def ask(self, path: str, headers: dict[str, str]) -> None:
        """Send the request and read the head of the answer."""
        request = h11.Request(method="GET", target=path, headers=list(headers.items()))
        await self._stream.send_all((self._wire.send(request) or b"") + (self._wire.send(h11.EndOfMessage()) or b""))
        head = await self._event()
        assert isinstance(head, h11.Response)
        self.status_code = head.status_code
        self.headers = {name.decode(): value.decode() for name, value in head.headers}

    async def _event(self) -> h11.Event:
        with trio.fail_after(PATIENCE):
            while (event := self._wire.next_event()) is h11.NEED_DATA:
                self._wire.receive_data(await self._stream.receive_some())
        assert isinstance(event, h11.Event)
        return event

    async def read(self) -> bytes | None:
        """The next piece of the body; ``None`` at its proper end. A body that breaks off raises h11's error."""
        event = await self._event()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def read_all(self) -> bytes:
        """The rest of the body."""
        found = b""
        while (piece := await self.read()) is not None:
            found += piece
        return found

    async def line(self) -> str | None:
        """The next line of the body."""
        while b"\n" not in self._kept:
            piece = await self.read()
            if piece is None:
                return None
            self._kept += piece
        line, _, self._kept = self._kept.partition(b"\n")
        return line.decode()


@dataclass
class Live:
    """A served app with a hub that hears of every change."""

    crew: Crew
    hub: EventHub
    notifications: Notifications
    socket: Path

    @asynccontextmanager
    async def get(self, role: str, path: str, **headers: str) -> AsyncIterator[Answer]:
        """An answer, and its connection for as long."""
        given = {
            "Host": "localhost:8080",
            "Origin": ORIGIN,
            "X-Forwarded-For": "192.0.2.1",
            "X-Forwarded-Proto": "http",
        }
        given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.crew[role].cookies.items())
        async with await trio.open_unix_socket(str(self.socket)) as stream:
            answer = Answer(stream)
            await answer.ask(path, given | headers)
            yield answer


@asynccontextmanager
async def live(
    db: Database,
    database_url: str,
    make_bench: Callable[..., Bench],
    socket: Path,
    *,
    parts: dict[str, Any] | None = None,
    **hub_settings: float,
) -> AsyncIterator[Live]:
    """An app that is served on ``socket``, its hub and its notifications."""
    notifications = Notifications(database_url)
    hub = EventHub(db, notifications, **hub_settings)
    bench = make_bench(parts={"hub": hub} | (parts or {}))
    async with trio.open_nursery() as nursery:
        await nursery.start(notifications.run)
        nursery.start_soon(hub.run)
        await nursery.start(serve_api, bench.app, socket)
        crew = await make_crew(bench)
        await all_heard(bench, notifications)
        yield Live(crew, hub, notifications, socket)
        nursery.cancel_scope.cancel()


async def all_heard(bench: Bench, notifications: Notifications) -> None:
    """Wait until all that was announced so far has come: late news of a new member ends what that member follows."""
    heard = trio.Event()
    notifications.subscribe("heard", lambda _words: heard.set())
    await bench.execute("SELECT pg_notify(%s, 'heard')", CHANNEL)  # in the order of the transactions
    with trio.fail_after(PATIENCE):
        await heard.wait()
