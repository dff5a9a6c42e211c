"""A whole gateway between clients and upstreams that are raw sockets, driven by hand.

A test reads like a conversation: the client says, the upstream hears, the upstream answers, the client hears. Nothing
sleeps; whatever is waited for has a deadline, which is long only so that a busy machine does not fail a test.
"""

from __future__ import annotations

import itertools
import os
import socket
import traceback
from collections import Counter
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import trio
import trio.testing

from daemon.gateway import connection, limits, listener, watch
from daemon.gateway.connection import Service
from daemon.gateway.exchange import Decision, Forward, Reply, Request
from daemon.gateway.listener import Listener, open_sockets
from daemon.gateway.replies import problem
from daemon.wire import limits as wire_limits
from daemon.wire.http1 import Http1Upstream
from daemon.wire.sockets import connect_tcp
from protocol.headers import request_headers
from protocol.messages import RequestHead
from tests.gateway.peer import PATIENCE, Peer, eventually
from tests.gateway.strict import Violation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from trio.abc import Clock

    from daemon.gateway.origin import Networks
    from daemon.wire.exchange import Upstream, UpstreamError
    from tests.gateway.strict import Message

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AT_WORK_SECONDS = 0.02  # longer than one turn of all tasks takes


@dataclass
class Book:
    """A ledger that remembers."""

    answers: list[tuple[str, int]] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def finished(self, site: str, status: int, seconds: float, up: int, down: int) -> None:
        """See :class:`~daemon.gateway.connection.Ledger`."""
        assert seconds >= 0
        self.answers.append((site, status))

    def refused(self, code: str) -> None:
        """See :class:`~daemon.gateway.connection.Ledger`."""
        self.codes.append(code)

    def upstream_failed(self, site: str, error: UpstreamError) -> None:
        """See :class:`~daemon.gateway.connection.Ledger`."""
        self.failures.append(str(error))


class Log:
    """In the place of the gateway's log: an error that no test claims fails the test."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.errors: list[str] = []

    def info(self, event: str, **values: Any) -> None:
        """A remark."""
        self.events.append((event, values))

    debug = warning = info

    def exception(self, event: str, **values: Any) -> None:
        """Something that must not happen."""
        self.errors.append(f"{event}: {traceback.format_exc()}")

    def claim(self) -> list[str]:
        """The errors so far; the test expected them."""
        claimed, self.errors = self.errors, []
        return claimed


def failed(error: UpstreamError) -> Reply:
    """The answer if the upstream fails before its head."""
    return problem(502, "upstream_failed", str(error))


class TestSite:
    """Forwards everything, as the real sites do; a test can change ``options`` of the Forward or decide by itself."""

    __test__ = False

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.requests: list[Request] = []
        self.options: dict[str, Any] = {}
        self.reply: Callable[[Request], Reply] | None = None
        self.gate: trio.Event | None = None  # decide() waits for it
        self.ends: Counter[int] = Counter()
        self._numbers = itertools.count()
        self.forwards = 0

    async def decide(self, request: Request) -> Decision:
        """See :class:`~daemon.gateway.exchange.Site`."""
        request.site = "test"
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if self.reply is not None:
            return self.reply(request)
        return self.forward(request)

    async def end(self) -> None:
        """What happens at the end of an exchange, beside being counted."""
        await trio.lowlevel.checkpoint()

    def forward(self, request: Request) -> Forward:
        """Relay to the upstream."""
        number = next(self._numbers)
        self.forwards += 1

        async def on_end() -> None:
            self.ends[number] += 1
            await self.end()

        head = RequestHead(
            request.method, request.target, request_headers(request.headers), request.body_length, request.upgrade
        )
        return Forward(self.upstream, head, failed, on_end=on_end, **self.options)


@dataclass
class Origin:
    """An upstream that answers by itself, and remembers what it saw. ``violations``: what it would not have taken."""

    seen: list[Message] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    cut: int = 0  # requests that broke off

    async def serve(self, peer: Peer) -> None:
        """Serve one connection: every request gets its method and target back."""
        try:
            while peer.buffer or await peer.any():
                request = await peer.request()
                self.seen.append(request)
                body = request.first + b" " + request.second
                head = b"HTTP/1.1 200 OK\r\nX-Method: %b\r\nContent-Length: %d\r\n\r\n" % (request.first, len(body))
                await peer.send(head + (b"" if request.first == b"HEAD" else body))
        except (EOFError, OSError):
            self.cut += 1
        except Violation as error:
            self.violations.append(str(error))
        finally:
            peer.close()


class Gateway:
    """The gateway under test with what is around it."""

    def __init__(self, run: Listener, site: TestSite, book: Book, log: Log, upstream: socket.socket) -> None:
        self.listener = run
        self.site = site
        self.book = book
        self.log = log
        self.origin = Origin()
        self._upstream = trio.socket.from_stdlib_socket(upstream)
        self.origin_scope = trio.CancelScope()
        self._running = trio.CancelScope()
        self.peers: list[Peer] = []

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.listener._sockets[0].getsockname()[:2]  # type: ignore[no-any-return]

    @property
    def pool(self) -> Http1Upstream:
        """The upstream's side of the gateway."""
        assert isinstance(self.site.upstream, Http1Upstream)
        return self.site.upstream

    def _peer(self, sock: trio.socket.SocketType) -> Peer:
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    async def client(self, *, receive_buffer: int | None = None) -> Peer:
        """A new client."""
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect(self.address)
        return self._peer(sock)

    async def refuses(self, address: tuple[str, int]) -> bool:
        """Whether nobody listens there."""
        with trio.socket.socket() as sock:
            try:
                await sock.connect(address)
            except ConnectionRefusedError:
                return True
            return False

    async def accept(self) -> Peer:
        """The gateway's next connection to the upstream."""
        with trio.fail_after(PATIENCE):
            return self._peer((await self._upstream.accept())[0])

    def nobody_connects(self) -> bool:
        """Whether the gateway made no further connection to the upstream."""
        listening = socket.socket(fileno=os.dup(self._upstream.fileno()))
        with listening:
            listening.setblocking(False)
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return True
            return False

    def stop_upstream(self) -> None:
        """Nobody listens there any more."""
        self._upstream.close()

    async def serve_origin(self) -> None:
        """Let :class:`Origin` answer, for ever."""
        with self.origin_scope:
            async with trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self.origin.serve, self._peer((await self._upstream.accept())[0]))

    async def still_serves(self) -> None:
        """A good request on a new connection is answered. Needs :meth:`serve_origin`."""
        client = await self.client()
        await client.send(b"GET /still-there HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await client.response()
        assert (answer.status, answer.body) == (200, b"GET /still-there")
        client.close()

    async def conversation(self, data: bytes = GET) -> tuple[Peer, Peer]:
        """A client whose request reached the upstream: both ends. The head there was read."""
        client = await self.client()
        await client.send(data)
        upstream = await self.accept()
        await upstream.head()
        return client, upstream

    async def run_listener(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the listener until :meth:`stop`."""
        with self._running:
            await self.listener.run(task_status=task_status)

    def stop(self) -> None:
        """Cancel the listener."""
        self._running.cancel()

    def let_go(self) -> None:
        """Close everything."""
        for peer in self.peers:
            peer.reset()
        self.pool.close()

    async def check_at_end(self) -> None:
        """Everybody left: nothing must be left of them."""
        self.origin_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        for peer in self.peers:
            peer.reset()
        if self.site.gate is not None:
            self.site.gate.set()
        await eventually(lambda: self.listener.open_connections == 0)
        assert not self.log.errors, "".join(self.log.errors)
        assert not self.origin.violations, self.origin.violations
        assert len(self.site.ends) == self.site.forwards, "on_end was forgotten"
        assert set(self.site.ends.values()) <= {1}, "on_end was called twice"
        assert not self.listener.watch.clients


@asynccontextmanager
async def gateway(
    *, most: int = 1000, trusted: Networks = (), origin: bool = False, connect: Callable[..., Any] | None = None
) -> AsyncIterator[Gateway]:
    """Run a gateway; at the end everything must have been tidied up. ``origin``: the upstream answers by itself."""
    book, log = Book(), Log()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as upstream:
        upstream.setblocking(False)
        site = TestSite(Http1Upstream(connect or partial(connect_tcp, *upstream.getsockname())))
        service = Service(site, book, trusted, "http")
        run = Listener(service, open_sockets("127.0.0.1", 0), most=most)
        found = Gateway(run, site, book, log, upstream)
        with patch.object(connection, "log", log), patch.object(listener, "log", log):
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(found.run_listener)
                    if origin:
                        nursery.start_soon(found.serve_origin)
                    yield found
                    await found.check_at_end()
                    nursery.cancel_scope.cancel()
            finally:
                found.let_go()


@contextmanager
def quick() -> Iterator[None]:
    """Deadlines are looked at, and clients that closed their side are asked, twelve times as often."""
    with fair_time(), patch.object(watch, "TICK_SECONDS", 0.02), patch.object(limits, "PROBE_AFTER_SECONDS", 0.02):
        yield


@contextmanager
def limit(**values: float) -> Iterator[None]:
    """Other limits for this test, of the gateway or of what it shares with the agent."""
    with fair_time(), ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(patch.object(limits if hasattr(limits, name) else wire_limits, name, value))
        yield


@contextmanager
def fair_time() -> Iterator[None]:
    """Trio's time goes on while this process works or waits for it, and not while the machine does not let it run.

    Nor while it waits for anything but what Trio waits for: a call of the gateway's that blocks is not seen by this.

    Gateway and clients share the process. Whoever is to be in time by a tenth of a second is late if all of them get no
    processor for so long: then the deadline is over when the bytes that came before it are looked at.
    """
    kind = type(trio.lowlevel.current_clock())
    plain = kind.current_time
    if plain.__module__ == __name__:  # it does already
        yield
        return
    seen, asleep, lost = plain(trio.lowlevel.current_clock()), 0.0, 0.0

    def current_time(clock: Clock) -> float:
        nonlocal seen, asleep, lost
        now = plain(clock)
        lost += max(0.0, now - seen - asleep - AT_WORK_SECONDS)
        seen, asleep = now, 0.0
        return now - lost

    def deadline_to_sleep_time(clock: Clock, deadline: float) -> float:
        nonlocal asleep
        seconds = deadline - current_time(clock)
        asleep = max(0.0, seconds)
        return seconds

    with patch.multiple(kind, current_time=current_time, deadline_to_sleep_time=deadline_to_sleep_time):
        yield
