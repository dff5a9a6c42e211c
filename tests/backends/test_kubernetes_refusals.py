"""The backend ``k8s`` on a cluster that says no, or lacks something: each start then says what, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from backends.base import BackendRejected, Observed
from backends.manifests import GROUP
from tests.backends.cluster_kind import NAMESPACE, Kubernetes
from tests.backends.support import WORKSPACE, A, B, refused, sees, spec, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.needs("bubblewrap")


@pytest.fixture
async def bare_kind(tmp_path: Path) -> AsyncIterator[Kubernetes]:
    """In a cluster without a storage class."""
    made = Kubernetes(tmp_path, bare=True)
    yield made
    await made.clean_up()


# What the cluster does not want


async def test_a_namespace_that_is_not_ours(k8s_kind: Kubernetes) -> None:
    """Whatever its name: nothing is made in it, and it is not removed."""
    k8s_kind.cluster.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    backend = k8s_kind.backend()
    async with backend.serve():
        assert f"a namespace {NAMESPACE} is there and is not of this installation" in await refused(backend)
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
        assert await backend.inventory() == {}
    assert k8s_kind.cluster.object("namespaces", "", NAMESPACE) is not None
    assert k8s_kind.cluster.objects("persistentvolumeclaims") == []


async def test_two_installations_do_not_see_each_other(k8s_kind: Kubernetes) -> None:
    ours, theirs = k8s_kind.backend(), k8s_kind.backend(installation="other")
    async with ours.serve(), theirs.serve():
        await ours.ensure_running(spec())
        assert "not of this installation" in await refused(theirs)
        assert await theirs.inventory() == {}
        assert await theirs.address(A) is None
        await theirs.pause(A)
        await theirs.destroy(A, WORKSPACE)
        await theirs.destroy_workspace(WORKSPACE)
        assert (await ours.inventory())[A].running


async def test_a_quota_that_is_used_up(k8s_kind: Kubernetes) -> None:
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        k8s_kind.cluster.add(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "small", "namespace": NAMESPACE},
                "spec": {"hard": {"pods": "1"}},
            }
        )
        with trio.fail_after(30), pytest.raises(BackendRejected, match=r"quota, and it is used up.*pods=1"):
            await backend.ensure_running(spec(B))
        assert not (await backend.inventory())[B].running


@pytest.mark.parametrize("plural", ["pods", "sandboxes", "secrets", "namespaces"])
async def test_a_rule_of_the_cluster_that_refuses(k8s_kind: Kubernetes, plural: str) -> None:
    """Also where it is the controller whom it refuses."""
    k8s_kind.cluster.faults.denied[plural] = "images of this registry are not allowed"
    backend = k8s_kind.backend()
    async with backend.serve():
        assert "a rule of the cluster refuses it" in (said := await refused(backend))
        assert "images of this registry are not allowed" in said


@pytest.mark.parametrize("resource", ["namespaces", "secrets", "sandboxes"])
async def test_rights_that_are_missing(k8s_kind: Kubernetes, resource: str) -> None:
    whole = f"sandboxes.{GROUP}" if resource == "sandboxes" else resource
    k8s_kind.cluster.faults.forbidden.update({("create", resource), ("create", whole)})
    backend = k8s_kind.backend()
    async with backend.serve():
        said = await refused(backend)
    assert "does not allow it" in said
    assert resource in said
    assert "service account" in said


async def test_a_cluster_without_agent_sandbox(tmp_path: Path) -> None:
    from tests.standins.kubernetes import Cluster

    with Cluster(tmp_path / "bare", release="") as cluster:
        kind = Kubernetes(tmp_path)
        try:
            backend = kind.backend(kubeconfig=cluster.kubeconfig)
            async with backend.serve():
                with pytest.raises(BackendRejected, match=r"no Agent Sandbox .* install it"):
                    await backend.check()
                assert "no Agent Sandbox" in await refused(backend)
        finally:
            kind.stack.close()


# Disks, images, nodes


async def test_no_storage_for_several_nodes(bare_kind: Kubernetes) -> None:
    """It says so at once, and not after five minutes; and what to do instead works."""
    bare_kind.cluster.storage_class("local", shared=False)
    backend = bare_kind.backend()
    async with backend.serve():
        said = await refused(backend)
        assert "does not make a workspace's disk with access mode ReadWriteMany" in said
        assert "K8S_STORAGE_CLASS" in said
        assert "K8S_DISK_ACCESS_MODE" in said
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
    alone = bare_kind.backend(access_mode="ReadWriteOnce")
    async with alone.serve():
        await alone.ensure_running(spec())


async def test_a_provisioner_that_is_known_for_one_node(bare_kind: Kubernetes) -> None:
    """Nothing has to be tried then."""
    about = {"name": "disk", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    bare_kind.cluster.add(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": about,
            "provisioner": "ebs.csi.aws.com",
        }
    )
    backend = bare_kind.backend()
    async with backend.serve():
        with pytest.raises(BackendRejected, match=r"ReadWriteMany.*ebs\.csi\.aws\.com"):
            await backend.check()
        assert "ebs.csi.aws.com" in await refused(backend)


async def test_no_storage_at_all(bare_kind: Kubernetes) -> None:
    for wanted, words in ((None, "no default storage class"), ("fast", "no storage class fast")):
        backend = bare_kind.backend(storage_class=wanted)
        async with backend.serve():
            with pytest.raises(BackendRejected, match=words):
                await backend.check()
            assert words in await refused(backend)


async def test_a_runtime_class_that_is_not_there(k8s_kind: Kubernetes) -> None:
    backend = k8s_kind.backend(runtime="gvisor")
    async with backend.serve():
        with pytest.raises(BackendRejected, match="no runtime class gvisor"):
            await backend.check()
        assert "no runtime class gvisor (AGENT_RUNTIME)" in await refused(backend)
        k8s_kind.cluster.runtime_class("gvisor")
        await backend.check()
        await backend.ensure_running(spec())
        assert k8s_kind.pods()[0]["spec"]["runtimeClassName"] == "gvisor"


async def test_an_image_that_is_not_there(k8s_kind: Kubernetes) -> None:
    backend = k8s_kind.backend(image="registry.example/none:1")
    async with backend.serve():
        said = await refused(backend)
        assert "its image cannot be fetched; correct AGENT_IMAGE" in said
        assert "registry.example/none:1" in said
        assert k8s_kind.at_work() == set()
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=False)}


async def test_no_node_takes_it(k8s_kind: Kubernetes) -> None:
    """For some time one may become free; then a person should know, and nothing comes up behind their back."""
    k8s_kind.cluster.unschedulable()
    backend = k8s_kind.backend(patience=1)
    async with backend.serve():
        said = await refused(backend)
        assert said == "no node of the cluster takes it: 0/1 nodes are available: 1 Insufficient memory."
        assert (k8s_kind.pods(), (await backend.inventory())[A].running) == ([], False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(k8s_kind.backend(patience=30).ensure_running, spec())
            await until(k8s_kind.pods)
            k8s_kind.cluster.unschedulable("")
        await until(lambda: sees(backend))
