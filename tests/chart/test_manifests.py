"""Every manifest of every case is one that Kubernetes takes, and no two of one release have the same name."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.chart.support import DEFINITION, NAMESPACE, RELEASE

if TYPE_CHECKING:
    from tests.chart.support import Rendered

pytestmark = pytest.mark.needs("helm")

# The oldest that the chart takes, and the newest that is known.
VERSIONS: Final = ("1.30", kubernetes_validate.latest_version())
# Kinds of other projects. Their definitions are not here, so these two are compared with what is written below.
UNKNOWN: Final = {"HTTPRoute", "ServiceMonitor"}
_CLUSTER_WIDE: Final = {
    "Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}  # fmt: skip
# Where in its spec a kind says which pods it is about.
_SELECTS: Final = {
    "Service": ("selector",),
    "PodDisruptionBudget": ("selector", "matchLabels"),
    "NetworkPolicy": ("podSelector", "matchLabels"),
    "Deployment": ("selector", "matchLabels"),
    "StatefulSet": ("selector", "matchLabels"),
}


@cache
def _faults(text: str, version: str) -> str:
    """What is wrong with a manifest, given by its text because cases share many; empty if nothing is."""

    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{list(error.path)}: {error.message}"
    return ""


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(case: Rendered, version: str) -> None:

    for one in case.manifests:
        if one["kind"] not in UNKNOWN and one["metadata"]["name"] != DEFINITION:
            assert _faults(json.dumps(one, sort_keys=True), version) == "", f"{one['kind']} {one['metadata']['name']}"


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_definition(all_rendered: dict[str, Rendered], version: str) -> None:

    one = all_rendered["all-in-one"].one("CustomResourceDefinition", DEFINITION)
    assert _faults(json.dumps(one, sort_keys=True), version) == ""


def test_a_mistake_would_be_seen() -> None:
    service = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"port": 1}}'
    assert "port" in _faults(service, VERSIONS[1])


def test_each_object_is_there_once_and_where_it_belongs(case: Rendered) -> None:
    seen = set()
    for one in case.manifests:
        name, namespace = one["metadata"]["name"], one["metadata"].get("namespace")
        assert (one["kind"], namespace, name) not in seen
        seen.add((one["kind"], namespace, name))
        assert (namespace is None) == (one["kind"] in _CLUSTER_WIDE), f"{one['kind']} {name}"
        if one["kind"] in _CLUSTER_WIDE and "agent-sandbox" not in name and name != DEFINITION:
            assert name.startswith(f"{NAMESPACE}-{RELEASE}-cli-server"), "two releases would share it"


def test_selectors_find_what_they_are_for(case: Rendered) -> None:
    """A service, a policy or a budget whose selector fits nothing says nothing, and does nothing."""
    pods = [
        one["spec"]["template"]["metadata"]["labels"] for one in case.manifests if "template" in one.get("spec", {})
    ]
    for one in case.manifests:
        if one["kind"] in _SELECTS:
            wanted = one["spec"]
            for name in _SELECTS[one["kind"]]:
                wanted = wanted[name]
            fitting = [labels for labels in pods if wanted.items() <= labels.items()]
            assert len(fitting) == 1, f"{one['kind']} {one['metadata']['name']} finds {len(fitting)} pods"


def test_routes_of_the_gateway(all_rendered: dict[str, Rendered]) -> None:
    main, sandboxes = all_rendered["gateway-api"].kinds("HTTPRoute")
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "timeouts": {"request": "0s", "backendRequest": "0s"},
        "backendRefs": [{"name": f"{RELEASE}-cli-server", "port": 8080}],
    }
    public = {"name": "public", "namespace": "infra"}
    assert main["apiVersion"] == sandboxes["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert main["spec"] == {
        "parentRefs": [public | {"sectionName": "agents"}], "hostnames": ["agents.example.com"], "rules": [rule],
    }  # fmt: skip
    assert sandboxes["spec"] == {
        "parentRefs": [public | {"sectionName": "agents-sandboxes"}],
        "hostnames": ["*.agents.example.com"],
        "rules": [rule],
    }


def test_the_service_monitor(all_rendered: dict[str, Rendered]) -> None:
    rendered = all_rendered["three-replicas"]
    monitor = rendered.one("ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "30s"}]
    service = rendered.one("Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert "metrics" in [port["name"] for port in service["spec"]["ports"]]


def test_ways_in_have_both_names(all_rendered: dict[str, Rendered]) -> None:
    spec = all_rendered["all-in-one"].one("Ingress")["spec"]
    assert [rule["host"] for rule in spec["rules"]] == ["agents.example.com", "*.agents.example.com"]
    assert spec["tls"] == [
        {"secretName": "team-cli-server-tls", "hosts": ["agents.example.com", "*.agents.example.com"]}
    ]
    assert {rule["http"]["paths"][0]["backend"]["service"]["name"] for rule in spec["rules"]} == {"team-cli-server"}


def test_ingress_nginx_bears_silence_and_holds_nothing_back(all_rendered: dict[str, Rendered]) -> None:
    """The same numbers as in docs/install.md and docs/examples/nginx.conf."""
    found = all_rendered["all-in-one"].one("Ingress")["metadata"]["annotations"]
    assert found == {
        "nginx.ingress.kubernetes.io/proxy-read-timeout": "86400",
        "nginx.ingress.kubernetes.io/proxy-send-timeout": "130",
        "nginx.ingress.kubernetes.io/proxy-buffering": "off",
        "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
        "nginx.ingress.kubernetes.io/proxy-body-size": "0",
    }


def test_a_rolling_update_has_a_server_at_every_moment(case: Rendered, case_name: str) -> None:
    spec = case.one("Deployment")["spec"]
    if case_name == "docker":  # two would each take the other's containers for their own
        assert spec["strategy"] == {"type": "Recreate"}
        return
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    pause = int(case.container["lifecycle"]["preStop"]["exec"]["command"][1])
    # docs/operating.md: 75 seconds from SIGTERM.
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= pause + 75
    paths = {kind: case.container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
