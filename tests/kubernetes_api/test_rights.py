"""RBAC: what roles and bindings let a service account do, and what it may not give away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kubernetes
import pytest

from tests.kubernetes_api.support import Client, Json, refused, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standins.kubernetes import Cluster

_RBAC = "rbac.authorization.k8s.io"
_GROUPS = {"pods": "", "pods/exec": "", "secrets": "", "namespaces": "", "sandboxes": "agents.x-k8s.io"}


def _rule(resource: str, *verbs: str, names: tuple[str, ...] = ()) -> Json:
    group = _GROUPS.get(resource, _RBAC)
    rule: Json = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def _role(name: str, *rules: Json) -> Json:
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": list(rules)}


def _binding(role: str, namespace: str = "") -> Json:
    about = {"name": role, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding" if namespace else "ClusterRoleBinding", "metadata": about,
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": "system", "name": "server"}],
    }  # fmt: skip


@pytest.fixture
def server(cluster: Cluster, client: Client) -> Iterator[Client]:
    """A client of the service account, which may bind one role and no other."""
    name = client.namespace
    cluster.allow_from([
        _role(f"{name}-server", _rule("namespaces", "create", "get", "list"), _rule("rolebindings", "create", "get"),
              _rule("clusterroles", "bind", names=(f"{name}-inside",))),
        _role(f"{name}-inside", _rule("sandboxes", "*"), _rule("secrets", "create"), _rule("pods", "list", "watch")),
        _role(f"{name}-more", _rule("secrets", "get")),
        _binding(f"{name}-server"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no-role"}},
    ])  # fmt: skip
    with cluster.client(cluster.account("system", "server")) as api:
        yield Client(cluster, api, name)


def _bind(server: Client, role: str) -> Any:
    api: Any = kubernetes.client.RbacAuthorizationV1Api(server.api)
    return api.create_namespaced_role_binding(
        server.namespace, _binding(f"{server.namespace}-{role}", server.namespace)
    )


def test_nothing_is_allowed_without_a_role(server: Client) -> None:
    with refused(403, "system:serviceaccount:system:server.* cannot list resource .*pods.* in the namespace"):
        server.core.list_namespaced_pod(server.namespace)
    with refused(403, "at the cluster scope"):
        server.core.list_pod_for_all_namespaces()
    assert server.core.list_namespace().items
    with refused(403, "cannot delete"):
        server.core.delete_namespace(server.namespace)


def test_a_binding_gives_rights_in_its_namespace_only(server: Client, client: Client) -> None:
    _bind(server, "inside")
    server.create(sandbox())
    assert server.core.list_namespaced_pod(server.namespace).items is not None
    with refused(403, "cannot list"):
        server.core.list_namespaced_pod("default")
    with refused(403, "cannot get"):
        server.core.read_namespaced_secret("x", server.namespace)
    with refused(403, "cannot watch"):
        watch: Any = kubernetes.watch.Watch
        list(watch().stream(server.core.list_namespaced_secret, server.namespace))


def test_only_the_named_role_is_bound(server: Client) -> None:
    with refused(403, "attempting to grant RBAC permissions not currently held"):
        _bind(server, "more")
    with refused(404, "clusterroles"):
        _bind(server, "none")


def test_what_one_holds_one_may_give(server: Client, cluster: Cluster) -> None:
    cluster.allow_from([_binding(f"{server.namespace}-more", server.namespace)])
    about = {"name": "again", "namespace": server.namespace}
    body = {**_binding(f"{server.namespace}-more", server.namespace), "metadata": about}
    api: Any = kubernetes.client.RbacAuthorizationV1Api(server.api)
    api.create_namespaced_role_binding(server.namespace, body)


def test_exec_needs_both_rights(server: Client, cluster: Cluster) -> None:
    name = f"{server.namespace}-exec"
    cluster.allow_from([_role(name, _rule("pods/exec", "get")), _binding(name, server.namespace)])
    with pytest.raises(Exception, match="403"):
        kubernetes.stream.stream(
            server.core.connect_get_namespaced_pod_exec, "one", server.namespace, command=["true"], stdout=True
        )


def test_whoever_asks_is_told_of_the_rights(server: Client) -> None:
    api: Any = kubernetes.client.AuthorizationV1Api(server.api)

    def may(verb: str, resource: str, **more: str) -> bool:
        spec = {"resourceAttributes": {"verb": verb, "resource": resource, **more}}
        return bool(api.create_self_subject_access_review({"spec": spec}).status.allowed)

    assert may("create", "namespaces")
    assert not may("delete", "namespaces")
    inside = f"{server.namespace}-inside"
    assert may("bind", "clusterroles", group=_RBAC, name=inside)
    assert not may("bind", "clusterroles", group=_RBAC, name=f"{server.namespace}-more")
