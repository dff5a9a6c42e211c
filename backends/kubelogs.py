"""What sandboxes write, as a cluster keeps it: as long as the pod is there, without the sandbox's secrets."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from backends.base import BackendError, BackendRejected, SandboxGone
from backends.kubecluster import PODS
from backends.kubestream import pieces
from backends.logreader import plain_lines
from backends.manifests import CONTAINER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from backends.kubeboxes import Boxes
    from backends.kubecluster import Cluster
    from backends.logfile import Redactor

Manifest = dict[str, Any]

_READERS: Final = 64  # each has a thread; who comes later waits
# Of last lines, which starts and the inventory wait for: people who follow logs take them no place.
_LAST_READERS: Final = 8
_MOST_BYTES: Final = 2 * 2**20  # of what was written before: as much as other backends keep
_SILENCE: Final = 30.0  # seconds, for what is only read to its present end


class Logs:
    """Reads the output of pods."""

    def __init__(self, cluster: Cluster, boxes: Boxes) -> None:
        self._cluster = cluster
        self._boxes = boxes
        self._limiter = trio.CapacityLimiter(_READERS)
        self._last_limiter = trio.CapacityLimiter(_LAST_READERS)

    @asynccontextmanager
    async def open(self, sandbox_id: str, *, follow: bool) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
        """See :meth:`backends.base.Backend.logs`."""
        sandbox = await self._boxes.find(sandbox_id)
        pod = None if sandbox is None else await self._boxes.pod(sandbox)
        if sandbox is None or pod is None:
            raise SandboxGone("the sandbox has no pod; its output went with the last one")
        redactor = await self._boxes.redactor(sandbox)
        query = {"container": CONTAINER, **({"follow": "true"} if follow else {"limitBytes": str(_MOST_BYTES)})}
        silence = None if follow else _SILENCE
        async with (
            self._pieces(pod, query, silence, self._limiter) as found,
            aclosing(_redacted(found, redactor)) as kept,
        ):
            yield kept

    async def last_lines(self, sandbox: Manifest, pod: Manifest, count: int) -> list[str]:
        """Of its output. None if it is not to be had: a reason is worth telling without it, too."""
        query = {"container": CONTAINER, "tailLines": str(count), "limitBytes": str(_MOST_BYTES)}
        try:
            redactor = await self._boxes.redactor(sandbox)
            async with self._pieces(pod, query, _SILENCE, self._last_limiter) as found:
                data = b"".join([redactor.feed(piece) async for piece in found]) + redactor.flush()
        except BackendError:
            return []
        return plain_lines(data.splitlines(), count)

    @asynccontextmanager
    async def _pieces(
        self, pod: Manifest, query: dict[str, str], silence: float | None, limiter: trio.CapacityLimiter
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        path = PODS.path(pod["metadata"]["namespace"], pod["metadata"]["name"], "log")
        begun = False
        try:
            async with pieces(self._cluster, path, query, limiter=limiter, silence=silence) as found:
                begun = True
                yield found
        except BackendRejected as error:
            if not begun and "waiting to start" in str(error):
                raise SandboxGone("the sandbox has not written anything yet") from error
            raise


async def _redacted(found: AsyncIterator[bytes], redactor: Redactor) -> AsyncGenerator[bytes, None]:
    async for piece in found:
        if clean := redactor.feed(piece):
            yield clean
    if rest := redactor.flush():
        yield rest
