"""The namespaces of workspaces in a cluster, and what is once in each: rights, network policy, disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from backends import manifests
from backends.base import BackendRejected, BackendUnavailable, SandboxGone
from backends.kubeanswers import Conflict, Forbidden
from backends.kubecluster import BINDINGS, CLAIMS, NAMESPACES, POLICIES, RUNTIME_CLASSES, STORAGE_CLASSES
from backends.kubereasons import no_access
from backends.kubeview import terminating
from backends.manifests import BINDING, CLAIM, POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.kubecluster import Cluster, Resource
    from backends.manifests import KubernetesOptions, Names

Manifest = dict[str, Any]

_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
# Of these it is known that one node at a time has a volume of theirs: by their documentation. Of others the cluster
# tells when it tries.
_ONE_NODE: Final = frozenset(
    {
        "cinder.csi.openstack.org",
        "csi.hetzner.cloud",
        "csi.vultr.com",
        "disk.csi.azure.com",
        "dobs.csi.digitalocean.com",
        "ebs.csi.aws.com",
        "k8s.io/minikube-hostpath",
        "kubernetes.io/aws-ebs",
        "kubernetes.io/azure-disk",
        "kubernetes.io/cinder",
        "kubernetes.io/gce-pd",
        "kubernetes.io/no-provisioner",
        "linodebs.csi.linode.com",
        "local.csi.openebs.io",
        "openebs.io/local",
        "pd.csi.storage.gke.io",
        "rancher.io/local-path",
        "topolvm.io",
    }
)
_RIGHTS_SECONDS: Final = 10.0  # until rights that were just given are known to all of the cluster's API servers
_GONE_SECONDS: Final = 90.0  # for a namespace to go, with volumes that are given back; the daemon asks again
_LOOK: Final = 0.25
_TRIES: Final = 5  # of a change that somebody else's came before


class Spaces:
    """Makes, completes and removes namespaces. One that is not this installation's is never touched."""

    def __init__(self, cluster: Cluster, options: KubernetesOptions, names: Names) -> None:
        self._cluster = cluster
        self._options = options
        self._names = names

    async def ensure(self, workspace_id: str) -> str:
        """The workspace's namespace with all that belongs into it; its name."""
        name = self._names.namespace(workspace_id)
        fresh = await self._namespace(workspace_id)
        with trio.move_on_after(_RIGHTS_SECONDS):
            while True:
                try:
                    return await self._complete(workspace_id, name)
                except Forbidden:
                    if not fresh:
                        raise
                await trio.sleep(_LOOK)
        return await self._complete(workspace_id, name)

    async def find(self, workspace_id: str) -> Manifest | None:
        """The workspace's namespace if it is there and ours."""
        found = await self._cluster.find(NAMESPACES.path(name=self._names.namespace(workspace_id)))
        return found if found is not None and self._names.ours(found, workspace=workspace_id) else None

    async def remove(self, workspace_id: str) -> None:
        """Remove the workspace's namespace with everything in it, and wait until it is gone. Absent is success."""
        found = await self.find(workspace_id)
        if found is None:
            return
        path = NAMESPACES.path(name=found["metadata"]["name"])
        if not terminating(found):
            await self._cluster.delete(path, found)
        with trio.move_on_after(_GONE_SECONDS):
            while (left := await self._cluster.find(path)) is not None:
                if left["metadata"]["uid"] != found["metadata"]["uid"]:
                    return
                await trio.sleep(_LOOK)
            return
        raise BackendUnavailable(f"the workspace's namespace {found['metadata']['name']} is still being removed")

    async def require_classes(self) -> None:
        """Raise :class:`BackendRejected` if runtime or storage is not as the settings want it, as far as one sees."""
        if self._options.runtime is not None:
            await self.require_runtime()
        await self._require_storage()

    async def require_runtime(self) -> None:
        """Raise :class:`BackendRejected` if the cluster has no runtime class as wanted."""
        runtime = self._options.runtime
        if runtime is not None and await self._cluster.find(RUNTIME_CLASSES.path(name=runtime)) is None:
            raise BackendRejected(
                f"the cluster has no runtime class {runtime} (AGENT_RUNTIME); make one, or name another"
            )

    async def _namespace(self, workspace_id: str) -> bool:
        """Whether it was made just now."""
        name = self._names.namespace(workspace_id)
        found = await self._cluster.find(NAMESPACES.path(name=name))
        if found is None:
            try:
                await self._cluster.create(NAMESPACES.path(), manifests.namespace(self._names, workspace_id))
            except Conflict:
                found = await self._cluster.look(NAMESPACES.path(name=name))
            else:
                return True
        if not self._names.ours(found, workspace=workspace_id):
            raise BackendRejected(
                f"a namespace {name} is there and is not of this installation; remove or rename it, or choose another "
                "K8S_NAMESPACE_PREFIX"
            )
        if terminating(found):
            raise BackendUnavailable(f"the workspace's former namespace {name} is still being removed")
        return False

    async def _complete(self, workspace_id: str, namespace: str) -> str:
        binding = manifests.role_binding(self._names, workspace_id, self._options)
        if binding is not None and await self._cluster.find(BINDINGS.path(namespace, BINDING)) is None:
            await self._make(BINDINGS, binding)
        await self._policy(manifests.network_policy(self._names, workspace_id, self._options))
        if await self._cluster.find(CLAIMS.path(namespace, CLAIM)) is None:
            await self._require_storage()
            await self._make(CLAIMS, manifests.disk_claim(self._names, workspace_id, self._options))
        return namespace

    async def _make(self, resource: Resource, body: Manifest) -> None:
        try:
            await self._cluster.create(resource.path(body["metadata"]["namespace"]), body)
        except Conflict:  # or the answer to our own request was lost
            if await self._cluster.find(resource.path(body["metadata"]["namespace"], body["metadata"]["name"])) is None:
                raise
        except SandboxGone as error:
            raise BackendUnavailable("the workspace's namespace was removed meanwhile") from error

    async def _policy(self, body: Manifest) -> None:
        """There before the first pod, and as the settings say now."""
        path = POLICIES.path(body["metadata"]["namespace"], POLICY)
        for _ in range(_TRIES):
            found = await self._cluster.find(path)
            if found is None:
                await self._make(POLICIES, body)
                return
            if found.get("spec") == body["spec"]:
                return
            try:
                await self._cluster.replace(path, _with_version(body, found))
            except Conflict:
                continue
            else:
                return
        raise BackendUnavailable("the workspace's network policy is changed by somebody else all the time")

    async def _require_storage(self) -> None:
        wanted, mode = self._options.storage_class, self._options.access_mode
        try:
            classes = (await self._cluster.look(STORAGE_CLASSES.path())).get("items") or []
        except Forbidden:  # then the cluster tells when it tries
            return
        found = next((each for each in classes if _fits(each, wanted)), None)
        if found is None and wanted is not None:
            raise BackendRejected(f"the cluster has no storage class {wanted} (K8S_STORAGE_CLASS)")
        if found is None:
            raise BackendRejected("the cluster has no default storage class; set K8S_STORAGE_CLASS to one that it has")
        if mode == "ReadWriteMany" and found.get("provisioner") in _ONE_NODE:
            raise BackendRejected(no_access(mode, f"{found['metadata']['name']} is of {found['provisioner']}"))


def _fits(storage_class: Mapping[str, Any], wanted: str | None) -> bool:
    about = storage_class["metadata"]
    if wanted is not None:
        return bool(about["name"] == wanted)
    return bool((about.get("annotations") or {}).get(_DEFAULT) == "true")


def _with_version(body: Manifest, found: Manifest) -> Manifest:
    version = found["metadata"]["resourceVersion"]
    return {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
