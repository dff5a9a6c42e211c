"""The Anthropic proxy: a proxy token comes in, the operator's credentials go out, and the answer is metered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from daemon.anthropic.calls import Call, Calls
from daemon.anthropic.meter import UNKNOWN_MODEL, Meter, Usage
from daemon.anthropic.policy import (
    MAY_CALL,
    BaseUrl,
    Endpoint,
    NoToken,
    client_headers,
    find_endpoint,
    operator_credentials,
    presented_token,
    upstream_headers,
    upstream_target,
)
from daemon.anthropic.replies import error_reply
from daemon.db.database import DatabaseUnavailable
from daemon.gateway.exchange import Decision, Forward, Reply, Request
from daemon.gateway.limits import MAX_ANTHROPIC_BODY
from daemon.secret import token_hash
from protocol.messages import RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from daemon.anthropic.book import UsageBook
    from daemon.wire.exchange import Upstream, UpstreamError

log = structlog.get_logger(__name__)


class ProxyGrant(Protocol):
    """What a proxy token stands for."""

    @property
    def sandbox_id(self) -> str: ...
    @property
    def workspace_id(self) -> str: ...
    @property
    def status(self) -> str: ...


def _ignore(model: str, status: int, tokens: Mapping[str, int]) -> None:
    """Nobody counts."""


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class AnthropicSite:
    """Decides about ``/proxy/anthropic`` and everything below it. :meth:`run` is a service that goes with it.

    ``tokens`` finds the grant of a token by its hash (:func:`daemon.secret.token_hash`), and raises
    :class:`DatabaseUnavailable`. ``touch`` is told the id of a sandbox whenever it is seen to work. ``on_call`` is told
    the model, the status (0: no answer) and the tokens by kind of every call of a model that was forwarded: metrics.
    """

    def __init__(
        self,
        base: BaseUrl,
        *,
        api_key: str | None,
        auth_token: str | None,
        upstream: Upstream,
        tokens: Callable[[bytes], Awaitable[ProxyGrant | None]],
        touch: Callable[[str], None],
        usage: UsageBook,
        on_call: Callable[[str, int, Mapping[str, int]], None] = _ignore,
    ) -> None:
        self._base = base
        self._credentials = operator_credentials(api_key, auth_token)
        self._upstream = upstream
        self._tokens = tokens
        self._usage = usage
        self._on_call = on_call
        self._calls = Calls(touch)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep sandboxes awake that wait for an answer."""
        await self._calls.run(task_status=task_status)

    async def decide(self, request: Request) -> Decision:
        """See :class:`~daemon.gateway.exchange.Site`."""
        try:
            endpoint = _endpoint(request)
            grant = await self._grant(request)
            _check_length(request)
            self._check_configured()
        except _Refused as refused:
            return refused.reply
        return self._forward(request, endpoint, grant)

    async def _grant(self, request: Request) -> ProxyGrant:
        try:
            grant = await self._tokens(token_hash(presented_token(request.headers)))
        except NoToken as error:
            raise _Refused(error_reply(401, "authentication_error", str(error))) from None
        except DatabaseUnavailable:
            text = "The proxy token cannot be checked, because the server's database is away. Try again."
            raise _Refused(error_reply(503, "api_error", text, [(b"retry-after", b"2")])) from None
        if grant is None:
            text = "The token is not the proxy token of a sandbox on this server."
            raise _Refused(error_reply(401, "authentication_error", text))
        if grant.status not in MAY_CALL:
            text = f"The proxy token is refused while its sandbox is {grant.status}."
            raise _Refused(error_reply(401, "authentication_error", text))
        return grant

    def _check_configured(self) -> None:
        if not self._credentials:
            text = (
                "This server has no credentials for Anthropic: "
                "its operator must set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN."
            )
            # Clients such as opencode repeat a 503 for as long as it lasts; the text is what their users see meanwhile.
            raise _Refused(error_reply(503, "api_error", text, [(b"retry-after", b"30")]))

    def _forward(self, request: Request, endpoint: Endpoint, grant: ProxyGrant) -> Forward:
        call = self._calls.begin(grant.sandbox_id)
        head = RequestHead(
            request.method,
            upstream_target(self._base, request.target),
            upstream_headers(request.headers, self._base, self._credentials),
            request.body_length,
        )
        meter = Meter() if endpoint.metered else None
        passage = _Passage(call, meter, lambda status, usage: self._book(grant, status, usage))
        return Forward(
            self._upstream,
            head,
            _failed,
            body_limit=MAX_ANTHROPIC_BODY,
            rewrite=passage.head,
            on_up_bytes=call.passed,
            on_down_bytes=call.passed,
            on_down_data=None if meter is None else meter.feed,
            on_end=passage.end,
            revoked_by=(("proxy", grant.sandbox_id),),
        )

    def _book(self, grant: ProxyGrant, status: int, usage: Usage | None) -> None:
        if usage is None:
            self._on_call(UNKNOWN_MODEL, status, {})
            return
        self._on_call(usage.model, status, usage.tokens())
        self._usage.add(grant.workspace_id, grant.sandbox_id, usage)


class _Passage:
    """What is kept of one call while it passes. ``book`` is told at the end what a metered one cost."""

    __slots__ = ("_book", "_call", "_meter", "_status")

    def __init__(self, call: Call, meter: Meter | None, book: Callable[[int, Usage | None], None]) -> None:
        self._call = call
        self._meter = meter
        self._book = book
        self._status = 0

    def head(self, head: ResponseHead) -> ResponseHead:
        """The answer's head on its way to the sandbox."""
        self._status = head.status
        if self._meter is not None:
            self._meter.head(head.status, head.headers)
        if head.status in (401, 403):
            log.warning("anthropic refused the operator's credentials", status=head.status)
        head.headers = client_headers(head.headers)
        return head

    async def end(self) -> None:
        """The call is over, finished or cut."""
        self._call.end()
        if self._meter is not None:
            self._book(self._status, self._meter.finish())


def _endpoint(request: Request) -> Endpoint:
    endpoint = find_endpoint(request.target)
    if endpoint is None:
        text = "This proxy has /v1/messages, /v1/messages/count_tokens and /v1/models only."
        raise _Refused(error_reply(404, "not_found_error", text))
    if request.method != endpoint.method:
        text = f"Use {endpoint.method.decode()}."
        raise _Refused(error_reply(405, "invalid_request_error", text, [(b"allow", endpoint.method)]))
    return endpoint


def _check_length(request: Request) -> None:
    if (request.body_length or 0) > MAX_ANTHROPIC_BODY:
        text = f"The request body is larger than {MAX_ANTHROPIC_BODY} bytes."
        raise _Refused(error_reply(413, "request_too_large", text))


def _failed(error: UpstreamError) -> Reply:
    log.warning("anthropic upstream failed", reason=str(error))
    return error_reply(502, "api_error", "The server cannot reach Anthropic, or got no answer from it. Try again.")
