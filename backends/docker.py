"""The backend ``docker``: each sandbox is a container of a Docker engine.

A sandbox has a container, a volume for its home, and shares a volume and a network with the other sandboxes of its
workspace. Everything carries this installation's label; what does not is never touched, whatever its name. Containers
are kept while a sandbox is paused, and made anew when they are gone or were made another way. Nothing is remembered
that the engine can be asked: its answer is right after a restart, too.
"""

from __future__ import annotations

import itertools
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog
import trio
from docker import APIClient

from backends.base import Address, BackendError, BackendRejected, BackendUnavailable, SandboxGone
from backends.boxes import Boxes
from backends.containerports import ServedPorts
from backends.containers import OPENCODE_PORT, Names
from backends.disks import require_id
from backends.engine import Engine, EngineAway
from backends.enginestream import answer, output
from backends.health import is_healthy, patience
from backends.images import Image
from backends.networks import Networks
from backends.outage import Outage
from backends.slots import Slots
from backends.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from backends.base import Observed, SandboxSpec
    from backends.containers import DockerOptions
    from backends.logfile import Redactor

log = structlog.get_logger(__name__)

_START_SECONDS: Final = 60.0  # from the container's start until opencode is healthy; 2 on an idle machine
_STOP_GRACE: Final = 10.0  # seconds from SIGTERM to SIGKILL, the engine's own default
_LOOK: Final = 0.25  # seconds between looks at an opencode that is starting
_REASON_LINES: Final = 5  # of opencode's output, in the reason of a failed start
_PROBE_SECONDS: Final = 1.0  # for a connection to a container on this very machine
_AGAIN_SECONDS: Final = 5.0  # until an engine that is away is asked again; the reconciler asks as often


class DockerBackend:
    """See :class:`backends.base.Backend`. ``start_timeout`` and ``stop_grace`` are seconds."""

    name = "docker"
    limits_enforced = True

    def __init__(
        self,
        options: DockerOptions,
        installation: str,
        *,
        start_timeout: float = _START_SECONDS,
        stop_grace: float = _STOP_GRACE,
    ) -> None:
        self._options = options
        names = Names(installation)
        self._engine = Engine(options.host)
        self._image = Image(self._engine, options.image)
        self._networks = Networks(self._engine, options, names)
        self._volumes = Volumes(self._engine, options, names)
        self._boxes = Boxes(self._engine, options, names, stop_grace)
        self._ports = ServedPorts(self._engine, OPENCODE_PORT)
        self._start_timeout = start_timeout
        self._settling, self._settled = trio.Lock(), False
        self._slots = Slots()

    @property
    def gateways(self) -> frozenset[str]:
        """Addresses of this machine at which sandboxes look for the LLM proxy; none if the daemon is a container."""
        return self._networks.gateways

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None, None]:
        """Sandboxes run on when the daemon ends: whoever works in one does not notice that it is restarted."""
        with self._engine:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._prepare, name="prepare the Docker engine")
                yield
                nursery.cancel_scope.cancel()

    async def _prepare(self) -> None:
        """What can be done before the first start asks for it. An engine that is away does not stop the daemon."""
        unready = Outage(log, "the Docker engine is not ready", "the Docker engine is ready")
        while True:
            try:
                await self._settle()
                for box in await self._boxes.all():
                    if not box.sandbox_id:  # it measured a disk for a daemon that was killed
                        await self._boxes.remove(box.id)
                break
            except EngineAway as error:  # told by whoever asks for the inventory, all the time
                log.debug("the Docker engine is away", reason=str(error))
            except BackendError as error:
                unready.met(str(error))
            await trio.sleep(_AGAIN_SECONDS)
        unready.over()
        try:
            await self._image.fetch(lambda words: log.info(words))
        except EngineAway as error:  # as above
            log.debug("the Docker engine is away", reason=str(error))
        except BackendError as error:  # the first start asks again
            log.warning("sandboxes cannot be started yet", reason=str(error))

    async def _settle(self) -> None:
        """Stand in the networks again, once."""
        async with self._settling:
            if not self._settled:
                await self._networks.settle()
                self._settled = True

    async def check(self) -> None:
        """See :class:`backends.base.Backend`: the engine answers, has the runtime and the image; we reach sandboxes."""
        await self._settle()
        if self._options.runtime is not None:
            await self._require_runtime(self._options.runtime)
        await self._image.require()

    async def _require_runtime(self, runtime: str) -> None:
        about = await self._engine.look(APIClient.info)
        known = sorted(about.get("Runtimes") or {})
        if runtime not in known:
            raise BackendRejected(
                f"the Docker engine has no runtime {runtime} (AGENT_RUNTIME), only {', '.join(known)}; "
                "install it and name it in the engine's daemon.json"
            )

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """See :class:`backends.base.Backend`."""
        await self._image.fetch(progress)

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        """See :class:`backends.base.Backend`."""
        require_id(spec.workspace_id)
        async with self._slots.starting(spec.id) as stopped:
            container_id = await self._started(spec)
        return await self._until_healthy(container_id, spec, stopped)

    async def pause(self, sandbox_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        async with self._slots.stopping(sandbox_id):
            for box in await self._boxes.all(sandbox=sandbox_id):
                await self._boxes.stop(box)

    async def destroy(self, sandbox_id: str, workspace_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        require_id(workspace_id)
        async with self._slots.stopping(sandbox_id):
            for box in await self._boxes.all(sandbox=sandbox_id):
                await self._boxes.stop(box)
                await self._boxes.remove(box.id)
            await self._volumes.remove_home(sandbox_id)

    async def destroy_workspace(self, workspace_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        boxes = await self._boxes.all(workspace=require_id(workspace_id))
        if any(box.alive and box.sandbox_id for box in boxes):
            raise BackendUnavailable("a sandbox of the workspace still runs")
        for box in boxes:
            await self._boxes.remove(box.id)
        await self._volumes.remove_disk(workspace_id)
        await self._networks.remove(workspace_id)

    async def inventory(self) -> Mapping[str, Observed]:
        """See :class:`backends.base.Backend`: containers, and homes whose container somebody removed."""
        return await self._boxes.observe(await self._volumes.homes())

    async def address(self, sandbox_id: str) -> Address | None:
        """See :class:`backends.base.Backend`."""
        found = await self._boxes.find(require_id(sandbox_id))
        host = None if found is None else found.address
        return None if host is None else Address(host, OPENCODE_PORT)

    async def port_address(self, sandbox_id: str, port: int) -> Address | None:
        """See :class:`backends.base.Backend`. opencode's own port is not given out: it has its own host name."""
        found = await self.address(sandbox_id)
        if found is None or port == OPENCODE_PORT or not await _is_open(found.host, port):
            return None
        return Address(found.host, port)

    async def ports(self, sandbox_id: str) -> Sequence[int]:
        """See :class:`backends.base.Backend`. A program in the container reads the kernel's tables there."""
        found = await self._boxes.find(require_id(sandbox_id))
        return [] if found is None or found.state != "running" else await self._ports.of(found.id)

    async def disk_bytes(self, workspace_id: str) -> int | None:
        """See :class:`backends.base.Backend`."""
        return await self._volumes.disk_bytes(require_id(workspace_id))

    @asynccontextmanager
    async def logs(self, sandbox_id: str, *, follow: bool) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """See :class:`backends.base.Backend`. Secrets of the sandbox stand there as ``[redacted]``."""
        found = await self._boxes.find(require_id(sandbox_id))
        if found is None:
            raise SandboxGone("there is no container of this sandbox, and no output")
        redactor = await self._boxes.redactor(found.id)
        params = {"stdout": "1", "stderr": "1", "follow": "1" if follow else "0"}
        request = answer(self._options.host, "GET", f"/containers/{found.id}/logs", params=params)
        async with (
            request as pieces,
            aclosing(output(pieces)) as written,
            aclosing(_redacted(written, redactor)) as kept,
        ):
            yield kept

    async def _started(self, spec: SandboxSpec) -> str:
        """A running container that fits ``spec``; its id."""
        image = await self._image.id()
        network = await self._networks.ensure(spec.workspace_id)
        await self._volumes.ensure(spec.workspace_id, spec.id)
        body = await self._boxes.body(spec, network, daemon_inside=self._networks.daemon_inside)
        found = await self._boxes.usable(spec, body, network, image)
        if found is not None:
            await self._boxes.start(found.id, frozen=found.state == "paused")
            return found.id
        if image is None:
            raise self._image.missing()
        made = await self._boxes.create(spec, body)
        await self._boxes.start(made)
        return made

    async def _until_healthy(self, container_id: str, spec: SandboxSpec, stopped: Callable[[], bool]) -> Address:
        deadline, attempts = trio.current_time() + self._start_timeout, itertools.count()
        while trio.current_time() < deadline:
            found = await self._boxes.find(spec.id)
            if stopped():
                raise BackendUnavailable("the sandbox was stopped while it was starting")
            if found is None or found.id != container_id:
                raise BackendUnavailable("the container was removed while it was starting")
            if not found.alive:
                raise BackendRejected(await self._boxes.describe(container_id, _REASON_LINES))
            if found.address is not None:
                address = Address(found.address, OPENCODE_PORT)
                if await is_healthy(address, spec.password, patience(next(attempts))):
                    return address
            await trio.sleep(_LOOK)
        lines = await self._boxes.last_lines(container_id, _REASON_LINES)
        await self.pause(spec.id)
        raise BackendUnavailable(
            f"opencode was not healthy within {self._start_timeout:g} s; "
            f"its output ends with: {' | '.join(lines) or 'nothing'}"
        )


async def _is_open(host: str, port: int) -> bool:
    with trio.move_on_after(_PROBE_SECONDS):
        try:
            await (await trio.open_tcp_stream(host, port)).aclose()
        except OSError:
            return False
        return True
    return False


async def _redacted(pieces: AsyncIterator[bytes], redactor: Redactor) -> AsyncGenerator[bytes, None]:
    async for piece in pieces:
        if clean := redactor.feed(piece):
            yield clean
    if rest := redactor.flush():
        yield rest
