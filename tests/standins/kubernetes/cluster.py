"""The stand-in as tests use it: a cluster in a thread of its own, with everything a test sets up or breaks.

    with Cluster(tmp_path) as cluster:
        cluster.storage_class("standard")
        cluster.image("sandbox:1", program)
        client = cluster.client()               # kubernetes.client.ApiClient; or KUBECONFIG=cluster.kubeconfig
        cluster.faults.fail(500, every=3)
        cluster.evict("team", "oc-1")

All methods may be called from any thread, also from one that runs Trio; they return when it is done.
"""

from __future__ import annotations

import copy
import secrets
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import kubernetes
import trio
import yaml

from tests.standins.kubernetes import rbac, volumes
from tests.standins.kubernetes.admission import DEFAULT_CLASS
from tests.standins.kubernetes.api import Api, Call
from tests.standins.kubernetes.controllers import Controllers
from tests.standins.kubernetes.pods import NODE, Kubelet
from tests.standins.kubernetes.podstatus import set_condition
from tests.standins.kubernetes.schemas import definition
from tests.standins.kubernetes.server import Server
from tests.standins.kubernetes.world import Image, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Json = dict[str, Any]
T = TypeVar("T")
_END: Final = 30.0  # seconds for everything to stop
_FIRST: Final = ("default", "kube-system")  # namespaces


class Cluster:
    """See the module's text. ``served`` are the versions of the Sandbox; by default all that the release has."""

    def __init__(self, folder: Path, *, release: str = "v0.5.6", served: tuple[str, ...] | None = None) -> None:
        if served is None:
            served = tuple(one["name"] for one in definition(release)["spec"]["versions"]) if release else ()
        folder.mkdir(parents=True, exist_ok=True)
        self.world = World(folder, release, served)
        self.faults = self.world.faults
        self.hosts = folder / "hosts"  # as /etc/hosts: names of services whose pods are ready
        self.port = 0
        self._api = Api(self.world)
        self._kubelet = Kubelet(self._api)
        self._server = Server(self._api, self._kubelet)
        self._thread = threading.Thread(target=self._main, name="cluster")
        self._begun: Future[None] = Future()
        self._broken: BaseException | None = None  # what ended the thread
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._listening: trio.CancelScope | None = None
        self._stopped = trio.Event()
        # Bound to the port and never listening: nobody else is given it while the API is away.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def __enter__(self) -> Cluster:
        self._thread.start()
        self._begun.result(_END)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join(_END)
        assert not self._thread.is_alive(), "the stand-in does not end"
        if self._broken is not None:
            raise self._broken

    def _main(self) -> None:
        try:
            with self._kept:
                trio.run(self._run, restrict_keyboard_interrupt_to_checkpoints=True)
        except BaseException as error:  # noqa: BLE001 - whoever opened the cluster gets it
            if self._begun.done():
                self._broken = error
            else:
                self._begun.set_exception(error)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._first_objects()
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]
        self.kubeconfig = self._config(rbac.ADMIN)
        controllers = Controllers(self._api)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._open()
            nursery.start_soon(controllers.run)
            nursery.start_soon(self._kubelet.run)
            self._begun.set_result(None)

    def _first_objects(self) -> None:
        for name in _FIRST:
            self._put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": {"conditions": []}}
        set_condition(node, "Ready", "True", "KubeletReady")
        self.world.store.create(self.world.stored("nodes"), node)
        if self.world.release:
            crd = definition(self.world.release)
            kept = [one for one in crd["spec"]["versions"] if one["name"] in self.world.served or one["storage"]]
            crd = {**crd, "spec": {**crd["spec"], "versions": kept}}
            self.world.store.create(self.world.stored("customresourcedefinitions", "apiextensions.k8s.io"), crd)

    # The listener

    async def _open(self) -> None:
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await sock.bind(("127.0.0.1", self.port))
        sock.listen(128)
        self._stopped = trio.Event()
        self._listening = await self._nursery.start(self._serve, sock)

    async def _serve(self, sock: trio.socket.SocketType, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._server.serve, sock)
                task_status.started(scope)
        self._stopped.set()

    async def _close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await self._stopped.wait()

    def away(self) -> None:
        """The API is not there: connections are cut, and new ones refused. Pods go on."""
        self._wait(self._close)

    def back(self) -> None:
        """It is there again, at the same address."""
        self._wait(self._open)

    # Who asks

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}"

    def account(self, namespace: str, name: str) -> Path:
        """The path of a kubeconfig for a service account, whose requests are held against RBAC."""
        return self._do(lambda: self._config(rbac.service_account(namespace, name)))

    def client(self, kubeconfig: Path | None = None) -> Any:
        """A ``kubernetes.client.ApiClient``; without a path, that of an administrator."""
        load: Any = kubernetes.config.new_client_from_config
        return load(str(kubeconfig or self.kubeconfig))

    def allow_from(self, manifests: Iterable[Json]) -> None:
        """Take roles and bindings from among manifests, such as a chart's, without asking who may make them."""
        for one in manifests:
            if one["apiVersion"].partition("/")[0] == rbac.GROUP:
                self.add(one)

    def _config(self, user: rbac.User) -> Path:
        token = secrets.token_urlsafe(24)
        self.world.tokens[token] = user
        path = self.world.folder / f"{user.name.replace(':', '-')}.kubeconfig"
        name = "stand-in"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        }))  # fmt: skip
        path.chmod(0o600)
        return path

    # What there is

    def add(self, manifest: Json) -> Json:
        """Create an object as an administrator; with its namespace, if that is not there."""
        return self._do(lambda: self._put(manifest))

    def _put(self, manifest: Json) -> Json:
        group, _, version = manifest["apiVersion"].rpartition("/")
        (kind,) = (k for k in self.world.kinds if (k.group, k.version, k.kind) == (group, version, manifest["kind"]))
        namespace = manifest["metadata"].get("namespace", "default") if kind.namespaced else ""
        if namespace and self.world.store.find(("", "namespaces"), "", namespace) is None:
            self._put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        return self._api.handle(Call(rbac.ADMIN, "create", kind, namespace, "", "", {}, manifest)).body

    def objects(self, plural: str, namespace: str = "", *, group: str = "") -> list[Json]:
        """All objects of a kind, as they are stored."""
        return self._do(lambda: self.world.store.list((group, plural), namespace))

    def object(self, plural: str, namespace: str, name: str, *, group: str = "") -> Json | None:
        """One object, as it is stored; ``None`` if it is not there."""
        return self._do(lambda: self.world.store.find((group, plural), namespace, name))

    def image(self, name: str, what: Path | Image, program: str = "") -> None:
        """Have an image: a program of this machine, on the path by the name ``program``, or its own."""
        self.world.images[name] = what if isinstance(what, Image) else Image.of(what, program)

    def storage_class(self, name: str, *, shared: bool = True, default: bool = True, late: bool = False) -> None:
        """Have a storage class. ``shared``: ReadWriteMany is possible; ``late``: it binds when a pod needs it."""
        if shared:
            self.world.shared_classes.add(name)
        binding = "WaitForFirstConsumer" if late else "Immediate"
        about: Json = {"name": name, "annotations": {DEFAULT_CLASS: "true" if default else "false"}}
        self.add({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": about,
            "provisioner": "stand-in.example.com", "volumeBindingMode": binding, "reclaimPolicy": "Delete",
        })  # fmt: skip

    def runtime_class(self, name: str) -> None:
        """Have a runtime class, such as ``gvisor``. Its pods run as all others do."""
        self.add({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name})

    def disk(self, namespace: str, claim: str) -> Path:
        """Where the files of a claim are."""
        found = self.object("persistentvolumeclaims", namespace, claim)
        assert found is not None, f"no claim {namespace}/{claim}"
        return volumes.disk(self.world, found)

    def reach(self, name: str, port: int, to: tuple[str, int]) -> None:
        """Pods that start from now on reach ``to``, of this machine, as ``name:port``."""
        self.world.ways.append((name, port, *to))

    # What goes wrong

    def compact(self) -> None:
        """Forget the history: watches get 410, and must list again."""
        self._do(self.world.store.compact)

    def backup(self) -> Callable[[], None]:
        """What is stored now. The answer puts it back, with the versions of then; turn the API off for that time."""

        def restore() -> None:
            store = self.world.store
            store.objects, store.revision = copy.deepcopy(objects), revision
            store.history = [change for change in store.history if change.revision <= revision]
            store.wake()

        objects, revision = self._do(lambda: (copy.deepcopy(self.world.store.objects), self.world.store.revision))
        return lambda: self._do(restore)

    def unschedulable(self, why: str = "0/1 nodes are available: 1 Insufficient memory.") -> None:
        """No node takes a new pod, from now on; with "" it does again."""

        def change() -> None:
            self.world.unschedulable = why
            self.world.store.wake()

        self._do(change)

    def evict(self, namespace: str, pod: str, message: str = "The node was low on resource: memory.") -> None:
        """The kubelet ends a pod, which stays as ``Failed``."""
        end = {"phase": "Failed", "reason": "Evicted", "message": message}
        self._do(lambda: self._kubelet.finish(namespace, pod, **end))

    def out_of_memory(self, namespace: str, pod: str) -> None:
        """The kernel kills the container, which is started anew if its restart policy says so."""

        def kill() -> None:
            life = self._kubelet.life(namespace, pod)
            assert life is not None
            assert life.process is not None
            life.process.kill("OOMKilled")

        self._do(kill)

    def lose_node(self) -> None:
        """The node does not answer any more: its pods stay as they are and are not ready; deleted ones do not go."""

        def lose() -> None:
            for pod in self.world.store.list(("", "pods")):
                set_condition(pod, "Ready", "False")
                self.world.store.update(self.world.stored("pods"), pod)
            self._kubelet.lost = True
            self._node("Unknown", "NodeStatusUnknown")

        self._do(lose)

    def find_node(self) -> None:
        """It answers again."""

        def found() -> None:
            self._kubelet.lost = False
            self._node("True", "KubeletReady")

        self._do(found)

    def _node(self, status: str, reason: str) -> None:
        kind = self.world.stored("nodes")
        node = self.world.store.get(kind, "", NODE)
        set_condition(node, "Ready", status, reason)
        self.world.store.update(kind, node)

    # From other threads

    def _do(self, function: Callable[[], T]) -> T:
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                done.set_exception(error)

        self._token.run_sync_soon(run)
        return done.result(_END)

    def _wait(self, function: Callable[[], Any]) -> None:
        done: Future[None] = Future()

        async def run() -> None:
            await function()
            done.set_result(None)

        self._token.run_sync_soon(self._nursery.start_soon, run)
        done.result(_END)
