"""Asks opencode whether it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from backends.base import BackendError
from daemon.sandboxes.idle import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.base import Backend
    from daemon.store.sandboxes import SandboxRow

SECONDS = 5.0


class Probe:
    """Reads ``GET /session/status``."""

    def __init__(self, backend: Backend, password: Callable[[SandboxRow], str]) -> None:
        self._backend = backend
        self._password = password

    async def __call__(self, row: SandboxRow) -> Work:
        """What opencode of this sandbox says of itself."""
        try:
            address = await self._backend.address(row.id)
            if address is None:
                return Work.UNKNOWN
            auth = ("opencode", self._password(row))
            base = f"http://{address.host}:{address.port}"
            async with httpx.AsyncClient(auth=auth, timeout=SECONDS, trust_env=False, base_url=base) as client:
                answer = await client.get("/session/status")
                found = answer.json()
        except (BackendError, httpx.HTTPError, ValueError):
            return Work.UNKNOWN
        busy = any(status.get("type") != "idle" for status in found.values())
        return Work.BUSY if busy else Work.IDLE
