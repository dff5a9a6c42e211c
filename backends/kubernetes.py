"""The backend ``k8s``: each sandbox is a Sandbox object of Agent Sandbox in a Kubernetes cluster.

A workspace has a namespace with a disk and a network policy; a sandbox has a Sandbox, a Secret with its environment and
a home, which the controller of Agent Sandbox makes with a pod and a service. Everything carries this installation's
label; what does not is never touched, whatever its name. A paused sandbox has no pod. Whether a sandbox may be sent
requests is asked of the cluster each time; what runs is known by its news, and asked again where they say that
something ended.
"""

from __future__ import annotations

import itertools
import socket
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import trio

from backends.base import Address, BackendRejected, BackendUnavailable, SandboxGone
from backends.containers import DISK, OPENCODE_PORT
from backends.disks import require_id
from backends.diskuse import Measures
from backends.health import is_healthy, patience
from backends.kubeboxes import Boxes
from backends.kubecluster import CLAIMS, PODS, Cluster
from backends.kubeexec import Inside
from backends.kubelogs import Logs
from backends.kubesight import Sight
from backends.kubespaces import Spaces
from backends.kubeview import addresses, ended, name_of, notes, runs, serves, wanted
from backends.manifests import CLAIM, Names
from backends.slots import Slots

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from backends.base import Observed, SandboxSpec
    from backends.kubereasons import Hindrance
    from backends.manifests import KubernetesOptions

Manifest = dict[str, Any]

_START_SECONDS: Final = 60.0  # from the container's start until opencode is healthy; 5 on an idle node
# Until the pod runs: a node that is made for it takes two or three minutes, an image of a gigabyte one.
_ARRIVAL_SECONDS: Final = 300.0
# So long something may keep the pod from running that may pass by itself, such as nodes that are full or a registry
# that is away. After that a person should know; a node that is being made has all the time there is.
_PATIENCE_SECONDS: Final = 45.0
_LOOKS_FOR_ONE: Final = 4  # at once for one sandbox, of the 16 that the cluster is asked for all
_NAME_SECONDS: Final = 3.0  # for a name; the cluster's own are answered in a millisecond
_LONGEST_SIZE: Final = 18  # digits of a number of bytes; int() is slow with more, and refuses thousands
_LOOK: Final = 0.25  # seconds between looks at a pod that is starting
_SOON: Final = 15.0  # seconds, which most take; after that it is looked at as often as it is asked what it waits for
_ASK: Final = 1.0  # seconds between questions for what it waits for, which are dearer
_REASON_LINES: Final = 5  # of opencode's output, in the reason of a failed start
# Three seconds: a person waits for the answer in a dialog, and it is a courtesy there.
_MEASURE: Final = ("timeout", "3", "du", "--summarize", "--block-size=1", "--one-file-system", DISK)


class KubernetesBackend:
    """See :class:`backends.base.Backend`. ``start_timeout`` and ``patience`` are seconds."""

    name = "k8s"
    limits_enforced = True

    def __init__(
        self,
        options: KubernetesOptions,
        installation: str,
        *,
        start_timeout: float = _START_SECONDS,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        names = Names(installation, options.prefix)
        self._names = names
        self._cluster = Cluster(options.kubeconfig)
        self._spaces = Spaces(self._cluster, options, names)
        self._boxes = Boxes(self._cluster, options, names)
        self._inside = Inside(self._cluster, OPENCODE_PORT)
        self._logs = Logs(self._cluster, self._boxes)
        self._sight = Sight(self._boxes, self._logs)
        self._measures = Measures(self._measure)
        self._start_timeout = start_timeout
        self._patience = patience
        self._slots = Slots()
        # Whoever closes each connection makes us ask for its address each time; others shall not wait for that.
        self._looks: dict[str, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None, None]:
        """Sandboxes run on when the daemon ends: whoever works in one does not notice that it is restarted."""
        await self._cluster.configured()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._boxes.sandboxes.run, name="news of sandboxes")
                nursery.start_soon(self._boxes.pods.run, name="news of pods")
                yield
                nursery.cancel_scope.cancel()
        finally:
            self._cluster.close()

    async def check(self) -> None:
        """See :class:`backends.base.Backend`: the API answers, has Agent Sandbox, and the classes that are wanted."""
        await self._boxes.version()
        await self._spaces.require_classes()

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """See :class:`backends.base.Backend`. Nodes fetch images, each when it takes its first pod."""

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        """See :class:`backends.base.Backend`."""
        require_id(spec.workspace_id)
        async with self._slots.starting(spec.id) as stopped:
            await self._boxes.version()
            await self._spaces.require_runtime()
            await self._spaces.ensure(spec.workspace_id)
            run = await self._boxes.started(spec)
        return await self._until_healthy(run, spec, stopped)

    async def pause(self, sandbox_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        async with self._slots.stopping(sandbox_id):
            await self._boxes.stop(sandbox_id)

    async def destroy(self, sandbox_id: str, workspace_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        require_id(workspace_id)
        async with self._slots.stopping(sandbox_id):
            if await self._spaces.find(workspace_id) is not None:
                await self._boxes.remove(sandbox_id, workspace_id)

    async def destroy_workspace(self, workspace_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        space = await self._spaces.find(require_id(workspace_id))
        if space is None:
            return
        if await self._boxes.any_alive(workspace_id):
            raise BackendUnavailable("a sandbox of the workspace still runs")
        await self._spaces.remove(workspace_id)

    async def inventory(self) -> Mapping[str, Observed]:
        """See :class:`backends.base.Backend`."""
        return await self._sight.all()

    async def address(self, sandbox_id: str) -> Address | None:
        """See :class:`backends.base.Backend`."""
        async with self._looking(sandbox_id):
            found = await self._serving(sandbox_id)
            return None if found is None else await _reached(*found)

    async def port_address(self, sandbox_id: str, port: int) -> Address | None:
        """See :class:`backends.base.Backend`. opencode's own port is not given out: it has its own host name."""
        async with self._looking(sandbox_id):
            found = await self._serving(sandbox_id)
            if found is None or port not in await self._ports(found[1]):
                return None
            where = await _reached(*found)
        return None if where is None else Address(where.host, port)

    async def ports(self, sandbox_id: str) -> Sequence[int]:
        """See :class:`backends.base.Backend`. A program in the pod reads the kernel's tables there."""
        async with self._looking(sandbox_id):
            found = await self._serving(sandbox_id)
            return [] if found is None else await self._ports(found[1])

    async def disk_bytes(self, workspace_id: str) -> int | None:
        """See :class:`backends.base.Backend`. A pod that runs is asked; if none does, nobody can tell."""
        return await self._measures.size(require_id(workspace_id))

    @asynccontextmanager
    async def logs(self, sandbox_id: str, *, follow: bool) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """See :class:`backends.base.Backend`. It lives as long as its pod: a pause ends both."""
        async with self._logs.open(require_id(sandbox_id), follow=follow) as pieces, aclosing(pieces):
            yield pieces

    def _looking(self, sandbox_id: str) -> trio.CapacityLimiter:
        return self._looks.setdefault(require_id(sandbox_id), trio.CapacityLimiter(_LOOKS_FOR_ONE))

    async def _serving(self, sandbox_id: str) -> tuple[Manifest, Manifest] | None:
        """The Sandbox and its pod, if requests may be sent there."""
        sandbox = await self._boxes.find(require_id(sandbox_id))
        if sandbox is None or not wanted(sandbox):
            return None
        pod = await self._boxes.pod(sandbox)
        return (sandbox, pod) if pod is not None and serves(sandbox, pod) else None

    async def _ports(self, pod: Manifest) -> Sequence[int]:
        about = pod["metadata"]
        try:
            return await self._inside.ports(about["namespace"], about["name"], about["uid"])
        except SandboxGone:
            return []

    async def _measure(self, workspace_id: str) -> int | None:
        namespace = self._names.namespace(workspace_id)
        if (
            await self._spaces.find(workspace_id) is None
            or await self._cluster.find(CLAIMS.path(namespace, CLAIM)) is None
        ):
            return 0
        selector = self._names.selector(workspace=workspace_id)
        pods = (await self._cluster.look(PODS.path(namespace), labelSelector=selector)).get("items") or []
        for pod in pods:
            if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
                said = await self._inside.run(namespace, pod["metadata"]["name"], _MEASURE)
                number = said.split(maxsplit=1)[:1]
                return int(number[0]) if number and number[0].isdigit() and len(number[0]) <= _LONGEST_SIZE else None
        return None

    async def _until_healthy(self, run: str, spec: SandboxSpec, stopped: Callable[[], bool]) -> Address:
        start = _Start(self._patience)
        attempts = itertools.count()
        while (left := start.left(self._start_timeout)) > 0:
            sandbox = await self._boxes.find(spec.id)
            if stopped():
                raise BackendUnavailable("the sandbox was stopped while it was starting")
            if sandbox is None:
                raise BackendUnavailable("the sandbox was removed from the cluster while it was starting")
            if notes(sandbox)[1] != run or not wanted(sandbox):
                raise BackendUnavailable("somebody else stopped or restarted the sandbox while it was starting")
            pod = await self._boxes.pod(sandbox)
            if pod is not None and ended(pod):
                raise BackendRejected(await self._sight.describe(sandbox, pod, _REASON_LINES))
            address = await _reached(sandbox, pod) if pod is not None and serves(sandbox, pod) else None
            if address is not None and await is_healthy(address, spec.password, min(left, patience(next(attempts)))):
                return address
            if runs(sandbox, pod):
                start.arrived()
            elif start.may_ask() and (reason := start.hopeless(await self._boxes.hindrance(sandbox, pod))):
                await self.pause(spec.id)
                raise BackendRejected(reason)
            await trio.sleep(start.pause)
        raise await self._too_late(spec, start)

    async def _too_late(self, spec: SandboxSpec, start: _Start) -> BackendUnavailable:
        sandbox = await self._boxes.find(spec.id)
        pod = None if sandbox is None else await self._boxes.pod(sandbox)
        lines = [] if pod is None or sandbox is None else await self._logs.last_lines(sandbox, pod, _REASON_LINES)
        await self.pause(spec.id)
        if not start.has_arrived:
            return BackendUnavailable(
                f"the cluster had no pod for it within {_ARRIVAL_SECONDS:g} s: {start.words or 'it does not say why'}"
            )
        return BackendUnavailable(
            f"opencode was not healthy within {self._start_timeout:g} s; "
            f"its output ends with: {' | '.join(lines) or 'nothing'}"
        )


class _Start:
    """How long a start may still take, and what it waits for."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._began = trio.current_time()
        self._arrived: float | None = None
        self._asked = self._began
        self._hindered: float | None = None  # since when
        self.words = ""

    @property
    def has_arrived(self) -> bool:
        return self._arrived is not None

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return _LOOK if trio.current_time() - self._began < _SOON or self.has_arrived else _ASK

    def arrived(self) -> None:
        """The container runs: from now on it is opencode's time."""
        if self._arrived is None:
            self._arrived = trio.current_time()

    def left(self, start_timeout: float) -> float:
        """Seconds."""
        end = self._began + _ARRIVAL_SECONDS if self._arrived is None else self._arrived + start_timeout
        return end - trio.current_time()

    def may_ask(self) -> bool:
        """Whether it is time to ask again what it waits for."""
        due = trio.current_time() - self._asked >= _ASK
        if due:
            self._asked = trio.current_time()
        return due

    def hopeless(self, hindrance: Hindrance | None) -> str:
        """The reason if waiting longer makes no sense, else nothing."""
        if hindrance is None:
            self._hindered = None
            return ""
        self.words = hindrance.text
        if self._hindered is None:
            self._hindered = trio.current_time()
        lasting = not hindrance.scaling and trio.current_time() - self._hindered >= self._patience
        return hindrance.text if hindrance.final or lasting else ""


async def _reached(sandbox: Manifest, pod: Manifest) -> Address | None:
    """The name of its service, if it leads to this very pod: one that was asked for before may lead to an older one.

    The address of that may be another tenant's by now, and credentials are sent there.
    """
    name = name_of(sandbox)
    if name is None:
        return None
    try:
        with trio.fail_after(_NAME_SECONDS):
            found = await trio.socket.getaddrinfo(name, OPENCODE_PORT, type=socket.SOCK_STREAM)
    except (OSError, trio.TooSlowError):
        return None
    hosts = {ip_address(str(entry[4][0])) for entry in found}
    return Address(name, OPENCODE_PORT) if hosts and hosts <= addresses(pod) else None
