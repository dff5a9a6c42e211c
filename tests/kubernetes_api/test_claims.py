"""Claims and quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kubernetes_api.support import claim, pod, refused, sandbox, until
from tests.standins.kubernetes import Cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes_api.support import Client


def _phase(client: Client, name: str = "disk") -> str:
    return str(client.core.read_namespaced_persistent_volume_claim(name, client.namespace).status.phase)


def _events(cluster: Cluster, client: Client) -> set[str]:
    return {f"{one['reason']}: {one['message']}" for one in cluster.objects("events", client.namespace)}


def test_a_claim_is_bound(client: Client) -> None:
    made = client.core.create_namespaced_persistent_volume_claim(client.namespace, claim())
    assert made.spec.storage_class_name == "standard", "the default"
    until(lambda: _phase(client) == "Bound")


def test_a_class_that_one_node_may_write(client: Client, cluster: Cluster) -> None:
    cluster.storage_class("single", shared=False, default=False)
    for name, mode in (("many", "ReadWriteMany"), ("once", "ReadWriteOnce")):
        body = claim(name, mode, storageClassName="single")
        client.core.create_namespaced_persistent_volume_claim(client.namespace, body)
    until(lambda: _phase(client, "once") == "Bound")
    until(lambda: any("MULTI_NODE_MULTI_WRITER" in one for one in _events(cluster, client)))
    assert _phase(client, "many") == "Pending"


def test_a_class_that_is_not_there(client: Client, cluster: Cluster) -> None:
    body = claim(storageClassName="none")
    client.core.create_namespaced_persistent_volume_claim(client.namespace, body)
    until(lambda: any('storageclass.storage.k8s.io "none" not found' in one for one in _events(cluster, client)))
    client.secret()
    client.core.create_namespaced_pod(client.namespace, pod() | {"spec": pod()["spec"] | {
        "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "disk"}}]
    }})  # fmt: skip
    until(lambda: any("unbound immediate PersistentVolumeClaims" in one for one in _events(cluster, client)))


def test_a_class_that_waits_for_a_pod(client: Client, cluster: Cluster) -> None:
    cluster.storage_class("late", default=False, late=True)
    body = claim(storageClassName="late")
    client.core.create_namespaced_persistent_volume_claim(client.namespace, body)
    until(lambda: any(one.startswith("WaitForFirstConsumer") for one in _events(cluster, client)))
    client.core.create_namespaced_pod(client.namespace, pod() | {"spec": pod()["spec"] | {
        "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "disk"}}]
    }})  # fmt: skip
    until(lambda: _phase(client) == "Bound")


def test_without_a_default_nothing_is_bound(tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        cluster.add({**claim(), "metadata": {"name": "disk", "namespace": "team"}})
        until(lambda: any(one["reason"] == "FailedBinding" for one in cluster.objects("events", "team")))
        found = cluster.object("persistentvolumeclaims", "team", "disk")
        assert found is not None
        assert found["status"]["phase"] == "Pending"


def _quota(client: Client, **hard: str) -> None:
    body = {
        "metadata": {"name": "quota"},
        "spec": {"hard": {key.replace("__", "."): value for key, value in hard.items()}},
    }
    client.core.create_namespaced_resource_quota(client.namespace, body)


def test_a_quota_counts(client: Client, cluster: Cluster) -> None:
    _quota(client, secrets="1", persistentvolumeclaims="1", requests__storage="1Gi")
    client.secret()
    with refused(403, "exceeded quota: quota, requested: secrets=1, used: secrets=1, limited: secrets=1"):
        client.core.create_namespaced_secret(client.namespace, {"metadata": {"name": "two"}})
    client.core.create_namespaced_persistent_volume_claim(client.namespace, claim())
    used: Any = until(lambda: cluster.objects("resourcequotas", client.namespace)[0].get("status"))
    until(lambda: cluster.objects("resourcequotas", client.namespace)[0]["status"]["used"]["secrets"] == "1")
    assert set(used["hard"]) == {"secrets", "persistentvolumeclaims", "requests.storage"}


def test_a_quota_adds_up_limits(client: Client) -> None:
    _quota(client, limits__memory="1536Mi", limits__cpu="4")
    client.core.create_namespaced_pod(client.namespace, pod())
    with refused(403, "exceeded quota: quota, requested: limits.memory=1073741824, used: limits.memory=1073741824"):
        client.core.create_namespaced_pod(client.namespace, pod("two"))
    with refused(403, "failed quota: quota: must specify limits.cpu for: opencode"):
        body = pod("three", resources={"limits": {"memory": "1Mi"}})
        client.core.create_namespaced_pod(client.namespace, body)


def test_a_quota_counts_sandboxes(client: Client) -> None:
    body = {"metadata": {"name": "q"}, "spec": {"hard": {"count/sandboxes.agents.x-k8s.io": "1"}}}
    client.core.create_namespaced_resource_quota(client.namespace, body)
    client.create(sandbox())
    with refused(403, "exceeded quota"):
        client.create(sandbox("two"))
