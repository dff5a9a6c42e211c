"""What the chart's pods may do on their nodes, and what its roles may do in the cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from backends import manifests
from backends.containers import LABEL_WORKSPACE
from daemon.ids import new_id
from tests.backends.cluster_kind import SERVER_RULES, WORKSPACE_RULES
from tests.chart.support import NAMESPACE, RELEASE
from tests.standins.kubernetes.podsecurity import violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chart.support import Rendered

pytestmark = pytest.mark.needs("helm")

CLUSTER_NAME: Final = f"{NAMESPACE}-{RELEASE}-cli-server"
CONTROLLER: Final = "agent-sandbox-controller"
Right = tuple[str, str, str]  # group, resource, verb


def rights(role: dict[str, Any]) -> set[Right]:
    """A role's rules, one by one."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def everywhere(rendered: Rendered) -> Iterator[tuple[str, set[Right]]]:
    """Who has which rights in all namespaces: what cluster-wide bindings give."""
    for binding in rendered.kinds("ClusterRoleBinding"):
        for subject in binding["subjects"]:
            yield subject["name"], rights(rendered.one("ClusterRole", binding["roleRef"]["name"]))


def test_pods_keep_the_restricted_profile(case: Rendered, case_name: str) -> None:
    for name, spec in case.pods():
        found = violations(spec, "restricted")
        if case_name == "docker" and name == f"Deployment {RELEASE}-cli-server":
            # The node's engine and its network are what that backend is about.
            assert found == ["host namespaces: hostNetwork must not be true", "hostPath volumes: volumes[3]",
                             "restricted volume types: volumes[3] is hostPath"]  # fmt: skip
        else:
            assert found == [], name


def test_pods_cannot_write_to_their_images(case: Rendered) -> None:
    for name, spec in case.pods():
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"], name


def test_only_who_asks_the_cluster_has_a_token(case: Rendered, case_name: str) -> None:
    for name, spec in case.pods():
        if CONTROLLER not in name:
            asks = case_name != "docker" and name.startswith("Deployment")
            assert spec["automountServiceAccountToken"] is asks, name


def test_no_rule_is_for_everything(case: Rendered) -> None:
    for role in [*case.kinds("ClusterRole"), *case.kinds("Role")]:
        for right in rights(role):
            assert "*" not in "".join(right), f"{role['metadata']['name']}: {right}"
        assert not any("nonResourceURLs" in rule for rule in role["rules"])


def test_nobody_has_secrets_or_a_shell_in_all_namespaces(case: Rendered) -> None:
    """Nor makes himself somebody who has."""
    for who, found in everywhere(case):
        for group, resource, verb in found:
            right = f"{who}: {verb} {resource}.{group}"
            assert resource not in ("secrets", "serviceaccounts/token", "nodes/proxy"), right
            assert not resource.endswith(("/exec", "/attach", "/portforward", "/ephemeralcontainers")), right
            assert verb not in ("escalate", "impersonate"), right
            if who != CONTROLLER and resource in ("pods", "sandboxes"):
                assert verb in ("get", "list", "watch"), right


def test_what_the_server_may_do_in_all_namespaces(all_rendered: dict[str, Rendered]) -> None:
    """As in the backend's tests, whose cluster refuses everything else."""
    rendered = all_rendered["all-in-one"]
    role = rendered.one("ClusterRole", CLUSTER_NAME)
    assert rights(role) == rights({"rules": SERVER_RULES})
    (bind,) = [rule for rule in role["rules"] if "bind" in rule["verbs"]]
    assert bind["resourceNames"] == [rendered.env["K8S_WORKSPACE_ROLE"]] == [f"{CLUSTER_NAME}-workspace"]


def test_what_the_server_may_do_in_workspaces(all_rendered: dict[str, Rendered]) -> None:
    """Neither more nor less than what the backend's tests find to be enough."""
    role = all_rendered["all-in-one"].one("ClusterRole", f"{CLUSTER_NAME}-workspace")
    assert rights(role) == rights({"rules": WORKSPACE_RULES})


def test_the_role_of_workspaces_is_bound_by_nobody_but_the_server(case: Rendered) -> None:
    bound = {one["roleRef"]["name"] for kind in ("ClusterRoleBinding", "RoleBinding") for one in case.kinds(kind)}
    assert not any(name.endswith("-workspace") for name in bound)


def test_the_controllers_secrets_are_those_of_its_own_namespace(all_rendered: dict[str, Rendered]) -> None:
    role = all_rendered["all-in-one"].one("Role", CONTROLLER)
    assert role["metadata"]["namespace"] == "agent-sandbox-system"
    assert {resource for _, resource, _ in rights(role)} == {"leases", "secrets"}


def test_a_policy_bounds_what_rbac_cannot(all_rendered: dict[str, Rendered]) -> None:
    """Its expressions are compared whole: no evaluator of CEL is here."""
    rendered = all_rendered["storage-for-one-node-at-a-time"]
    policy = rendered.one("ValidatingAdmissionPolicy", CLUSTER_NAME)["spec"]
    assert policy["failurePolicy"] == "Fail"
    (server,) = policy["matchConditions"]
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-cli-server"
    assert server["expression"] == f'request.userInfo.username == "{account}"'
    # All that the server's role may change in the whole cluster.
    changes = {
        (group, resource, verb.upper())
        for group, resource, verb in rights(rendered.one("ClusterRole", CLUSTER_NAME))
        if verb in ("create", "update", "patch", "delete")
    }
    assert changes == {
        (group, resource, operation)
        for rule in policy["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for operation in rule["operations"]
    }
    assert rendered.env["K8S_NAMESPACE_PREFIX"] == "agents"
    (written,) = re.findall(r'matches\("(.*?)"\)', policy["validations"][0]["expression"])
    for _ in range(100):
        made = manifests.namespace(manifests.Names("i", "agents"), new_id())["metadata"]
        assert re.search(written, made["name"])
    assert made["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for other in (
        "agents-2-abcdefghijklmnop",
        "agents-abcdefghijklmnopq",
        "agents-",
        "kube-system",
        "x-agents-" + new_id(),
    ):
        assert not re.search(written, other), other
    name, label, profile, role = [one["expression"] for one in policy["validations"]]
    assert name == 'variables.namespace.matches("^agents-[a-z0-9]{16}$")'
    assert label.count(f'"{LABEL_WORKSPACE}" in ') == 3
    # By a namespace that lets privileged pods in, whoever has the server's token would have the nodes.
    assert profile == (
        'request.resource.resource != "namespaces" || request.operation != "CREATE" || '
        'object.metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"'
    )
    assert f'object.roleRef.name == "{CLUSTER_NAME}-workspace"' in role
    (binding,) = rendered.kinds("ValidatingAdmissionPolicyBinding")
    assert binding["spec"] == {"policyName": CLUSTER_NAME, "validationActions": ["Deny"]}


def test_who_reaches_the_server(all_rendered: dict[str, Rendered]) -> None:
    spec = all_rendered["three-replicas"].one("NetworkPolicy")["spec"]
    own = spec["podSelector"]
    sandboxes = {"namespaceSelector": {"matchExpressions": [{"key": LABEL_WORKSPACE, "operator": "Exists"}]}}
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in spec["ingress"]}
    assert spec["policyTypes"] == ["Ingress"]
    assert by_port == {
        "http": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}],
        "sandboxes": [sandboxes],
        "replica": [{"podSelector": own}],
        "metrics": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    }


def test_metrics_are_for_nobody_unless_somebody_is_named(all_rendered: dict[str, Rendered]) -> None:
    spec = all_rendered["all-in-one"].one("NetworkPolicy")["spec"]
    assert [rule["ports"][0]["port"] for rule in spec["ingress"]] == ["http", "sandboxes", "replica"]


def test_only_the_server_reaches_the_database(all_rendered: dict[str, Rendered]) -> None:
    rendered = all_rendered["all-in-one"]
    spec = rendered.one("NetworkPolicy", f"{RELEASE}-cli-server-postgresql")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    (rule,) = spec["ingress"]
    assert rule["from"] == [{"podSelector": rendered.one("NetworkPolicy")["spec"]["podSelector"]}]
