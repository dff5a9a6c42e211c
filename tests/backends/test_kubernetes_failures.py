"""The backend ``k8s`` on a cluster whose API is away, slow, overloaded, forgetful, or loses answers.

Every call then says that the backend is unavailable; nothing is left that the inventory does not show, which the end of
each test checks; and everything works as soon as the cluster does.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from backends.base import BackendUnavailable, Observed, SandboxGone
from tests.backends.cluster_kind import NAMESPACE
from tests.backends.support import CALLS, WORKSPACE, A, B, detail, sees, spec, until, works

if TYPE_CHECKING:
    from backends.base import Backend
    from tests.backends.cluster_kind import Kubernetes
    from tests.standins.kubernetes.faults import Asked

pytestmark = pytest.mark.needs("bubblewrap")


@pytest.mark.parametrize("code", [409, 429, 500, 503, 504])
async def test_an_api_that_fails_every_request(k8s_kind: Kubernetes, code: int) -> None:
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        working = k8s_kind.at_work()
        k8s_kind.cluster.faults.fail(code, retry_after=0)
        for name, call in CALLS.items():
            with pytest.raises(BackendUnavailable) as caught:
                await call(backend)
            assert str(caught.value), name
        assert k8s_kind.at_work() == working
        k8s_kind.cluster.faults.clear()
        await works(backend)


@pytest.mark.parametrize(("code", "every"), [(409, 3), (429, 5), (500, 9)])
async def test_an_api_that_fails_now_and_then(k8s_kind: Kubernetes, code: int, every: int) -> None:
    """What the daemon repeats ends well; a request that was too much is repeated at once.

    Not each third or fourth one with 429: some calls ask so often, of which the last, in the pod, is not repeated. It
    could be the one that fails, again and again.
    """
    backend = k8s_kind.backend()
    changes = ("create", "update", "delete")
    asked = changes if code == 409 else (*changes, "get", "list", "watch")
    k8s_kind.cluster.faults.fail(code, every=every, retry_after=0, when=lambda one: one.verb in asked)
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
        k8s_kind.cluster.faults.clear()
        assert await backend.inventory() == {B: Observed(B, WORKSPACE, running=True)}


async def test_an_api_that_is_away(k8s_kind: Kubernetes) -> None:
    """It is away when the daemon starts, comes, goes in the middle, and comes again."""
    k8s_kind.cluster.away()
    backend = k8s_kind.backend()
    async with backend.serve():
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match=r"cluster cannot be reached \(Connection refused\)"):
                await call(backend)
        k8s_kind.cluster.back()
        await backend.ensure_running(spec())
        k8s_kind.cluster.away()
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="cluster"):
                await call(backend)
        k8s_kind.cluster.back()
        await until(lambda: sees(backend))  # news are asked for again after a pause, the longer the longer it was away
        await works(backend)


async def test_an_api_that_is_slow(k8s_kind: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow is not away; and what never answers has its end."""
    backend = k8s_kind.backend()
    k8s_kind.cluster.faults.delay = 0.1
    async with backend.serve():
        await backend.ensure_running(spec())
        monkeypatch.setattr("backends.kubecluster.LOOK_SECONDS", 0.3)
        monkeypatch.setattr("backends.kubecluster.CHANGE_SECONDS", 0.3)
        monkeypatch.setattr("backends.kubestream.LOOK_SECONDS", 0.3)
        k8s_kind.cluster.faults.delay = 5
        for name in ("check", "inventory", "address", "ports", "pause", "destroy"):
            with trio.fail_after(30), pytest.raises(BackendUnavailable, match="not answer"):
                await CALLS[name](backend)
        k8s_kind.cluster.faults.delay = 0
        monkeypatch.undo()
        assert (await backend.inventory())[A].running


@pytest.mark.parametrize("code", [0, 504])
async def test_an_answer_that_is_lost(k8s_kind: Kubernetes, code: int) -> None:
    """The cluster did what it was asked, and nobody learned of it: asking again is no conflict with oneself."""
    backend = k8s_kind.backend()
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

            k8s_kind.cluster.faults.lose(code=code, when=once)
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
            assert k8s_kind.left() == set(), (verb, resource)


async def test_news_that_are_cut_each_second(k8s_kind: Kubernetes) -> None:
    k8s_kind.cluster.faults.watch_cut = 1.0
    backend = k8s_kind.backend()
    async with backend.serve():
        await works_through(k8s_kind, backend)


@pytest.mark.parametrize("form", ["event", "status"])
async def test_news_that_the_cluster_has_forgotten(k8s_kind: Kubernetes, form: str) -> None:
    """410: everything is listed anew."""
    backend = k8s_kind.backend()
    async with backend.serve():
        await backend.ensure_running(spec())
        k8s_kind.cluster.faults.watch_gone = form
        k8s_kind.cluster.compact()
        k8s_kind.cluster.evict(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
        k8s_kind.cluster.faults.watch_gone = None
        await backend.destroy(A, WORKSPACE)
        await works_through(k8s_kind, backend)


async def works_through(k8s_kind: Kubernetes, backend: Backend) -> None:
    """What happens is seen within seconds, again and again."""
    for _ in range(2):
        await backend.ensure_running(spec())
        assert (await backend.inventory())[A].running
        k8s_kind.cluster.evict(NAMESPACE, f"oc-{A}")
        await until(lambda: detail(backend))
    await backend.destroy(A, WORKSPACE)
    assert await backend.inventory() == {}


async def test_an_inventory_is_refused_while_there_are_no_news(
    k8s_kind: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that may be old is no list: somebody would act on it."""
    monkeypatch.setattr("backends.kubewatch._FRESH_SECONDS", 0.3)
    backend = k8s_kind.backend()
    k8s_kind.cluster.faults.watch_cut = 0.6
    async with backend.serve():
        await backend.ensure_running(spec())
        await until(lambda: sees(backend))
        k8s_kind.cluster.faults.fail(500, when=lambda asked: asked.verb == "watch")

        async def blind() -> bool:
            with suppress(BackendUnavailable):
                await backend.inventory()
                return False
            return True

        await until(blind)
        k8s_kind.cluster.faults.clear()
        await until(lambda: sees(backend))


async def test_somebody_else_changes_the_same_object(k8s_kind: Kubernetes) -> None:
    """A conflict is looked at again, and not given up."""
    backend = k8s_kind.backend()
    left = [2]

    def twice(asked: Asked) -> bool:
        hit = asked.verb == "update" and asked.resource.startswith("sandboxes") and left[0] > 0
        left[0] -= hit
        return hit

    async with backend.serve():
        await backend.ensure_running(spec())
        k8s_kind.cluster.faults.fail(409, when=twice)
        await backend.pause(A)
        assert left == [0]
        assert await backend.inventory() == {A: Observed(A, WORKSPACE, running=False)}
