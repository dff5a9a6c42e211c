"""What is known of a cluster by its news: nothing of strangers, nothing that never was, and asked for in good time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import trio
import trio.testing

from backends.kubeanswers import Busy
from backends.kubeboxes import Boxes
from backends.kubecluster import SECRETS
from backends.kubecluster import Cluster as Api
from backends.kubewatch import Watch
from backends.manifests import KubernetesOptions, Names
from tests.backends.support import until
from tests.standins.kubernetes import Cluster

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
NAMES: Final = Names("i", "cli-server")
W, A = "w" * 16, "a" * 16


def pod(namespace: str) -> Json:
    """One with our labels."""
    about = {"name": "oc", "namespace": namespace, "labels": NAMES.labels(W, A), "resourceVersion": "7"}
    return {"kind": "Pod", "metadata": about, "spec": {"containers": []}}


def test_what_strangers_label_as_ours_is_not_kept() -> None:
    """A pod of theirs might name a Sandbox of ours as its owner; and thousands of them would fill the memory."""
    boxes = Boxes(Api(None), KubernetesOptions("image", "agents", {"a": "b"}, 8080), NAMES)
    for watch in (boxes.pods, boxes.sandboxes):
        for stranger in ("stranger", "cli-server", f"cli-server-{A}"):
            watch.note(pod(stranger))
        assert list(watch) == []
        watch.note(pod(NAMES.namespace(W)))
        assert [found["metadata"]["namespace"] for found in watch] == [NAMES.namespace(W)]


async def secrets() -> str:
    return SECRETS.path()


def secret(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "team"}, "data": {}}


async def test_a_cluster_that_is_restored_from_a_backup(tmp_path: Path) -> None:
    """Its versions begin again at an earlier one. What came after the backup is not there, and what comes is new."""
    with Cluster(tmp_path) as cluster:
        watch = Watch(Api(cluster.kubeconfig), secrets, "", "secrets")

        async def knows(name: str) -> bool:
            return watch.get("team", name) is not None

        async def lacks(name: str) -> bool:
            return not await knows(name)

        cluster.add(secret("before"))
        restore = cluster.backup()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.run)
                for name in ("after", "more", "and-more"):
                    cluster.add(secret(name))
                    await until(lambda name=name: knows(name))  # type: ignore[misc]
                cluster.away()
                restore()
                cluster.back()
                await until(lambda: lacks("after"))
                assert await knows("before")
                cluster.add(secret("more"))
                await until(lambda: knows("more"))
                nursery.cancel_scope.cancel()


class Overloaded(Watch):
    """Of a cluster that takes its time, and says when it wants to be asked again."""

    async def _once(self) -> None:
        await trio.sleep(2)
        asked.append(trio.current_time())
        raise Busy("too much", 9)


asked: Final[list[float]] = []


async def test_an_overloaded_cluster_is_left_alone_as_long_as_it_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watch = Overloaded(Api(None), secrets, "", "secrets")
    with trio.move_on_after(100):
        await watch.run()
    assert 4 < len(asked) <= 9
    assert all(later - earlier >= 11 for earlier, later in itertools.pairwise(asked))
