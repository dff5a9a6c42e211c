"""What is refused: values against the Sandbox's definitions, and against Kubernetes' own schemas and rules."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import httpx
import kubernetes
import pytest

from tests.kubernetes_api.support import Json, claim, condition, container, pod, refused, sandbox, until
from tests.standins.kubernetes import Cluster, schemas
from tests.standins.kubernetes.structure import Schemas

if TYPE_CHECKING:
    from tests.kubernetes_api.support import Client


def _changed(obj: Json, path: str, value: Any) -> Json:
    """A copy with a value at ``spec.x.0.y``; ``...`` takes it away."""
    made = copy.deepcopy(obj)
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = made
    for part in parts:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


_CONTAINER = "spec.podTemplate.spec.containers.0"


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("spec", ..., "spec"),
        ("spec.podTemplate", ..., "spec.podTemplate"),
        ("spec.podTemplate.spec.containers", ..., "spec.podTemplate.spec.containers"),
        ("spec.podTemplate.spec.containers", {}, "must be of type array"),
        (f"{_CONTAINER}.name", ..., r"containers\[0\].name"),
        (f"{_CONTAINER}.command", "opencode", "must be of type array"),
        (f"{_CONTAINER}.env", [{"value": "x"}], r"env\[0\].name"),
        (f"{_CONTAINER}.env", [{"name": "A", "value": 1}], "must be of type string"),
        (f"{_CONTAINER}.env", [{"name": "A"}, {"name": "A"}], "Duplicate value"),
        (f"{_CONTAINER}.resources.limits.memory", "lots", "should match|quantities"),
        (f"{_CONTAINER}.readinessProbe.tcpSocket.port", {}, "integer or a string"),
        (f"{_CONTAINER}.ports.0.containerPort", 2**31, "int32"),
        ("spec.podTemplate.metadata.labels", {"a": 1}, "must be of type string"),
        ("spec.operatingMode", "Paused", "Unsupported value"),
        ("spec.shutdownTime", "tomorrow", "date-time"),
        ("spec.service", "true", "must be of type boolean"),
    ],
)
def test_a_sandbox_that_is_wrong(client: Client, path: str, value: object, where: str) -> None:
    with refused(422, where):
        client.create(_changed(sandbox(), path, value))


@pytest.mark.parametrize(("value", "where"), [(2, "less than or equal to 1"), (-1, "greater than"), ("1", "integer")])
def test_replicas_that_are_wrong(client: Client, value: object, where: str) -> None:
    client.version = "v1alpha1"
    with refused(422, where):
        client.create(sandbox(version="v1alpha1", replicas=value))


def test_unknown_fields_are_taken_out(client: Client, cluster: Cluster) -> None:
    wrong = _changed(sandbox(replicas=1), f"{_CONTAINER}.imagePolicy", "Always")
    wrong["spec"]["podTemplate"]["metadata"]["name"] = "x"
    with refused(400, 'unknown field \\\\"spec.podTemplate.metadata.name\\\\"'):
        client.create(wrong, field_validation="Strict")
    before = len(cluster.world.warnings)
    made = client.create(wrong)
    assert "replicas" not in made["spec"], "v1beta1 has none"
    assert "imagePolicy" not in made["spec"]["podTemplate"]["spec"]["containers"][0]
    assert "name" not in made["spec"]["podTemplate"]["metadata"]
    assert cluster.world.warnings[before:] == [
        'unknown field "spec.podTemplate.metadata.name"',
        f'unknown field "{_CONTAINER.replace(".0", "[0]")}.imagePolicy"',
        'unknown field "spec.replicas"',
    ]


def test_defaults_are_filled_in(client: Client) -> None:
    made = client.create(sandbox())
    assert made["spec"]["operatingMode"] == "Running"
    assert made["spec"]["shutdownPolicy"] == "Retain"
    probed = container(readinessProbe={"grpc": {"port": 1}})
    made = client.create(_changed(sandbox("two"), _CONTAINER, probed))
    assert made["spec"]["podTemplate"]["spec"]["containers"][0]["readinessProbe"]["grpc"]["service"] == ""
    assert made["spec"]["podTemplate"]["spec"]["containers"][0]["ports"][0]["protocol"] == "TCP"


def test_claim_templates_cannot_be_changed(client: Client) -> None:
    made = client.create(sandbox(operatingMode="Suspended"))
    nothing: list[Any] = [[], None]
    for value in nothing:
        with refused(422, "volumeClaimTemplates is immutable"):
            client.patch("one", {"spec": {"volumeClaimTemplates": value}})
    until(lambda: condition(client.sandbox())["status"])  # the controller has no more to say of it
    assert client.replace(client.sandbox())["metadata"]["uid"] == made["metadata"]["uid"], "the same is no change"


def test_an_update_needs_the_version_that_it_is_of(client: Client) -> None:
    made = client.create(sandbox())
    del made["metadata"]["resourceVersion"]
    with refused(422, "must be specified for an update"):
        client.replace(made)


def test_the_other_version_shows_the_same_object(client: Client) -> None:
    client.create(sandbox())
    client.version = "v1alpha1"
    shown = client.sandbox()
    assert shown["apiVersion"] == "agents.x-k8s.io/v1alpha1"
    assert shown["spec"]["replicas"] == 1
    assert "operatingMode" not in shown["spec"]
    client.patch("one", {"spec": {"replicas": 0}})
    client.version = "v1beta1"
    assert client.sandbox()["spec"]["operatingMode"] == "Suspended"
    with refused(400, "kind of this path"):
        client.create(sandbox("two", "v1alpha1"))


def test_unknown_rules_stop_the_stand_in() -> None:
    with pytest.raises(AssertionError, match="does not read"):
        Schemas().take({"type": "object", "properties": {"a": {"type": "string", "not": {}}}}, {"a": "b"})
    schema = {"properties": {"spec": {"x-kubernetes-validations": [{"rule": "self.a > 1", "message": ""}]}}}
    with pytest.raises(AssertionError, match="does not know the rule"):
        schemas.transition(schema, {"spec": {}}, {"spec": {}})


# Kubernetes' own kinds


@pytest.mark.parametrize(
    ("path", "value", "code", "where"),
    [
        ("spec.containers", [], 422, "spec.containers"),
        ("spec.containers.0.image", ..., 422, "image"),
        ("spec.containers.0.name", "Open_Code", 422, "name"),
        ("spec.containers.0.command", "x", 400, "must be of type array"),
        ("spec.containers.0.volumeMounts.0.name", "other", 422, "Not found"),
        ("spec.containers.0.resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, 422, "cpu limit"),
        ("spec.containers.0.resources", {"limits": {"cpu": "1.0001"}}, 422, "multiple of 1m"),
        ("spec.containers.0.resources", {"limits": {"pids": "1"}}, 422, "standard resource"),
        ("spec.containers.0.resources", {"limits": {"memory": "lots"}}, 400, "quantities"),
        ("spec.containers.0.readinessProbe", {}, 422, "handler"),
        ("spec.containers.0.ports.0.containerPort", 0, 422, "between 1 and 65535"),
        ("spec.containers.0.env", [{"name": "A=B", "value": "x"}], 422, "environment variable"),
        ("spec.volumes", [{"name": "home"}], 422, "exactly one volume type"),
        ("spec.volumes", [{"name": "home", "emptyDir": {}}] * 2, 422, "Duplicate"),
        ("spec.restartPolicy", "Sometimes", 422, "restartPolicy"),
        ("spec.nodeSelector", {"a": "b c"}, 422, "nodeSelector"),
    ],
)
def test_a_pod_that_is_wrong(client: Client, path: str, value: object, code: int, where: str) -> None:
    body = _changed(pod(), path, value)
    with refused(code, where):
        _raw(client, "pods", body)


def _raw(client: Client, plural: str, body: Json, group: str = "api/v1") -> Json:
    """By the client's own HTTP, because its models would refuse what the server is to refuse."""
    url = f"{client.cluster.url}/{group}/namespaces/{client.namespace}/{plural}"
    answer = httpx.post(url, json=body, headers=client.token, trust_env=False)
    if answer.status_code >= 400:
        raise kubernetes.client.ApiException(answer.status_code, answer.text)
    return dict(answer.json())


def test_a_runtime_class_must_be_there(client: Client, cluster: Cluster) -> None:
    body = _changed(pod(), "spec.runtimeClassName", "gvisor")
    with refused(403, "RuntimeClass .*not found"):
        client.core.create_namespaced_pod(client.namespace, body)
    cluster.runtime_class("gvisor")
    client.core.create_namespaced_pod(client.namespace, body)


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}, "valid CIDR"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "::/0", "except": ["10.0.0.0/8"]}}]}]}, "strict subset"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]}, "strict subset"),
        ({"egress": [{"to": [{"ipBlock": {"cidr": "::/0"}, "podSelector": {}}]}]}, "may not specify both"),
        ({"egress": [{"to": [{}]}]}, "must specify a peer"),
        ({"egress": [{"ports": [{"port": 70000}]}]}, "between 1 and 65535"),
        ({"egress": [{"ports": [{"port": "dns", "endPort": 60}]}]}, "greater than or equal"),
        ({"ingress": [{"ports": [{"protocol": "QUIC"}]}]}, "Unsupported value"),
        ({"policyTypes": ["Both"]}, "Unsupported value"),
    ],
)
def test_a_network_policy_that_is_wrong(client: Client, spec: Json, where: str) -> None:
    body = {"metadata": {"name": "one"}, "spec": {"podSelector": {}, **spec}}
    with refused(422, where):
        _raw(client, "networkpolicies", body, "apis/networking.k8s.io/v1")


def test_a_network_policy_can_be_changed(client: Client) -> None:
    api: Any = kubernetes.client.NetworkingV1Api(client.api)
    body = {"metadata": {"name": "one"}, "spec": {"podSelector": {}, "egress": []}}
    made = api.create_namespaced_network_policy(client.namespace, body)
    assert made.spec.policy_types == ["Ingress", "Egress"]
    changed = api.patch_namespaced_network_policy("one", client.namespace, {"spec": {"policyTypes": ["Egress"]}})
    assert changed.spec.policy_types == ["Egress"]
    assert changed.metadata.generation == 2


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("spec.accessModes", [], "at least 1 access mode"),
        ("spec.accessModes", ["ReadWriteSome"], "Unsupported value"),
        ("spec.accessModes", ["ReadWriteOncePod", "ReadWriteMany"], "may not use ReadWriteOncePod"),
        ("spec.resources", {}, "storage"),
        ("spec.resources", {"requests": {"storage": "0"}}, "greater than zero"),
    ],
)
def test_a_claim_that_is_wrong(client: Client, path: str, value: object, where: str) -> None:
    with refused(422, where):
        _raw(client, "persistentvolumeclaims", _changed(claim(), path, value))


def test_a_claim_cannot_be_changed_but_for_its_size(client: Client) -> None:
    client.core.create_namespaced_persistent_volume_claim(client.namespace, claim())
    bigger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    client.core.patch_namespaced_persistent_volume_claim("disk", client.namespace, bigger)
    with refused(422, "immutable"):
        other = {"spec": {"accessModes": ["ReadWriteOnce"]}}
        client.core.patch_namespaced_persistent_volume_claim("disk", client.namespace, other)


def test_every_definition_is_read() -> None:
    for release in (path.name for path in schemas.CRDS.iterdir()):
        for one in schemas.definition(release)["spec"]["versions"]:
            whole = Schemas().take(schemas.sandbox_schema(release, one["name"]), {"spec": {}})[1]
            assert ("FieldValueRequired", "spec.podTemplate", "Required value") in whole.causes
