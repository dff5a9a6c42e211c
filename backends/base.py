"""The interface between the daemon and the place where sandboxes run.

A backend owns processes, containers or pods and their disks, and nothing else: it knows no users, no statuses and
no database. Every call may be repeated; the caller decides when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager


class BackendError(Exception):
    """Something went wrong in a backend. The text is fit to be shown to a person."""


class BackendUnavailable(BackendError):
    """The backend did not answer or is overloaded; the same call may succeed later."""


class SandboxGone(BackendError):
    """What the call is about does not exist (any more)."""


class BackendRejected(BackendError):
    """The call cannot succeed as it is; repeating it is useless. The text tells the user why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address as seen from the daemon. ``host`` is an IP literal or a resolvable name."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of one sandbox: ``cpu`` in cores, ``memory`` in bytes, ``pids`` in processes."""

    cpu: float
    memory: int
    pids: int


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """Everything a backend needs to run one sandbox. ``env`` is complete: nothing of the daemon's environment is added.

    ``password`` is opencode's (user name ``opencode``); it is also in ``env`` as ``OPENCODE_SERVER_PASSWORD``.
    """

    id: str
    workspace_id: str
    password: str = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    limits: Limits


@dataclass(frozen=True, slots=True)
class Observed:
    """What really exists for one sandbox id. ``running`` means that its processes live (healthy or not).

    ``detail`` says why it is not running, for people ("opencode exited with status 137"), and is empty otherwise.
    """

    sandbox_id: str
    workspace_id: str
    running: bool
    detail: str = ""


class Backend(Protocol):
    """One kind of place where sandboxes run. ``async with backend.serve(): ...`` surrounds every other call."""

    name: str

    def serve(self) -> AbstractAsyncContextManager[None]:
        """Open the backend's own tasks and clients; on leaving, stop what must not outlive the daemon."""
        ...

    async def check(self) -> None:
        """Raise :class:`BackendError` with a text that says what to do, if sandboxes cannot be started now."""
        ...

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """Have what every start needs and may have to come from far away, such as an image; may take minutes.

        ``progress`` is told now and then what is going on, for people. There already is success.
        """
        ...

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        """Create or resume the sandbox and return once opencode answers its health check with ``spec.password``.

        Safe to repeat; with a different password or environment than the running one it restarts it.
        Raises :class:`BackendUnavailable` or :class:`BackendRejected`. Cancelling it leaves at most something that
        :meth:`inventory` reports and :meth:`pause` or :meth:`destroy` removes.
        """
        ...

    async def pause(self, sandbox_id: str) -> None:
        """Stop the sandbox's processes and keep its disks. Absent or stopped is success."""
        ...

    async def destroy(self, sandbox_id: str, workspace_id: str) -> None:
        """Stop the sandbox and remove its home. Absent is success."""
        ...

    async def destroy_workspace(self, workspace_id: str) -> None:
        """Remove the workspace's disk. Its sandboxes were destroyed before. Absent is success."""
        ...

    async def inventory(self) -> Mapping[str, Observed]:
        """What exists with this installation's mark, by sandbox id. Raises rather than returning a doubtful list."""
        ...

    async def address(self, sandbox_id: str) -> Address | None:
        """Where opencode of this sandbox listens now, asked of the world; ``None`` if it is not running."""
        ...

    async def port_address(self, sandbox_id: str, port: int) -> Address | None:
        """Where ``port`` inside the sandbox is reached; ``None`` if nothing of this sandbox listens there."""
        ...

    async def ports(self, sandbox_id: str) -> Sequence[int]:
        """The ports from 1024 inside the sandbox that :meth:`port_address` would find, as of a moment ago.

        In order, and some hundred at most; none if the sandbox is not running.
        """
        ...

    async def disk_bytes(self, workspace_id: str) -> int | None:
        """What the workspace's disk takes, in bytes; 0 without one. ``None`` if that cannot be told within seconds."""
        ...

    def logs(self, sandbox_id: str, *, follow: bool) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The kept output of the sandbox, oldest first; with ``follow`` it goes on until the sandbox ends.

        Raises :class:`SandboxGone` if there is none.
        """
        ...
