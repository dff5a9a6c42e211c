"""What the backend ``k8s`` makes of pods that end unasked, stay too long, or are changed by somebody else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from backends.base import BackendRejected, BackendUnavailable
from backends.manifests import GROUP
from daemon.sandboxes.reconciler import compare
from tests.backends.cluster_kind import IMAGE, NAMESPACE, SPACE
from tests.backends.support import WORKSPACE, A, B, detail, run_inside, sees, spec, until

if TYPE_CHECKING:
    from tests.backends.cluster_kind import Kubernetes

pytestmark = pytest.mark.needs("bubblewrap")


async def test_a_pod_that_is_evicted(k8s_kind: Kubernetes) -> None:
    """It becomes a reason within seconds, and the next start makes another pod with the same home."""
    backend = k8s_kind.backend()
    async with backend.serve():
        address = await backend.ensure_running(spec())
        await run_inside(address, "echo kept > ~/kept")
        k8s_kind.cluster.evict(NAMESPACE, f"oc-{A}", "The node was low on resource: ephemeral-storage.")
        await until(lambda: detail(backend), 10)
        assert await detail(backend) == "the cluster evicted its pod: The node was low on resource: ephemeral-storage."
        assert await backend.address(A) is None
        again = await backend.ensure_running(spec())
        assert await run_inside(again, "cat ~/kept") == "kept\n"


async def test_a_pod_that_needs_too_much_memory(k8s_kind: Kubernetes) -> None:
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        k8s_kind.cluster.out_of_memory(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
        assert await detail(backend) == "opencode was ended because the sandbox needs more than its 2Gi of memory"
        await backend.ensure_running(spec())
        assert await detail(backend) == ""


async def test_a_sandbox_that_is_deleted_by_hand(k8s_kind: Kubernetes) -> None:
    """It is gone from the inventory, and a start makes it again with all that belongs to it."""
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        kind_of_sandboxes = f"/apis/{GROUP}/v1beta1/namespaces/{NAMESPACE}/sandboxes/oc-{A}"
        client = k8s_kind.cluster.client()
        await trio.to_thread.run_sync(
            partial(client.call_api, "DELETE", f"{k8s_kind.cluster.url}{kind_of_sandboxes}", headers(client))
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


async def test_a_pod_that_is_deleted_by_hand(k8s_kind: Kubernetes) -> None:
    """The controller makes another one; nobody is sent to the old one meanwhile."""
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        (old,) = k8s_kind.at_work()
        client = k8s_kind.cluster.client()
        path = f"{k8s_kind.cluster.url}/api/v1/namespaces/{NAMESPACE}/pods/oc-{A}"
        await trio.to_thread.run_sync(partial(client.call_api, "DELETE", path, headers(client)))
        client.close()
        assert await backend.address(A) is None, "it is ending"

        async def again() -> bool:
            return await backend.address(A) is not None

        await until(again)
        assert k8s_kind.at_work().isdisjoint({old})


async def test_a_resume_while_the_old_pod_is_still_ending(k8s_kind: Kubernetes) -> None:
    """Lesson: resume right after pause returned the address of the pod that was still terminating."""
    backend, other = k8s_kind.backend(), k8s_kind.backend()
    async with backend.serve(), other.serve():
        await backend.ensure_running(spec(FAKE_STUBBORN="1"))
        (old,) = k8s_kind.at_work()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.pause, A)
            await until(lambda: any("deletionTimestamp" in pod["metadata"] for pod in k8s_kind.pods()))
            address = await other.ensure_running(spec(FAKE_STUBBORN="1"))
            (new,) = k8s_kind.at_work()
            assert new != old
        assert await other.address(A) == address
        assert (await other.inventory())[A].running
        await until(lambda: sees(backend))  # by its news, too, which may be a moment late


async def test_a_node_that_is_lost(k8s_kind: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pods are not sent anything, and a pause says that they do not end."""
    monkeypatch.setattr("backends.kubeboxes._END_SECONDS", 0.5)
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        k8s_kind.cluster.lose_node()

        async def away() -> bool:
            return await backend.address(A) is None

        await until(away)
        with pytest.raises(BackendUnavailable, match="pod does not end; see how its node is"):
            await backend.pause(A)
        k8s_kind.cluster.find_node()


async def test_who_follows_logs_keeps_nobody_from_a_reason(
    k8s_kind: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person may follow as many as there are places."""
    monkeypatch.setattr("backends.kubelogs._READERS", 1)
    monkeypatch.setattr("backends.kubestream.LOOK_SECONDS", 1.0)
    backend = k8s_kind.backend()

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


async def test_what_the_reconciler_makes_of_it(k8s_kind: Kubernetes) -> None:
    """A row that says running, and a pod that has ended: dead, with the reason."""
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        k8s_kind.cluster.evict(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
        row = type("Row", (), {"id": A, "status": "running"})()
        plan = compare([row], await backend.inventory())
        assert [reason for _, reason in plan.dead] == [
            "the cluster evicted its pod: The node was low on resource: memory."
        ]


async def test_nothing_that_is_secret_is_written_where_everybody_reads(k8s_kind: Kubernetes) -> None:
    """Values of the environment are in Secrets only; neither in Sandboxes, pods, events, nor in what the API logs."""
    backend = k8s_kind.backend()
    asked = spec(SOME_TOKEN="canary-of-the-token")
    async with backend.serve():
        await backend.ensure_running(asked)
        kinds = ("pods", "events", "services", "persistentvolumeclaims", "namespaces")
        shown = str(
            [k8s_kind.cluster.objects(plural) for plural in kinds] + k8s_kind.sandboxes() + k8s_kind.cluster.world.asked
        )
        for value in ("canary-of-the-token", asked.password, asked.env["ANTHROPIC_API_KEY"]):
            assert value not in shown
        assert k8s_kind.cluster.world.warnings == [], "the cluster knows all that it is told"
        assert IMAGE in shown
        assert SPACE in str(k8s_kind.cluster.objects("networkpolicies", group="networking.k8s.io"))
