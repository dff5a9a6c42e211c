"""The one relay: request body up and response down at the same time, every piece flushed at once.

What went wrong decides how it ends. Before the response head the client gets an answer (502, 400, …); after it the
connection is reset, so that a cut answer never looks like a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from daemon.gateway import limits
from daemon.gateway.client import ClientGone
from daemon.gateway.reading import BadRequest
from daemon.gateway.replies import CONTINUE, head_bytes, informational_bytes, reason, refusal
from daemon.gateway.splicing import AVAILABLE, splice
from daemon.wire.exchange import UpstreamError
from daemon.wire.limits import SWITCHED_UNSENT
from protocol.headers import Headers, end_to_end

if TYPE_CHECKING:
    from daemon.gateway.client import Client
    from daemon.gateway.exchange import Forward, Reply
    from daemon.gateway.reading import Head
    from daemon.wire.exchange import Exchange
    from protocol.messages import ResponseHead

_END_SECONDS = 5.0  # for Forward.on_end: one small transaction
# What acts on the client's state waits for the final head, which the site gets to see.
_NOT_EARLY = frozenset(
    {b"set-cookie", b"set-cookie2", b"clear-site-data", b"strict-transport-security", b"alt-svc", b"nel", b"report-to"}
)


Step = Callable[[], Awaitable[None]]


class CutOff(Exception):
    """The answer broke off after its head; the connection must be reset."""


@dataclass(slots=True)
class Outcome:
    """How a relayed request ended. ``reply``: nothing was sent yet, and this is the answer."""

    status: int = 0
    keep_alive: bool = False
    reply: Reply | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    error: UpstreamError | None = None


async def relay(client: Client, head: Head, forward: Forward, outcome: Outcome) -> None:
    """Relay one request. Raises :class:`ClientGone` and :class:`CutOff`; every other end is told by ``outcome``."""
    client.revoked_by = forward.revoked_by
    client.busy = True
    whole = False
    try:
        _check_length(head, forward.body_limit)
        async with forward.upstream.exchange() as exchange:
            await _Relay(client, head, forward, exchange, outcome).run()
        whole = True
    except BadRequest as error:
        if outcome.status:
            raise CutOff(error.detail) from error
        outcome.reply = refusal(error)
    except UpstreamError as error:
        outcome.error = error
        if outcome.status:
            raise CutOff(str(error)) from error
        outcome.reply = forward.failed(error)
    finally:
        client.writing |= outcome.status != 0 and not whole  # half an answer is out: nothing may follow it
        client.busy = False
        client.probe = b""
        client.revoked_by = ()
        if forward.on_end is not None:
            with trio.move_on_after(_END_SECONDS, shield=True):
                await forward.on_end()


def _check_length(head: Head, limit: int | None) -> None:
    if limit is not None and head.body_length is not None and head.body_length > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> BadRequest:
    return BadRequest(413, "body_too_large", f"The request body is larger than {limit} bytes.")


class _Relay:
    __slots__ = ("client", "exchange", "failure", "forward", "head", "outcome", "uploaded")

    def __init__(self, client: Client, head: Head, forward: Forward, exchange: Exchange, outcome: Outcome) -> None:
        self.client = client
        self.head = head
        self.forward = forward
        self.exchange = exchange
        self.outcome = outcome
        self.uploaded = head.body_length == 0
        self.failure: Exception | None = None

    async def run(self) -> None:
        await self.exchange.send_head(self.forward.head)
        if self.uploaded:
            await self._down()
            return
        if self.head.expects_continue and not self.client.reader.started:
            await self.client.send(CONTINUE)
        if self.head.body_length is not None and self.client.reader.remaining == 0:
            await self._up()  # the whole body is here: no second task
            await self._down()
        else:
            await self._both(self._down, self._up)
        if not self.uploaded:
            self.outcome.keep_alive = False

    async def _both(self, main: Step, other: Step) -> None:
        """Run two directions; the end of ``main`` ends both, the failure of either is raised as itself."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guarded, other, nursery.cancel_scope)
            await self._guarded(main, nursery.cancel_scope)
            nursery.cancel_scope.cancel()
        self._raise_failure()

    async def _guarded(self, step: Step, scope: trio.CancelScope) -> None:
        try:
            await step()
        except (BadRequest, ClientGone, CutOff, UpstreamError) as error:
            self.failure = self.failure or error
            scope.cancel()

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    # Up

    async def _up(self) -> None:
        try:
            await self._send_body()
        except UpstreamError:
            # It may have answered before it read everything; the answer, or its absence, is what the client gets.
            self.outcome.keep_alive = False
            return
        self.uploaded = True

    async def _send_body(self) -> None:
        limit = self.forward.body_limit
        while True:
            if self.client.reader.remaining >= limits.SPLICE_FROM and not self.client.reader.started:
                await self._splice_up()  # or not, then the rest goes the long way
            data = await self.client.next_body()
            if not data:
                break
            self._passed_up(len(data))
            if limit is not None and self.outcome.bytes_up > limit:
                raise _too_large(limit)
            await self.exchange.send_body(data)
        await self.exchange.send_end()

    def _passed_up(self, count: int) -> None:
        self.outcome.bytes_up += count
        if self.forward.on_up_bytes is not None:
            self.forward.on_up_bytes(count)

    async def _splice_up(self) -> None:
        target = self.exchange.body_target()
        if target is None or not AVAILABLE:
            return
        client = self.client

        def moved(count: int) -> None:
            client.reader.skip(count)
            self._passed_up(count)

        def turn(client_next: bool) -> None:
            silence = limits.BODY_SILENCE_SECONDS if client_next else math.inf  # a slow upstream is not its fault
            client.read_deadline = trio.current_time() + silence

        try:
            await splice(client.stream.socket, target.socket, client.reader.remaining, moved, turn)
        except EOFError:
            raise BadRequest(400, "incomplete_body", "The connection ended in the middle of the body.") from None
        except OSError as error:
            raise UpstreamError(f"broke off while we sent: {error}") from error
        finally:
            client.read_deadline = math.inf

    # Down

    async def _down(self) -> None:
        if not self.head.http10:
            self.client.probe = CONTINUE
        response = await self._final_head()
        response.headers = end_to_end(response.headers)
        if response.status == 101:
            await self._switch(self.forward.rewrite(response))
            return
        response = self.forward.rewrite(response)
        self.outcome.status = response.status
        if self.head.method == b"HEAD" or response.status in (204, 304):
            self.client.probe = b""
            await self.client.send(self._head_bytes(response, _declared(response)))
        elif response.body_length is not None:
            await self._counted_body(response, response.body_length)
        else:
            await self._open_body(response)

    async def _final_head(self) -> ResponseHead:
        for _ in range(limits.MAX_INFORMATIONAL + 1):
            response = await self.exchange.receive_head()
            if response.status >= 200:
                return response
            if response.status == 101:
                if self.head.upgrade is None:
                    raise UpstreamError("switched protocols unasked")
                return response
            if response.status != 100 and not self.head.http10:  # 100 was ours to say
                response.headers = end_to_end(response.headers, _NOT_EARLY)
                await self.client.send(informational_bytes(response))
        raise UpstreamError(f"sent more than {limits.MAX_INFORMATIONAL} informational answers")

    def _head_bytes(self, response: ResponseHead, framing: tuple[bytes, ...]) -> bytes:
        if self.client.last:
            self.outcome.keep_alive = False
        if not self.outcome.keep_alive:
            framing = (*framing, b"connection: close")
        elif self.head.http10:
            framing = (*framing, b"connection: keep-alive")
        return head_bytes(response.status, response.reason or reason(response.status), response.headers, *framing)

    async def _counted_body(self, response: ResponseHead, length: int) -> None:
        """A body of known length: the count on our side guards that the client never takes a part for the whole."""
        self.client.probe = b""
        data = self.exchange.body_here()
        out = self._head_bytes(response, (b"content-length: %d" % length,)) + data
        self._passed_down(data)
        await self.client.send(out)
        while not self.exchange.body_done:
            if await self._splice_down():
                return
            data = await self.exchange.receive_body()
            self._passed_down(data)
            await self.client.send(data)

    async def _splice_down(self) -> bool:
        source = self.exchange.take_body() if AVAILABLE and self.forward.on_down_data is None else None
        if source is None or source[1] < limits.SPLICE_FROM:
            return False
        client = self.client

        def moved(count: int) -> None:
            turn(False)  # it took something
            self.outcome.bytes_down += count
            if self.forward.on_down_bytes is not None:
                self.forward.on_down_bytes(count)

        def turn(upstream_next: bool) -> None:
            client.untaken = -1
            client.write_deadline = math.inf if upstream_next else trio.current_time() + limits.WRITE_SECONDS

        client.writing = True
        try:
            done = await splice(source[0].socket, client.stream.socket, source[1], moved, turn)
        except (EOFError, OSError) as error:
            raise CutOff(str(error)) from error
        client.writing = False
        client.write_deadline = math.inf
        if done:
            self.exchange.body_moved()
        return done

    async def _open_body(self, response: ResponseHead) -> None:
        """A body whose length nobody knows: chunked, or for HTTP/1.0 until the connection ends."""
        chunked = not self.head.http10
        if not chunked:
            self.outcome.keep_alive = False
        self.client.probe = b"0" if chunked else b""
        data = self.exchange.body_here()
        out = self._head_bytes(response, (b"transfer-encoding: chunked",) if chunked else ())
        while True:
            if data:
                self._passed_down(data)
                out += b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
            if self.exchange.body_done and chunked:
                self.client.probe = b""  # no byte may follow the end
                out += b"0\r\n\r\n"
            if out:
                await self.client.send(out)
            if self.exchange.body_done:
                return
            data = await self.exchange.receive_body()
            out = b""

    def _passed_down(self, data: bytes) -> None:
        self.outcome.bytes_down += len(data)
        if self.forward.on_down_bytes is not None:
            self.forward.on_down_bytes(len(data))
        if self.forward.on_down_data is not None:
            self.forward.on_down_data(data)

    # Raw, after 101

    async def _switch(self, response: ResponseHead) -> None:
        headers: Headers = [*response.headers, (b"connection", b"upgrade"), (b"upgrade", response.upgrade or b"")]
        self.outcome.status = 101
        self.outcome.keep_alive = False
        self.client.probe = b""
        self.client.stream.bound_unsent(SWITCHED_UNSENT)
        await self.client.send(head_bytes(101, response.reason or b"Switching Protocols", headers))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guarded, partial(self._raw_up, nursery.cancel_scope), nursery.cancel_scope)
            await self._guarded(self._raw_down, nursery.cancel_scope)
            if self.failure is None:  # the sandbox is done; the client may finish what it is saying
                nursery.cancel_scope.deadline = trio.current_time() + limits.HALF_CLOSED_SECONDS
        if isinstance(self.failure, UpstreamError):
            raise CutOff(str(self.failure)) from self.failure
        self._raise_failure()

    async def _raw_up(self, scope: trio.CancelScope) -> None:
        try:
            while data := await self.client.receive_raw():
                self._passed_up(len(data))
                await self.exchange.send_raw(data)
                if scope.deadline != math.inf:
                    scope.deadline = trio.current_time() + limits.HALF_CLOSED_SECONDS
            await self.exchange.send_raw_eof()
        except UpstreamError:
            return  # what it said before it broke is still to be delivered, and then the way down breaks too
        self.client.read_deadline = trio.current_time() + limits.HALF_CLOSED_SECONDS

    async def _raw_down(self) -> None:
        while data := await self.exchange.receive_raw():
            self._passed_down(data)
            await self.client.send(data)
            if self.client.read_deadline != math.inf:
                self.client.read_deadline = trio.current_time() + limits.HALF_CLOSED_SECONDS
        try:
            await self.client.send_eof()
        except OSError as error:
            raise ClientGone(str(error)) from error


def _declared(response: ResponseHead) -> tuple[bytes, ...]:
    """The length that a bodiless answer speaks of."""
    if response.status == 204 or response.body_length is None:
        return ()
    return (b"content-length: %d" % response.body_length,)
