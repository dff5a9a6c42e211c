"""cli-server as it is, but for a backend whose sandboxes are the benchmark's upstreams.

Sign-in, grants, activity, database: all real. The sandbox's opencode is the nginx upstream, its other ports are the
machine's.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from backends.base import Address, Observed, SandboxGone, SandboxSpec
from daemon import config
from daemon.app import run_daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


class UpstreamBackend:
    """Pretends that everything runs already. Starts nothing, stops nothing."""

    name = "bench"

    def __init__(self, port: int) -> None:
        self._port = port
        self._workspaces: dict[str, str] = {}

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Nothing to open."""
        yield

    async def check(self) -> None:
        """Always well."""

    async def fetch(self, progress: Callable[[str], None]) -> None:
        """It is all here."""

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        """The upstream's address."""
        self._workspaces[spec.id] = spec.workspace_id
        return Address("127.0.0.1", self._port)

    async def pause(self, sandbox_id: str) -> None:
        """Nothing to stop."""

    async def destroy(self, sandbox_id: str, workspace_id: str) -> None:
        """Forget it."""
        self._workspaces.pop(sandbox_id, None)

    async def destroy_workspace(self, workspace_id: str) -> None:
        """Nothing on disk."""

    async def inventory(self) -> Mapping[str, Observed]:
        """What was asked to run."""
        return {id_: Observed(id_, workspace, running=True) for id_, workspace in self._workspaces.items()}

    async def address(self, sandbox_id: str) -> Address | None:
        """The upstream's address."""
        return Address("127.0.0.1", self._port)

    async def port_address(self, sandbox_id: str, port: int) -> Address | None:
        """Any port of this machine."""
        return Address("127.0.0.1", port)

    async def ports(self, sandbox_id: str) -> list[int]:
        """None that a benchmark asks for."""
        return []

    async def disk_bytes(self, workspace_id: str) -> int | None:
        """Nothing on disk."""
        return 0

    @asynccontextmanager
    async def logs(self, sandbox_id: str, *, follow: bool) -> AsyncIterator[AsyncIterator[bytes]]:
        """There are none."""
        raise SandboxGone("the benchmark keeps no logs")
        yield


def main() -> None:
    """Run until a signal."""
    port = int(os.environ["BENCH_UPSTREAM"])
    trio.run(run_daemon, config.load(os.environ, {}), lambda _settings, _installation: UpstreamBackend(port))


if __name__ == "__main__":
    main()
