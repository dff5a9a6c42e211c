"""Watches: the history as a stream of events, with bookmarks and 410."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.standins.kubernetes import answers
from tests.standins.kubernetes.answers import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.standins.kubernetes.api import Api, Call
    from tests.standins.kubernetes.store import Change

Json = dict[str, Any]
_LONGEST: Final = 1800.0  # seconds; a real one ends a watch after 30 to 60 minutes


class Watch:
    """One watch. What cannot be begun raises before a head is sent."""

    def __init__(self, api: Api, call: Call) -> None:
        self._world, self._call = api.world, call
        self._holds: Callable[[Json], bool] = api.selected(call)
        self._seen = self._world.store.revision
        given = call.query.get("resourceVersion", "")
        self._given = int(given) if given not in ("", "0") else 0
        if self._world.faults.watch_gone == "status":
            raise answers.expired()

    async def events(self) -> AsyncIterator[bytes]:
        """Lines of JSON. It ends with the watch's own time limit."""
        seconds = float(self._call.query.get("timeoutSeconds") or _LONGEST)
        deadline = trio.current_time() + seconds
        try:
            if self._world.faults.watch_gone == "event":
                raise answers.expired()
            for first in self._first():
                yield first
            while trio.current_time() < deadline:
                for change in self._world.store.since(self._seen):
                    self._seen = change.revision
                    if (line := self._line(change)) is not None:
                        yield line
                step = min(self._world.bookmark_every, deadline - trio.current_time())
                before = self._seen
                await self._world.store.wait(self._seen, step)
                if self._world.store.revision == before and "allowWatchBookmarks" in self._call.query:
                    yield self._bookmark()
        except Refused as refused:
            yield _encode("ERROR", refused.status())

    def _first(self) -> list[bytes]:
        """What is there already, where no version was given; and the place in the history."""
        store = self._world.store
        if not self._given:
            found = [obj for obj in store.list(self._call.kind.key) if self._holds(obj)]
            self._seen = store.revision
            return [self._encode("ADDED", obj) for obj in found]
        if self._given > store.revision:
            raise Refused(504, "Timeout", f"Too large resource version: {self._given}, current: {store.revision}")
        self._seen = self._given
        return []

    def _line(self, change: Change) -> bytes | None:
        if change.key != self._call.kind.key:
            return None
        fits = self._holds(change.obj)
        fitted = change.before is not None and self._holds(change.before)
        if change.type == "DELETED":
            return self._encode("DELETED", change.obj) if fitted or fits else None
        if fits:
            return self._encode("MODIFIED" if fitted else "ADDED", change.obj)
        return self._encode("DELETED", change.obj) if fitted else None

    def _bookmark(self) -> bytes:
        kind = self._call.kind
        about = {"resourceVersion": str(self._world.store.revision), "creationTimestamp": None}
        return _encode("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": about})

    def _encode(self, word: str, obj: Json) -> bytes:
        return _encode(word, self._world.shown(self._call.kind, obj))


def _encode(word: str, obj: Json) -> bytes:
    return json.dumps({"type": word, "object": obj}).encode() + b"\n"
