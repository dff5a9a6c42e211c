"""What a Kubernetes cluster of this size has to tell, and what it costs to know it: objects as one lists them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from backends.base import Limits, SandboxSpec
from backends.kubesight import Sight
from backends.kubewatch import Watch
from backends.manifests import CONTAINER, KubernetesOptions, Names, sandbox
from bench.processes import memory
from bench.sizing.size import ident

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.sizing.size import Size

Manifest = dict[str, Any]

_PAGE: Final = 500  # as the backend asks for them
_NAMES: Final = Names("sizing0000000000", "cli-server")
_OPTIONS: Final = KubernetesOptions(
    "registry.example.com/cli-server-sandbox:1.0.0", "cli-server", {"app.kubernetes.io/name": "cli-server"}, 8080,
    runtime="gvisor",
)  # fmt: skip
_LIMITS: Final = Limits(cpu=2.0, memory=2 * 2**30, pids=512)
_TIME: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Known:
    """``listed``: bytes of the lists of all objects; ``cpu``: seconds to understand them; ``kept``: bytes of memory.

    ``look``: seconds of CPU until the backend has said what runs, once it knows all of them.
    """

    objects: int
    listed: int
    cpu: float
    kept: int
    look: float


class _Boxes:
    """The part of :class:`backends.kubeboxes.Boxes` that the inventory needs, with news that never come."""

    def __init__(self) -> None:
        nobody: Any = None
        self.sandboxes = Watch(nobody, nobody, "", "sandboxes")
        self.pods = Watch(nobody, nobody, "", "pods")

    async def require_news(self) -> None:
        """They are as good as they are."""
        await trio.lowlevel.checkpoint()

    def whole(self, found: Manifest) -> bool:
        """As there."""
        return _NAMES.ours(found)


def _managed(manager: str, body: Manifest) -> Manifest:
    """Who set which field: a cluster notes it for each of them, by its name."""

    def fields(value: object) -> Manifest:
        return {f"f:{name}": fields(each) for name, each in value.items()} if isinstance(value, dict) else {}

    return {
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": _TIME, "fieldsType": "FieldsV1",
        "fieldsV1": fields(body),
    }  # fmt: skip


def _filled(found: Manifest, number: int, status: Manifest) -> Manifest:
    """As a cluster gives it back."""
    managed = [_managed("cli-server", {"spec": found["spec"]}), _managed("controller", {"status": status})]
    found["metadata"] |= {
        "uid": f"00000000-0000-4000-8000-{number:012d}", "resourceVersion": str(10_000_000 + number), "generation": 3,
        "creationTimestamp": _TIME, "managedFields": managed,
    }  # fmt: skip
    return {**found, "status": status}


def _condition(kind: str) -> Manifest:
    return {
        "type": kind, "status": "True", "lastTransitionTime": _TIME, "observedGeneration": 3, "reason": "AsItShouldBe",
        "message": "everything that it depends on is ready",
    }  # fmt: skip


def _sandbox(size: Size, number: int) -> Manifest:
    workspace, id_ = ident("workspace", number % size.workspaces), ident("sandbox", number)
    spec = SandboxSpec(id_, workspace, "a password", {"HOME": "/home/agent"}, _LIMITS)
    made = sandbox(_NAMES, spec, _OPTIONS, "v1beta1", "a-start", running=number < size.running)
    host = f"oc-{id_}.{_NAMES.namespace(workspace)}.svc.cluster.local"
    return _filled(made, number, {"conditions": [_condition("Ready")], "service": f"oc-{id_}", "serviceFQDN": host})


def _pod(owner: Manifest, number: int) -> Manifest:
    template = owner["spec"]["podTemplate"]
    about = owner["metadata"]
    metadata = {
        **template["metadata"], "name": about["name"], "namespace": about["namespace"],
        "ownerReferences": [{"apiVersion": owner["apiVersion"], "kind": "Sandbox", "name": about["name"],
                             "uid": about["uid"], "controller": True, "blockOwnerDeletion": True}],
    }  # fmt: skip
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    box = {
        "name": CONTAINER, "image": _OPTIONS.image, "ready": True, "started": True, "restartCount": 0,
        "imageID": f"{_OPTIONS.image}@sha256:{'0' * 64}", "containerID": f"containerd://{'0' * 64}",
        "state": {"running": {"startedAt": _TIME}}, "lastState": {},
    }  # fmt: skip
    status = {
        "phase": "Running", "conditions": [_condition(kind) for kind in kinds], "containerStatuses": [box],
        "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "hostIP": "10.0.0.1", "startTime": _TIME,
        "qosClass": "Burstable",
    }  # fmt: skip
    spec = {**template["spec"], "nodeName": "node-1", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    return _filled({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, number, status)


def _pages(size: Size) -> Iterator[bytes]:
    """Sandboxes, then pods; each page made when it is asked for, as a cluster does."""
    for first in range(0, size.sandboxes, _PAGE):
        numbers = range(first, min(first + _PAGE, size.sandboxes))
        yield json.dumps({"items": [_sandbox(size, number) for number in numbers]}).encode()
    for first in range(0, size.running, _PAGE):
        numbers = range(first, min(first + _PAGE, size.running))
        yield json.dumps(
            {"items": [_pod(_sandbox(size, number), size.sandboxes + number) for number in numbers]}
        ).encode()


def take_in(size: Size) -> tuple[Sight, int, float]:
    """A backend's sight that knows everything, the bytes of it, and the seconds of CPU that it took."""
    boxes: Any = _Boxes()
    nobody: Any = None
    listed, cpu = 0, 0.0
    for page in _pages(size):
        listed += len(page)
        began = time.thread_time()
        for found in json.loads(page)["items"]:
            (boxes.sandboxes if found["kind"] == "Sandbox" else boxes.pods).note(found)
        cpu += time.thread_time() - began
    return Sight(boxes, nobody), listed, cpu


async def all_known(size: Size) -> Known:
    """Take in everything once, then say what runs."""
    before = memory(os.getpid())
    sight, listed, cpu = take_in(size)
    kept = memory(os.getpid()) - before
    began = time.thread_time()
    seen = await sight.all()
    look = time.thread_time() - began
    if sum(one.running for one in seen.values()) != size.running or len(seen) != size.sandboxes:
        raise RuntimeError("the backend does not see what is there")
    return Known(size.sandboxes + size.running, listed, cpu, kept, look)
