"""Hypercorn on its socket: real bytes, restarts, and what goes wrong there."""

from __future__ import annotations

import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from daemon.api.server import GRACE_SECONDS, serve_api
from tests.api.support import ORIGIN, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.api.support import Bench

# As the gateway sends it.
HEADERS = {
    "Host": "localhost:8080",
    "Origin": ORIGIN,
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "http",
}


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """Where the API listens."""
    return tmp_path / "api.sock"


def http(socket_path: Path) -> httpx.AsyncClient:
    """A client of the socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket_path))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080", headers=HEADERS, timeout=10)


async def test_it_serves(bench: Bench, socket_path: Path, nursery: trio.Nursery) -> None:
    await nursery.start(serve_api, bench.app, socket_path)
    assert stat.S_IMODE((await trio.Path(socket_path).stat()).st_mode) == 0o600
    async with http(socket_path) as client:
        response = await client.post("/api/auth/register", json={"username": "alice", "password": PASSWORD})
        assert response.status_code == 201
        assert "server" not in response.headers
        me = await client.get("/api/auth/me")
        assert me.json()["username"] == "alice"
        head = await client.head("/api/auth/me")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == me.headers["content-length"]
        out = await client.post("/api/auth/logout")
        assert (out.status_code, out.content) == (204, b"")
        assert "content-length" not in out.headers
        assert "content-type" not in out.headers
        assert (await client.get("/api/auth/me")).status_code == 401
    nursery.cancel_scope.cancel()


async def _answer(stream: trio.SocketStream, *pieces: bytes) -> bytes:
    """Send a request; the head of its answer, which is JSON."""
    received = b""
    with trio.fail_after(10):
        for piece in pieces:
            await stream.send_all(piece)
        while not received.endswith(b"}"):
            piece = await stream.receive_some()
            assert piece, "the connection ended before the answer did"
            received += piece
    return received.partition(b"\r\n\r\n")[0].lower()


async def test_a_connection_that_is_closed_early_says_so(
    bench: Bench, socket_path: Path, nursery: trio.Nursery
) -> None:
    """Or the gateway would send somebody else's request there, which gets no answer."""
    await nursery.start(serve_api, bench.app, socket_path)
    head = b"Host: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    async with await trio.open_unix_socket(str(socket_path)) as stream:
        for _ in range(2):
            read = await _answer(stream, b"POST /api/auth/login HTTP/1.1\r\n" + head, b"{}")
            assert read.startswith(b"http/1.1 422")
            assert b"\r\nconnection:" not in read
        unread = await _answer(stream, b"POST /api/workspaces HTTP/1.1\r\n" + head)
        assert unread.startswith(b"http/1.1 401")
        assert b"\r\nconnection: close" in unread
        with trio.fail_after(10):
            assert await stream.receive_some() == b""
    nursery.cancel_scope.cancel()


async def test_large_bodies_in_chunks(bench: Bench, socket_path: Path, nursery: trio.Nursery) -> None:
    await nursery.start(serve_api, bench.app, socket_path)
    head = (
        b"POST /api/auth/login HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    received = b""
    async with await trio.open_unix_socket(str(socket_path)) as stream:
        with trio.fail_after(10):
            # It answers at the first byte too much and closes, be the rest sent and read by then or not.
            with suppress(trio.BrokenResourceError):
                await stream.send_all(head)
                for _ in range(17):
                    await stream.send_all(b"10000\r\n" + b" " * 65536 + b"\r\n")
            with suppress(trio.BrokenResourceError):
                async for piece in stream:
                    received += piece
    assert received.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in received
    nursery.cancel_scope.cancel()


async def test_it_can_be_started_again(bench: Bench, socket_path: Path) -> None:
    """After a crash, when the socket file is still there, and after an orderly end; with the same app."""
    for orderly in (False, True, False):
        shutdown = trio.Event()
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: Any) -> None:
                await serve_api(bench.app, socket_path, shutdown=shutdown, task_status=task_status)  # noqa: B023

            await nursery.start(serve)
            async with http(socket_path) as client:
                assert (await client.get("/api/nope")).status_code == 404
            if orderly:
                shutdown.set()
            else:
                nursery.cancel_scope.cancel()
        assert await trio.Path(socket_path).exists()


async def test_a_path_that_is_no_socket_is_left_alone(bench: Bench, socket_path: Path) -> None:
    await trio.Path(socket_path).write_text("precious")
    with pytest.raises(FileExistsError):
        await serve_api(bench.app, socket_path)
    assert await trio.Path(socket_path).read_text() == "precious"


async def test_a_bug_leaves_the_connection_and_the_server_alone(
    bench: Bench, socket_path: Path, nursery: trio.Nursery
) -> None:
    async def boom() -> str:
        raise RuntimeError("a bug")

    async def group() -> str:
        raise ExceptionGroup("several", [ValueError("a bug"), RuntimeError("another")])

    bench.app.add_url_rule("/boom", view_func=boom)
    bench.app.add_url_rule("/group", view_func=group)
    await nursery.start(serve_api, bench.app, socket_path)
    async with http(socket_path) as client:
        for path in ("/boom", "/group"):
            response = await client.get(path)
            assert response.status_code == 500
            assert response.json()["code"] == "internal_error"
        assert (await client.get("/api/auth/oidc/providers")).status_code == 200
    nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_cancels_its_handler(
    bench: Bench, socket_path: Path, nursery: trio.Nursery, make_bench: Callable[..., Bench]
) -> None:
    """So handlers own no side effects: each is one database operation, which happens whole or not at all."""
    began, ended = trio.Event(), trio.Event()

    async def slow() -> str:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        return ""

    bench.app.add_url_rule("/slow", view_func=slow)
    await nursery.start(serve_api, bench.app, socket_path)
    stream = await trio.open_unix_socket(str(socket_path))
    await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with trio.fail_after(10):
        await began.wait()
        await stream.aclose()
        await ended.wait()
    nursery.cancel_scope.cancel()


async def test_an_orderly_end_does_not_wait_for_idle_connections(bench: Bench, socket_path: Path) -> None:
    """Hypercorn closes them at once, if only quart-trio lets it finish with each answer (see ``_undisturbed``)."""
    shutdown = trio.Event()
    async with http(socket_path) as client, trio.open_nursery() as nursery:
        await nursery.start(partial(serve_api, bench.app, socket_path, shutdown=shutdown))
        assert (await client.get("/api/auth/me")).status_code == 401
        began = trio.current_time()
        shutdown.set()
    assert trio.current_time() - began < GRACE_SECONDS


async def test_an_answer_that_meets_the_close_of_its_connection(
    bench: Bench, socket_path: Path, nursery: trio.Nursery
) -> None:
    """The gateway leaves where a body breaks the rules. In Hypercorn's own loop that ended the server for everybody."""
    tries = 300  # which task comes first is chance; without our loop one in some forty ended it
    await nursery.start(serve_api, bench.app, socket_path)
    stays = await trio.open_unix_socket(str(socket_path))
    head = b"GET /api/auth/me HTTP/1.1\r\nHost: localhost\r\n"
    with trio.fail_after(60):
        for number in range(tries):
            if number % 30 == 0:  # an idle one would be closed after some seconds
                assert (await _answer(stays, head + b"\r\n")).startswith(b"http/1.1 401")
            async with await trio.open_unix_socket(str(socket_path)) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(head + b"Transfer-Encoding: chunked\r\n\r\n")
                    await stream.send_all(b"nonsense\r\n")
                    async for _piece in stream:
                        pass
        assert (await _answer(stays, head + b"\r\n")).startswith(b"http/1.1 401")
    await stays.aclose()
    nursery.cancel_scope.cancel()
