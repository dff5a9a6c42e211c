"""What happens on an established tunnel: its link between the socket and the requests."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

import trio

from daemon.agent.requests import Requests
from daemon.agent.serving import Ending, SessionEnded
from daemon.version import version
from daemon.wire.limits import SWITCHED_UNSENT
from daemon.wire.link import AgentLink
from protocol.liveness import TICK_SECONDS

if TYPE_CHECKING:
    from daemon.agent.handshake import Dialed
    from daemon.agent.opencode import Local
    from daemon.agent.serving import Serve
    from daemon.wire.streams import LinkBroken, LinkStream
    from protocol.messages import RequestHead

_LAST_WORD_SECONDS: Final = 2.0  # for our closing frame to go out, and the server's to come
_ENDINGS: Final = {"shutdown": Ending.SHUTDOWN, "replaced": Ending.REPLACED, "removed": Ending.REMOVED}


def machine() -> dict[str, str]:
    """What the agent says of its machine. For people, to tell their machines apart."""
    said = {
        "hostname": platform.node(),
        "os": f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "agentVersion": version(),
    }
    return {name: value for name, value in said.items() if value}


def make_serve(local: Local, draining: trio.Event) -> Serve:
    """See :data:`~daemon.agent.serving.MakeServe`."""

    async def serve(dialed: Dialed) -> None:
        await _Tunnel(dialed, local, draining).run()

    return serve


class _Tunnel:
    """One connection. Reader, writer, clock and one task for each request."""

    def __init__(self, dialed: Dialed, local: Local, draining: trio.Event) -> None:
        self._stream = dialed.stream
        self._stream.bound_unsent(SWITCHED_UNSENT)
        self._early = dialed.early
        self._draining = draining
        self._requests = Requests(local)
        self._link = AgentLink(dialed.version, f"cli-server-agent/{version()}", machine(), self._opened)
        self._link.on_farewell = dialed.leaving.set
        self._nursery: trio.Nursery | None = None
        self._closed = trio.Event()  # nothing more comes
        self._written = trio.Event()  # nothing more goes

    async def run(self) -> None:
        """Until the tunnel is over. Raises :class:`SessionEnded` unless it was us who drained."""
        try:
            async with trio.open_nursery() as connection:
                connection.start_soon(self._read)
                connection.start_soon(self._write, connection.cancel_scope)
                connection.start_soon(self._tick)
                connection.start_soon(self._drain)
                async with trio.open_nursery() as self._nursery:
                    await self._link.over.wait()
                    # Their streams are broken, so each ends by itself; none can be waited for long.
                    self._nursery.cancel_scope.deadline = trio.current_time() + _LAST_WORD_SECONDS
                if self._draining.is_set() and not self._closed.is_set():
                    # The tail of the last answers may be on a slow way. The deadline of draining is around all of it.
                    await self._written.wait()
                with trio.move_on_after(_LAST_WORD_SECONDS):
                    await self._closed.wait()
                connection.cancel_scope.cancel()
        finally:
            self._link.lost("the agent ends")
            self._requests.close()
        if not self._draining.is_set():
            raise _ended(self._link.failure)

    def _opened(self, stream: LinkStream, head: RequestHead) -> None:
        assert self._nursery is not None  # opened before any other task runs
        self._nursery.start_soon(self._requests.serve, self._link, stream, head, name="request")

    async def _read(self) -> None:
        await self._link.receive(self._early)
        try:
            while data := await self._stream.receive():
                await self._link.receive(data)
        except OSError as error:
            self._link.lost(f"the connection broke: {error}")
        else:
            self._link.lost("the server closed the connection")
        self._closed.set()

    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            while data := await self._link.outgoing():
                await self._stream.send(data)
            await self._stream.send_eof()
            self._written.set()
        except OSError as error:
            self._link.lost(f"the connection broke: {error}")
            scope.cancel()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            self._link.tick()
            self._requests.prune()
            if self._link.idle.is_set():
                self._link.end("shutdown", "the agent ends")

    async def _drain(self) -> None:
        await self._draining.wait()
        self._link.shut_down("the agent ends")
        await self._link.idle.wait()
        self._link.end("shutdown", "the agent ends")


def _ended(failure: LinkBroken) -> SessionEnded:
    return SessionEnded(str(failure), _ENDINGS.get(failure.code, Ending.LOST))
