"""The client's side of HTTP/1.1 by itself. How it fails, lies and hangs up is in tests/gateway/test_upstream.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.wire.exchange import UpstreamError, UpstreamRefused, UpstreamTimeout
from daemon.wire.http1 import Http1Upstream, request_bytes
from protocol.messages import RequestHead

if TYPE_CHECKING:
    from daemon.wire.sockets import SocketStream


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (RequestHead(b"GET", b"/", [(b"host", b"x")]), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        (RequestHead(b"GET", b"/", []), b"GET / HTTP/1.1\r\n\r\n"),
        (RequestHead(b"POST", b"/", []), b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"),
        (RequestHead(b"DELETE", b"/", []), b"DELETE / HTTP/1.1\r\n\r\n"),
        (RequestHead(b"GET", b"/", [], 5), b"GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\n"),
        (RequestHead(b"PUT", b"/", [], None), b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"),
        (
            RequestHead(b"GET", b"/a?b", [(b"a", b"1"), (b"a", b"2")], 0, b"websocket"),
            b"GET /a?b HTTP/1.1\r\na: 1\r\na: 2\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        ),
    ],
)
def test_request_heads(head: RequestHead, data: bytes) -> None:
    assert request_bytes(head) == data


async def test_an_exchange_that_is_left_before_its_head_costs_nothing() -> None:
    async def connect() -> SocketStream:
        raise AssertionError("nobody asked for a connection")

    upstream = Http1Upstream(connect)
    async with upstream.exchange() as exchange:
        assert exchange.stream is None


async def test_the_kinds_of_failure_to_connect() -> None:
    async def timeout() -> SocketStream:
        raise TimeoutError("late")

    async def refused() -> SocketStream:
        raise ConnectionRefusedError("no")

    with pytest.raises(UpstreamTimeout):
        await Http1Upstream(timeout).connect()
    with pytest.raises(UpstreamError, match="cannot connect: no"):
        await Http1Upstream(refused).connect()


def test_a_refusal_is_an_error_with_an_answer_for_the_client() -> None:
    error = UpstreamRefused(413, "body_too_large", "The request is larger than the agent takes.")
    assert isinstance(error, UpstreamError)
    assert (error.status, error.code, str(error)) == (
        413,
        "body_too_large",
        "The request is larger than the agent takes.",
    )
