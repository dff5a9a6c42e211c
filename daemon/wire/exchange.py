"""The exchange with an upstream: send a head and a body, receive a head and a body, or raw bytes after 101.

An upstream is asked at the level of an exchange, because a tunnel carries requests and not connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from daemon.wire.sockets import SocketStream
    from protocol.messages import RequestHead, ResponseHead


class UpstreamError(Exception):
    """The upstream could not be reached, or answered what is not HTTP, or broke off. The text is for logs."""


class UpstreamTimeout(UpstreamError):
    """The upstream did not accept the connection in time."""


class UpstreamAbsent(UpstreamError):
    """There is no way to the upstream now: its machine is not connected."""


class UpstreamRefused(UpstreamError):
    """The upstream is well, but cannot take this very request; the answer is for the client.

    ``status`` and ``code`` are those of a problem answer (413, 501, 503). The text is a sentence for a person.
    """

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


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


class NotMovable:
    """For an exchange whose bodies have no socket of their own: nothing of them can be moved in the kernel."""

    __slots__ = ()

    def take_body(self) -> tuple[SocketStream, int] | None:
        """See :class:`Exchange`."""
        return None

    def body_moved(self) -> None:
        """See :class:`Exchange`."""

    def body_target(self) -> SocketStream | None:
        """See :class:`Exchange`."""
        return None


class Upstream(Protocol):
    """Something that answers requests."""

    def exchange(self) -> AbstractAsyncContextManager[Exchange]:
        """Open one exchange."""
        ...
