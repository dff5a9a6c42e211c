"""The backend ``k8s`` on a cluster that is away, slow, overloaded, forgetful, or says no; and on pods that end unasked.

Every call then says that the backend is unavailable, or why it can never succeed; nothing is left that the inventory
does not show, which the end of each test checks; and everything works as soon as the cluster does.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from backends.base import BackendRejected, BackendUnavailable, Observed, SandboxGone
from backends.manifests import GROUP
from daemon.sandboxes.reconciler import compare
from tests.backends.cluster_kind import IMAGE, SPACE, Kubernetes
from tests.backends.support import WORKSPACE, read, run_inside, spec, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from backends.base import Backend
    from tests.standins.kubernetes.faults import Asked

pytestmark = pytest.mark.needs("bubblewrap")
A, B = "a" * 16, "b" * 16
NAMESPACE: Final = f"cli-server-{WORKSPACE}"

# All calls of the protocol that ask the cluster something, when A runs.
CALLS: Final[dict[str, Callable[[Backend], Awaitable[Any]]]] = {
    "check": lambda backend: backend.check(),
    "repeat": lambda backend: backend.ensure_running(spec()),
    "start": lambda backend: backend.ensure_running(spec(B)),
    "start anew": lambda backend: backend.ensure_running(spec(MORE="1")),
    "inventory": lambda backend: backend.inventory(),
    "address": lambda backend: backend.address(A),
    "port_address": lambda backend: backend.port_address(A, 5000),
    "ports": lambda backend: backend.ports(A),
    "logs": lambda backend: read(backend, A),
    "disk_bytes": lambda backend: backend.disk_bytes(WORKSPACE),
    "pause": lambda backend: backend.pause(A),
    "destroy_workspace": lambda backend: backend.destroy_workspace(WORKSPACE),
    "destroy": lambda backend: backend.destroy(A, WORKSPACE),
}


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Kubernetes]:
    made = Kubernetes(tmp_path)
    yield made
    await made.clean_up()


async def works(backend: Backend) -> None:
    """Everything, with what is there."""
    for call in CALLS.values():
        if call is CALLS["destroy_workspace"]:
            with pytest.raises(BackendUnavailable, match="still runs"):
                await call(backend)
        else:
            await call(backend)
    assert await backend.inventory() == {B: Observed(B, WORKSPACE, running=True)}


async def refused(backend: Backend, **env: str) -> str:
    """The words of a start that can never succeed; they come within seconds."""
    with trio.fail_after(15), pytest.raises(BackendRejected) as caught:
        await backend.ensure_running(spec(**env))
    return str(caught.value)


async def detail(backend: Backend) -> str:
    """Why A does not run, by the inventory."""
    seen = (await backend.inventory())[A]
    return "" if seen.running else seen.detail


# The API


@pytest.mark.parametrize("code", [409, 429, 500, 503, 504])
async def test_an_api_that_fails_every_request(kind: Kubernetes, code: int) -> None:
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        working = kind.at_work()
        kind.cluster.faults.fail(code, retry_after=0)
        for name, call in CALLS.items():
            with pytest.raises(BackendUnavailable) as caught:
                await call(backend)
            assert str(caught.value), name
        assert kind.at_work() == working
        kind.cluster.faults.clear()
        await works(backend)


@pytest.mark.parametrize(("code", "every"), [(409, 3), (429, 4), (500, 9)])
async def test_an_api_that_fails_now_and_then(kind: Kubernetes, code: int, every: int) -> None:
    """What the daemon repeats ends well; a request that was too much is repeated at once.

    Not each third one with 429: some calls ask three times, of which the last, in the pod, is not repeated.
    """
    backend = kind.backend()
    changes = ("create", "update", "delete")
    asked = changes if code == 409 else (*changes, "get", "list", "watch")
    kind.cluster.faults.fail(code, every=every, retry_after=0, when=lambda one: one.verb in asked)
    async with backend.serve():
        for name, call in CALLS.items():
            with trio.fail_after(60):
                while True:
                    try:
                        await call(backend)
                    except BackendUnavailable as error:
                        if name == "destroy_workspace" and "still runs" in str(error):
                            break
                        if code == 429 and name not in ("logs", "ports", "port_address", "disk_bytes"):
                            raise  # it was not done, and should have been asked for again
                    except SandboxGone:  # no pod, and no output
                        break
                    else:
                        break
        kind.cluster.faults.clear()
        assert await backend.inventory() == {B: Observed(B, WORKSPACE, running=True)}


async def test_an_api_that_is_away(kind: Kubernetes) -> None:
    """It is away when the daemon starts, comes, goes in the middle, and comes again."""
    kind.cluster.away()
    backend = kind.backend()
    async with backend.serve():
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match=r"cluster cannot be reached \(Connection refused\)"):
                await call(backend)
        kind.cluster.back()
        await backend.ensure_running(spec())
        kind.cluster.away()
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="cluster"):
                await call(backend)
        kind.cluster.back()
        await works(backend)


async def test_an_api_that_is_slow(kind: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow is not away; and what never answers has its end."""
    backend = kind.backend()
    kind.cluster.faults.delay = 0.1
    async with backend.serve():
        await backend.ensure_running(spec())
        monkeypatch.setattr("backends.kubecluster.LOOK_SECONDS", 0.3)
        monkeypatch.setattr("backends.kubecluster.CHANGE_SECONDS", 0.3)
        monkeypatch.setattr("backends.kubestream.LOOK_SECONDS", 0.3)
        kind.cluster.faults.delay = 5
        for name in ("check", "inventory", "address", "ports", "pause", "destroy"):
            with trio.fail_after(10), pytest.raises(BackendUnavailable, match="not answer"):
                await CALLS[name](backend)
        kind.cluster.faults.delay = 0
        monkeypatch.undo()
        assert (await backend.inventory())[A].running


@pytest.mark.parametrize("code", [0, 504])
async def test_an_answer_that_is_lost(kind: Kubernetes, code: int) -> None:
    """The cluster did what it was asked, and nobody learned of it: asking again is no conflict with oneself."""
    backend = kind.backend()
    resources = (
        ("create", "namespaces"), ("create", "rolebindings"), ("create", "networkpolicies"),
        ("create", "persistentvolumeclaims"), ("create", "secrets"), ("create", "sandboxes"), ("update", "sandboxes"),
        ("delete", "sandboxes"), ("delete", "namespaces"),
    )  # fmt: skip
    async with backend.serve():
        for verb, resource in resources:
            lost: list[Asked] = []

            def once(asked: Asked, verb: str = verb, resource: str = resource, lost: list[Asked] = lost) -> bool:
                hit = not lost and (asked.verb, asked.resource.partition(".")[0]) == (verb, resource)
                lost.extend([asked] if hit else [])
                return hit

            kind.cluster.faults.lose(code=code, when=once)
            for call in (
                partial(backend.ensure_running, spec()),
                partial(backend.pause, A),
                partial(backend.ensure_running, spec()),
                partial(backend.destroy, A, WORKSPACE),
                partial(backend.destroy_workspace, WORKSPACE),
            ):
                with suppress(BackendUnavailable):
                    await call()
                    continue
                await call()
            assert lost, (verb, resource)
            assert kind.left() == set(), (verb, resource)


async def test_news_that_are_cut_each_second(kind: Kubernetes) -> None:
    kind.cluster.faults.watch_cut = 1.0
    backend = kind.backend()
    async with backend.serve():
        await works_through(kind, backend)


@pytest.mark.parametrize("form", ["event", "status"])
async def test_news_that_the_cluster_has_forgotten(kind: Kubernetes, form: str) -> None:
    """410: everything is listed anew."""
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind.cluster.faults.watch_gone = form
        kind.cluster.compact()
        kind.cluster.evict(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
        kind.cluster.faults.watch_gone = None
        await backend.destroy(A, WORKSPACE)
        await works_through(kind, backend)


async def works_through(kind: Kubernetes, backend: Backend) -> None:
    """What happens is seen within seconds, again and again."""
    for _ in range(2):
        await backend.ensure_running(spec())
        assert (await backend.inventory())[A].running
        kind.cluster.evict(NAMESPACE, f"oc-{A}")
        with trio.fail_after(5):
            await until(lambda: detail(backend))
    await backend.destroy(A, WORKSPACE)
    assert await backend.inventory() == {}


async def test_an_inventory_is_refused_while_there_are_no_news(
    kind: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that may be old is no list: somebody would act on it."""
    monkeypatch.setattr("backends.kubewatch._FRESH_SECONDS", 0.3)
    backend = kind.backend()
    kind.cluster.faults.watch_cut = 0.6
    async with backend.serve():
        await backend.ensure_running(spec())
        await until(lambda: sees(backend))
        kind.cluster.faults.fail(500, when=lambda asked: asked.verb == "watch")

        async def blind() -> bool:
            with suppress(BackendUnavailable):
                await backend.inventory()
                return False
            return True

        await until(blind)
        kind.cluster.faults.clear()
        await until(lambda: sees(backend))


async def sees(backend: Backend) -> bool:
    """Whether there is an inventory."""
    try:
        return (await backend.inventory())[A].running
    except BackendUnavailable:
        return False


async def test_somebody_else_changes_the_same_object(kind: Kubernetes) -> None:
    """A conflict is looked at again, and not given up."""
    backend = kind.backend()
    left = [2]

    def twice(asked: Asked) -> bool:
        hit = asked.verb == "update" and asked.resource.startswith("sandboxes") and left[0] > 0
        left[0] -= hit
        return hit

    async with backend.serve():
        await backend.ensure_running(spec())
        kind.cluster.faults.fail(409, when=twice)
        await backend.pause(A)
        assert left == [0]
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=False)}


# What the cluster does not want


async def test_a_namespace_that_is_not_ours(kind: Kubernetes) -> None:
    """Whatever its name: nothing is made in it, and it is not removed."""
    kind.cluster.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    backend = kind.backend()
    async with backend.serve():
        assert f"a namespace {NAMESPACE} is there and is not of this installation" in await refused(backend)
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
        assert await backend.inventory() == {}
    assert kind.cluster.object("namespaces", "", NAMESPACE) is not None
    assert kind.cluster.objects("persistentvolumeclaims") == []


async def test_two_installations_do_not_see_each_other(kind: Kubernetes) -> None:
    ours, theirs = kind.backend(), kind.backend(installation="other")
    async with ours.serve(), theirs.serve():
        await ours.ensure_running(spec())
        assert "not of this installation" in await refused(theirs)
        assert await theirs.inventory() == {}
        assert await theirs.address(A) is None
        await theirs.pause(A)
        await theirs.destroy(A, WORKSPACE)
        await theirs.destroy_workspace(WORKSPACE)
        assert (await ours.inventory())[A].running


async def test_a_quota_that_is_used_up(kind: Kubernetes) -> None:
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind.cluster.add(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "small", "namespace": NAMESPACE},
                "spec": {"hard": {"pods": "1"}},
            }
        )
        with trio.fail_after(15), pytest.raises(BackendRejected, match=r"quota, and it is used up.*pods=1"):
            await backend.ensure_running(spec(B))
        assert not (await backend.inventory())[B].running


@pytest.mark.parametrize("plural", ["pods", "sandboxes", "secrets", "namespaces"])
async def test_a_rule_of_the_cluster_that_refuses(kind: Kubernetes, plural: str) -> None:
    """Also where it is the controller whom it refuses."""
    kind.cluster.faults.denied[plural] = "images of this registry are not allowed"
    backend = kind.backend()
    async with backend.serve():
        assert "a rule of the cluster refuses it" in (said := await refused(backend))
        assert "images of this registry are not allowed" in said


@pytest.mark.parametrize("resource", ["namespaces", "secrets", "sandboxes"])
async def test_rights_that_are_missing(kind: Kubernetes, resource: str) -> None:
    whole = f"sandboxes.{GROUP}" if resource == "sandboxes" else resource
    kind.cluster.faults.forbidden.update({("create", resource), ("create", whole)})
    backend = kind.backend()
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


async def test_no_storage_for_several_nodes(tmp_path: Path) -> None:
    """It says so at once, and not after five minutes; and what to do instead works."""
    kind = Kubernetes(tmp_path, bare=True)
    kind.cluster.storage_class("local", shared=False)
    backend = kind.backend()
    async with backend.serve():
        said = await refused(backend)
        assert "does not make a workspace's disk with access mode ReadWriteMany" in said
        assert "K8S_STORAGE_CLASS" in said
        assert "K8S_DISK_ACCESS_MODE" in said
        await backend.destroy(A, WORKSPACE)
        await backend.destroy_workspace(WORKSPACE)
    alone = kind.backend(access_mode="ReadWriteOnce")
    async with alone.serve():
        await alone.ensure_running(spec())
    await kind.clean_up()


async def test_a_provisioner_that_is_known_for_one_node(tmp_path: Path) -> None:
    """Nothing has to be tried then."""
    kind = Kubernetes(tmp_path, bare=True)
    about = {"name": "disk", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    kind.cluster.add(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": about,
            "provisioner": "ebs.csi.aws.com",
        }
    )
    backend = kind.backend()
    async with backend.serve():
        with pytest.raises(BackendRejected, match=r"ReadWriteMany.*ebs\.csi\.aws\.com"):
            await backend.check()
        assert "ebs.csi.aws.com" in await refused(backend)
    await kind.clean_up()


async def test_no_storage_at_all(tmp_path: Path) -> None:
    kind = Kubernetes(tmp_path, bare=True)
    for wanted, words in ((None, "no default storage class"), ("fast", "no storage class fast")):
        backend = kind.backend(storage_class=wanted)
        async with backend.serve():
            with pytest.raises(BackendRejected, match=words):
                await backend.check()
            assert words in await refused(backend)
    await kind.clean_up()


async def test_a_runtime_class_that_is_not_there(kind: Kubernetes) -> None:
    backend = kind.backend(runtime="gvisor")
    async with backend.serve():
        with pytest.raises(BackendRejected, match="no runtime class gvisor"):
            await backend.check()
        assert "no runtime class gvisor (AGENT_RUNTIME)" in await refused(backend)
        kind.cluster.runtime_class("gvisor")
        await backend.check()
        await backend.ensure_running(spec())
        assert kind.pods()[0]["spec"]["runtimeClassName"] == "gvisor"


async def test_an_image_that_is_not_there(kind: Kubernetes) -> None:
    backend = kind.backend(image="registry.example/none:1")
    async with backend.serve():
        said = await refused(backend)
        assert "its image cannot be fetched; correct AGENT_IMAGE" in said
        assert "registry.example/none:1" in said
        assert kind.at_work() == set()
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=False)}


async def test_no_node_takes_it(kind: Kubernetes) -> None:
    """For some time one may become free; then a person should know, and nothing comes up behind their back."""
    kind.cluster.unschedulable()
    backend = kind.backend(patience=1)
    async with backend.serve():
        said = await refused(backend)
        assert said == "no node of the cluster takes it: 0/1 nodes are available: 1 Insufficient memory."
        assert (kind.pods(), (await backend.inventory())[A].running) == ([], False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kind.backend(patience=30).ensure_running, spec())
            await until(kind.pods)
            kind.cluster.unschedulable("")
        await until(lambda: sees(backend))


# Pods that end unasked


async def test_a_pod_that_is_evicted(kind: Kubernetes) -> None:
    """It becomes a reason within seconds, and the next start makes another pod with the same home."""
    backend = kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        await run_inside(address, "echo kept > ~/kept")
        kind.cluster.evict(NAMESPACE, f"oc-{A}", "The node was low on resource: ephemeral-storage.")
        with trio.fail_after(5):
            await until(lambda: detail(backend))
        assert await detail(backend) == "the cluster evicted its pod: The node was low on resource: ephemeral-storage."
        assert await backend.address(A) is None
        again = await backend.ensure_running(spec())
        assert await run_inside(again, "cat ~/kept") == "kept\n"


async def test_a_pod_that_needs_too_much_memory(kind: Kubernetes) -> None:
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind.cluster.out_of_memory(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
        assert await detail(backend) == "opencode was ended because the sandbox needs more than its 2Gi of memory"
        await backend.ensure_running(spec())
        assert await detail(backend) == ""


async def test_a_sandbox_that_is_deleted_by_hand(kind: Kubernetes) -> None:
    """It is gone from the inventory, and a start makes it again with all that belongs to it."""
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind_of_sandboxes = f"/apis/{GROUP}/v1beta1/namespaces/{NAMESPACE}/sandboxes/oc-{A}"
        client = kind.cluster.client()
        await trio.to_thread.run_sync(
            partial(client.call_api, "DELETE", f"{kind.cluster.url}{kind_of_sandboxes}", headers(client))
        )
        client.close()

        async def gone() -> bool:
            return await backend.inventory() == {}

        await until(gone)
        assert await backend.address(A) is None
        address = await backend.ensure_running(spec())
        assert await run_inside(address, "echo here") == "here\n"


def headers(client: Any) -> dict[str, str]:
    """Who we are."""
    return {"Authorization": client.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")}


async def test_a_pod_that_is_deleted_by_hand(kind: Kubernetes) -> None:
    """The controller makes another one; nobody is sent to the old one meanwhile."""
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        (old,) = kind.at_work()
        client = kind.cluster.client()
        path = f"{kind.cluster.url}/api/v1/namespaces/{NAMESPACE}/pods/oc-{A}"
        await trio.to_thread.run_sync(partial(client.call_api, "DELETE", path, headers(client)))
        client.close()
        assert await backend.address(A) is None, "it is ending"

        async def again() -> bool:
            return await backend.address(A) is not None

        await until(again)
        assert kind.at_work().isdisjoint({old})


async def test_a_resume_while_the_old_pod_is_still_ending(kind: Kubernetes) -> None:
    """Lesson: resume right after pause returned the address of the pod that was still terminating."""
    backend, other = kind.backend(), kind.backend()
    async with backend.serve(), other.serve():
        await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        (old,) = kind.at_work()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.pause, A)
            await until(lambda: any("deletionTimestamp" in pod["metadata"] for pod in kind.pods()))
            address = await other.ensure_running(spec(FAKE_STUBBORN="1"))
            (new,) = kind.at_work()
            assert new != old
        assert await other.address(A) == address
        assert (await other.inventory())[A].running
        assert (await backend.inventory())[A].running, "by its news, too"


async def test_a_node_that_is_lost(kind: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pods are not sent anything, and a pause says that they do not end."""
    monkeypatch.setattr("backends.kubeboxes._END_SECONDS", 0.5)
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind.cluster.lose_node()

        async def away() -> bool:
            return await backend.address(A) is None

        await until(away)
        with pytest.raises(BackendUnavailable, match="pod does not end; see how its node is"):
            await backend.pause(A)
        kind.cluster.find_node()


async def test_who_follows_logs_keeps_nobody_from_a_reason(kind: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One person may follow as many as there are places."""
    monkeypatch.setattr("backends.kubelogs._READERS", 1)
    monkeypatch.setattr("backends.kubestream.LOOK_SECONDS", 1.0)
    backend = kind.backend()

    async def follow(task_status: trio.TaskStatus[None]) -> None:
        async with backend.logs(A, follow=True) as log:
            assert b"here" in await anext(log)
            task_status.started()
            await anext(log)  # it says no more

    async with backend.serve():
        await backend.ensure_running(spec(FAKE_SAY="here"))
        async with trio.open_nursery() as nursery:
            await nursery.start(follow)
            with trio.fail_after(30), pytest.raises(BackendRejected, match="status 3: the disk is on fire"):
                await backend.ensure_running(spec(B, FAKE_EXIT="3", FAKE_SAY="the disk is on fire"))
            nursery.cancel_scope.cancel()
        await backend.destroy(B, WORKSPACE)


async def test_what_the_reconciler_makes_of_it(kind: Kubernetes) -> None:
    """A row that says running, and a pod that has ended: dead, with the reason."""
    backend = kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind.cluster.evict(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
        row = type("Row", (), {"id": A, "status": "running"})()
        plan = compare([row], await backend.inventory())
        assert [reason for _, reason in plan.dead] == [
            "the cluster evicted its pod: The node was low on resource: memory."
        ]


async def test_nothing_that_is_secret_is_written_where_everybody_reads(kind: Kubernetes) -> None:
    """Values of the environment are in Secrets only; neither in Sandboxes, pods, events, nor in what the API logs."""
    backend = kind.backend()
    asked = spec(SOME_TOKEN="canary-of-the-token")
    async with backend.serve():
        await backend.ensure_running(asked)
        kinds = ("pods", "events", "services", "persistentvolumeclaims", "namespaces")
        shown = str([kind.cluster.objects(plural) for plural in kinds] + kind.sandboxes() + kind.cluster.world.asked)
        for value in ("canary-of-the-token", asked.password, asked.env["ANTHROPIC_API_KEY"]):
            assert value not in shown
        assert kind.cluster.world.warnings == [], "the cluster knows all that it is told"
        assert IMAGE in shown
        assert SPACE in str(kind.cluster.objects("networkpolicies", group="networking.k8s.io"))
