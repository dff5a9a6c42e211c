"""``GET /api/events``: every change of a workspace or sandbox that the caller may see, as it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio
from quart import Blueprint, Response, request

from daemon.api import guard
from daemon.api.hub import BATCH, PAUSE_SECONDS
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.sandbox_shapes import sandbox_shape
from daemon.api.workspaces import workspace_shape
from daemon.db.database import DatabaseUnavailable
from daemon.store import events as store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.api.hub import Listener
    from daemon.api.parts import ApiParts
    from daemon.store.events import EventRow, VisibleEvent
    from daemon.store.people import SignedIn

log = structlog.get_logger(__name__)

blueprint = Blueprint("events", __name__)

# Events of everybody, of which a client that comes back sees its own; more of them, and loading anew is cheaper.
MOST_RESUMED: Final = 10_000
_RETRY: Final = b"retry: 2000\n\n"  # milliseconds until a browser connects again
_HEARTBEAT: Final = b": still here\n\n"
_LONGEST_ID: Final = 18  # digits; PostgreSQL's bigint has 19


@blueprint.get("/api/events")
@describe(
    {200: Answer("The events, for ever.", media_type="text/event-stream")},
    query={"lastEventId": "As the header `Last-Event-ID`, for clients that cannot set it."},
)
async def stream_events() -> Response:
    """Changes of workspaces and sandboxes as they happen.

    The header `Last-Event-ID` resumes after that event. `data` is an object with `type`, `workspaceId` and, where it
    is about one, `sandboxId` and `userId`; `sandbox` or `workspace` is what it is about as it is now. An event `reset`
    says that events were missed: load everything anew. Admins also get `admin.changed`, with nothing else, when a user,
    or a workspace that is not theirs, or what is in it, has changed: load what admins see anew.
    """
    session = await guard.require_session()
    pieces = b"" if request.method == "HEAD" else _pieces(parts(), session, _last_event_id())
    response = Response(pieces, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.timeout = None
    return response


def _last_event_id() -> int | None:
    """The event to go on after; -1, which is too old, for what is no id of ours."""
    text = request.headers.get("Last-Event-ID") or request.args.get("lastEventId")
    if not text:
        return None
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_ID else -1


async def _pieces(parts: ApiParts, session: SignedIn, after: int | None) -> AsyncIterator[bytes]:
    """The stream. It outlives its request's context, so everything is passed in."""
    yield _RETRY
    with parts.hub.listen(session.session_id, session.user.id) as listener:
        stream = _Stream(parts, listener, after)
        while not stream.over:
            for piece in await listener.unless_ended(stream.more) or ():
                if listener.ended:
                    break
                yield piece
            if listener.ended:
                return


class _Stream:
    """What a listener is told, piece by piece. It stays where it is when the database is away, and goes on by id."""

    def __init__(self, parts: ApiParts, listener: Listener, after: int | None) -> None:
        self.over = False
        self._parts = parts
        self._listener = listener
        self._after = after
        self._begun = False
        self._sent = 0  # the id up to which everything was told
        self._newest = 0  # the id up to which to catch up from the table; the hub gives what comes later
        self._unsent: list[EventRow] = []

    async def more(self) -> list[bytes]:
        """Wait for the next pieces."""
        try:
            if not self._begun:
                return await self._begin()
            return await self._next()
        except DatabaseUnavailable as error:
            log.warning("an event stream waits for the database", reason=str(error))
            await trio.sleep(PAUSE_SECONDS)
            return [_HEARTBEAT]

    async def _begin(self) -> list[bytes]:
        hub = self._parts.hub
        if not await hub.still_allowed(self._listener):
            self.over = True  # signed out since the request was let in
            return []
        oldest, newest = await hub.bounds()
        self._begun = True
        self._newest = newest
        self._sent = newest if self._after is None else self._after
        pieces = []
        if not oldest - 1 <= self._sent <= newest or newest - self._sent > MOST_RESUMED:
            self._sent = newest
            pieces.append(_message("reset", {"type": "reset"}, newest))
        return [*pieces, _message("ready", {"type": "ready"}, self._sent)]

    async def _next(self) -> list[bytes]:
        if not self._unsent and self._sent < self._newest:
            missed = await self._parts.db.run(store.events_after, self._sent, BATCH)
            # What is newer waits in the listener, too.
            self._unsent = [event for event in missed if event.id <= self._newest]
            if not self._unsent:
                self._sent = self._newest
        if not self._unsent and self._sent >= self._newest:
            with trio.move_on_after(self._parts.hub.heartbeat):
                taken = await self._listener.take()
                self._unsent = [event for event in taken if event.id > self._sent]
        if self._listener.lost:
            self.over = True
            return [_message("reset", {"type": "reset"}, self._listener.position)]
        if not self._unsent:
            # An id without data moves the client's place forward: what others do elsewhere does not make it too old.
            self._sent = max(self._sent, self._listener.position)
            return [f": still here\nid: {self._sent}\n\n".encode()]
        return await self._tell()

    async def _tell(self) -> list[bytes]:
        seen = await self._parts.db.run(store.visible, self._listener.user_id, self._unsent)
        self._sent = self._unsent[-1].id
        self._unsent = []
        return [_event(self._parts, event) for event in seen]


def _event(parts: ApiParts, seen: VisibleEvent) -> bytes:
    event = seen.event
    data: dict[str, Any] = {"type": event.kind}
    if event.workspace_id is not None:
        data["workspaceId"] = event.workspace_id
    if event.sandbox_id is not None:
        data["sandboxId"] = event.sandbox_id
    if event.user_id is not None:
        data["userId"] = event.user_id
    if seen.sandbox is not None:
        data["sandbox"] = sandbox_shape(parts, seen.sandbox).model_dump(mode="json", by_alias=True)
    if seen.workspace is not None:
        data["workspace"] = workspace_shape(seen.workspace).model_dump(mode="json", by_alias=True)
    return _message(event.kind, data, event.id)


def _message(kind: str, data: dict[str, Any], id_: int) -> bytes:
    return f"id: {id_}\nevent: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
