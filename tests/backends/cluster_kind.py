"""The backend ``k8s`` before the stand-in for a cluster, with the rights that it has in a real one and no others."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from backends.containers import LABEL_SANDBOX, LABEL_WORKSPACE
from backends.kubernetes import KubernetesBackend
from backends.manifests import GROUP, KubernetesOptions
from daemon.ids import new_id
from tests.backends.support import WORKSPACE, fake_program
from tests.standins.kubernetes import Cluster, Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]
IMAGE: Final = "registry.example/sandbox:1"
SERVER: Final = {"app.kubernetes.io/name": "cli-server", "app.kubernetes.io/instance": "x"}
SPACE, ACCOUNT, ROLE = "agents", "cli-server", "cli-server-workspace"
NAMESPACE: Final = f"cli-server-{WORKSPACE}"
_RBAC: Final = "rbac.authorization.k8s.io"
_SEE: Final = ["get", "list", "watch"]
_ASK: Final = ("get", "list")
_CHANGE: Final = ("create", "update", "delete")
# What the server may do everywhere, and what in workspaces' namespaces only.
SERVER_RULES: Final[list[Json]] = [
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "create", "delete"]},
    {"apiGroups": [_RBAC], "resources": ["rolebindings"], "verbs": ["get", "create"]},
    {"apiGroups": [_RBAC], "resources": ["clusterroles"], "resourceNames": [ROLE], "verbs": ["bind"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["list"]},
    {"apiGroups": ["node.k8s.io"], "resources": ["runtimeclasses"], "verbs": ["get"]},
    {"apiGroups": [GROUP], "resources": ["sandboxes"], "verbs": _SEE},
    {"apiGroups": [""], "resources": ["pods"], "verbs": _SEE},
]
WORKSPACE_RULES: Final[list[Json]] = [
    {"apiGroups": [GROUP], "resources": ["sandboxes"], "verbs": ["get", "list", "create", "update", "delete"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "update", "delete"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "create", "delete"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "create", "update"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
]
# What a real image does: a new volume is empty.
_ENTRYPOINT: Final = """#!/bin/sh
[ -L "$HOME/disk0" ] || ln -s /data/disk0 "$HOME/disk0"
exec "$@"
"""


class Names(trio.abc.HostnameResolver):
    """Knows the names of a cluster's services, as its DNS does for pods."""

    def __init__(self, hosts: Path) -> None:
        self._hosts = hosts

    async def getaddrinfo(
        self, host: bytes | None, port: bytes | str | int | None, family: int = 0, type: int = 0, proto: int = 0,
        flags: int = 0,
    ) -> Any:  # fmt: skip
        name = host.decode() if host else ""
        if name.endswith(".cluster.local"):
            lines = (line.split() for line in self._hosts.read_text().splitlines())
            found = [words[0] for words in lines if name in words[1:]]
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = found[0].encode()
        return await trio.to_thread.run_sync(socket.getaddrinfo, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags)


@dataclass
class Kubernetes:
    """The backend ``k8s``; ``k8s-v1alpha1`` is a cluster that serves the older version only.

    ``k8s-bad-day`` is slow, has too much to do for each seventh change, cuts each 23rd answer to a question, and ends
    all news every second: what a backend copes with by itself, so that whoever calls it notices nothing. More often,
    and starts beside each other would meet the same three times in a row, which is more than it copes with.
    """

    folder: Path
    name: str = "k8s"
    limits_enforced: bool = True
    keeps_at_rest: bool = False
    installation: str = field(default_factory=new_id)
    bare: bool = False  # without a storage class
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        release = "v0.1.1" if self.name == "k8s-v1alpha1" else "v0.5.6"
        self.cluster = self.stack.enter_context(Cluster(self.folder / "cluster", release=release))
        entrypoint = self.folder / "entrypoint.sh"
        entrypoint.write_text(_ENTRYPOINT)
        entrypoint.chmod(0o755)
        program = Image.of(fake_program(self.folder), "opencode")
        binds = (*program.binds, (str(entrypoint), "/opt/entrypoint.sh"))
        self.cluster.image(IMAGE, Image(("/opt/entrypoint.sh",), program.cmd, binds))
        if not self.bare:
            self.cluster.storage_class("shared")
        self.cluster.allow_from(roles())
        if self.name == "k8s-bad-day":
            faults = self.cluster.faults
            faults.delay, faults.watch_cut = 0.02, 1.0
            faults.fail(429, every=7, retry_after=0, when=lambda one: one.verb in _CHANGE and "/" not in one.resource)
            faults.lose(code=0, every=23, when=lambda one: one.verb in _ASK and "/" not in one.resource)
        self.kubeconfig = self.cluster.account(SPACE, ACCOUNT)
        trio.socket.set_custom_hostname_resolver(Names(self.cluster.hosts))

    def backend(
        self, *, start_timeout: float = 30, patience: float = 2, installation: str | None = None, **options: Any
    ) -> KubernetesBackend:
        settings = {
            "image": IMAGE, "server_namespace": SPACE, "server_labels": SERVER, "server_port": 8080,
            "kubeconfig": self.kubeconfig, "service_account": ACCOUNT, "workspace_role": ROLE,
            "grace_seconds": 1, **options,
        }  # fmt: skip
        return KubernetesBackend(
            KubernetesOptions(**settings),
            installation or self.installation,
            start_timeout=start_timeout,
            patience=patience,
        )

    def sandboxes(self) -> list[Json]:
        """All Sandbox objects, as they are stored."""
        return self.cluster.objects("sandboxes", group=GROUP)

    def sandbox(self, sandbox_id: str) -> Json:
        """The one of a sandbox."""
        (found,) = (each for each in self.sandboxes() if each["metadata"]["name"] == f"oc-{sandbox_id}")
        return found

    def pods(self) -> list[Json]:
        """All pods."""
        return self.cluster.objects("pods")

    def homes(self) -> set[str]:
        claims = self._labels("persistentvolumeclaims")
        return {labels[LABEL_SANDBOX] for labels in claims if LABEL_SANDBOX in labels}

    def disks(self) -> set[str]:
        claims = self._labels("persistentvolumeclaims")
        return {labels[LABEL_WORKSPACE] for labels in claims if LABEL_SANDBOX not in labels}

    def at_work(self) -> set[str]:
        return {str(pod["metadata"]["uid"]) for pod in self.pods() if pod["status"]["phase"] == "Running"}

    def left(self) -> set[str]:
        """Whatever is there of this installation."""
        plurals = ("namespaces", "persistentvolumeclaims", "secrets", "pods", "services")
        kept = {f"{plural} {one['metadata']['name']}" for plural in plurals for one in self._ours(plural)}
        return kept | {f"sandboxes {one['metadata']['name']}" for one in self.sandboxes()}

    async def clean_up(self) -> None:
        """By the backend; the cluster goes with the test."""
        try:
            self.cluster.faults.clear()
            backend = self.backend()
            async with backend.serve():
                shown = await backend.inventory()
                for sandbox_id, seen in shown.items():
                    await backend.destroy(sandbox_id, seen.workspace_id)
                for labels in self._labels("namespaces"):
                    await backend.destroy_workspace(labels[LABEL_WORKSPACE])
            assert not self.left(), "the backend does not show or not remove this"
        finally:
            self.stack.close()

    def _ours(self, plural: str) -> Iterator[Json]:
        for found in self.cluster.objects(plural):
            if (found["metadata"].get("labels") or {}).get("cli-server.installation") == self.installation:
                yield found

    def _labels(self, plural: str) -> list[dict[str, str]]:
        return [found["metadata"]["labels"] for found in self._ours(plural)]


def roles() -> list[Json]:
    """The server's rights."""
    api = {"apiVersion": f"{_RBAC}/v1"}
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SPACE}
    return [
        {**api, "kind": "ClusterRole", "metadata": {"name": "cli-server"}, "rules": SERVER_RULES},
        {**api, "kind": "ClusterRole", "metadata": {"name": ROLE}, "rules": WORKSPACE_RULES},
        {
            **api, "kind": "ClusterRoleBinding", "metadata": {"name": "cli-server"}, "subjects": [account],
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cli-server"},
        },
    ]  # fmt: skip
