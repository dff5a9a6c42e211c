"""The daemon as it is, but for a backend whose sandboxes all are one upstream. Run it to start such a daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

from backends.base import Address, Observed
from bench.daemon import UpstreamBackend
from bench.sizing.size import Size, ident
from daemon import config, logs
from daemon.app import run_daemon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backends.base import SandboxSpec

_NAMES: Final = ("SANDBOXES", "RUNNING", "WORKSPACES")
START_SECONDS: Final = 1.0  # of a sandbox; what opencode's start costs is not the daemon's, and left out


class Crowd(UpstreamBackend):
    """All sandboxes of the installation exist, and the first ``running`` run."""

    name = "crowd"

    def __init__(self, port: int, size: Size) -> None:
        super().__init__(port)
        self.seen = {
            (id_ := ident("sandbox", number)): Observed(
                id_, ident("workspace", number % size.workspaces), running=number < size.running
            )
            for number in range(size.sandboxes)
        }

    async def inventory(self) -> Mapping[str, Observed]:
        """A list that is at hand, as that of a backend which watches."""
        return dict(self.seen)

    async def ensure_running(self, spec: SandboxSpec) -> Address:
        """It runs after a while."""
        await trio.sleep(START_SECONDS)
        self.seen[spec.id] = Observed(spec.id, spec.workspace_id, running=True)
        return await super().ensure_running(spec)

    async def pause(self, sandbox_id: str) -> None:
        """It stops at once."""
        self.end(sandbox_id)

    def end(self, sandbox_id: str) -> None:
        """It does not run any more."""
        seen = self.seen[sandbox_id]
        self.seen[sandbox_id] = Observed(sandbox_id, seen.workspace_id, running=False)


def main() -> None:
    """Run until a signal. The counts that matter here come by the environment."""
    sandboxes, running, workspaces = (int(os.environ[f"SIZING_{name}"]) for name in _NAMES)
    size = Size(sandboxes=sandboxes, running=running, workspaces=workspaces)
    backend = Crowd(int(os.environ["BENCH_UPSTREAM"]), size)
    settings = config.load(os.environ, {})
    logs.configure("json", settings.log_level, secrets=settings.secrets)  # or it would log everything, which costs
    trio.run(run_daemon, settings, lambda _settings, _installation: backend)


if __name__ == "__main__":
    main()
