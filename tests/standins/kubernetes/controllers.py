"""The controllers of a cluster in one loop: namespaces, garbage, claims, quotas, services, and Agent Sandbox's own.

After each change all of them look at everything; what they write is a change again, until nothing is left to do. What
they do NOT do: endpoints as objects, and the ``shutdownTime`` of a Sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.standins.kubernetes import quota, selectors, volumes
from tests.standins.kubernetes.sandboxes import SandboxController

if TYPE_CHECKING:
    from tests.standins.kubernetes.api import Api

Json = dict[str, Any]
_PROTECTION: Final = "kubernetes.io/pvc-protection"
_OWNERS: Final = "ownerReferences"


@dataclass
class Controllers:
    """See the module's text."""

    api: Api

    def __post_init__(self) -> None:
        self._world, self._store = self.api.world, self.api.world.store
        self._sandboxes = SandboxController(self.api)
        self._hosts = self._world.folder / "hosts"
        self._hosts.touch()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            seen = self._store.revision
            self._claims()
            self._sandboxes.reconcile()
            self._garbage()
            self._namespaces()
            self._quotas()
            self._resolve()
            await self._store.wait(seen, 1)
            await trio.lowlevel.checkpoint()

    # Namespaces

    def _namespaces(self) -> None:
        kind = self._world.stored("namespaces")
        for namespace in self._store.list(kind.key):
            if "deletionTimestamp" not in namespace["metadata"]:
                continue
            name, left = namespace["metadata"]["name"], False
            for key in list(self._store.objects):
                for obj in self._store.list(key, name):
                    if obj["metadata"].get("namespace") != name:
                        continue
                    left = True
                    if "deletionTimestamp" not in obj["metadata"]:
                        self.api.delete(self._world.stored(key[1], key[0]), obj)
            if not left and namespace["spec"].get("finalizers"):
                self._store.update(kind, {**namespace, "spec": {"finalizers": []}})

    # Garbage

    def _garbage(self) -> None:
        alive = {obj["metadata"]["uid"]: obj for objects in self._store.objects.values() for obj in objects.values()}
        for key in list(self._store.objects):
            kind = self._world.stored(key[1], key[0])
            for obj in self._store.list(key):
                owners = obj["metadata"].get(_OWNERS) or []
                doomed = "deletionTimestamp" in obj["metadata"]
                if doomed and "foregroundDeletion" in obj["metadata"].get("finalizers", ()):
                    self._foreground(kind, obj)
                elif doomed and "orphan" in obj["metadata"].get("finalizers", ()):
                    self._orphan(kind, obj)
                elif owners and not doomed and not any(owner["uid"] in alive for owner in owners):
                    self.api.delete(kind, obj)

    def _dependents(self, obj: Json) -> list[tuple[Any, Json]]:
        found = []
        for key in list(self._store.objects):
            for one in self._store.list(key, obj["metadata"].get("namespace", "")):
                if any(owner["uid"] == obj["metadata"]["uid"] for owner in one["metadata"].get(_OWNERS) or ()):
                    found.append((self._world.stored(key[1], key[0]), one))
        return found

    def _foreground(self, kind: Any, obj: Json) -> None:
        left = self._dependents(obj)
        for other, one in left:
            if "deletionTimestamp" not in one["metadata"]:
                self.api.delete(other, one)
        if not left:
            self._release(kind, obj, "foregroundDeletion")

    def _orphan(self, kind: Any, obj: Json) -> None:
        for other, one in self._dependents(obj):
            kept = [owner for owner in one["metadata"][_OWNERS] if owner["uid"] != obj["metadata"]["uid"]]
            self._store.update(other, {**one, "metadata": {**one["metadata"], _OWNERS: kept}})
        self._release(kind, obj, "orphan")

    def _release(self, kind: Any, obj: Json, finalizer: str) -> None:
        left = [one for one in obj["metadata"]["finalizers"] if one != finalizer]
        self._store.update(kind, {**obj, "metadata": {**obj["metadata"], "finalizers": left}})

    # Claims

    def _claims(self) -> None:
        kind = self._world.stored("persistentvolumeclaims")
        for claim in self._store.list(kind.key):
            about = claim["metadata"]
            if "deletionTimestamp" in about:
                if _PROTECTION in about.get("finalizers", ()) and not self._used(claim):
                    volumes.forget(volumes.disk(self._world, claim))
                    self._release(kind, claim, _PROTECTION)
            elif claim["status"]["phase"] == "Pending":
                self._bind(kind, claim)

    def _used(self, claim: Json) -> bool:
        about = claim["metadata"]
        return any(self._mounts(pod, about["name"]) for pod in self._store.list(("", "pods"), about["namespace"]))

    def _mounts(self, pod: Json, name: str) -> bool:
        claims = (volume.get("persistentVolumeClaim") or {} for volume in pod["spec"].get("volumes") or ())
        return any(claim.get("claimName") == name for claim in claims)

    def _bind(self, kind: Any, claim: Json) -> None:
        spec, name = claim["spec"], claim["spec"].get("storageClassName")
        if not name:
            text = "no persistent volumes available for this claim and no storage class is set"
            return self._told(claim, "Normal", "FailedBinding", text, "persistentvolume-controller")
        found = self._store.find(("storage.k8s.io", "storageclasses"), "", name)
        if found is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            return self._told(claim, "Warning", "ProvisioningFailed", text, "persistentvolume-controller")
        if "ReadWriteMany" in spec["accessModes"] and name not in self._world.shared_classes:
            text = (
                f'failed to provision volume with StorageClass "{name}": rpc error: code = InvalidArgument desc = '
                "volume capabilities not supported: MULTI_NODE_MULTI_WRITER"
            )
            return self._told(claim, "Warning", "ProvisioningFailed", text, found["provisioner"])
        if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not self._used(claim):
            text = "waiting for first consumer to be created before binding"
            return self._told(claim, "Normal", "WaitForFirstConsumer", text, "persistentvolume-controller")
        status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["resources"]["requests"]}
        bound = {**spec, "volumeName": f"pvc-{claim['metadata']['uid']}"}
        self._store.update(kind, {**claim, "spec": bound, "status": status})

    def _told(self, claim: Json, word: str, reason: str, text: str, component: str) -> None:
        """Write an event, once."""
        events = self._store.list(("", "events"), claim["metadata"]["namespace"])
        uid = claim["metadata"]["uid"]
        if not any(one["involvedObject"]["uid"] == uid and one["message"] == text for one in events):
            self._world.event(claim, word, reason, text, component)

    # Quotas and names

    def _quotas(self) -> None:
        kind = self._world.stored("resourcequotas")
        for one in self._store.list(kind.key):
            hard = one["spec"].get("hard") or {}
            used = quota.used(self._store, one["metadata"]["namespace"])
            status = {"hard": hard, "used": {name: quota.plain(used[name]) for name in hard}}
            self._store.update(kind, {**one, "status": status})

    def _resolve(self) -> None:
        """Write the names of services whose pods are ready into the file of hosts."""
        lines = []
        pods = self._store.list(("", "pods"))
        for service in self._store.list(("", "services")):
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            selector = service["spec"].get("selector") or {}
            for pod in pods:
                if pod["metadata"]["namespace"] != namespace or not pod["status"].get("podIP") or not selector:
                    continue
                chosen = selectors.selects({"matchLabels": selector}, pod["metadata"].get("labels") or {})
                if chosen and (ready(pod) or service["spec"].get("publishNotReadyAddresses")):
                    names = f"{name}.{namespace}.svc.cluster.local {name}.{namespace}.svc {name}.{namespace}"
                    lines.append(f"{pod['status']['podIP']} {names}\n")
        text = "".join(lines)
        if text != self._hosts.read_text():
            fresh = self._hosts.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(self._hosts)


def ready(pod: Json) -> bool:
    """Whether a pod is ready, and does not end."""
    conditions = pod["status"].get("conditions") or ()
    well = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return well and "deletionTimestamp" not in pod["metadata"]
