"""What a cluster is asked for, whole. Lesson: no security context, tokens mounted, egress open, names that collide."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from backends import manifests
from backends.base import Limits
from backends.egress import private_parts
from backends.manifests import KubernetesOptions, Names
from tests.backends.support import PASSWORD, PROXY_TOKEN, spec
from tests.standins.kubernetes import podsecurity, schemas, structure

if TYPE_CHECKING:
    from backends.base import SandboxSpec
    from backends.manifests import Version

A, W = "a" * 16, "w" * 16
SPACE: Final = f"cli-server-{W}"
NAMES = Names("i" * 16, "cli-server")
SERVER = {"app.kubernetes.io/name": "cli-server", "app.kubernetes.io/instance": "x"}
OPTIONS = KubernetesOptions(image="image:tag", server_namespace="agents", server_labels=SERVER, server_port=8080)
BOUND = replace(OPTIONS, service_account="cli-server", workspace_role="cli-server-workspace")
OWN = {"app.kubernetes.io/managed-by": "cli-server", "cli-server.installation": "i" * 16, "cli-server.workspace": W}
OF_A = {**OWN, "cli-server.sandbox": A}
CHOSEN = replace(
    BOUND,
    egress="proxy",
    runtime="gvisor",
    storage_class="fast",
    access_mode="ReadWriteOnce",
    node_selector={"disktype": "ssd"},
    tolerations=({"key": "agents", "operator": "Exists", "effect": "NoSchedule"},),
)
ALLOWED = replace(OPTIONS, egress_allow=(ip_network("10.1.0.0/16"), ip_network("fd00:1::/64")))


def about(name: str, labels: dict[str, str] = OWN) -> dict[str, Any]:
    return {"name": name, "namespace": SPACE, "labels": labels}


def test_a_workspace_s_namespace() -> None:
    assert manifests.namespace(NAMES, W) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": SPACE,
            "labels": {
                **OWN,
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            },
        },
    }


def test_the_server_s_rights_in_it() -> None:
    """Bound there, and nowhere else."""
    assert manifests.role_binding(NAMES, W, OPTIONS) is None
    assert manifests.role_binding(NAMES, W, BOUND) == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": about("cli-server"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cli-server-workspace"},
        "subjects": [{"kind": "ServiceAccount", "name": "cli-server", "namespace": "agents"}],
    }


def test_a_workspace_s_disk() -> None:
    assert manifests.disk_claim(NAMES, W, OPTIONS) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": about("disk"),
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}},
    }
    assert manifests.disk_claim(NAMES, W, replace(CHOSEN, disk_bytes=3 * 2**29))["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1536Mi"}},
        "storageClassName": "fast",
    }


SERVERS_PODS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "agents"}},
    "podSelector": {"matchLabels": SERVER},
}
DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}
PROXY = {"to": [SERVERS_PODS], "ports": [{"protocol": "TCP", "port": 8080}]}


def test_a_workspace_s_network_policy() -> None:
    assert manifests.network_policy(NAMES, W, ALLOWED) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": about("sandboxes"),
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [SERVERS_PODS]}],
            "egress": [
                DNS,
                PROXY,
                {
                    "to": [
                        {"ipBlock": {"cidr": "0.0.0.0/0", "except": private_parts("0.0.0.0/0")}},
                        {"ipBlock": {"cidr": "::/0", "except": private_parts("::/0")}},
                        {"ipBlock": {"cidr": "10.1.0.0/16"}},
                        {"ipBlock": {"cidr": "fd00:1::/64"}},
                    ]
                },
            ],
        },
    }
    closed = manifests.network_policy(NAMES, W, replace(ALLOWED, egress="proxy"))
    assert closed["spec"]["egress"] == [DNS, PROXY], "DNS and the server, and nothing else"


CLOSED_ADDRESSES = (
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "100.100.100.200", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "2002:a00:1::1", "2001:0:4136::1", "168.63.129.16", "64:ff9b::168.63.129.16", "192.0.0.192",
    "fd20:ce::254", "fec0::1",
)  # fmt: skip
OPEN_ADDRESSES = (
    "1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "192.167.0.1", "160.79.104.10", "100.128.0.1", "169.253.0.1",
    "168.63.129.15", "168.63.129.17",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "64:ff9b::808:808", "2003::1",
)  # fmt: skip


@pytest.mark.parametrize("address", [*CLOSED_ADDRESSES, *OPEN_ADDRESSES])
def test_what_is_private_is_closed_in_both_families(address: str) -> None:
    found = ip_address(address)
    blocks = [block["ipBlock"] for block in manifests.network_policy(NAMES, W, OPTIONS)["spec"]["egress"][2]["to"]]
    (block,) = (each for each in blocks if ip_network(each["cidr"]).version == found.version)
    assert any(found in ip_network(each) for each in block["except"]) == (address in CLOSED_ADDRESSES)


def test_a_sandbox_s_environment_is_a_secret() -> None:
    given = spec(A, ODD="ä\n")
    made = manifests.secret(NAMES, given)
    assert made == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about(f"oc-{A}", OF_A),
        "type": "Opaque",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in given.env.items()},
    }


POD: Final[dict[str, Any]] = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "restartPolicy": "Never",
    "shareProcessNamespace": True,
    "terminationGracePeriodSeconds": 10,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "containers": [
        {
            "name": "opencode",
            "image": "image:tag",
            "args": ["opencode", "serve", "--hostname", "$(POD_IP)", "--port", "4096"],
            "workingDir": "/home/agent",
            "env": [
                {"name": "HOME", "value": "/home/agent"},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
            ],
            "envFrom": [{"secretRef": {"name": f"oc-{A}"}}],
            "ports": [{"name": "http", "containerPort": 4096, "protocol": "TCP"}],
            "readinessProbe": {"tcpSocket": {"port": 4096}, "periodSeconds": 2, "timeoutSeconds": 2},
            "resources": {
                "limits": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "4Gi"},
                "requests": {"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "0"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
            },
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                {"name": "home", "mountPath": "/home/agent"},
                {"name": "disk", "mountPath": "/data/disk0"},
                {"name": "tmp", "mountPath": "/tmp"},
                {"name": "run", "mountPath": "/run"},
            ],
        }
    ],
    "volumes": [
        {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}},
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ],
}


@pytest.mark.parametrize(
    ("version", "running", "mode"),
    [
        ("v1beta1", True, {"operatingMode": "Running", "service": True}),
        ("v1beta1", False, {"operatingMode": "Suspended", "service": True}),
        ("v1alpha1", True, {"replicas": 1}),
        ("v1alpha1", False, {"replicas": 0}),
    ],
)
def test_a_sandbox(version: Version, running: bool, mode: dict[str, Any]) -> None:
    made = manifests.sandbox(NAMES, spec(A), OPTIONS, version, "r1", running=running)
    notes = made["metadata"]["annotations"]
    assert notes.keys() == {"cli-server.spec", "cli-server.run"}
    assert made == {
        "apiVersion": f"agents.x-k8s.io/{version}",
        "kind": "Sandbox",
        "metadata": {**about(f"oc-{A}", OF_A), "annotations": notes},
        "spec": {
            **mode,
            "podTemplate": {"metadata": {"labels": OF_A, "annotations": notes}, "spec": POD},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "home", "labels": OF_A},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
                }
            ],
        },
    }
    assert PASSWORD not in str(made)
    assert PROXY_TOKEN not in str(made), "what is secret is in the Secret only"


def test_what_the_operator_chooses() -> None:
    made = manifests.sandbox(NAMES, spec(A), CHOSEN, "v1beta1", "r1")["spec"]
    pod = made["podTemplate"]["spec"]
    near = {"labelSelector": {"matchLabels": OWN}, "topologyKey": "kubernetes.io/hostname"}
    assert {name: value for name, value in pod.items() if name not in POD} == {
        "runtimeClassName": "gvisor",
        "nodeSelector": {"disktype": "ssd"},
        "tolerations": [{"key": "agents", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}},
    }
    assert made["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    small = replace(spec(A), limits=Limits(cpu=0.1, memory=2**27, pids=32))
    resources = manifests.sandbox(NAMES, small, OPTIONS, "v1beta1", "r1")["spec"]["podTemplate"]["spec"]["containers"][
        0
    ]
    assert resources["resources"] == {
        "limits": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "4Gi"},
        "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "0"},
    }, "no more is asked for than it may have"


def test_a_fingerprint_tells_one_sandbox_from_another() -> None:
    """Whatever it is in which they differ; a start of the same has the same, and nobody guesses from it."""

    def made(given: SandboxSpec | None = None, options: KubernetesOptions = OPTIONS, run: str = "r1") -> str:
        body = manifests.sandbox(NAMES, given or spec(A), options, "v1beta1", run)
        return str(body["metadata"]["annotations"]["cli-server.spec"])

    assert made() == made(run="r2")
    others = [
        made(spec(A, password="other")),
        made(spec(A, MORE="1")),
        made(options=replace(OPTIONS, image="other")),
        made(options=replace(OPTIONS, runtime="gvisor")),
        made(replace(spec(A), limits=Limits(cpu=1, memory=2 << 30, pids=512))),
    ]
    assert len({made(), *others}) == 6
    same_env = replace(spec(A), password="other")
    assert made(same_env) != made(), "the key is the password's: the same environment looks different elsewhere"


def test_quantities_are_what_people_write() -> None:
    assert [manifests.quantity(count) for count in (5 * 2**30, 3 * 2**29, 2**10, 1000, 2**40)] == [
        "5Gi", "1536Mi", "1Ki", "1000", "1Ti",
    ]  # fmt: skip
    assert [manifests.cores(count) for count in (2, 0.25, 1.5, 0.01)] == ["2", "250m", "1500m", "10m"]


def everything(options: KubernetesOptions) -> list[dict[str, Any]]:
    """All that is made of Kubernetes' own kinds."""
    found = [
        manifests.namespace(NAMES, W),
        manifests.role_binding(NAMES, W, options),
        manifests.disk_claim(NAMES, W, options),
        manifests.network_policy(NAMES, W, options),
        manifests.secret(NAMES, spec(A)),
        pod(options),
    ]
    return [each for each in found if each is not None]


def pod(options: KubernetesOptions) -> dict[str, Any]:
    """As the controller makes it of the template."""
    template = manifests.sandbox(NAMES, spec(A), options, "v1beta1", "r1")["spec"]["podTemplate"]
    home = {"name": "home", "persistentVolumeClaim": {"claimName": f"home-oc-{A}"}}
    inside = {**template["spec"], "volumes": [*template["spec"]["volumes"], home]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": f"oc-{A}"}, "spec": inside}


EACH = pytest.mark.parametrize(
    "options", [OPTIONS, BOUND, CHOSEN, ALLOWED], ids=["plain", "bound", "chosen", "allowed"]
)


@EACH
def test_kubernetes_knows_all_of_it(options: KubernetesOptions) -> None:
    for made in everything(options):
        kubernetes_validate.validate(made, "1.37", strict=True)


@EACH
def test_the_restricted_profile_lets_it_in(options: KubernetesOptions) -> None:
    assert podsecurity.violations(pod(options)["spec"], "restricted") == []


@EACH
@pytest.mark.parametrize(
    ("release", "version"), [("v0.1.1", "v1alpha1"), ("v0.5.6", "v1alpha1"), ("v0.5.6", "v1beta1")]
)
def test_agent_sandbox_knows_all_of_it(options: KubernetesOptions, release: str, version: Version) -> None:
    made = manifests.sandbox(NAMES, spec(A), options, version, "r1")
    taken, found = structure.Schemas().take(schemas.sandbox_schema(release, version), made)
    assert not found.causes
    assert not found.unknown
    assert taken["spec"] == made["spec"] | {"shutdownPolicy": "Retain"}, "nothing is left out and nothing changed"
