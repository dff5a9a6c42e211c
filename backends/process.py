"""The backend ``process``: opencode as a child process on this machine, in bubblewrap where the machine allows it.

For one person on one machine, and for tests. It keeps a sandbox from the daemon's files and from other sandboxes'
homes and processes. It does not limit memory, processor time or the number of processes (``limits_enforced``), and the
network is the machine's: what listens on ``localhost`` can be reached from a sandbox, and two sandboxes cannot listen
on the same port. Without bubblewrap (``isolation`` is "none") a sandbox can do whatever the daemon's user can; the
workspace's disk then is not at ``/data/disk0`` but at the link ``~/disk0``, which exists with bubblewrap too.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import socket
import sys
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import structlog
import trio

from backends.base import Address, BackendError, BackendRejected, BackendUnavailable, Observed, SandboxGone
from backends.child import Child, launch
from backends.confinement import Confinement
from backends.disks import Disks, require_id
from backends.diskuse import Measures, measured
from backends.environment import MARK_DATA, MARK_INSTALLATION, marks
from backends.health import is_healthy, patience
from backends.leftovers import end_marked
from backends.logreader import last_lines, read_log
from backends.sockets import listening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from backends.base import SandboxSpec
    from backends.confinement import Run
    from backends.isolation import Isolation

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_HOST = "127.0.0.1"
_START_SECONDS = 60.0  # opencode needs 3 to 8; much more on a machine that wakes ten sandboxes at once
_STOP_GRACE = 5.0  # seconds from SIGTERM to SIGKILL; opencode ends in a fraction of one
_STOP_ALL_SECONDS = 20.0  # for all sandboxes together when the daemon ends: the grace, SIGKILL, and a slow machine
_PORT_ATTEMPTS = 3  # a stranger takes the chosen port before opencode does about never; three times in a row, never
_LOOK = 0.25  # seconds between looks at an opencode that is starting
_REASON_LINES = 5  # of opencode's output, in the reason of a failed start


@dataclass(slots=True)
class _Slot:
    """What is known of one sandbox. Slots stay until the daemon ends: a waiter may hold on to one."""

    lock: trio.Lock = field(default_factory=trio.Lock)  # held while processes are started or ended, not for health
    child: Child | None = None

    @property
    def alive(self) -> Child | None:
        return None if self.child is None or self.child.ended.is_set() else self.child


class ProcessBackend:
    """See :class:`backends.base.Backend`. ``root`` is the data directory, which no other live daemon uses.

    ``installation`` marks what is ours. ``opencode`` is a path, or a name on ``PATH``. ``isolation`` forces a jail, or
    none. ``start_timeout`` and ``stop_grace`` are seconds.
    """

    name = "process"
    limits_enforced = False

    def __init__(
        self,
        root: Path,
        installation: str,
        opencode: str = "opencode",
        *,
        isolation: Isolation | None = None,
        start_timeout: float = _START_SECONDS,
        stop_grace: float = _STOP_GRACE,
    ) -> None:
        root = root.resolve()
        self._data = str(root)
        self._installation = installation
        self._disks = Disks(root, installation)
        self._confinement = Confinement(self._disks, self._data, opencode, isolation)
        self._start_timeout = start_timeout
        self._stop_grace = stop_grace
        self._slots: dict[str, _Slot] = {}
        self._nursery: trio.Nursery | None = None
        self._measures = Measures(measured)

    @property
    def isolation(self) -> Isolation:
        """How sandboxes are run here: decided when :meth:`serve` or :meth:`check` is first called."""
        return self._confinement.isolation

    @property
    def isolation_reason(self) -> str:
        """Why sandboxes are not isolated, for people; empty if they are."""
        return self._confinement.reason

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None, None]:
        """End what an earlier daemon left behind, and at the end all sandboxes' processes; their disks stay."""
        _require_linux()
        await _on_disk(self._disks.open)
        await end_marked({MARK_INSTALLATION: self._installation, MARK_DATA: self._data})
        await self._confinement.settle()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                self._nursery = None
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _STOP_ALL_SECONDS):
                    await self._stop_all()
                for slot in self._slots.values():
                    if slot.child is not None:
                        slot.child.watching.cancel()

    async def check(self) -> None:
        """See :class:`backends.base.Backend`. It really runs ``opencode --version``, confined as sandboxes are."""
        _require_linux()
        await self._confinement.settle()
        await self._confinement.try_program()

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """See :class:`backends.base.Backend`. The program is here, or :meth:`check` says that it is not."""

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        """See :class:`backends.base.Backend`."""
        slot = self._slots.setdefault(require_id(spec.id), _Slot())
        deadline = trio.current_time() + self._start_timeout
        for _ in range(_PORT_ATTEMPTS):
            child = await self._child_for(slot, spec)
            address = await self._until_healthy(child, spec.password, deadline)
            if address is not None:
                return address
            log.warning("a stranger took the port chosen for opencode", sandbox=spec.id, port=child.port)
        raise BackendUnavailable("no port could be found that opencode can listen on")

    async def pause(self, sandbox_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        slot = self._slots.get(require_id(sandbox_id))
        if slot is not None:
            async with slot.lock:
                await _end(slot)

    async def destroy(self, sandbox_id: str, workspace_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        require_id(workspace_id)
        slot = self._slots.setdefault(require_id(sandbox_id), _Slot())
        async with slot.lock:
            await _end(slot)
            await _on_disk(self._disks.remove_sandbox, sandbox_id)

    async def destroy_workspace(self, workspace_id: str) -> None:
        """See :class:`backends.base.Backend`."""
        if any(slot.alive and slot.alive.workspace_id == workspace_id for slot in self._slots.values()):
            raise BackendUnavailable("a sandbox of the workspace still runs")
        await _on_disk(self._disks.remove_workspace, workspace_id)

    async def inventory(self) -> Mapping[str, Observed]:
        """See :class:`backends.base.Backend`."""
        workspaces = await _on_disk(self._disks.inventory)
        for sandbox_id, slot in self._slots.items():
            if slot.alive is not None:  # it runs, even if somebody removed its directory under it
                workspaces.setdefault(sandbox_id, slot.alive.workspace_id)
        return {sandbox_id: self._observe(sandbox_id, workspace) for sandbox_id, workspace in workspaces.items()}

    async def address(self, sandbox_id: str) -> Address | None:
        """See :class:`backends.base.Backend`: the port that was chosen, if a process of this sandbox listens there."""
        child = self._alive(sandbox_id)
        return None if child is None else await _listener(child, child.port)

    async def port_address(self, sandbox_id: str, port: int) -> Address | None:
        """See :class:`backends.base.Backend`. opencode's own port is not given out: it has its own host name."""
        child = self._alive(sandbox_id)
        return None if child is None or port == child.port else await _listener(child, port)

    async def ports(self, sandbox_id: str) -> Sequence[int]:
        """See :class:`backends.base.Backend`."""
        child = self._alive(sandbox_id)
        return [] if child is None else [port for port in await child.listeners.ports() if port != child.port]

    async def disk_bytes(self, workspace_id: str) -> int | None:
        """See :class:`backends.base.Backend`."""
        try:
            return await self._measures.size(self._disks.disk(workspace_id))
        except OSError as error:
            raise BackendUnavailable(f"the workspace's disk cannot be measured: {error}") from error

    @asynccontextmanager
    async def logs(self, sandbox_id: str, *, follow: bool) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """See :class:`backends.base.Backend`. Secrets of the sandbox stand there as ``[redacted]``."""
        directory = await _on_disk(self._disks.log, sandbox_id)
        if directory is None:
            raise SandboxGone("there is no such sandbox")
        child = self._alive(sandbox_id) if follow else None
        async with aclosing(read_log(directory, child.ended if child else None)) as pieces:
            yield pieces

    def _alive(self, sandbox_id: str) -> Child | None:
        slot = self._slots.get(sandbox_id)
        child = None if slot is None else slot.alive
        return None if child is None or child.stopping else child

    def _observe(self, sandbox_id: str, workspace_id: str) -> Observed:
        slot = self._slots.get(sandbox_id)
        running = slot is not None and slot.alive is not None
        detail = "" if running or slot is None or slot.child is None else slot.child.detail
        return Observed(sandbox_id, workspace_id, running, detail)

    async def _child_for(self, slot: _Slot, spec: SandboxSpec) -> Child:
        """The running child that fits ``spec``; one that does not is ended, and a new one started."""
        fingerprint = _fingerprint(spec)
        async with slot.lock:
            child = slot.alive
            if child is not None and child.fingerprint == fingerprint and not child.stopping:
                return child
            await _end(slot)
            slot.child = await self._start(spec, fingerprint)
            return slot.child

    async def _start(self, spec: SandboxSpec, fingerprint: str) -> Child:
        port = self._free_port()
        arguments = ["serve", "--hostname", _HOST, "--port", str(port)]
        run: Run = await _on_disk(self._confinement.prepare, spec.id, spec.workspace_id, spec.env, arguments)
        if self._nursery is None:
            raise BackendUnavailable("the daemon is shutting down")
        env = {**run.env, **marks(self._installation, self._data, spec.id)}
        try:
            process, lifeline = launch(run, env, self._stop_grace)
        except ValueError as error:
            raise BackendRejected(f"the environment of the sandbox cannot be used: {error}") from error
        except OSError as error:
            kind = BackendRejected if error.errno == errno.E2BIG else BackendUnavailable
            raise kind(f"the sandbox cannot be started: {error.strerror}") from error
        child = Child(process, lifeline, spec.workspace_id, port, fingerprint, self._stop_grace, run.log)
        self._nursery.start_soon(self._watch, spec.id, child, name=f"watch sandbox {spec.id}")
        return child

    async def _watch(self, sandbox_id: str, child: Child) -> None:
        """Wait for the end of ``child``, and note why it ended.

        Shielded, because :meth:`serve` needs it to end the sandboxes in an orderly way when the daemon is cancelled;
        :meth:`serve` ends this scope, after its own deadline at the latest.
        """
        try:
            with child.watching:
                await child.wait()
                if child.launcher_killed:
                    await end_marked(marks(self._installation, self._data, sandbox_id))
                if not child.stopping:
                    child.detail = await self._describe(child, 1)
                    log.warning("opencode ended by itself", sandbox=sandbox_id, detail=child.detail)
        finally:
            child.ended.set()

    async def _describe(self, child: Child, lines: int) -> str:
        """ "opencode exited with status 137: its last lines"."""
        if child.launcher_killed:
            return "opencode was ended because its launcher was killed"
        try:
            output = await _on_disk(last_lines, child.log, lines)
        except BackendError:  # the reason is worth telling without the output, too
            output = []
        return f"opencode exited with status {child.status}" + (f": {' | '.join(output)}" if output else "")

    async def _until_healthy(self, child: Child, password: str, deadline: float) -> Address | None:
        """Wait until opencode is healthy. ``None`` if it ended because a stranger has its port."""
        attempts = itertools.count()
        while trio.current_time() < deadline:
            if child.ended.is_set():
                if child.stopping:
                    raise BackendUnavailable("the sandbox was stopped while it was starting")
                if await trio.to_thread.run_sync(listening, child.port):
                    return None
                raise BackendRejected(await self._describe(child, _REASON_LINES))
            address = await _listener(child, child.port)
            if address is not None and await is_healthy(address, password, patience(next(attempts))):
                return address
            with trio.move_on_after(_LOOK):
                await child.ended.wait()
        await child.stop()
        output = " | ".join(await _on_disk(last_lines, child.log, _REASON_LINES))
        raise BackendUnavailable(
            f"opencode was not healthy within {self._start_timeout:g} s; its output ends with: {output or 'nothing'}"
        )

    def _free_port(self) -> int:
        """A port where nobody listens and that no other sandbox was given."""
        given = {slot.alive.port for slot in self._slots.values() if slot.alive is not None}
        while True:
            with socket.socket() as probe:
                probe.bind((_HOST, 0))
                port: int = probe.getsockname()[1]
            if port not in given:
                return port

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for sandbox_id, slot in self._slots.items():
                if slot.alive is not None:
                    nursery.start_soon(_try_stop, sandbox_id, slot.alive)


async def _try_stop(sandbox_id: str, child: Child) -> None:
    try:
        await child.stop()
    except BackendUnavailable as error:  # its launcher goes on trying when the daemon is gone
        log.error("a sandbox did not end", sandbox=sandbox_id, reason=str(error))


async def _end(slot: _Slot) -> None:
    """End the slot's child, if there is one, and forget it and why it ended."""
    if slot.alive is not None:
        await slot.alive.stop()
    slot.child = None


async def _listener(child: Child, port: int) -> Address | None:
    listener = await child.listeners.find(port)
    return None if listener is None else Address(listener.host, port)


async def _on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking work in a thread; what the disk refuses is :class:`BackendUnavailable`."""
    try:
        return await trio.to_thread.run_sync(partial(work, *args, **kwargs))
    except OSError as error:
        raise BackendUnavailable(f"the data directory cannot be used: {error}") from error


def _fingerprint(spec: SandboxSpec) -> str:
    """Tells one spec from another; keeps no secret in memory longer than need be."""
    facts = [spec.workspace_id, spec.password, sorted(spec.env.items())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _require_linux() -> None:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise BackendRejected("the backend 'process' needs Linux; set BACKEND to docker or k8s")
