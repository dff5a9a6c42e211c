"""``GET /api/tunnel/{sandboxId}``: who may come in, and the server's end of the WebSocket behind it.

The gateway relays an upgraded connection to an upstream in any case; here the upstream is the link itself. So a tunnel
has the gateway's deadlines, limits and ways to be cut like every other connection.
"""

from __future__ import annotations

import hmac
import math
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import trio

from daemon.gateway.exchange import Decision, Forward, Reply, Request
from daemon.gateway.replies import problem
from daemon.sandboxes.status import DELETING
from daemon.secret import token_hash
from daemon.store.refusals import Refusal
from daemon.store.tunnels import find_tunnel, next_order
from daemon.tunnel.pace import Pace
from daemon.tunnel.registry import Tunnel, Tunnels
from daemon.version import version
from daemon.wire.exchange import NotMovable, UpstreamError
from daemon.wire.link import ServerLink
from protocol.headers import tokens
from protocol.messages import RequestHead, ResponseHead
from protocol.websocket import SUBPROTOCOL_V2, accept_token, is_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.db.database import Connection, Database
    from daemon.refusals import Refusals
    from daemon.store.tunnels import Tunnel as Registered

PREFIX: Final = b"/api/tunnel/"
_BEARER: Final = re.compile(rb"[Bb]earer +([!-~]+)")
_LAST_WORD_SECONDS: Final = 2.0  # for the other end to take our closing frame and answer it
SOFTWARE: Final = f"cli-server/{version()}"


class TunnelSite:
    """Decides about requests for the tunnel's endpoint. See :class:`~daemon.gateway.exchange.Site`."""

    def __init__(self, db: Database, tunnels: Tunnels, refusals: Refusals) -> None:
        self._db = db
        self._tunnels = tunnels
        self._refusals = refusals
        self._pace = Pace()

    async def decide(self, request: Request) -> Decision:
        """Let an agent in, or say why not."""
        request.site = "tunnel"
        refused = _not_a_handshake(request)
        if refused is not None:
            return refused
        sandbox_id = request.path[len(PREFIX) :].decode("ascii")
        token = _token(request)
        found, order = await self._db.run(_look_up, sandbox_id)
        if found is None or found.status == DELETING:
            return problem(404, "sandbox_not_found", "There is no such machine here; it was removed. Connect it anew.")
        hashed = token_hash(token)
        if not token or not hmac.compare_digest(hashed, found.token_hash):
            await self._note(request, sandbox_id, "wrong tunnel token")
            return problem(401, "wrong_tunnel_token", "The tunnel token is not this machine's. Connect it anew.")
        if not found.allowed:
            await self._note(request, sandbox_id, "whoever registered the machine may not connect machines any more")
            text = "Whoever registered this machine may not connect machines to the workspace any more."
            return problem(403, "not_allowed", text)
        wait = self._pace.wait(sandbox_id, trio.current_time())
        if wait:
            text = "This machine connects too often; is its registration used by two agents? Try again later."
            return problem(429, "too_many_connections", text, [(b"retry-after", b"%d" % math.ceil(wait))])
        if self._tunnels.closing:
            text = "This server is about to restart. Connect anew; another replica answers, or this one in a moment."
            return problem(503, "shutting_down", text, [(b"retry-after", b"1")])
        answer = _answer(request)
        chosen = any(name == b"sec-websocket-protocol" for name, _ in answer.headers)
        tunnel = Tunnel(sandbox_id, found.workspace_id, hashed, ServerLink(2 if chosen else 1, SOFTWARE), order=order)
        head = RequestHead(request.method, request.target, [], 0, request.upgrade)
        door = _Door(self._tunnels, tunnel, answer)
        return Forward(door, head, _broke, revoked_by=(("tunnel", tunnel.connection_id),))

    async def _note(self, request: Request, sandbox_id: str, reason: str) -> None:
        await self._refusals.note(Refusal("tunnel.refused", reason, ip=request.client_ip, sandbox_id=sandbox_id))


def _look_up(conn: Connection, sandbox_id: str) -> tuple[Registered | None, int]:
    """The registration, and the place of this connection among all of them."""
    found = find_tunnel(conn, sandbox_id)
    return found, 0 if found is None else next_order(conn)


def _broke(error: UpstreamError) -> Reply:
    return problem(503, "tunnel_unavailable", "The tunnel cannot be opened now. Try again in a few seconds.")


def _not_a_handshake(request: Request) -> Reply | None:
    """The answer to what is no WebSocket handshake, or comes from a web page."""
    wants = request.upgrade is not None and b"websocket" in tokens([request.upgrade])
    if request.method != b"GET" or not wants or request.get(b"sec-websocket-version") != b"13":
        headers = [(b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"sec-websocket-version", b"13")]
        return problem(426, "upgrade_required", "This address takes WebSocket connections of agents only.", headers)
    if not is_key(request.get(b"sec-websocket-key") or b""):
        return problem(400, "bad_handshake", "Sec-WebSocket-Key is missing or malformed.")
    if request.get(b"origin") is not None:
        return problem(403, "foreign_origin", "Agents connect here, not web pages.")
    return None


def _token(request: Request) -> str:
    """From the header, or for older agents from the query."""
    given = request.get(b"authorization")
    match = _BEARER.fullmatch(given) if given is not None else None
    if match is not None:
        return match[1].decode("ascii")
    values = parse_qs(request.query.decode("ascii")).get("token", [])
    return values[0] if given is None and len(values) == 1 else ""


def _answer(request: Request) -> ResponseHead:
    """The 101. Version 2 wherever it is offered; no extension ever."""
    headers = [(b"sec-websocket-accept", accept_token(request.get(b"sec-websocket-key") or b""))]
    if SUBPROTOCOL_V2.encode() in tokens(request.get_all(b"sec-websocket-protocol")):
        headers.append((b"sec-websocket-protocol", SUBPROTOCOL_V2.encode()))
    return ResponseHead(101, b"Switching Protocols", headers, 0, b"websocket")


@dataclass(frozen=True, slots=True)
class _Door:
    """An upstream whose one exchange is the link. See :class:`~daemon.wire.exchange.Upstream`."""

    tunnels: Tunnels
    tunnel: Tunnel
    answer: ResponseHead

    @asynccontextmanager
    async def exchange(self) -> AsyncIterator[_Entrance]:
        """One connection of the agent, from its 101 to its end."""
        self.tunnels.attach(self.tunnel)
        try:
            yield _Entrance(self.tunnels, self.tunnel, self.answer)
        finally:
            self.tunnel.link.lost("the connection to the agent broke")
            self.tunnels.detach(self.tunnel)


class _Entrance(NotMovable):
    """The link as an exchange: what the agent sends goes in raw, what it gets comes out."""

    body_done = True

    def __init__(self, tunnels: Tunnels, tunnel: Tunnel, answer: ResponseHead) -> None:
        self._tunnels = tunnels
        self._tunnel = tunnel
        self._link = tunnel.link
        self._answer = answer
        self._switched = False

    async def send_head(self, head: RequestHead) -> None:
        """The handshake was read already."""

    async def send_body(self, data: bytes) -> None:
        """A handshake has none."""

    async def send_end(self) -> None:
        """A handshake has no body."""

    async def receive_head(self) -> ResponseHead:
        """The 101."""
        return self._answer

    async def receive_body(self) -> bytes:
        """A 101 has none."""
        return b""

    def body_here(self) -> bytes:
        """A 101 has none."""
        return b""

    async def send_raw(self, data: bytes) -> None:
        """Bytes of the agent. They are dealt with as they come, but for an older agent that is to be slowed down.

        What comes after the end is dropped: the agent's own end is waited for.
        """
        await self._link.receive(data)
        self._tunnels.heard(self._tunnel)
        if self._link.crowded:
            await self._link.relieve()

    async def send_raw_eof(self) -> None:
        """The agent sends no more."""
        self._link.lost("the agent closed the connection")

    async def receive_raw(self) -> bytes:
        """Bytes for the agent. The first are asked for when the 101 is out, so from then on the link can be used."""
        if not self._switched:
            self._switched = True
            self._tunnels.heard(self._tunnel)
        data = await self._link.outgoing()
        if data:
            return data
        with trio.move_on_after(_LAST_WORD_SECONDS):
            await self._link.parted.wait()
            return b""
        raise UpstreamError(str(self._link.failure))
