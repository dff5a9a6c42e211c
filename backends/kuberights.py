"""What the server needs to be allowed in a cluster, as it asks for it; the chart gives exactly this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backends.manifests import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.kubecluster import Cluster
    from backends.manifests import KubernetesOptions

_RBAC: Final = "rbac.authorization.k8s.io"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a kind; ``part`` as in ``pods/exec``, ``name`` of the one object that it is about."""

    verb: str
    resource: str
    group: str = ""
    part: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}/{self.part}" if self.part else self.resource
        return f"{self.verb} {what}" + (f" {self.name}" if self.name else "")


def _all(verbs: str, resource: str, group: str = "", part: str = "") -> Iterator[Right]:
    return (Right(verb, resource, group, part) for verb in verbs.split())


def everywhere(options: KubernetesOptions) -> list[Right]:
    """In the whole cluster. Nothing that is secret, and no way into a pod."""
    found = [*_all("get create delete", "namespaces"), *_all("list", "storageclasses", "storage.k8s.io")]
    found += [*_all("get list watch", "sandboxes", GROUP), *_all("get list watch", "pods")]
    if options.runtime is not None:
        found += _all("get", "runtimeclasses", "node.k8s.io")
    if options.workspace_role is not None:
        found += _all("get create", "rolebindings", _RBAC)
        found.append(Right("bind", "clusterroles", _RBAC, name=options.workspace_role))
    return found


def in_workspaces() -> list[Right]:
    """In the namespaces of workspaces: what ``K8S_WORKSPACE_ROLE`` has."""
    return [
        *_all("get list create update delete", "sandboxes", GROUP),
        *_all("get create update delete", "secrets"),
        *_all("get list create delete", "persistentvolumeclaims"),
        *_all("get create update", "networkpolicies", "networking.k8s.io"),
        *_all("get list", "pods"),
        *_all("get", "pods", part="log"),
        *_all("get create", "pods", part="exec"),
        *_all("list", "events"),
    ]


async def missing(cluster: Cluster, options: KubernetesOptions) -> list[str]:
    """Which of them the cluster does not give, by its own word.

    Those in workspaces' namespaces come with a binding that is made there; without one, they must be there before.
    """
    wanted = [("", right) for right in everywhere(options)]
    if options.workspace_role is None:
        wanted += [(f"{options.prefix}-any", right) for right in in_workspaces()]
    return [str(right) for namespace, right in wanted if not await _allowed(cluster, namespace, right)]


async def _allowed(cluster: Cluster, namespace: str, right: Right) -> bool:
    about = {"verb": right.verb, "group": right.group, "resource": right.resource}
    about |= {key: value for key, value in (("subresource", right.part), ("name", right.name)) if value}
    about |= {"namespace": namespace} if namespace else {}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": about},
    }
    answer = await cluster.question("POST", _REVIEWS, review)
    return (answer.get("status") or {}).get("allowed") is True
