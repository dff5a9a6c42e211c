"""A stand-in for an opencode on somebody's machine, as far as a tunnel is concerned: HTTP/1.1 that can do everything.

Bodies have the content of :mod:`tests.standins.content`, so that a test checks hundreds of megabytes by their hash.

| path | what it does |
| --- | --- |
| ``/bytes/SIZE`` | so many bytes, counted, or with ``?chunked=1`` in chunks; of this ``seed``, in pieces of ``piece`` |
| ``/hash`` | length, SHA-256 and head of the request, as JSON |
| ``/echo`` | the request's body as it comes, framed like the request |
| ``/cookies`` | two ``Set-Cookie`` and a header of its own three times |
| ``/status/CODE`` | that status; with ``?hints=N`` after so many 103 |
| ``/redirect?to=`` | 302 |
| ``/events`` | server-sent events, which ``POST /__event`` with a text sends, and :meth:`HttpLocal.event` |
| ``/never`` | reads the request and says nothing |
| ``/gate/NAME`` | answers once ``POST /__release/NAME`` came, or :meth:`HttpLocal.release` |
| ``/unread/NAME`` | reads no byte of the body before that, then is like ``/hash`` |
| ``/early`` | answers 413 before the body, which it then reads and drops |
| ``/break/SIZE/AFTER`` | promises SIZE bytes (``chunked=1``: chunks), sends AFTER (-1: not even a head), breaks off |
| | (``how=reset`` or ``close``) |
| ``/ws``, ``/ws/…``, ``/half/…`` | upgrades: :mod:`tests.standins.http_local_upgrades` |
| ``/global/health`` | what opencode says; an agent asks by itself when it likes, which is no visit |
| ``/__state`` | open requests, those of the past and how they ended, and violations, as JSON |

What it does not do: it is no opencode, has no pages, no sessions and no TLS, compresses nothing, and times nothing out.

    python -m tests.standins.http_local --port 0

prints its URL. In a test it is a Trio service::

    local = HttpLocal()
    await nursery.start(local.serve)
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import struct
import sys
import time
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from tests.standins.content import PIECE, pieces
from tests.standins.http_local_reader import Reader
from tests.standins.http_local_upgrades import upgraded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Headers = list[tuple[str, str]]

_KEPT: Final = 10_000  # visits that are remembered, so that a benchmark does not fill the memory
_TEXT: Final = 200  # bytes of a body that are kept, to be told from others and for commands
_SHOWN: Final = 200  # visits in /__state
_BREAKS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, EOFError)
_ABORT: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset


@dataclass
class Visit:
    """One request. ``end``: ``whole``, ``left`` (the client did), ``broken`` (we did, on purpose), empty while open."""

    method: str
    target: str
    headers: Headers
    received: int = 0  # bytes of body
    sha256: str = ""  # of that body, once it was read
    text: str = ""  # its beginning
    sent: int = 0  # bytes of body
    end: str = ""
    close_code: int | None = None  # of the client's WebSocket
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def get(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def path(self) -> list[str]:
        """The segments of its path."""
        return urlsplit(self.target).path.strip("/").split("/")

    def query(self, name: str, default: str = "") -> str:
        """The first value of a parameter."""
        return parse_qs(urlsplit(self.target).query).get(name, [default])[0]


class HttpLocal:
    """The service.

    ``visits`` has the requests in the order of arrival, but for an agent's looks at its health; ``violations`` what was
    no HTTP.
    """

    def __init__(self, password: str | None = None) -> None:
        """With a password, only ``Basic opencode:password`` is let in."""
        self.visits: deque[Visit] = deque(maxlen=_KEPT)
        self.violations: list[str] = []
        self.connections = 0  # open now
        self.port = 0
        self.credentials = password and f"Basic {base64.b64encode(f'opencode:{password}'.encode()).decode()}"
        self._gates: defaultdict[str, trio.Event] = defaultdict(trio.Event)
        self._events: set[trio.MemorySendChannel[str]] = set()
        self._news = trio.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> list[Visit]:
        """Requests that have not ended."""
        return [visit for visit in self.visits if not visit.end]

    @property
    def left(self) -> list[Visit]:
        """Requests whose client left before their end."""
        return [visit for visit in self.visits if visit.end == "left"]

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition on what was seen holds. It is looked at when a request comes, moves or ends."""
        while not condition():
            await self._news.wait()

    def changed(self) -> None:
        """Something happened that :meth:`wait_until` may wait for."""
        self._news.set()
        self._news = trio.Event()

    def release(self, name: str) -> None:
        """Let requests of this gate go on, now and later."""
        self._gates[name].set()

    async def released(self, name: str) -> None:
        """Wait at a gate."""
        await self._gates[name].wait()

    def event(self, text: str) -> int:
        """Send an event on every stream of them that is open; how many there are."""
        for channel in self._events:
            channel.send_nowait(text)
        return len(self._events)

    def subscribe(self) -> tuple[trio.MemorySendChannel[str], trio.MemoryReceiveChannel[str]]:
        """A stream of events begins."""
        send, receive = trio.open_memory_channel[str](1000)
        self._events.add(send)
        self.changed()
        return send, receive

    def unsubscribe(self, channel: trio.MemorySendChannel[str]) -> None:
        """It ends."""
        self._events.discard(channel)

    def state(self) -> dict[str, Any]:
        """What ``/__state`` says."""
        shown = [asdict(visit) for visit in list(self.visits)[-_SHOWN:]]
        counts = {"open": len(self.open), "left": len(self.left), "connections": self.connections}
        return counts | {"now": time.monotonic(), "visits": shown, "violations": self.violations}

    async def serve(
        self, port: int = 0, host: str = "127.0.0.1", *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve for ever; started with its URL."""
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=1024)
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started(self.url)
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            await _Conversation(self, stream).run()
        except _BREAKS:
            pass
        except h11.RemoteProtocolError as error:
            self.violations.append(str(error))
        finally:
            self.connections -= 1
            self.changed()
            await trio.aclose_forcefully(stream)


class _Broken(Exception):
    """The connection was broken off on purpose."""


class _Conversation:
    """One connection."""

    def __init__(self, local: HttpLocal, stream: trio.SocketStream) -> None:
        self._local = local
        self._stream = stream
        self._reader = Reader(stream)

    async def run(self) -> None:
        """Answer one request after the other."""
        while (request := await self._reader.request()) is not None:
            headers = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
            visit = Visit(request.method.decode(), request.target.decode(), headers)
            if visit.target != "/global/health" or visit.get("x-forwarded-host") is not None:
                self._local.visits.append(visit)
            self._local.changed()
            try:
                await self._answer(visit)
                visit.end = "whole"
            except (*_BREAKS, h11.RemoteProtocolError):
                visit.end = "left"
                raise
            except _Broken:
                visit.end = "broken"
                return
            finally:
                visit.end = visit.end or "left"  # cancelled with the whole service
                visit.ended = time.monotonic()
                self._local.changed()
            if visit.get("upgrade") is not None or (visit.get("connection") or "").lower() == "close":
                return

    async def _answer(self, visit: Visit) -> None:
        first = visit.path[0]
        if self._local.credentials and visit.get("authorization") != self._local.credentials:
            return await self._json(visit, 401, {"error": "who is there?"}, [("www-authenticate", "Basic")])
        if first in ("ws", "half") and visit.get("upgrade") is not None:
            local = self._local
            return await upgraded(visit, self._stream, self._reader, local.changed, local.released)
        if first in ("echo", "unread", "early"):
            return await {"echo": self._echo, "unread": self._unread, "early": self._early}[first](visit)
        await self._absorb(visit)
        plain = {
            "bytes": self._bytes,
            "hash": self._hash,
            "cookies": self._cookies,
            "status": self._status,
            "redirect": self._redirect,
            "break": self._break,
            "global": self._health,
            "__state": self._state,
            "__event": self._command,
            "__release": self._command,
        }
        waiting = {"events": self._events, "never": self._never, "gate": self._gate}
        if first in waiting:
            return await self._watched(visit, waiting[first])
        await plain.get(first, self._unknown)(visit)

    async def _absorb(self, visit: Visit) -> None:
        """Read the body."""
        while piece := await self._reader.piece():
            visit.text = visit.text or bytes(piece[:_TEXT]).decode("latin-1")
            visit.received += len(piece)
            self._local.changed()
        visit.sha256 = self._reader.sha256

    async def _watched(self, visit: Visit, answer: Callable[[Visit], Awaitable[None]]) -> None:
        """Answer what takes long, while looking whether the client leaves."""
        answered = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            with suppress(*_BREAKS):
                await answer(visit)
                answered = True
            nursery.cancel_scope.cancel()
        if not answered:
            raise EOFError

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self._reader.until_closed()
        scope.cancel()

    # What is sent

    async def _head(self, visit: Visit, status: int, headers: Headers, *, length: int | None = None) -> None:
        """A head; without a length the body is chunked, or there is none where there must be none."""
        if length is not None:
            headers = [*headers, ("content-length", str(length))]
        elif status >= 200 and status not in (204, 304):
            headers = [*headers, ("transfer-encoding", "chunked")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        await self._stream.send_all(f"HTTP/1.1 {status} Stand-In\r\n{lines}\r\n".encode("latin-1"))

    async def _body(self, visit: Visit, data: bytes | memoryview, *, chunked: bool = False, last: bool = False) -> None:
        """A piece of the body; of an answer to HEAD nothing."""
        if visit.method == "HEAD":
            return
        if chunked:
            end = b"\r\n0\r\n\r\n" if last and data else b"0\r\n\r\n" if last else b"\r\n"
            await self._stream.send_all(b"".join((b"%x\r\n" % len(data) if data else b"", data, end)))
        else:
            await self._stream.send_all(data)
        visit.sent += len(data)

    async def _json(self, visit: Visit, status: int, value: object, headers: Headers | None = None) -> None:
        body = json.dumps(value).encode()
        head = [("content-type", "application/json"), *(headers or [])]
        await self._head(visit, status, head, length=len(body))
        await self._body(visit, body)

    async def _bytes(self, visit: Visit) -> None:
        size, chunked = int(visit.path[1]), visit.query("chunked") == "1"
        kind = [("content-type", "application/octet-stream")]
        await self._head(visit, 200, kind, length=None if chunked else size)
        most = int(visit.query("piece", str(PIECE)))
        for piece in pieces(size, seed=int(visit.query("seed", "0")), most=most):
            await self._body(visit, piece, chunked=chunked)
        if chunked:
            await self._body(visit, b"", chunked=True, last=True)

    async def _hash(self, visit: Visit) -> None:
        await self._json(visit, 200, asdict(visit))

    async def _cookies(self, visit: Visit) -> None:
        cookies = [("Set-Cookie", "first=1; Path=/"), ("Set-Cookie", "second=2; Path=/")]
        await self._json(visit, 200, {}, [*cookies, ("x-thrice", "a"), ("x-thrice", "b, c"), ("X-Thrice", "d")])

    async def _status(self, visit: Visit) -> None:
        for _ in range(int(visit.query("hints", "0"))):
            await self._head(visit, 103, [("link", "</style.css>; rel=preload")])
        status = int(visit.path[1])
        if status in (204, 304):
            await self._head(visit, status, [("etag", '"same"')])
        else:
            await self._json(visit, status, {"status": status})

    async def _redirect(self, visit: Visit) -> None:
        await self._json(visit, 302, {}, [("location", visit.query("to", "/hash"))])

    async def _health(self, visit: Visit) -> None:
        await self._json(visit, 200, {"healthy": True, "version": "0.0.0"})

    async def _state(self, visit: Visit) -> None:
        await self._json(visit, 200, self._local.state())

    async def _command(self, visit: Visit) -> None:
        if visit.path[0] == "__release":
            self._local.release(visit.path[1])
            return await self._json(visit, 200, {})
        await self._json(visit, 200, {"streams": self._local.event(visit.text)})

    async def _unknown(self, visit: Visit) -> None:
        await self._json(visit, 404, {"error": "nothing here"})

    # What takes long

    async def _events(self, visit: Visit) -> None:
        channel, texts = self._local.subscribe()
        try:
            await self._head(visit, 200, [("content-type", "text/event-stream"), ("cache-control", "no-cache")])
            await self._body(visit, b": open\n\n", chunked=True)
            async for text in texts:
                await self._body(visit, f"data: {text}\n\n".encode(), chunked=True)
                self._local.changed()
        finally:
            self._local.unsubscribe(channel)

    async def _never(self, visit: Visit) -> None:
        await trio.sleep_forever()

    async def _gate(self, visit: Visit) -> None:
        await self._local.released(visit.path[1])
        await self._hash(visit)

    # What handles the body itself

    async def _echo(self, visit: Visit) -> None:
        length = visit.get("content-length")
        chunked = length is None
        await self._head(visit, 200, [], length=None if length is None else int(length))
        while piece := await self._reader.piece():
            visit.received += len(piece)
            await self._body(visit, piece, chunked=chunked)
            self._local.changed()
        visit.sha256 = self._reader.sha256
        if chunked:
            await self._body(visit, b"", chunked=True, last=True)

    async def _unread(self, visit: Visit) -> None:
        await self._local.released(visit.path[1])
        await self._absorb(visit)
        await self._hash(visit)

    async def _early(self, visit: Visit) -> None:
        await self._json(visit, 413, {"error": "too large"})
        await self._absorb(visit)

    # What goes wrong

    async def _break(self, visit: Visit) -> None:
        size, after = int(visit.path[1]), int(visit.path[2])
        chunked = visit.query("chunked") == "1"
        if after >= 0:
            await self._head(visit, 200, [], length=None if chunked else size)
            for piece in pieces(after):
                await self._body(visit, piece, chunked=chunked)
        if visit.query("how", "reset") == "reset":
            # A reset overtakes what is under way; the client must have had it.
            await self._reader.acknowledged()
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        raise _Broken


async def _main(local: HttpLocal, host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        sys.stdout.write(f"{await nursery.start(partial(local.serve, port, host))}\n")
        sys.stdout.flush()


def main() -> None:
    """Run it by itself."""
    parser = argparse.ArgumentParser(description="A stand-in for an opencode on somebody's machine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--password")
    options = parser.parse_args()
    trio.run(_main, HttpLocal(options.password), options.host, options.port)


if __name__ == "__main__":
    main()
