"""The controller of Agent Sandbox: Sandbox objects become claims, a pod and a headless service, and get a status.

The pod and the service have the Sandbox's name, claims are called ``{template}-{sandbox}``. It writes the fields that
the definitions have: ``serviceFQDN``, ``service``, ``selector``, ``replicas`` in v0.1.1 or ``podIPs`` and ``nodeName``
in v0.5.6, and the condition ``Ready`` with its ``observedGeneration``. What fails to be made is told by the condition,
reason ``ReconcilerError``, and tried again at each change and each second. v0.1.1 makes a service always, v0.5.6 for
``service: true`` only.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes.answers import Refused
from tests.standins.kubernetes.api import Call
from tests.standins.kubernetes.podstatus import set_condition
from tests.standins.kubernetes.rbac import ADMIN

if TYPE_CHECKING:
    from tests.standins.kubernetes.api import Api

Json = dict[str, Any]
LABEL: Final = "agents.x-k8s.io/sandbox-name-hash"


@dataclass
class SandboxController:
    """See the module's text."""

    api: Api

    def reconcile(self) -> None:
        """Have the world be as the Sandbox objects say."""
        world = self.api.world
        if not world.release:
            return
        for sandbox in world.store.list(world.sandboxes.key):
            if "deletionTimestamp" not in sandbox["metadata"]:
                self._one(sandbox)

    def _one(self, sandbox: Json) -> None:
        world = self.api.world
        before = copy.deepcopy(sandbox)
        status = sandbox.setdefault("status", {})
        try:
            pod = self._made(sandbox)
        except Refused as refused:
            pod = None
            self._tell(sandbox, "False", "ReconcilerError", f"Error seen: {refused.message}")
            known = {one["message"] for one in world.store.list(("", "events"), sandbox["metadata"]["namespace"])}
            if refused.message not in known:
                world.event(sandbox, "Warning", "ReconcilerError", refused.message, "sandbox-controller")
        else:
            self._judge(sandbox, pod)
        if running(sandbox):
            status["selector"] = f"{LABEL}={digest(sandbox)}"
        else:
            status.pop("selector", None)
        if world.release == "v0.1.1":
            status["replicas"] = 1 if pod else 0
        else:
            status["podIPs"] = [one["ip"] for one in (pod or {}).get("status", {}).get("podIPs", ())]
            status["nodeName"] = (pod or {}).get("spec", {}).get("nodeName", "")
        if sandbox != before:
            world.store.update(world.sandboxes, sandbox)

    def _judge(self, sandbox: Json, pod: Json | None) -> None:
        """The condition, by the pod's state."""
        if not running(sandbox):
            text = "Pod is terminating. " if pod else ""
            return self._tell(sandbox, "False", "SandboxSuspended", f"{text}Sandbox is suspended")
        assert pod is not None
        conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions") or ()}
        if "deletionTimestamp" in pod["metadata"]:
            return self._tell(sandbox, "False", "DependenciesNotReady", "Pod is terminating")
        if conditions.get("Ready") == "True":
            return self._tell(sandbox, "True", "DependenciesReady", "Pod is Ready; Service Exists")
        phase = pod["status"].get("phase", "Pending")
        text = "Pod is Running but not Ready" if phase == "Running" else f"Pod exists with phase: {phase}"
        self._tell(sandbox, "False", "DependenciesNotReady", text)

    def _tell(self, sandbox: Json, status: str, reason: str, message: str) -> None:
        generation = sandbox["metadata"]["generation"]
        set_condition(sandbox, "Ready", status, reason, message)
        for one in sandbox["status"]["conditions"]:
            one["observedGeneration"] = generation

    def _made(self, sandbox: Json) -> Json | None:
        """Make what is missing, and take away what is too much. The pod, if there is one."""
        spec, about = sandbox["spec"], sandbox["metadata"]
        for template in spec.get("volumeClaimTemplates") or ():
            name = f"{template['metadata']['name']}-{about['name']}"
            if self._find("persistentvolumeclaims", about["namespace"], name) is None:
                metadata = {**template.get("metadata", {}), "name": name}
                self._create("persistentvolumeclaims", sandbox, {"metadata": metadata, "spec": template["spec"]})
        self._service(sandbox)
        pod = self._find("pods", about["namespace"], about["name"])
        if pod is not None and not any(
            one["uid"] == about["uid"] for one in pod["metadata"].get("ownerReferences") or ()
        ):
            raise Refused(409, "AlreadyExists", f'pod "{about["name"]}" is not controlled by this sandbox')
        if running(sandbox) and pod is None:
            return self._create("pods", sandbox, self._pod(sandbox))
        if pod is not None and not running(sandbox) and "deletionTimestamp" not in pod["metadata"]:
            self.api.delete(self.api.world.stored("pods"), pod)
            return self._find("pods", about["namespace"], about["name"])
        return pod

    def _pod(self, sandbox: Json) -> Json:
        template, about = sandbox["spec"]["podTemplate"], sandbox["metadata"]
        metadata = copy.deepcopy(template.get("metadata") or {})
        metadata.setdefault("labels", {})[LABEL] = digest(sandbox)
        spec = copy.deepcopy(template["spec"])
        for one in sandbox["spec"].get("volumeClaimTemplates") or ():
            name = one["metadata"]["name"]
            kept = [volume for volume in spec.get("volumes") or () if volume["name"] != name]
            claim = {"claimName": f"{name}-{about['name']}"}
            spec["volumes"] = [*kept, {"name": name, "persistentVolumeClaim": claim}]
        return {"metadata": {**metadata, "name": about["name"]}, "spec": spec}

    def _service(self, sandbox: Json) -> None:
        about, status = sandbox["metadata"], sandbox["status"]
        wanted = self.api.world.release == "v0.1.1" or sandbox["spec"].get("service") is True
        found = self._find("services", about["namespace"], about["name"])
        if wanted and found is None:
            spec = {"clusterIP": "None", "selector": {LABEL: digest(sandbox)}}
            self._create("services", sandbox, {"metadata": {"name": about["name"]}, "spec": spec})
        if wanted:
            status["service"] = about["name"]
            status["serviceFQDN"] = f"{about['name']}.{about['namespace']}.svc.cluster.local"
            return
        status.pop("service", None)
        status.pop("serviceFQDN", None)
        if found is not None:
            self.api.delete(self.api.world.stored("services"), found)

    def _find(self, plural: str, namespace: str, name: str) -> Json | None:
        return self.api.world.store.find(("", plural), namespace, name)

    def _create(self, plural: str, sandbox: Json, obj: Json) -> Json:
        """By the API, with all that it refuses."""
        about = sandbox["metadata"]
        owner = {
            "apiVersion": sandbox["apiVersion"], "kind": "Sandbox", "name": about["name"], "uid": about["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        obj = {**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}}
        call = Call(ADMIN, "create", self.api.world.stored(plural), about["namespace"], "", "", {}, obj)
        return self.api.handle(call).body


def running(sandbox: Json) -> bool:
    """Whether there is to be a pod."""
    spec = sandbox["spec"]
    return bool(spec["replicas"]) if "replicas" in spec else spec.get("operatingMode", "Running") == "Running"


def digest(sandbox: Json) -> str:
    """The value of the label that selects a sandbox's pod: names may be longer than labels."""
    return sha256(sandbox["metadata"]["name"].encode()).hexdigest()[:8]
