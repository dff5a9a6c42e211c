"""What a sandbox is to a Kubernetes cluster: names, labels, and the objects that are made there. Pure, plain dicts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from backends.containers import DISK, HOME, LABEL_INSTALLATION, LABEL_SANDBOX, LABEL_WORKSPACE, OPENCODE_PORT
from backends.egress import private_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from backends.base import SandboxSpec
    from backends.containers import Egress

Manifest = dict[str, Any]
Version = Literal["v1alpha1", "v1beta1"]  # of agents.x-k8s.io
AccessMode = Literal["ReadWriteMany", "ReadWriteOnce"]

GROUP: Final = "agents.x-k8s.io"
# Not labels: a label's value has 63 characters at most, and nobody selects by these.
NOTE_SPEC: Final = "cli-server.spec"  # tells one way of running a sandbox from another, and gives nothing away
NOTE_RUN: Final = "cli-server.run"  # of pods, too: which start they are of
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
CONTAINER: Final = "opencode"
CLAIM: Final = "disk"  # the workspace's disk, in its namespace
POLICY: Final = "sandboxes"
BINDING: Final = "cli-server"
HOME_VOLUME: Final = "home"

_USER: Final = 1000  # agent, in the image; whatever the image says, it is not root
_RUN_BYTES: Final = 16 * 2**20  # for sockets and pid files
_QUANTITIES: Final = (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))
_DNS_PORT: Final = 53


@dataclass(frozen=True, slots=True)
class KubernetesOptions:
    """How sandboxes are run in a cluster. Sizes are bytes.

    ``server_labels``: what the server's pods have, in ``server_namespace``; ``server_port`` is where they listen.
    ``service_account`` gets ``workspace_role`` in each namespace that is made. ``kubeconfig``: the pod's own service
    account if ``None``. ``egress``: "open" (the internet, nothing private), or "proxy" (DNS and the server only).
    """

    image: str
    server_namespace: str
    server_labels: Mapping[str, str]
    server_port: int
    kubeconfig: Path | None = None
    prefix: str = "cli-server"
    service_account: str | None = None
    workspace_role: str | None = None
    runtime: str | None = None
    egress: Egress = "open"
    egress_allow: Sequence[IPv4Network | IPv6Network] = ()
    storage_class: str | None = None
    home_bytes: int = 5 * 2**30
    disk_bytes: int = 10 * 2**30
    access_mode: AccessMode = "ReadWriteMany"
    ephemeral_bytes: int = 4 * 2**30
    cpu_request: float = 0.25
    memory_request: int = 512 * 2**20
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    grace_seconds: int = 10  # from SIGTERM to SIGKILL, as with a Docker engine


@dataclass(frozen=True, slots=True)
class Names:
    """The names and labels of everything that belongs to ``installation``."""

    installation: str
    prefix: str

    def namespace(self, workspace_id: str) -> str:
        """The namespace of a workspace."""
        return f"{self.prefix}-{workspace_id}"

    @staticmethod
    def sandbox(sandbox_id: str) -> str:
        """The Sandbox, its Secret and its Service."""
        return f"oc-{sandbox_id}"

    @staticmethod
    def home(sandbox_id: str) -> str:
        """The claim that the controller makes of the template: ``{template}-{sandbox}``."""
        return f"{HOME_VOLUME}-oc-{sandbox_id}"

    def labels(self, workspace_id: str, sandbox_id: str = "") -> dict[str, str]:
        """What shows whose an object is."""
        found = {MANAGED_BY: "cli-server", LABEL_INSTALLATION: self.installation, LABEL_WORKSPACE: workspace_id}
        return {**found, LABEL_SANDBOX: sandbox_id} if sandbox_id else found

    def ours(self, found: Mapping[str, Any], **wanted: str) -> bool:
        """Whether an object is this installation's and is labelled as ``wanted``: ``workspace=``, ``sandbox=``."""
        labels = found["metadata"].get("labels") or {}
        return labels.get(LABEL_INSTALLATION) == self.installation and all(
            labels.get(f"cli-server.{name}") == value for name, value in wanted.items()
        )

    def at_home(self, found: Mapping[str, Any]) -> bool:
        """Whether an object is in the namespace of the workspace that it is labelled with."""
        about = found["metadata"]
        workspace_id = (about.get("labels") or {}).get(LABEL_WORKSPACE, "")
        return bool(about.get("namespace") == self.namespace(workspace_id))

    def selector(self, **wanted: str) -> str:
        """What the cluster is asked for to list what is ours."""
        pairs = [f"{LABEL_INSTALLATION}={self.installation}"]
        return ",".join(pairs + [f"cli-server.{name}={value}" for name, value in wanted.items()])


def quantity(count: int) -> str:
    """Bytes as Kubernetes writes them: ``5Gi``, ``1536Mi``."""
    for unit, size in _QUANTITIES:
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)


def cores(count: float) -> str:
    """Processor cores as Kubernetes writes them: ``2``, ``250m``."""
    thousandths = max(1, round(count * 1000))
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def namespace(names: Names, workspace_id: str) -> Manifest:
    """A workspace's namespace. It takes no pod that the restricted profile forbids, whoever makes it."""
    labels = names.labels(workspace_id) | {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": names.namespace(workspace_id), "labels": labels},
    }


def role_binding(names: Names, workspace_id: str, options: KubernetesOptions) -> Manifest | None:
    """The server's rights in a workspace's namespace; ``None`` where the operator gives them another way."""
    if options.workspace_role is None or options.service_account is None:
        return None
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": options.service_account, "namespace": options.server_namespace}
    return {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(names, BINDING, workspace_id),
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": options.workspace_role},
        "subjects": [subject],
    }


def disk_claim(names: Names, workspace_id: str, options: KubernetesOptions) -> Manifest:
    """A workspace's disk."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(names, CLAIM, workspace_id),
        "spec": _claim(options.access_mode, options.disk_bytes, options),
    }


def _claim(access_mode: str, size: int, options: KubernetesOptions) -> Manifest:
    chosen = {} if options.storage_class is None else {"storageClassName": options.storage_class}
    return {"accessModes": [access_mode], "resources": {"requests": {"storage": quantity(size)}}, **chosen}


def network_policy(names: Names, workspace_id: str, options: KubernetesOptions) -> Manifest:
    """Who reaches a workspace's pods, and what they reach. What no rule names is closed, in both directions."""
    server = {
        "namespaceSelector": _namespace_named(options.server_namespace),
        "podSelector": {"matchLabels": dict(options.server_labels)},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(names, POLICY, workspace_id),
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [server]}],
            "egress": [
                {"to": [_dns()], "ports": [{"protocol": protocol, "port": _DNS_PORT} for protocol in ("UDP", "TCP")]},
                {"to": [server], "ports": [{"protocol": "TCP", "port": options.server_port}]},
                *_internet(options),
            ],
        },
    }


def _namespace_named(name: str) -> Manifest:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _dns() -> Manifest:
    return {
        "namespaceSelector": _namespace_named("kube-system"),
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }


def _internet(options: KubernetesOptions) -> list[Manifest]:
    if options.egress == "proxy":
        return []
    blocks = [{"cidr": everything, "except": private_parts(everything)} for everything in ("0.0.0.0/0", "::/0")]
    blocks += [{"cidr": str(network)} for network in options.egress_allow]
    return [{"to": [{"ipBlock": block} for block in blocks]}]


def secret(names: Names, spec: SandboxSpec) -> Manifest:
    """A sandbox's environment, of which some is secret and all is the workspace's business only."""
    data = {name: base64.b64encode(value.encode()).decode() for name, value in sorted(spec.env.items())}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(names, names.sandbox(spec.id), spec.workspace_id, spec.id),
        "type": "Opaque",
        "data": data,
    }


def sandbox(
    names: Names, spec: SandboxSpec, options: KubernetesOptions, version: Version, run: str, *, running: bool = True
) -> Manifest:
    """A sandbox, as the controller of Agent Sandbox takes it. ``run`` is the start that its pod will be of."""
    template = _template(names, spec, options)
    notes = {NOTE_SPEC: fingerprint(template, spec), NOTE_RUN: run}
    template["metadata"]["annotations"] = notes
    labels = names.labels(spec.workspace_id, spec.id)
    home = {"metadata": {"name": HOME_VOLUME, "labels": labels}}
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "Sandbox",
        "metadata": {**_metadata(names, names.sandbox(spec.id), spec.workspace_id, spec.id), "annotations": notes},
        "spec": {
            **mode(version, running=running),
            "podTemplate": template,
            "volumeClaimTemplates": [{**home, "spec": _claim("ReadWriteOnce", options.home_bytes, options)}],
        },
    }


def mode(version: Version, *, running: bool) -> Manifest:
    """The part of a Sandbox's specification that says whether it runs, and that it has a name.

    The first version always makes a service; since then there is one only for who asks.
    """
    if version == "v1alpha1":
        return {"replicas": 1 if running else 0}
    return {"operatingMode": "Running" if running else "Suspended", "service": True}


def fingerprint(template: Mapping[str, Any], spec: SandboxSpec) -> str:
    """Tells one way of running a sandbox from another. Keyed, so that nobody guesses the environment by it."""
    whole = json.dumps([template, dict(spec.env)], sort_keys=True)
    return hmac.new(spec.password.encode(), whole.encode(), hashlib.sha256).hexdigest()


def _metadata(names: Names, name: str, workspace_id: str, sandbox_id: str = "") -> Manifest:
    return {"name": name, "namespace": names.namespace(workspace_id), "labels": names.labels(workspace_id, sandbox_id)}


def _template(names: Names, spec: SandboxSpec, options: KubernetesOptions) -> Manifest:
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",  # the daemon decides when a sandbox runs, and knows why it ended
        "shareProcessNamespace": True,  # opencode ignores SIGTERM as process 1
        "terminationGracePeriodSeconds": options.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start goes through all files of a home
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_opencode(names, spec, options)],
        "volumes": [
            {"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}},
            {"name": "tmp", "emptyDir": {"sizeLimit": quantity(options.ephemeral_bytes)}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": quantity(_RUN_BYTES)}},
        ],
        **_placement(names, spec.workspace_id, options),
    }
    return {"metadata": {"labels": names.labels(spec.workspace_id, spec.id)}, "spec": pod}


def _placement(names: Names, workspace_id: str, options: KubernetesOptions) -> Manifest:
    """On which nodes, and in what."""
    found: Manifest = {}
    if options.runtime is not None:
        found["runtimeClassName"] = options.runtime
    if options.node_selector:
        found["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        found["tolerations"] = [dict(each) for each in options.tolerations]
    if options.access_mode == "ReadWriteOnce":  # the disk is on one node at a time: where the others are
        near = {
            "labelSelector": {"matchLabels": names.labels(workspace_id)},
            "topologyKey": "kubernetes.io/hostname",
        }
        found["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}}
    return found


def _resources(spec: SandboxSpec, options: KubernetesOptions) -> Manifest:
    limits = spec.limits
    return {
        "limits": {
            "cpu": cores(limits.cpu),
            "memory": quantity(limits.memory),
            "ephemeral-storage": quantity(options.ephemeral_bytes),
        },
        "requests": {
            "cpu": cores(min(options.cpu_request, limits.cpu)),
            "memory": quantity(min(options.memory_request, limits.memory)),
            # What it really takes is the image's and the user's business: nothing is set aside.
            "ephemeral-storage": "0",
        },
    }


def _confinement() -> Manifest:
    """What no container of a sandbox may do."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }


def _opencode(names: Names, spec: SandboxSpec, options: KubernetesOptions) -> Manifest:
    return {
        "name": CONTAINER,
        "image": options.image,
        # Not 0.0.0.0, which is nothing in a cluster whose pods have IPv6 addresses only.
        "args": ["opencode", "serve", "--hostname", "$(POD_IP)", "--port", str(OPENCODE_PORT)],
        "workingDir": HOME,
        "env": [
            {"name": "HOME", "value": HOME},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
        ],
        "envFrom": [{"secretRef": {"name": names.sandbox(spec.id)}}],
        "ports": [{"name": "http", "containerPort": OPENCODE_PORT, "protocol": "TCP"}],
        # Its health is told to who knows the password, and a probe's words are for everybody who reads pods.
        "readinessProbe": {"tcpSocket": {"port": OPENCODE_PORT}, "periodSeconds": 2, "timeoutSeconds": 2},
        "resources": _resources(spec, options),
        "securityContext": _confinement(),
        "terminationMessagePolicy": "File",  # not of its log, which may hold secrets
        "volumeMounts": [
            {"name": HOME_VOLUME, "mountPath": HOME},
            {"name": CLAIM, "mountPath": DISK},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "run", "mountPath": "/run"},
        ],
    }
