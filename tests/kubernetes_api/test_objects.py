"""Objects: their versions, names and ends, as the official client sees them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import kubernetes
import pytest

from tests.kubernetes_api.support import GROUP, claim, pod, refused, sandbox, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes_api.support import Client
    from tests.standins.kubernetes import Cluster


def _map(name: str = "one", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def test_nobody_is_served_without_the_token(cluster: Cluster, client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        answer = httpx.get(f"{cluster.url}/api/v1/namespaces", headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.json()["reason"] == "Unauthorized"
    assert client.core.list_namespace().items


def test_a_stale_version_is_a_conflict(client: Client) -> None:
    made = client.core.create_namespaced_config_map(client.namespace, _map(a="1"))
    made.data["a"] = "2"
    newer = client.core.replace_namespaced_config_map("one", client.namespace, made)
    assert int(newer.metadata.resource_version) > int(made.metadata.resource_version)
    with refused(409, "the object has been modified"):
        client.core.replace_namespaced_config_map("one", client.namespace, made)
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"a": "3"}}
    with refused(409, "the object has been modified"):
        client.core.patch_namespaced_config_map("one", client.namespace, stale)
    assert client.core.patch_namespaced_config_map("one", client.namespace, {"data": {"b": "4"}}).data == {
        "a": "2",
        "b": "4",
    }


def test_a_write_that_changes_nothing_makes_no_version(client: Client) -> None:
    made = client.core.create_namespaced_config_map(client.namespace, _map(a="1"))
    again = client.core.replace_namespaced_config_map("one", client.namespace, made)
    assert again.metadata.resource_version == made.metadata.resource_version


def test_what_is_there_is_not_made_again(client: Client) -> None:
    client.core.create_namespaced_config_map(client.namespace, _map())
    with refused(409, '"reason":"AlreadyExists"|"reason": "AlreadyExists"'):
        client.core.create_namespaced_config_map(client.namespace, _map())


def test_names_are_made_of_generate_name(client: Client) -> None:
    names = {
        client.core.create_namespaced_config_map(client.namespace, {"metadata": {"generateName": "x-"}}).metadata.name
        for _ in range(3)
    }
    assert len(names) == 3
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


@pytest.mark.parametrize("name", ["Upper", "under_score", "-begins", "ends-", "a..b", "x" * 254, ""])
def test_names_that_are_none(client: Client, name: str) -> None:
    with refused(422, "metadata.name"):
        client.core.create_namespaced_config_map(client.namespace, _map(name))


@pytest.mark.parametrize(
    "labels", [{"key": "x" * 64}, {"key": "spa ce"}, {"k" * 64: "v"}, {"a/b/c": "v"}, {"key": "-x"}, {"": "v"}]
)
def test_labels_that_are_none(client: Client, labels: dict[str, str]) -> None:
    with refused(422, "metadata.labels"):
        client.core.create_namespaced_config_map(client.namespace, {"metadata": {"name": "one", "labels": labels}})


def test_the_generation_counts_changes_of_the_spec(client: Client) -> None:
    made = client.create(sandbox())
    assert made["metadata"]["generation"] == 1
    about = client.patch("one", {"metadata": {"labels": {"a": "b"}}})["metadata"]
    assert about["generation"] == 1
    assert client.patch("one", {"spec": {"operatingMode": "Suspended"}})["metadata"]["generation"] == 2
    status = {"status": {"service": "written-by-hand"}}
    assert client.patch("one", status)["status"].get("service") != "written-by-hand", "only /status writes it"
    path = (GROUP, "v1beta1", client.namespace, "sandboxes", "one")
    written = client.custom.patch_namespaced_custom_object_status(*path, {"status": {"nodeName": "x"}, "spec": {}})
    assert written["metadata"]["generation"] == 2


def test_the_server_owns_its_part_of_the_metadata(client: Client) -> None:
    mine = {"name": "one", "uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 9}
    made = client.create({**sandbox(), "metadata": mine})["metadata"]
    assert made["uid"] != "mine"
    assert made["generation"] == 1
    assert not made["creationTimestamp"].startswith("2000")
    with refused(400, "resourceVersion should not be set"):
        client.create({**sandbox("two"), "metadata": {"name": "two", "resourceVersion": "5"}})


def test_secrets_show_their_data_only(client: Client) -> None:
    body = {"metadata": {"name": "one"}, "stringData": {"a": "x"}, "data": {"b": base64.b64encode(b"y").decode()}}
    made = client.core.create_namespaced_secret(client.namespace, body)
    assert made.string_data is None
    assert {key: base64.b64decode(value) for key, value in made.data.items()} == {"a": b"x", "b": b"y"}
    assert made.type == "Opaque"
    with refused(422, "data"):
        client.core.create_namespaced_secret(client.namespace, {"metadata": {"name": "two"}, "data": {"a b": "eA=="}})


def test_a_deletion_may_have_conditions(client: Client) -> None:
    made = client.core.create_namespaced_config_map(client.namespace, _map())
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        with refused(409, "Precondition failed"):
            client.core.delete_namespaced_config_map("one", client.namespace, body={"preconditions": wrong})
    body = {"preconditions": {"uid": made.metadata.uid}}
    assert client.core.delete_namespaced_config_map("one", client.namespace, body=body)["status"] == "Success"
    with refused(404, "not found"):
        client.core.delete_namespaced_config_map("one", client.namespace)


def test_a_finalizer_holds_an_object(client: Client) -> None:
    about = {"name": "one", "finalizers": ["example.com/hold"]}
    made = client.core.create_namespaced_config_map(client.namespace, {"metadata": about})
    client.core.delete_namespaced_config_map("one", client.namespace)
    held = client.core.read_namespaced_config_map("one", client.namespace)
    assert held.metadata.deletion_timestamp
    assert held.metadata.uid == made.metadata.uid
    client.core.patch_namespaced_config_map("one", client.namespace, {"metadata": {"finalizers": None}})
    with refused(404):
        client.core.read_namespaced_config_map("one", client.namespace)


def _owned(client: Client) -> str:
    owner = client.core.create_namespaced_config_map(client.namespace, _map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
    about = {"name": "owned", "ownerReferences": [reference]}
    client.core.create_namespaced_config_map(client.namespace, {"metadata": about})
    return str(owner.metadata.uid)


def test_the_owned_go_with_their_owner(client: Client, cluster: Cluster) -> None:
    _owned(client)
    client.core.delete_namespaced_config_map("owner", client.namespace)
    until(lambda: not cluster.objects("configmaps", client.namespace))


def test_the_owner_waits_for_the_owned(client: Client, cluster: Cluster) -> None:
    _owned(client)
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    client.core.patch_namespaced_config_map("owned", client.namespace, hold)
    client.core.delete_namespaced_config_map("owner", client.namespace, propagation_policy="Foreground")
    until(lambda: client.core.read_namespaced_config_map("owned", client.namespace).metadata.deletion_timestamp)
    assert client.core.read_namespaced_config_map("owner", client.namespace).metadata.finalizers == [
        "foregroundDeletion"
    ]
    client.core.patch_namespaced_config_map("owned", client.namespace, {"metadata": {"finalizers": None}})
    until(lambda: not cluster.objects("configmaps", client.namespace))


def test_the_owned_may_stay(client: Client, cluster: Cluster) -> None:
    _owned(client)
    client.core.delete_namespaced_config_map("owner", client.namespace, propagation_policy="Orphan")
    until(lambda: len(cluster.objects("configmaps", client.namespace)) == 1)
    assert not cluster.objects("configmaps", client.namespace)[0]["metadata"].get("ownerReferences")


def test_a_namespace_goes_with_everything_in_it(client: Client, cluster: Cluster) -> None:
    client.create(sandbox())
    client.core.create_namespaced_persistent_volume_claim(client.namespace, claim())
    client.core.create_namespaced_config_map(client.namespace, _map("held") | {
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]}
    })  # fmt: skip
    client.core.delete_namespace(client.namespace)
    ending = client.core.read_namespace(client.namespace)
    assert ending.status.phase == "Terminating"
    with refused(403, "because it is being terminated"):
        client.core.create_namespaced_config_map(client.namespace, _map())
    until(lambda: not client.pod() and not cluster.objects("persistentvolumeclaims", client.namespace))
    assert client.core.read_namespace(client.namespace).metadata.deletion_timestamp, "something is still in it"
    client.core.patch_namespaced_config_map("held", client.namespace, {"metadata": {"finalizers": None}})
    until(lambda: not cluster.object("namespaces", "", client.namespace))


def test_nothing_is_made_in_a_namespace_that_is_not_there(client: Client) -> None:
    with refused(404, "namespaces"):
        client.core.create_namespaced_config_map("nowhere", _map())


def test_lists_are_selected_and_divided(client: Client) -> None:
    for number in range(5):
        labels = {"number": str(number), **({"odd": "yes"} if number % 2 else {})}
        body = {"metadata": {"name": f"map-{number}", "labels": labels}}
        client.core.create_namespaced_config_map(client.namespace, body)

    def names(**options: Any) -> list[str]:
        found = client.core.list_namespaced_config_map(client.namespace, **options)
        return [one.metadata.name[-1] for one in found.items]

    assert names(label_selector="odd") == ["1", "3"]
    assert names(label_selector="!odd,number notin (0)") == ["2", "4"]
    assert names(label_selector="number in (1, 2),odd=yes") == ["1"]
    assert names(label_selector="number!=1") == ["0", "2", "3", "4"]
    assert names(field_selector="metadata.name=map-3") == ["3"]
    with refused(400, "field label not supported"):
        names(field_selector="data.a=1")
    first = client.core.list_namespaced_config_map(client.namespace, limit=2)
    assert len(first.items) == 2
    assert first.metadata.remaining_item_count == 3
    client.core.delete_namespaced_config_map("map-4", client.namespace)
    more = client.core.list_namespaced_config_map(client.namespace, limit=9, _continue=first.metadata._continue)
    assert [one.metadata.name for one in more.items] == ["map-2", "map-3", "map-4"], "as of the first part"
    assert more.metadata.resource_version == first.metadata.resource_version
    client.cluster.compact()
    with refused(410, "Expired"):
        client.core.list_namespaced_config_map(client.namespace, limit=2, _continue=first.metadata._continue)


def test_a_dry_run_checks_and_leaves_nothing(client: Client, cluster: Cluster) -> None:
    client.create(sandbox(), dry_run="All")
    assert not cluster.objects("sandboxes", client.namespace, group=GROUP)
    with refused(422):
        client.create(sandbox("Wrong"), dry_run="All")


def test_patches_of_all_kinds(client: Client) -> None:
    client.core.create_namespaced_config_map(client.namespace, _map(a="1"))
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b~1c", "value": "2"},
        {"op": "remove", "path": "/data/a"},
    ]
    with refused(400):
        client.core.patch_namespaced_config_map("one", client.namespace, [{"op": "remove", "path": "/data/none"}])
    operations[1]["path"] = "/data/b"
    assert client.core.patch_namespaced_config_map("one", client.namespace, operations).data == {"b": "2"}
    operations[0]["path"] = "/data/b"
    with refused(400, "testing value"):
        client.core.patch_namespaced_config_map("one", client.namespace, operations)
    client.create(sandbox())
    headers = {"Content-Type": "application/strategic-merge-patch+json"} | client.token
    url = f"{client.cluster.url}/apis/{GROUP}/v1beta1/namespaces/{client.namespace}/sandboxes/one"
    assert httpx.patch(url, json={}, headers=headers, trust_env=False).status_code == 415


def test_strategic_patches_merge_lists_by_their_keys(client: Client) -> None:
    client.secret()
    client.core.create_namespaced_pod(client.namespace, pod())
    body = {"spec": {"containers": [{"name": "opencode", "image": "another"}]}}
    changed = client.core.patch_namespaced_pod("one", client.namespace, body)
    (one,) = changed.spec.containers
    assert (one.image, one.working_dir) == ("another", "/home/agent")
    with refused(422, "pod updates may not change fields"):
        client.core.patch_namespaced_pod("one", client.namespace, {"spec": {"restartPolicy": "Always"}})


def _groups(api: Any) -> dict[str, Any]:
    return {one.name: one for one in kubernetes.client.ApisApi(api).get_api_versions().groups}


def test_what_is_served_can_be_looked_up(client: Client) -> None:
    groups = _groups(client.api)
    assert [one.version for one in groups[GROUP].versions] == ["v1beta1", "v1alpha1"]
    assert groups[GROUP].preferred_version.version == "v1beta1"
    resources = client.custom.get_api_resources(GROUP, "v1beta1").resources
    assert [one.name for one in resources] == ["sandboxes", "sandboxes/status"]
    assert "pods/exec" in [one.name for one in client.core.get_api_resources().resources]
    assert kubernetes.client.VersionApi(client.api).get_code().git_version == "v1.37.0"
    with refused(404):
        client.custom.list_cluster_custom_object("example.com", "v1", "things")


@pytest.mark.parametrize(
    ("release", "served"), [("v0.1.1", ["v1alpha1"]), ("v0.5.6", ["v1beta1"]), ("v0.5.6", ["v1alpha1"]), ("", [])]
)
def test_a_test_chooses_the_versions(tmp_path: Path, release: str, served: list[str]) -> None:
    from tests.standins.kubernetes import Cluster

    with Cluster(tmp_path / "cluster", release=release, served=tuple(served)) as cluster, cluster.client() as api:
        groups = _groups(api)
        assert [one.version for one in groups[GROUP].versions] == served if served else GROUP not in groups
        found = cluster.objects("customresourcedefinitions", group="apiextensions.k8s.io")
        assert [one["metadata"]["name"] for one in found] == ([f"sandboxes.{GROUP}"] if served else [])
