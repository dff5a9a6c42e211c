"""A workspace with one member of each role, a sandbox in it, and what the tests of sandboxes do with them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import trio

from daemon.api.hub import EventHub
from daemon.api.server import serve_api
from daemon.db.listen import Notifications
from daemon.ids import new_id
from tests.api.support import ORIGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from daemon.db.database import Database
    from tests.api.support import Bench, Client

ROLES = ("owner", "maintainer", "developer", "guest")
NOWHERE = "aaaaaaaaaaaaaaaa"
PATIENCE = 10.0  # seconds until something that takes milliseconds is taken to have failed


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


@dataclass
class Live:
    """A served app with a hub that hears of every change."""

    crew: Crew
    hub: EventHub
    notifications: Notifications
    socket: Path

    @asynccontextmanager
    async def get(self, role: str, path: str, **headers: str) -> AsyncIterator[httpx.Response]:
        """An answer whose body is read as it comes."""
        given = {
            "Host": "localhost:8080",
            "Origin": ORIGIN,
            "X-Forwarded-For": "192.0.2.1",
            "X-Forwarded-Proto": "http",
        }
        given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.crew[role].cookies.items())
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with (
            httpx.AsyncClient(transport=transport, base_url=ORIGIN, timeout=PATIENCE) as client,
            client.stream("GET", path, headers=given | headers) as response,
        ):
            yield response


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
        yield Live(await make_crew(bench), hub, notifications, socket)
        nursery.cancel_scope.cancel()
