"""Asks an opencode whether it is there."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import h11
import trio

if TYPE_CHECKING:
    from backends.base import Address

# A healthy opencode answers in milliseconds. One that is just starting may take a request and never answer it (seen
# with 1.18.33), so an attempt is given up soon and made again on a new connection: the first ones very soon, since a
# person waits, later ones with the patience that a busy machine needs.
_ATTEMPT_SECONDS = 2.0
_FIRST_ATTEMPT_SECONDS = 0.25
_FIRST_ATTEMPTS = 16  # some 8 s with the pauses between them
_BODY_BYTES = 65536  # the answer has 40; unknown paths bring a web page
_READ_BYTES = 16384


def patience(attempt: int) -> float:
    """Seconds for the attempt of this number, from 0, while opencode starts."""
    return _FIRST_ATTEMPT_SECONDS if attempt < _FIRST_ATTEMPTS else _ATTEMPT_SECONDS


async def is_healthy(address: Address, password: str, seconds: float = _ATTEMPT_SECONDS) -> bool:
    """Whether opencode at ``address`` says that it is healthy, to a caller with ``password``.

    A status of 200 proves nothing (opencode answers unknown paths with its web page): the body must say so. The
    caller has made sure that ``address`` belongs to the sandbox, for the password is sent there.
    """
    basic = base64.b64encode(f"opencode:{password}".encode()).decode()
    headers = [("Host", "localhost"), ("Authorization", f"Basic {basic}"), ("Connection", "close")]
    request = h11.Request(method="GET", target="/global/health", headers=headers)
    with trio.move_on_after(seconds):
        try:
            async with await trio.open_tcp_stream(address.host, address.port) as stream:
                return _says_healthy(await _ask(stream, request))
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
            return False
    return False


async def _ask(stream: trio.SocketStream, request: h11.Request) -> bytes:
    """The body of the answer if it has status 200 and is of sensible size, else nothing."""
    connection = h11.Connection(h11.CLIENT)
    await stream.send_all((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_READ_BYTES))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            return b""
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_BYTES:
                return b""
        elif isinstance(event, h11.EndOfMessage):
            return body
        elif isinstance(event, h11.ConnectionClosed):
            return b""


def _says_healthy(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # the latter by a body of nothing but brackets
        return False
    return isinstance(answer, dict) and answer.get("healthy") is True
