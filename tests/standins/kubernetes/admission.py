"""What is filled in and what is refused before an object is stored, beyond its own correctness."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from tests.standins.kubernetes import answers, podsecurity, quota, rbac

if TYPE_CHECKING:
    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.rbac import User
    from tests.standins.kubernetes.world import World

Json = dict[str, Any]
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_POD_DEFAULTS: Final = {
    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
    "schedulerName": "default-scheduler", "enableServiceLinks": True, "serviceAccountName": "default",
}  # fmt: skip


def fill(world: World, kind: Kind, obj: Json) -> None:
    """Write the defaults of Kubernetes' own kinds into a new object."""
    spec = obj.setdefault("spec", {}) if kind.plural in _FILLED else obj
    match kind.plural:
        case "namespaces":
            spec.setdefault("finalizers", ["kubernetes"])
            obj["status"] = {"phase": "Active"}
            obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
        case "secrets":
            obj.setdefault("type", "Opaque")
        case "pods":
            _fill_pod(obj, spec)
        case "services":
            spec.setdefault("type", "ClusterIP")
            spec.setdefault("sessionAffinity", "None")
            if spec.get("clusterIP") != "None":
                spec["clusterIP"] = f"10.96.{world.store.revision // 250 % 250}.{world.store.revision % 250 + 1}"
            for port in spec.get("ports") or ():
                port.setdefault("protocol", "TCP")
                port.setdefault("targetPort", port["port"])
        case "persistentvolumeclaims":
            spec.setdefault("volumeMode", "Filesystem")
            if spec.get("storageClassName") is None and (default := default_class(world)) is not None:
                spec["storageClassName"] = default
            obj["metadata"].setdefault("finalizers", []).append("kubernetes.io/pvc-protection")
            obj["status"] = {"phase": "Pending"}
        case "networkpolicies":
            if not spec.get("policyTypes"):
                spec["policyTypes"] = ["Ingress", *(["Egress"] if "egress" in spec else [])]


_FILLED: Final = ("namespaces", "pods", "services", "persistentvolumeclaims", "networkpolicies")


def string_data(obj: Json) -> None:
    """``stringData`` of a secret is written into ``data`` and never shown."""
    for name, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(value.encode()).decode()


def _fill_pod(obj: Json, spec: Json) -> None:
    for name, value in _POD_DEFAULTS.items():
        spec.setdefault(name, value)
    for container in spec["containers"]:
        resources = container.setdefault("resources", {})
        for name, amount in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)
        container.setdefault("imagePullPolicy", "IfNotPresent")
    obj["status"] = {"phase": "Pending", "qosClass": "Burstable"}


def default_class(world: World) -> str | None:
    """The name of the storage class that claims without one get."""
    for one in world.store.list(("storage.k8s.io", "storageclasses")):
        if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true":
            return str(one["metadata"]["name"])
    return None


def admit(world: World, user: User, kind: Kind, obj: Json, *, new: bool) -> None:
    """Raise a refusal if the object may not be stored."""
    metadata = obj["metadata"]
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    if new and kind.namespaced:
        _open(world, kind, name, namespace)
    if (message := world.faults.denied.get(kind.plural)) is not None:
        raise answers.Refused(403, "Forbidden", f'admission webhook "policy.example.com" denied the request: {message}')
    rbac.escalation(world.store, user, kind, obj)
    if new and kind.plural == "pods":
        _secure(world, name, namespace, obj["spec"])
        _runtime(world, name, obj["spec"])
    if new and kind.namespaced:
        quota.admit(world.store, kind, obj)


def _open(world: World, kind: Kind, name: str, namespace: str) -> None:
    found = world.store.get(world.stored("namespaces"), "", namespace)
    if "deletionTimestamp" in found["metadata"]:
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        text = f"namespace {namespace} is being terminated"
        cause = {"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}
        raise answers.forbidden(kind.plural, kind.group, name, why, [cause])


def _secure(world: World, name: str, namespace: str, spec: Json) -> None:
    labels = world.store.get(world.stored("namespaces"), "", namespace)["metadata"].get("labels", {})
    level = labels.get(ENFORCE, "privileged")
    if found := podsecurity.violations(spec, level):
        raise answers.forbidden("pods", "", name, f'violates PodSecurity "{level}:latest": {", ".join(found)}')


def _runtime(world: World, name: str, spec: Json) -> None:
    wanted = spec.get("runtimeClassName")
    if wanted and world.store.find(("node.k8s.io", "runtimeclasses"), "", wanted) is None:
        why = f'pod rejected: RuntimeClass "{wanted}" not found'
        raise answers.forbidden("pods", "", name, why)
