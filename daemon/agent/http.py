"""One request and its answer on a fresh connection: registration, handshake, proxy and opencode's health."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import h11

from daemon.agent.errors import Refused, shown
from daemon.wire.limits import MAX_HEAD

if TYPE_CHECKING:
    from daemon.wire.sockets import Stream

# Bytes of an answer that are looked at: ours have some hundred, an error page some thousand.
MOST_BODY: Final = 64 * 1024
_SWITCHED: Final = 101
# What a server says by these the agent says in its own words, which tell what to do on this machine.
_OUR_CODES: Final = ("invalid_code", "sandbox_not_found", "wrong_tunnel_token", "not_allowed")


class BadAnswer(Exception):
    """What came is no HTTP, or it broke off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer. ``early`` is what came behind a head that switched protocols."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    early: bytes = b""

    def header(self, name: bytes) -> str:
        """The values of a header, in one line; empty if there is none."""
        return ", ".join(value.decode("latin-1") for field, value in self.headers if field == name)

    def json(self) -> dict[str, object]:
        """The body if it is a JSON object, else an empty one."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def refused(self) -> Refused:
        """The answer as an error. Its detail is the problem's (RFC 9457), if there is one that says something new."""
        problem = self.json()
        if problem.get("code") in _OUR_CODES:
            problem = {}
        words = next((text for name in ("detail", "title") if isinstance(text := problem.get(name), str)), "")
        wait = retry_seconds(self.header(b"retry-after"), time.time())
        location = shown(self.header(b"location"))
        return Refused(self.status, shown(words).rstrip("."), retry_after=wait, location=location)


def retry_seconds(value: str, now: float) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


async def ask(stream: Stream, request: h11.Request, body: bytes = b"") -> Answer:
    """Send the request and read the answer; redirects are answers. Raises :class:`BadAnswer`, :class:`OSError`.

    The deadline is the caller's. Of a body that is too long the beginning is returned.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    data = (connection.send(request) or b"") + (connection.send(h11.Data(data=body)) or b"" if body else b"")
    await stream.send(data + (connection.send(h11.EndOfMessage()) or b""))
    try:
        return await _answer(stream, connection)
    except h11.RemoteProtocolError as error:
        raise BadAnswer(f"the answer is not HTTP/1.1 ({shown(str(error))})") from None


async def _answer(stream: Stream, connection: h11.Connection) -> Answer:
    head: h11.Response | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await stream.receive()
            if not data and head is None:
                some = connection.trailing_data[0]
                raise BadAnswer("the answer is not HTTP/1.1" if some else "the connection was closed before an answer")
            connection.receive_data(data)
        elif isinstance(event, h11.InformationalResponse) and event.status_code == _SWITCHED:
            return Answer(event.status_code, tuple(event.headers), early=connection.trailing_data[0])
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        if head is not None and (event is h11.PAUSED or isinstance(event, h11.EndOfMessage) or len(body) > MOST_BODY):
            return Answer(head.status_code, tuple(head.headers), body, connection.trailing_data[0])
