"""What the tests of the Kubernetes stand-in share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import kubernetes
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.standins.kubernetes import Cluster

T = TypeVar("T")
Json = dict[str, Any]
IMAGE: Final = "example.com/sandbox:1"
GROUP: Final = "agents.x-k8s.io"
PASSWORD: Final = "password-of-the-pod"


@dataclass
class Client:
    """The official client's parts."""

    cluster: Cluster
    api: Any
    namespace: str
    version: str = "v1beta1"
    core: Any = field(init=False)
    custom: Any = field(init=False)

    def __post_init__(self) -> None:
        self.core = kubernetes.client.CoreV1Api(self.api)
        self.custom = kubernetes.client.CustomObjectsApi(self.api)

    @property
    def token(self) -> dict[str, str]:
        """The header that lets an administrator in."""
        user = yaml.safe_load(self.cluster.kubeconfig.read_text())["users"][0]["user"]
        return {"Authorization": f"Bearer {user['token']}"}

    def create(self, sandbox: Json, **options: Any) -> Json:
        """Create a Sandbox."""
        path = (GROUP, self.version, self.namespace, "sandboxes")
        made: Json = self.custom.create_namespaced_custom_object(*path, sandbox, **options)
        return made

    def sandbox(self, name: str = "one") -> Json:
        """Read a Sandbox."""
        path = (GROUP, self.version, self.namespace, "sandboxes", name)
        found: Json = self.custom.get_namespaced_custom_object(*path)
        return found

    def replace(self, sandbox: Json) -> Json:
        """Write a Sandbox."""
        path = (GROUP, self.version, self.namespace, "sandboxes", sandbox["metadata"]["name"])
        made: Json = self.custom.replace_namespaced_custom_object(*path, sandbox)
        return made

    def patch(self, name: str, body: Any) -> Json:
        """Patch a Sandbox (merge)."""
        path = (GROUP, self.version, self.namespace, "sandboxes", name)
        made: Json = self.custom.patch_namespaced_custom_object(*path, body)
        return made

    def delete(self, name: str, **options: Any) -> Json:
        """Delete a Sandbox."""
        path = (GROUP, self.version, self.namespace, "sandboxes", name)
        made: Json = self.custom.delete_namespaced_custom_object(*path, **options)
        return made

    def ready(self, name: str = "one") -> Json:
        """Wait until a Sandbox is ready."""
        return until(lambda: (found := self.sandbox(name)) and condition(found)["status"] == "True" and found)

    def pod(self, name: str = "one") -> Json:
        """A pod as it is stored; empty if it is not there."""
        return self.cluster.object("pods", self.namespace, name) or {}

    def run(self, name: str = "one", **changes: Any) -> Json:
        """A pod that is ready; ``changes`` are of its container."""
        self.secret()
        self.core.create_namespaced_pod(self.namespace, pod(name, **changes))
        return until(lambda: (found := self.pod(name)) and condition(found)["status"] == "True" and found)

    def secret(self) -> None:
        """The secret with the fake's variables."""
        about = {"name": "env"}
        self.core.create_namespaced_secret(
            self.namespace, {"metadata": about, "stringData": {"OPENCODE_SERVER_PASSWORD": PASSWORD}}
        )


def until(condition: Callable[[], T], seconds: float = 30) -> T:
    """Wait until there is something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def condition(obj: Json, kind: str = "Ready") -> Json:
    """A condition of an object's status; of one that has none, an empty one."""
    found = obj.get("status", {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {"status": "", "reason": "", "message": ""})


def container(**changes: Any) -> Json:
    """A container with the fake opencode, as the restricted profile wants it."""
    return {
        "name": "opencode", "image": IMAGE, "env": [{"name": "HOME", "value": "/home/agent"}],
        "command": ["opencode", "serve", "--hostname", "0.0.0.0", "--port", "4096"],
        "envFrom": [{"secretRef": {"name": "env"}}], "workingDir": "/home/agent",
        "ports": [{"containerPort": 4096, "name": "http"}], "readinessProbe": {"tcpSocket": {"port": "http"}},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "home", "mountPath": "/home/agent"}], **changes,
    }  # fmt: skip


def pod_spec(**changes: Any) -> Json:
    """The spec of a pod with that container; ``changes`` are of the container."""
    return {
        "containers": [container(**changes)], "terminationGracePeriodSeconds": 1, "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }  # fmt: skip


def pod(name: str = "one", **changes: Any) -> Json:
    """A pod with a home that goes with it."""
    spec = {**pod_spec(**changes), "volumes": [{"name": "home", "emptyDir": {}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def sandbox(name: str = "one", version: str = "v1beta1", **changes: Any) -> Json:
    """A Sandbox with a home that stays; ``changes`` are of its spec."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec = {
        "podTemplate": {"metadata": {"labels": {"part": "sandbox"}}, "spec": pod_spec()},
        "volumeClaimTemplates": [{"metadata": {"name": "home"}, "spec": claim}],
        "service": True, **changes,
    }  # fmt: skip
    return {"apiVersion": f"{GROUP}/{version}", "kind": "Sandbox", "metadata": {"name": name}, "spec": spec}


def claim(name: str = "disk", mode: str = "ReadWriteMany", **changes: Any) -> Json:
    """A claim for a volume."""
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}, **changes}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def refused(code: int, text: str = "") -> Any:
    """A block in which the API refuses with a code and words."""
    return pytest.raises(kubernetes.client.ApiException, match=rf"(?s)\({code}\).*{text}")
