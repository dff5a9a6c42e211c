"""The kinds that are served: a table. Kinds that are not in it do not exist here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SANDBOXES: Final = "agents.x-k8s.io"
_ALL: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    """One kind in one version. ``key`` is the same for all versions of a kind, which show the same objects."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    generation: bool = False  # metadata.generation counts changes of everything but metadata and status
    verbs: tuple[str, ...] = _ALL
    short: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Group and plural."""
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        """As objects name it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """Whether the status is written by ``/status`` only."""
        return "status" in self.subresources


_STATUS: Final = ("status",)
_READ: Final = ("get", "list", "watch")
_RBAC: Final = "rbac.authorization.k8s.io"

BUILTIN: Final = (
    Kind("", "v1", "namespaces", "Namespace", namespaced=False, subresources=("status", "finalize"), short=("ns",)),
    Kind("", "v1", "secrets", "Secret"),
    Kind("", "v1", "configmaps", "ConfigMap", short=("cm",)),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",)),
    Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", subresources=_STATUS, short=("pvc",)),
    Kind("", "v1", "services", "Service", subresources=_STATUS, short=("svc",)),
    Kind("", "v1", "pods", "Pod", subresources=("status", "log", "exec", "eviction"), generation=True, short=("po",)),
    Kind("", "v1", "events", "Event", short=("ev",)),
    Kind("", "v1", "resourcequotas", "ResourceQuota", subresources=_STATUS, short=("quota",)),
    Kind("", "v1", "nodes", "Node", namespaced=False, subresources=_STATUS, verbs=_READ),
    Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", generation=True, short=("netpol",)),
    Kind(_RBAC, "v1", "roles", "Role"),
    Kind(_RBAC, "v1", "rolebindings", "RoleBinding"),
    Kind(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
    Kind(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    Kind("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False, short=("sc",)),
    Kind("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False),
    Kind(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
        namespaced=False, subresources=_STATUS, verbs=_READ, short=("crd",),
    ),
    Kind(
        "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
        namespaced=False, verbs=("create",),
    ),
)  # fmt: skip


def sandbox_kind(version: str) -> Kind:
    """The Sandbox in one of its versions."""
    return Kind(SANDBOXES, version, "sandboxes", "Sandbox", subresources=_STATUS, generation=True, short=("sandbox",))
