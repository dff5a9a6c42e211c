"""``GET /api/events``: every change of a workspace or sandbox that the caller may see, as it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import trio
from quart import Blueprint, Response, request

from daemon.api import guard
from daemon.api.hub import BATCH
from daemon.api.openapi import Answer, describe
from daemon.api.parts import parts
from daemon.api.problems import invalid
from daemon.api.sandboxes import sandbox_shape
from daemon.api.workspaces import workspace_shape
from daemon.store import events as store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.api.hub import Listener
    from daemon.store.events import EventRow, VisibleEvent

blueprint = Blueprint("events", __name__)

HEARTBEAT_SECONDS: Final = 15.0  # a quarter of the shortest silence after which a proxy was seen to cut
_RETRY = b"retry: 2000\n\n"  # milliseconds until a browser connects again
_HEARTBEAT = b": still here\n\n"


def _message(kind: str, data: dict[str, Any], id_: int | None = None) -> bytes:
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _event(seen: VisibleEvent) -> bytes:
    event = seen.event
    data: dict[str, Any] = {"type": event.kind, "workspaceId": event.workspace_id}
    if event.sandbox_id is not None:
        data["sandboxId"] = event.sandbox_id
    if event.user_id is not None:
        data["userId"] = event.user_id
    if seen.sandbox is not None:
        data["sandbox"] = sandbox_shape(seen.sandbox).model_dump(mode="json", by_alias=True)
    if seen.workspace is not None:
        data["workspace"] = workspace_shape(seen.workspace).model_dump(mode="json", by_alias=True)
    return _message(event.kind, data, event.id)


def _last_event_id() -> int | None:
    text = request.headers.get("Last-Event-ID") or request.args.get("lastEventId")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise invalid(("Last-Event-ID", "must be the id of an event that this server sent"))
    return int(text)


@blueprint.get("/api/events")
@describe({200: Answer("The events, for ever.", media_type="text/event-stream")}, problems=[422])
async def stream_events() -> Response:
    """Changes of workspaces and sandboxes as they happen.

    `Last-Event-ID` resumes after that event. An event `reset` says that events were missed: load everything anew.
    """
    session = await guard.require_session()
    after = _last_event_id()
    response = Response(_stream(session.session_id, session.user.id, after), content_type="text/event-stream")
    response.timeout = None
    return response


async def _stream(session_id: str, user_id: str, after: int | None) -> AsyncIterator[bytes]:
    with parts().hub.listen(session_id, user_id) as listener:
        oldest, newest = await parts().db.run(store.bounds)
        yield _RETRY
        if after is not None and not oldest - 1 <= after <= newest:
            yield _message("reset", {"type": "reset"}, newest)
            after = newest
        sent = newest if after is None else after
        yield _message("ready", {"type": "ready"}, sent)
        while sent < newest:  # what was missed; what comes meanwhile waits in the listener
            events = await parts().db.run(store.events_after, sent, BATCH)
            if not events:
                break
            async for piece in _visible(user_id, events):
                yield piece
            sent = events[-1].id
        async for piece in _live(listener, user_id, sent):
            yield piece


async def _live(listener: Listener, user_id: str, sent: int) -> AsyncIterator[bytes]:
    while not listener.ended:
        events = None
        with trio.move_on_after(HEARTBEAT_SECONDS):
            events = await listener.take()
        if listener.ended:
            return
        if listener.lost:
            yield _message("reset", {"type": "reset"})
            return
        if events is None:
            yield _HEARTBEAT
            continue
        fresh = [event for event in events if event.id > sent]
        if fresh:
            sent = fresh[-1].id
            async for piece in _visible(user_id, fresh):
                yield piece


async def _visible(user_id: str, events: list[EventRow]) -> AsyncIterator[bytes]:
    for seen in await parts().db.run(store.visible, user_id, events):
        yield _event(seen)
