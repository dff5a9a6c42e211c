"""What all parts of the stand-in share: the store, the kinds that are served, and what a test has set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes import schemas
from tests.standins.kubernetes.faults import Faults
from tests.standins.kubernetes.kinds import BUILTIN, SANDBOXES, Kind, sandbox_kind
from tests.standins.kubernetes.store import Store, now
from tests.standins.kubernetes.structure import Schemas

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standins.kubernetes.rbac import User

Json = dict[str, Any]
V1ALPHA1: Final = "v1alpha1"


@dataclass(frozen=True)
class Image:
    """What an image's name stands for: a program of this machine.

    ``entrypoint`` and ``cmd`` are used as those of an image are: a container's ``command`` and ``args`` replace them.
    ``binds`` are (path of this machine, path inside): what is shown read-only beside ``/usr`` and ``/etc``.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, program: Path, name: str = "") -> Image:
        """An image with one program of its own, on the path by its name."""
        inside = f"/usr/local/bin/{name or program.name}"
        return cls((), (inside,), ((str(program.resolve()), inside),))


@dataclass
class World:
    """See the module's text. ``release`` is that of Agent Sandbox; ``served`` are its versions that are there."""

    folder: Path
    release: str = "v0.5.6"
    served: tuple[str, ...] = ("v1beta1", V1ALPHA1)
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    tokens: dict[str, User] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    # Names of storage classes whose volumes several nodes may write (ReadWriteMany).
    shared_classes: set[str] = field(default_factory=set)
    bookmark_every: float = 1.0  # seconds; a real one says so every minute
    unschedulable: str = ""  # why no node takes a pod
    # What pods reach of this machine: name inside, port, and address and port outside.
    ways: list[tuple[str, int, str, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # what answers warned of: fields that nobody knows
    asked: list[str] = field(default_factory=list)  # "verb resource namespace/name" of all requests

    def __post_init__(self) -> None:
        sandboxes = [sandbox_kind(version) for version in self.served] if self.release else []
        self.kinds: list[Kind] = [*BUILTIN, *sandboxes]
        self._served = {(kind.group, kind.version, kind.plural): kind for kind in self.kinds}
        self._stored = {kind.key: kind for kind in BUILTIN}
        if self.release:
            (stored,) = (one["name"] for one in schemas.definition(self.release)["spec"]["versions"] if one["storage"])
            self._stored[SANDBOXES, "sandboxes"] = sandbox_kind(stored)

    def kind(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind at a path, if it is served."""
        return self._served.get((group, version, plural))

    def stored(self, plural: str, group: str = "") -> Kind:
        """A kind in the version that the store has."""
        return self._stored[group, plural]

    @property
    def sandboxes(self) -> Kind:
        """The Sandbox as it is stored."""
        return self.stored("sandboxes", SANDBOXES)

    def schema(self, kind: Kind) -> tuple[Schemas, dict[str, Any]]:
        """A kind's schema, and what resolves its references."""
        if kind.group == SANDBOXES:
            return Schemas(), schemas.sandbox_schema(self.release, kind.version)
        return schemas.builtin_schemas(), schemas.builtin_schema(kind)

    def shown(self, kind: Kind, obj: Json) -> Json:
        """A stored object in the version of ``kind``."""
        obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        stored = self.stored(kind.plural, kind.group)
        if kind.version == stored.version:
            return obj
        spec = dict(obj["spec"])
        spec["replicas"] = 0 if spec.pop("operatingMode", "Running") == "Suspended" else 1
        status = {name: value for name, value in obj.get("status", {}).items() if name != "nodeName"}
        return {**obj, "spec": spec, "status": {**status, "replicas": 1 if status.get("podIPs") else 0}}

    def taken(self, kind: Kind, obj: Json) -> Json:
        """An object that came in the version of ``kind``, as it is stored."""
        stored = self.stored(kind.plural, kind.group)
        if kind.version == stored.version:
            return obj
        spec = dict(obj["spec"])
        spec["operatingMode"] = "Running" if spec.pop("replicas", 1) else "Suspended"
        status = {name: value for name, value in obj.get("status", {}).items() if name != "replicas"}
        made = {**obj, "apiVersion": stored.api_version, "spec": spec}
        return {**made, "status": status} if "status" in obj else made

    def event(self, about: Json, word: str, reason: str, message: str, component: str) -> None:
        """Write an Event about an object, or count one more of the same."""
        metadata = about["metadata"]
        namespace = metadata.get("namespace") or "default"
        involved = {"kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"]}
        involved |= {"namespace": namespace, "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        kind = self.stored("events")
        for old in self.store.list(kind.key, namespace):
            same = (old["involvedObject"]["uid"], old["reason"], old["message"]) == (metadata["uid"], reason, message)
            if same:
                self.store.update(kind, {**old, "count": old["count"] + 1, "lastTimestamp": now()})
                return
        event = {
            "apiVersion": "v1", "kind": "Event", "involvedObject": involved, "type": word, "reason": reason,
            "message": message, "source": {"component": component}, "reportingComponent": component,
            "reportingInstance": component, "firstTimestamp": now(), "lastTimestamp": now(), "count": 1,
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": namespace},
        }  # fmt: skip
        if namespace == "default" or self.store.find(("", "namespaces"), "", namespace):
            self.store.create(kind, event)
