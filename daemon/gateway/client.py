"""The client's side of one connection: its socket, its requests, its deadlines, and whether it is still there.

A client that closed its sending side may wait for its answer or be gone; the socket looks the same. We ask it with
bytes that mean nothing to one that waits: before the head ``100 Continue``, in a chunked body a ``0``, which is a
leading zero of the next chunk's size. One that is gone answers with a reset.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import trio

from daemon.gateway import limits
from daemon.gateway.kernel import untaken
from daemon.gateway.reading import BadRequest, Head, RequestReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.wire.sockets import SocketStream


class ClientGone(Exception):
    """The client closed or broke its connection; nobody reads an answer."""


class Client:
    """One connection of a client. Deadlines are Trio times; :class:`~daemon.gateway.watch.Watch` enforces them."""

    __slots__ = (
        "address",
        "busy",
        "fresh",
        "last",
        "local_address",
        "probe",
        "read_deadline",
        "reader",
        "revoked_by",
        "said_all",
        "scope",
        "stream",
        "timed_out",
        "untaken",
        "write_deadline",
        "writing",
    )

    def __init__(self, stream: SocketStream, address: str, local_address: str) -> None:
        self.stream = stream
        self.reader = RequestReader()
        self.scope = trio.CancelScope()
        self.address = address
        self.local_address = local_address
        self.read_deadline = math.inf
        self.write_deadline = math.inf
        self.timed_out = False
        self.untaken = -1  # bytes that the kernel still held for the client when a write was late; -1: none was
        self.writing = False
        self.busy = False  # an exchange is under way
        self.fresh = True  # no request of it came yet
        self.last = False  # the answer that is on its way is the last one
        self.said_all = False  # we closed our side
        self.probe = b""
        self.revoked_by: Sequence[tuple[str, ...]] = ()

    def overdue(self, now: float) -> bool:
        """Whether a deadline passed. A client that only takes slowly what the kernel holds for it gets its time anew.

        The kernel holds megabytes, and takes more only when a third of them is gone: on a slow link that is minutes.
        """
        if self.read_deadline <= now:
            return True
        if self.write_deadline > now:
            return False
        before, self.untaken = self.untaken, untaken(self.stream.socket)
        self.write_deadline = now + limits.WRITE_SECONDS
        return before == self.untaken

    @property
    def idle(self) -> bool:
        """Whether it waits for a request of which nothing is here yet."""
        return self.read_deadline < math.inf and not self.busy and not self.reader.started

    @property
    def waits(self) -> bool:
        """Whether it waits for a request of which at most a part is here, and may be asked to leave."""
        return self.read_deadline < math.inf and not self.busy and self.reader.body_done and not self.timed_out

    def expire(self) -> None:
        """End the connection: its time is over. If it is idle, in peace."""
        self.timed_out = True
        self.scope.cancel()

    async def _receive(self, silence: float, *, later: bool = False) -> bytes:
        self.read_deadline = trio.current_time() + silence
        try:
            return await (self.stream.receive_later() if later else self.stream.receive())
        except OSError as error:
            raise ClientGone(str(error)) from error
        finally:
            self.read_deadline = math.inf

    async def next_head(self) -> Head | None:
        """The next request, or ``None`` when the client is done. Raises :class:`BadRequest`, :class:`ClientGone`."""
        silence = limits.KEEP_ALIVE_SECONDS
        begun = math.inf
        while True:
            head = self.reader.next_head()
            if head is not None:
                self.fresh = False
                return head
            if self.reader.started:
                begun = min(begun, trio.current_time() + limits.HEAD_SECONDS)
                silence = begun - trio.current_time()
            data = await self._receive(silence, later=True)
            if not data:
                if self.reader.started:
                    raise BadRequest(400, "incomplete_request", "The connection ended in the middle of a request head.")
                return None
            self.reader.feed(data)

    async def next_body(self) -> bytes:
        """The next piece of the request body; empty at its end. Raises :class:`BadRequest`, :class:`ClientGone`."""
        while True:
            data = self.reader.next_body()
            if data is not None:
                return data
            received = await self._receive(limits.BODY_SILENCE_SECONDS)
            if not received:
                raise BadRequest(400, "incomplete_body", "The connection ended in the middle of the request body.")
            self.reader.feed(received)

    async def receive_raw(self) -> bytes:
        """After 101: bytes from the client; empty at its end."""
        try:
            return self.reader.take_rest() or await self.stream.receive()
        except OSError as error:
            raise ClientGone(str(error)) from error

    async def send(self, data: bytes) -> None:
        """Send bytes to the client within the write deadline. Raises :class:`ClientGone`."""
        self.writing = True
        self.untaken = -1
        self.write_deadline = trio.current_time() + limits.WRITE_SECONDS
        try:
            await self.stream.send(data)
        except OSError as error:
            raise ClientGone(str(error)) from error
        self.write_deadline = math.inf
        self.writing = False  # after an error or a cancellation it stays set: half a message is out, nothing may follow

    async def send_eof(self) -> None:
        """Say that nothing more comes. Raises :class:`OSError`."""
        self.said_all = True
        await self.stream.send_eof()

    def ask_whether_there(self) -> bool:
        """Send the probe, if one is legal at this moment; whether it was."""
        if not self.busy or not self.probe or self.writing:
            return False
        try:
            self.writing = self.stream.socket.send(self.probe) < len(self.probe)
        except BlockingIOError:
            return False  # the client reads nothing now; later then
        except OSError:
            self.writing = True
        if self.writing:  # it is gone, or half of the probe is out
            self.scope.cancel()
        self.probe = self.probe if self.probe == b"0" else b""
        return True

    async def linger(self) -> None:
        """Say that we are done, and read on for a moment so that the client sees our answer instead of a reset."""
        with contextlib.suppress(OSError), trio.move_on_after(limits.LINGER_SECONDS):
            await self.send_eof()
            left = limits.LINGER_BYTES
            while left > 0:
                data = await self.stream.receive()
                if not data:
                    break
                left -= len(data)
