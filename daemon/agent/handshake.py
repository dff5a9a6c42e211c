"""The WebSocket handshake of the tunnel (RFC 6455, section 4.1). The token travels in a header only."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import h11
import trio

from daemon.agent.errors import Trouble
from daemon.version import version
from protocol.websocket import SUBPROTOCOL_V2, accept_token

if TYPE_CHECKING:
    from daemon.agent.credentials import Registration
    from daemon.agent.dial import Dialer
    from daemon.agent.http import Answer
    from daemon.wire.sockets import Stream

USER_AGENT: Final = f"cli-server-agent/{version()}"
_SWITCHED: Final = 101


@dataclass(frozen=True, slots=True)
class Dialed:
    """A WebSocket that is established. ``early`` came behind the server's head; ``version`` is the tunnel's.

    ``leaving`` is set when the server says that it shuts down; what is open goes on then.
    """

    stream: Stream
    early: bytes
    version: int
    leaving: trio.Event = field(default_factory=trio.Event)


async def open_tunnel(dialer: Dialer, registration: Registration) -> Dialed:
    """Connect and shake hands; the stream is the caller's.

    Raises :class:`~daemon.agent.errors.Refused` for an answer other than 101, and :class:`Trouble`.
    """
    key = b64encode(os.urandom(16))
    answer, stream = await dialer.open(request_head(dialer.server.authority, registration, key))
    try:
        if answer.status != _SWITCHED:
            raise answer.refused()
        return Dialed(stream, answer.early, check_answer(answer, key, dialer.server.url))
    except BaseException:
        stream.close()
        raise


def request_head(authority: str, registration: Registration, key: bytes) -> h11.Request:
    """The request. ``key`` is the handshake's nonce, in base64."""
    return h11.Request(
        method="GET",
        target=f"/api/tunnel/{registration.sandbox_id}",
        headers=[
            (b"Host", authority.encode()),
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", key),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Protocol", SUBPROTOCOL_V2.encode()),
            (b"Authorization", b"Bearer " + registration.tunnel_token.encode()),
            (b"User-Agent", USER_AGENT.encode()),
        ],
    )


def check_answer(answer: Answer, key: bytes, url: str) -> int:
    """The tunnel's version that a 101 chooses. Raises :class:`Trouble` if it is no answer to our handshake."""
    words = {word.strip() for word in answer.header(b"connection").lower().split(",")}
    if answer.header(b"upgrade").lower() != "websocket" or "upgrade" not in words:
        raise Trouble(f"{url} switched to something that is no WebSocket; a proxy before it may be the cause")
    if answer.header(b"sec-websocket-accept") != accept_token(key).decode():
        raise Trouble(f"{url} answered a handshake that is not ours; a cache before it may have kept the answer")
    chosen = answer.header(b"sec-websocket-protocol")
    if answer.header(b"sec-websocket-extensions") or chosen not in ("", SUBPROTOCOL_V2):
        raise Trouble(f"{url} chose something that the agent did not offer; is it a cli-server?")
    return 2 if chosen else 1
