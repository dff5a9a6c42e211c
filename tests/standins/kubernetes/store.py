"""The objects, their versions, and the history that watches read. It knows no rules but those of all objects.

Every change gets the next resourceVersion, one count for all kinds as etcd has it. What goes in and comes out is
copied: nobody shares an object with the store. What it does NOT do: keep anything on disk, or old versions of lists (a
continued list reads what was kept with its token; ``compact`` throws tokens and history away).
"""

from __future__ import annotations

import copy
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.standins.kubernetes import answers

if TYPE_CHECKING:
    from tests.standins.kubernetes.kinds import Kind

Json = dict[str, Any]
List = list  # the store has a method of that name
Key = tuple[str, str]  # group and plural
_HISTORY: Final = 20_000  # changes; more than any test makes, little memory


def now(seconds: float = 0) -> str:
    """The time as objects have it, so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Change:
    """One entry of the history. ``before`` is ``None`` for a new object; of a deleted one ``obj`` is the last state."""

    revision: int
    key: Key
    type: str  # ADDED, MODIFIED, DELETED
    obj: Json
    before: Json | None


@dataclass
class Store:
    """See the module's text. Objects are by group and plural, and by namespace ("" for none) and name."""

    revision: int = 1000
    compacted: int = 1000  # versions up to here cannot be watched from, if they are below it
    objects: dict[Key, dict[tuple[str, str], Json]] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    continued: dict[str, tuple[int, list[Json]]] = field(default_factory=dict)
    _changed: trio.Event = field(default_factory=trio.Event)

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """A copy. Raises :class:`~tests.standins.kubernetes.answers.Refused`."""
        found = self.find(kind.key, namespace, name)
        if found is None:
            raise answers.not_found(kind.plural, kind.group, name)
        return found

    def find(self, key: Key, namespace: str, name: str) -> Json | None:
        """A copy, or ``None``."""
        return copy.deepcopy(self.objects.get(key, {}).get((namespace, name)))

    def list(self, key: Key, namespace: str = "") -> List[Json]:
        """Copies, in the order of namespaces and names."""
        found = sorted(self.objects.get(key, {}).items())
        return [copy.deepcopy(obj) for (inside, _), obj in found if namespace in ("", inside)]

    def create(self, kind: Kind, obj: Json) -> Json:
        """A new object. Its name may be made of ``generateName``."""
        obj = copy.deepcopy(obj)
        metadata = obj["metadata"]
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        place = (metadata.get("namespace", ""), metadata["name"])
        if place in self.objects.get(kind.key, {}):
            raise answers.already_exists(kind.plural, kind.group, metadata["name"])
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(name, None)
        if kind.generation:
            metadata["generation"] = 1
        return self._put(kind.key, place, "ADDED", obj)

    def update(self, kind: Kind, obj: Json) -> Json:
        """Put an object in the place of the one with its name. If it has a resourceVersion, that must be current."""
        obj = copy.deepcopy(obj)
        metadata = obj["metadata"]
        place = (metadata.get("namespace", ""), metadata["name"])
        old = self.get(kind, *place)
        had = old["metadata"]
        if metadata.get("uid") not in (None, had["uid"]):
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {had['uid']}"
            raise answers.conflict(kind.plural, kind.group, metadata["name"], why)
        if metadata.get("resourceVersion") not in (None, "", had["resourceVersion"]):
            raise answers.conflict(kind.plural, kind.group, metadata["name"], answers.STALE)
        for name in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(name, None)
            if name in had:
                metadata[name] = had[name]
        metadata["resourceVersion"] = had["resourceVersion"]
        if kind.generation and _spec(obj) != _spec(old):
            metadata["generation"] = had["generation"] + 1
        return self._replace(kind, place, old, obj)

    def _replace(self, kind: Kind, place: tuple[str, str], old: Json, obj: Json) -> Json:
        metadata = obj["metadata"]
        if obj == old:
            return obj
        finished = not metadata.get("finalizers") and not (obj.get("spec") or {}).get("finalizers")
        if "deletionTimestamp" in metadata and finished and not metadata.get("deletionGracePeriodSeconds"):
            return self.remove(kind, *place, last=obj)
        return self._put(kind.key, place, "MODIFIED", obj)

    def mark_deleted(self, kind: Kind, obj: Json, grace: int) -> Json:
        """Note that an object is to go; whoever holds it by a finalizer or a grace period takes it away later."""
        metadata = copy.deepcopy(obj["metadata"])
        before = metadata.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" in metadata and (before is None or before <= grace):
            return obj
        metadata |= {"deletionTimestamp": now(grace), "deletionGracePeriodSeconds": grace}
        if kind.generation:
            metadata["generation"] = metadata.get("generation", 0) + 1
        place = (metadata.get("namespace", ""), metadata["name"])
        return self._put(kind.key, place, "MODIFIED", {**obj, "metadata": metadata})

    def remove(self, kind: Kind, namespace: str, name: str, *, last: Json | None = None) -> Json:
        """Take an object away, whatever holds it."""
        old = self.objects[kind.key].pop((namespace, name))
        obj = copy.deepcopy(last or old)
        obj["metadata"]["resourceVersion"] = self._next()
        self._note(Change(self.revision, kind.key, "DELETED", obj, old))
        return copy.deepcopy(obj)

    def _put(self, key: Key, place: tuple[str, str], word: str, obj: Json) -> Json:
        obj["metadata"]["resourceVersion"] = self._next()
        old = self.objects.setdefault(key, {}).get(place)
        self.objects[key][place] = obj
        self._note(Change(self.revision, key, word, copy.deepcopy(obj), old))
        return copy.deepcopy(obj)

    def _next(self) -> str:
        self.revision += 1
        return str(self.revision)

    def _note(self, change: Change) -> None:
        self.history.append(change)
        if len(self.history) > _HISTORY:
            del self.history[: _HISTORY // 2]
            self.compacted = self.history[0].revision
        self.wake()

    def wake(self) -> None:
        """Have all who wait for changes look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, seen: int, seconds: float) -> None:
        """Until there is a change after the version ``seen``, or somebody calls :meth:`wake`, or the time is over."""
        if self.revision <= seen:
            with trio.move_on_after(max(seconds, 0)):
                await self._changed.wait()

    def since(self, revision: int) -> List[Change]:
        """What came after a version. Raises a refusal with 410 if that is compacted."""
        if revision < self.compacted:
            raise answers.expired(f"too old resource version: {revision} ({self.compacted})")
        at = len(self.history)
        while at and self.history[at - 1].revision > revision:
            at -= 1
        return self.history[at:]

    def compact(self) -> None:
        """Forget the history, as etcd does every five minutes."""
        self.revision += 1  # so that nobody has seen the newest
        self.compacted = self.revision
        self.history.clear()
        self.continued.clear()
        self.wake()


def _spec(obj: Json) -> Json:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}
