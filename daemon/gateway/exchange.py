"""What the gateway's parts say to each other: a request, the decision about it, and the exchange with an upstream.

An upstream is asked at the level of an exchange (head, body, head, body, or raw bytes after 101), because a tunnel
carries requests and not connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from daemon.gateway.sockets import SocketStream

Headers = list[tuple[bytes, bytes]]  # names in lower case; repeated names stay repeated


class UpstreamError(Exception):
    """The upstream could not be reached, or answered what is not HTTP, or broke off. The text is for logs."""


class UpstreamTimeout(UpstreamError):
    """The upstream did not accept the connection in time."""


@dataclass(slots=True)
class RequestHead:
    """A request towards an upstream. Headers are end-to-end ones; framing is in ``body_length`` and ``upgrade``."""

    method: bytes
    target: bytes
    headers: Headers
    body_length: int | None = 0  # bytes; None: not known beforehand
    upgrade: bytes | None = None  # value of the Upgrade header, if the connection may switch


@dataclass(slots=True)
class ResponseHead:
    """A response head from an upstream: 1xx or final. ``body_length`` as in :class:`RequestHead`."""

    status: int
    reason: bytes
    headers: Headers
    body_length: int | None = 0
    upgrade: bytes | None = None  # with status 101


class Exchange(Protocol):
    """One request and its response. Leaving its ``async with`` before the end breaks the exchange off."""

    async def send_head(self, head: RequestHead) -> None:
        """Send the request's head. Raises :class:`UpstreamError`, as every method here."""
        ...

    async def send_body(self, data: bytes) -> None:
        """Send a piece of the body; returns when the upstream may get more (back-pressure)."""
        ...

    async def send_end(self) -> None:
        """The request is whole."""
        ...

    async def receive_head(self) -> ResponseHead:
        """The next response head: any number of 1xx, then a final one, or 101."""
        ...

    async def receive_body(self) -> bytes:
        """The next piece of the body as soon as it is there; empty at the end."""
        ...

    def body_here(self) -> bytes:
        """The part of the body that is here already, without waiting; empty if there is none."""
        ...

    @property
    def body_done(self) -> bool:
        """Whether the body was delivered to its end, so that the next :meth:`receive_body` returns empty at once."""
        ...

    def take_body(self) -> tuple[SocketStream, int] | None:
        """The socket and the number of body bytes still to come on it, to move them in the kernel; else ``None``."""
        ...

    def body_moved(self) -> None:
        """The body that :meth:`take_body` offered was moved to its end."""
        ...

    def body_target(self) -> SocketStream | None:
        """The socket to which the request body may be moved in the kernel; else ``None``."""
        ...

    async def send_raw(self, data: bytes) -> None:
        """After 101: bytes to the upstream."""
        ...

    async def send_raw_eof(self) -> None:
        """After 101: no more bytes to the upstream."""
        ...

    async def receive_raw(self) -> bytes:
        """After 101: bytes from the upstream; empty when it sends no more."""
        ...


class Upstream(Protocol):
    """Something that answers requests."""

    def exchange(self) -> AbstractAsyncContextManager[Exchange]:
        """Open one exchange."""
        ...


@dataclass(slots=True)
class Request:
    """A request as the gateway received it, parsed and checked.

    ``headers`` has every header as sent, hop-by-hop ones too, with names in lower case. ``host`` is without port, in
    lower case. ``target`` is in origin form. ``page_load``: a person's navigation, who wants a page rather than JSON.
    """

    method: bytes
    target: bytes
    headers: Headers
    host: str
    body_length: int | None
    client_ip: str
    client_scheme: str  # "http" or "https": how the browser came, believing only trusted proxies
    http10: bool = False
    upgrade: bytes | None = None
    local_address: str = "127.0.0.1"  # where the connection was accepted
    site: str = "none"  # for metrics: which kind of host answered

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The query without its question mark."""
        return self.target.partition(b"?")[2]

    @property
    def page_load(self) -> bool:
        """Whether a person navigates here: ``Sec-Fetch-Mode`` where the browser sends it, else ``Accept``."""
        if self.method not in (b"GET", b"HEAD"):
            return False
        mode = self.get(b"sec-fetch-mode")
        if mode is not None:
            return mode == b"navigate"
        return b"text/html" in (self.get(b"accept") or b"")


@dataclass(slots=True)
class Reply:
    """An answer of the gateway's own."""

    status: int
    headers: Headers
    body: bytes = b""


def _same(head: ResponseHead) -> ResponseHead:
    return head


@dataclass(slots=True)
class Forward:
    """Relay the request to ``upstream`` with ``head``.

    ``rewrite`` sees the final response head (and 101) before the client does. ``on_up_bytes`` and ``on_down_bytes`` are
    told how much passed, of the body or raw; they are called in the copy loop and must not wait. Only ``on_down_data``,
    which sees the content, keeps a body from being spliced in the kernel.
    ``on_end`` is awaited once at the end, however the exchange ended, under a shield with a deadline.
    ``failed`` makes the answer if the upstream fails before its head. ``revoked_by`` are the keys (such as
    ``("session", id)``) whose revocation cuts the stream.
    """

    upstream: Upstream
    head: RequestHead
    failed: Callable[[UpstreamError], Reply]
    body_limit: int | None = None  # bytes; None: no limit
    rewrite: Callable[[ResponseHead], ResponseHead] = _same
    on_up_bytes: Callable[[int], None] | None = None
    on_down_bytes: Callable[[int], None] | None = None
    on_down_data: Callable[[bytes], None] | None = None
    on_end: Callable[[], Awaitable[None]] | None = None
    revoked_by: Sequence[tuple[str, ...]] = field(default=())


Decision = Reply | Forward


class Site(Protocol):
    """Decides about the requests of one kind of host or path."""

    async def decide(self, request: Request) -> Decision:
        """What to do with this request. Must not read its body."""
        ...
