"""What the gateway's parts say to each other: a request, and the decision about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.wire.exchange import Upstream, UpstreamError
    from protocol.headers import Headers
    from protocol.messages import RequestHead, ResponseHead


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
