"""Follows what changes in a cluster: a list, then its news, then again from where they ended.

The news may be cut at any moment, and a cluster forgets what is older than some minutes: then everything is listed
anew. What is known here is as old as the last news; :meth:`Watch.require` says whether that is good enough.
"""

from __future__ import annotations

import json
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio

from backends.base import BackendError, BackendUnavailable, SandboxGone
from backends.kubeanswers import Busy, Expired
from backends.kubestream import lines, pieces
from backends.kubeview import trimmed
from backends.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from backends.kubecluster import Cluster

log = structlog.get_logger(__name__)
Manifest = dict[str, Any]

_LIFE_SECONDS: Final = 300  # after which the cluster ends the news by itself; its own watches have five to ten minutes
_SILENCE: Final = 90.0  # a cluster gives a sign of life every minute, by bookmarks
_PAGE: Final = 500  # objects; what the cluster's own tools ask for
_FIRST_PAUSE: Final = 0.1  # before news are asked for again that ended at once; doubled until
_LONGEST_PAUSE: Final = 15.0
_LASTED: Final = 0.5  # seconds: news that were to be had for so long were no failure
_FRESH_SECONDS: Final = 10.0  # without news for so long, what is known is not good enough; the reconciler asks each 5 s
_FIRST_SECONDS: Final = 10.0  # for the first list


class Watch:
    """All objects at a path that have a label. ``where`` tells the path, which may have another version later.

    ``keep``: what of it is kept. Everybody in a cluster may write our label on what is theirs.
    """

    def __init__(
        self,
        cluster: Cluster,
        where: Callable[[], Awaitable[str]],
        selector: str,
        what: str,
        keep: Callable[[Manifest], bool] = lambda _: True,
    ) -> None:
        self._cluster = cluster
        self._where = where
        self._selector = selector
        self._what = what
        self._keep = keep
        self._items: dict[tuple[str, str], Manifest] = {}
        self._version: str | None = None  # of the list that is known; None: list anew
        self._listed = trio.Event()
        self._newest = 0.0  # the latest version that a list or news had
        self._open = False
        self._opened = float("inf")  # when the present news began
        self._last = -float("inf")  # when news were last to be had
        self._trouble = "they were not asked for yet"
        self._limiter = trio.CapacityLimiter(2)
        self._outage = Outage(log, f"news of {what} are not to be had", f"news of {what} are to be had again")

    def __iter__(self) -> Iterator[Manifest]:
        return iter(list(self._items.values()))

    def get(self, namespace: str, name: str) -> Manifest | None:
        """What is known of one."""
        return self._items.get((namespace, name))

    async def require(self) -> None:
        """Wait for the first list; raise :class:`BackendUnavailable` if what is known is too old."""
        with trio.move_on_after(_FIRST_SECONDS):
            await self._listed.wait()
        if not self._listed.is_set() or (not self._open and trio.current_time() - self._last > _FRESH_SECONDS):
            raise BackendUnavailable(f"the cluster gives no news of its {self._what}: {self._trouble}")

    def note(self, found: Manifest) -> None:
        """An object as somebody has just seen it. News that are older are not taken for newer."""
        if not self._keep(found):
            return
        about = found["metadata"]
        key = (about.get("namespace", ""), about["name"])
        known = self._items.get(key)
        if known is None or _number(found) >= _number(known):
            self._items[key] = trimmed(found)

    def forget(self, namespace: str, name: str) -> None:
        """Somebody has just seen that it is gone."""
        self._items.pop((namespace, name), None)

    async def run(self) -> None:
        """Follow, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            self._opened = float("inf")
            wait = 0.0
            try:
                await self._once()
            except Expired:
                self._version = None
            except BackendError as error:
                self._trouble = str(error)
                self._outage.met(str(error))
                if isinstance(error, SandboxGone):
                    self._version = None  # another version of the API is served by now
                if isinstance(error, Busy):
                    wait = min(error.seconds, _LONGEST_PAUSE)
            lasted = trio.current_time() - self._opened >= _LASTED
            pause = _FIRST_PAUSE if lasted else min(pause * 2, _LONGEST_PAUSE)
            await trio.sleep(max(wait, pause * random.uniform(0.5, 1)))

    async def _once(self) -> None:
        path = await self._where()
        if self._version is None:
            await self._list(path)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": self._selector,
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(_LIFE_SECONDS),
        }
        news = pieces(self._cluster, path, query, limiter=self._limiter, silence=_SILENCE)
        async with news as found, aclosing(lines(found)) as each:
            self._open = True
            self._opened = trio.current_time()
            self._outage.over()
            try:
                async for line in each:
                    self._take(line)
            finally:
                self._open = False
                self._last = trio.current_time()

    async def _list(self, path: str) -> None:
        seen: dict[tuple[str, str], Manifest] = {}
        query = {"labelSelector": self._selector, "limit": str(_PAGE)}
        while True:
            page = await self._cluster.look(path, **query)
            for found in page.get("items") or []:
                found.setdefault("kind", str(page.get("kind", "")).removesuffix("List"))
                seen[found["metadata"].get("namespace", ""), found["metadata"]["name"]] = found
            if not (more := page["metadata"].get("continue")):
                break
            query["continue"] = more
        version = str(page["metadata"]["resourceVersion"])
        if _as_number(version) < self._newest:  # the cluster was restored from a backup: what came later never was
            self._items.clear()
        self._newest = _as_number(version)
        for key, known in list(self._items.items()):
            if key not in seen and _number(known) <= _as_number(version):
                del self._items[key]
        for found in seen.values():
            self.note(found)
        self._version = version
        self._last = trio.current_time()
        self._listed.set()

    def _take(self, line: bytes) -> None:
        """One piece of news. Raises :class:`Expired` if the cluster has forgotten what came next."""
        try:
            news = json.loads(line)
            kind, found = news["type"], news["object"]
            if kind == "ERROR":
                raise Expired(str(found.get("message") or "the news ended with an error"))
            about = found["metadata"]
            self._version = str(about["resourceVersion"])
            key = (about.get("namespace", ""), about.get("name", ""))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendUnavailable("the cluster's news make no sense") from error
        if _as_number(self._version) < self._newest:
            raise Expired("the cluster was restored from a backup")
        self._newest = _as_number(self._version)
        if kind == "DELETED":
            known = self._items.get(key)
            if known is not None and known["metadata"]["uid"] == about["uid"]:
                del self._items[key]
        elif kind in ("ADDED", "MODIFIED"):
            self.note(found)


def _number(found: Manifest) -> float:
    return _as_number(str(found["metadata"].get("resourceVersion", "")))


def _as_number(version: str) -> float:
    """Resource versions are numbers that grow (Kubernetes 1.35 says so, and it always was); any other is the newest."""
    return int(version) if version.isascii() and version.isdigit() else float("inf")
