"""One connection of a client, from its first request to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from daemon.gateway.client import Client, ClientGone
from daemon.gateway.exchange import Reply, Request
from daemon.gateway.origin import Networks, client_origin
from daemon.gateway.reading import BadRequest, Head
from daemon.gateway.relay import CutOff, Outcome, relay
from daemon.gateway.replies import problem, refusal, reply_bytes

if TYPE_CHECKING:
    from daemon.gateway.exchange import Site
    from daemon.wire.exchange import UpstreamError

log = structlog.get_logger(__name__)

_LAST_WORD_SECONDS = 1.0  # for an answer to a client that was too slow


class Ledger(Protocol):
    """Who is told about finished requests: metrics."""

    def finished(self, site: str, status: int, seconds: float, up: int, down: int) -> None:
        """A request was answered; ``status`` 0: it broke off before an answer."""
        ...

    def refused(self, code: str) -> None:
        """Bytes that are not a request that we take."""
        ...

    def upstream_failed(self, site: str, error: UpstreamError) -> None:
        """An upstream failed."""
        ...


@dataclass(slots=True)
class Service:
    """What all connections share. ``draining``: answers end their connections."""

    site: Site
    ledger: Ledger
    trusted: Networks
    scheme: str
    draining: bool = False
    never_trusted: Networks = ()  # where sandboxes are, whatever else is there


async def serve_connection(client: Client, service: Service) -> bool:
    """Serve requests until either side is done; true if the connection may be closed in peace, else it must be reset.

    Never raises but to be cancelled from outside.
    """
    connection = _Connection(client, service)
    clean = False
    try:
        with client.scope:
            clean = await connection.run()
        if client.timed_out and not client.writing and not client.busy:
            await connection.last_word()
            clean = True
    except ClientGone:
        pass
    except CutOff as cut:
        log.info("answer broke off", site=connection.site, reason=str(cut))
    except Exception:
        log.exception("connection failed", site=connection.site)
    return clean


class _Connection:
    __slots__ = ("client", "service", "site")

    def __init__(self, client: Client, service: Service) -> None:
        self.client = client
        self.service = service
        self.site = "none"

    async def run(self) -> bool:
        """Serve; true if the connection may be closed in peace."""
        client = self.client
        while True:
            try:
                head = await client.next_head()
            except BadRequest as error:
                self.service.ledger.refused(error.code)
                await self._answer(refusal(error), self.service.scheme, head_only=False, close=True)
                await client.linger()
                return True
            if head is None:
                return True
            if not await self._serve(head) or self.service.draining:
                return True

    async def _serve(self, head: Head) -> bool:
        """Serve one request; true if another may follow."""
        started = trio.current_time()
        request = self._request(head)
        decision = await self.service.site.decide(request)
        self.site = request.site
        keep_alive = head.keep_alive and not self.service.draining
        if isinstance(decision, Reply):
            return await self._reply(head, request, decision, keep_alive=keep_alive, started=started)
        outcome = Outcome(keep_alive=keep_alive)
        try:
            await relay(self.client, head, decision, outcome)
        finally:
            self._note(request, outcome, started)
        if outcome.reply is not None:
            return await self._reply(head, request, outcome.reply, keep_alive=outcome.keep_alive, started=started)
        if not outcome.keep_alive and not self.client.reader.body_done:
            await self.client.linger()
        return outcome.keep_alive

    def _note(self, request: Request, outcome: Outcome, started: float) -> None:
        ledger = self.service.ledger
        if outcome.error is not None:
            ledger.upstream_failed(request.site, outcome.error)
        if outcome.reply is None:
            seconds = trio.current_time() - started
            ledger.finished(request.site, outcome.status, seconds, outcome.bytes_up, outcome.bytes_down)

    def _request(self, head: Head) -> Request:
        service, client = self.service, self.client
        address, scheme = client_origin(
            head.headers, client.address, service.trusted, service.scheme, never=service.never_trusted
        )
        return Request(
            method=head.method,
            target=head.target,
            headers=head.headers,
            host=head.host,
            body_length=head.body_length,
            client_ip=address,
            client_scheme=scheme,
            http10=head.http10,
            upgrade=head.upgrade,
            local_address=client.local_address,
        )

    async def _reply(self, head: Head, request: Request, reply: Reply, *, keep_alive: bool, started: float) -> bool:
        """Answer ourselves. A body that is not here yet is not waited for: the connection ends instead."""
        reader = self.client.reader
        if head.body_length is not None and reader.remaining == 0:
            while reader.next_body():
                pass
        keep_alive = keep_alive and reader.body_done and not self.service.draining
        await self._answer(
            reply, request.client_scheme, head_only=head.method == b"HEAD", close=not keep_alive, http10=head.http10
        )
        self.service.ledger.finished(request.site, reply.status, trio.current_time() - started, 0, len(reply.body))
        if not reader.body_done:
            await self.client.linger()
        return keep_alive

    async def _answer(self, reply: Reply, scheme: str, *, head_only: bool, close: bool, http10: bool = False) -> None:
        https = scheme == "https"
        await self.client.send(reply_bytes(reply, head_only=head_only, close=close, http10=http10, https=https))

    async def last_word(self) -> None:
        """The client was too slow: tell it, if it was in the middle of saying something and heard nothing yet."""
        client = self.client
        if client.reader.body_done and not client.reader.started:
            return
        with trio.move_on_after(_LAST_WORD_SECONDS):
            late = problem(408, "request_timeout", "The request did not arrive in time.")
            await self._answer(late, self.service.scheme, head_only=False, close=True)
            await client.send_eof()
