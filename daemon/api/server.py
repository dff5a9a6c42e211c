"""Hypercorn for the API, on a private unix socket that only the gateway speaks to.

Hypercorn 0.18 on Trio is not fit for the open network: a WebSocket upgrade with one more byte behind it ends the server
whatever the application answers, and it takes both kinds of framing at once. The gateway never lets it see an upgrade,
or a byte that the gateway did not write. And its accept loop lets one connection end all others: an answer that meets
the close of its own connection is enough, as where the gateway leaves because a body breaks the rules. So the loop is
ours, and Hypercorn speaks on each connection.
"""

from __future__ import annotations

import logging
import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

if TYPE_CHECKING:
    from pathlib import Path

    from hypercorn.typing import (
        AppWrapper,
        ASGIFramework,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        Scope,
    )
    from quart_trio import QuartTrio

log = structlog.get_logger(__name__)

# The gateway uses none that was idle for 4 s (daemon/wire/limits.py), so that it never meets a closing one. Hypercorn
# keeps one that the gateway has closed open until this is over: short, or a burst of requests holds files for a minute.
KEEP_ALIVE_SECONDS = 10.0
# Twice what the gateway lets pass (32 KiB); its own added headers are below 1 KiB.
MAX_HEAD = 64 * 1024
# As many connections at once as a burst on the gateway may open before Trio's accept loop gets its turn.
BACKLOG = 1024
# Handlers end within the database's deadline; open event streams end at once, because their clients reconnect.
GRACE_SECONDS = 5.0


def server_config(socket_path: Path) -> Config:
    """Hypercorn's settings: no access log (the gateway has one), warnings and worse to the log."""
    logger = logging.getLogger("hypercorn.error")
    logger.setLevel(logging.WARNING)
    config = Config()
    config.bind = [f"unix:{socket_path}"]
    config.umask = 0o177  # the socket is for our own user
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 1_000_000_000  # closing one after 1000 requests, as is the default, helps nobody
    config.h11_max_incomplete_size = MAX_HEAD
    config.graceful_timeout = GRACE_SECONDS
    return config


def _make_way(socket_path: Path) -> None:
    try:
        mode = socket_path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{socket_path} is in the way of the API's socket")
    socket_path.unlink(missing_ok=True)


def _has_body(scope: Scope) -> bool:
    return scope["type"] == "http" and any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _undisturbed(app: QuartTrio) -> ASGIFramework:
    """Keep the end of an answer from being cancelled by the news that it has ended, and from being a surprise.

    Hypercorn tells the app of a disconnect while it is still closing the books on a finished answer, in the app's own
    task; quart-trio cancels that task at once. The connection would then have no idle deadline any more, would not be
    closed where it should, and would hold up every orderly end.

    After an answer that comes before the end of the request's body, Hypercorn closes the connection without having said
    so. Somebody else's request may be on its way there by then, and would get a 503 if it may not be repeated.
    """

    async def wrapper(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        ending, unread = False, _has_body(scope)

        async def sending(event: ASGISendEvent) -> None:
            nonlocal ending
            ending = event["type"] == "http.response.body" and not event["more_body"]
            if event["type"] == "http.response.start" and unread:
                event["headers"] = [*event["headers"], (b"connection", b"close")]
            with suppress(trio.BusyResourceError):  # it is being closed in this moment; nobody waits for the rest
                await send(event)

        async def receiving() -> ASGIReceiveEvent:
            nonlocal unread
            event = await receive()
            if event["type"] == "http.request" and not event["more_body"]:
                unread = False
            if ending and event["type"] == "http.disconnect":
                await trio.sleep_forever()  # until quart-trio cancels this task, which it does after its last send
            return event

        await app(scope, receiving, sending)

    return wrapper


async def serve_api(
    app: QuartTrio,
    socket_path: Path,
    *,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until ``shutdown`` and then for at most 5 s more. Started once it listens.

    A socket that an earlier run left is replaced; anything else there is a :class:`FileExistsError`. The same ``app``
    may be served again afterwards.
    """
    _make_way(socket_path)
    config = server_config(socket_path)
    (sock,) = config.create_sockets().insecure_sockets
    sock.listen(BACKLOG)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    context = WorkerContext(None)
    handler = partial(_connection, wrap_app(_undisturbed(app), config.wsgi_max_body_size, "asgi"), config, context)
    async with trio.open_nursery() as connections, listener:
        async with trio.open_nursery() as intake:
            intake.start_soon(partial(trio.serve_listeners, handler, [listener], handler_nursery=connections))
            task_status.started()
            if shutdown is None:
                await trio.sleep_forever()
            else:
                await shutdown.wait()
            intake.cancel_scope.cancel()
        await context.terminated.set()  # idle connections close at once
        connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS


async def _connection(app: AppWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream) -> None:
    try:
        await TCPServer(app, config, context, ConnectionState({}), stream)  # type: ignore[arg-type]  # it takes both
    except* trio.BusyResourceError:
        pass  # an answer met the close
    except* Exception:
        log.exception("a connection to the api failed")
