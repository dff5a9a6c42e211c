"""What the kubelet writes into the status of pods: phase, addresses, the container's state, and conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from tests.standins.kubernetes.store import now

if TYPE_CHECKING:
    from tests.standins.kubernetes.api import Api
    from tests.standins.kubernetes.network import PodNetwork
    from tests.standins.kubernetes.process import Log, Process

Json = dict[str, Any]


@dataclass
class Life:
    """What the kubelet knows of one pod beside its object."""

    namespace: str
    name: str
    uid: str
    address: str = ""
    logs: list[Log] = field(default_factory=list)  # one for each run of the container
    process: Process | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ending: bool = False  # it was told to end, and is not started again
    verdict: Json | None = None  # the status that a test or the kubelet gives the pod as its end
    network: PodNetwork | None = None


@dataclass
class Statuses:
    """The writing half of the kubelet."""

    api: Api
    lost: bool = False  # the node does not answer any more: nothing is written

    def __post_init__(self) -> None:
        self._world = self.api.world
        self._kind = self._world.stored("pods")

    def _now(self, life: Life) -> Json | None:
        pod = self._world.store.find(self._kind.key, life.namespace, life.name)
        return pod if pod is not None and pod["metadata"]["uid"] == life.uid else None

    def _update(self, life: Life, **status: Any) -> None:
        pod = self._now(life)
        if pod is None or self.lost:
            return
        pod["status"] |= {"hostIP": "127.0.0.1", "startTime": pod["status"].get("startTime") or now()} | status
        if life.address:
            pod["status"] |= {"podIP": life.address, "podIPs": [{"ip": life.address}]}
        self._world.store.update(self._kind, pod)

    def _container(
        self, life: Life, state: Json, restarts: int, *, started: bool = False, last: Json | None = None, **status: Any
    ) -> None:
        pod = self._now(life)
        if pod is None:
            return
        container = pod["spec"]["containers"][0]
        had = pod["status"].get("containerStatuses", [{}])[0]
        one = {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": False, "started": started,
            "restartCount": restarts, "state": state, "lastState": last or had.get("lastState", {}),
        }  # fmt: skip
        self._update(life, containerStatuses=[one], **status)
        self._ready(life, ready=False)

    def _waiting(self, life: Life, reason: str, message: str, restarts: int, last: Json | None = None) -> None:
        waiting = {"reason": reason, **({"message": message} if message else {})}
        self._container(life, {"waiting": waiting}, restarts, last=last)

    def _ended(self, life: Life, code: int, started: str, restarts: int) -> None:
        reason = (life.process.reason if life.process else "") or ("Completed" if code == 0 else "Error")
        state = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        self._container(life, {"terminated": state}, restarts)

    def _finish(self, life: Life) -> None:
        """Write the end that somebody has given the pod."""
        self._update(life, **(life.verdict or {}))
        self._ready(life, ready=False)

    def _ready(self, life: Life, ready: bool) -> None:
        pod = self._now(life)
        if pod is None or self.lost:
            return
        for one in pod["status"].get("containerStatuses", ()):
            one["ready"] = ready
        reason = "" if ready else "ContainersNotReady"
        for name in ("Ready", "ContainersReady"):
            set_condition(pod, name, "True" if ready else "False", reason)
        self._world.store.update(self._kind, pod)

    def _condition(self, pod: Json, kind: str, status: str, reason: str = "", message: str = "") -> None:
        if set_condition(pod, kind, status, reason, message):
            self._world.store.update(self._kind, pod)
            if reason == "Unschedulable":
                self._world.event(pod, "Warning", "FailedScheduling", message, "default-scheduler")

    def _said(self, life: Life, word: str, reason: str, message: str) -> None:
        if (pod := self._now(life)) is not None and not self.lost:
            self._world.event(pod, word, reason, message, "kubelet")


def set_condition(obj: Json, kind: str, status: str, reason: str = "", message: str = "") -> bool:
    """Write a condition. Whether it changed anything."""
    conditions = obj["status"].setdefault("conditions", [])
    old = next((one for one in conditions if one["type"] == kind), None)
    new = {"type": kind, "status": status, "lastTransitionTime": now()}
    new |= {name: value for name, value in (("reason", reason), ("message", message)) if value}
    if old is not None:
        same = old["status"] == status
        new["lastTransitionTime"] = old["lastTransitionTime"] if same else new["lastTransitionTime"]
        if old == new:
            return False
        conditions.remove(old)
    conditions.append(new)
    return True
