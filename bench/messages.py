"""Plain trio-websocket moving messages of the tunnel's size between two processes: what the tunnel is measured by.

``python -m bench.messages serve`` prints its port. ``python -m bench.messages join PORT`` connects to it, takes lines
"down SIZE" and "up SIZE" and answers each with the seconds that it took. Down is to the server, masked, as an answer
travels from an agent to the daemon; up is the other direction.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

import trio
from trio_websocket import open_websocket, serve_websocket

from protocol.frames import MAX_CHUNK

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection, WebSocketRequest

_RECEIVE_SIZE: Final = 65_536  # its default of 4 KiB costs a factor of 3
_CHUNK: Final = bytes(MAX_CHUNK)


async def _send(socket: WebSocketConnection, size: int) -> None:
    while size > 0:
        await socket.send_message(_CHUNK[:size])
        size -= len(_CHUNK)


async def _receive(socket: WebSocketConnection, size: int) -> None:
    while size > 0:
        size -= len(await socket.get_message())


async def _answer(request: WebSocketRequest) -> None:
    socket = await request.accept()
    while True:
        direction, size = str(await socket.get_message()).split()
        if direction == "down":
            await _receive(socket, int(size))
            await socket.send_message("all of it")
        else:
            await _send(socket, int(size))


async def _serve() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                _answer, "127.0.0.1", 0, None, receive_buffer_size=_RECEIVE_SIZE, task_status=task_status
            )
        )
        print(server.port, flush=True)


async def _join(port: int) -> None:
    async with open_websocket("127.0.0.1", port, "/", use_ssl=False, receive_buffer_size=_RECEIVE_SIZE) as socket:
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            direction, size = line.split()
            started = time.perf_counter()
            await socket.send_message(line)
            if direction == "down":
                await _send(socket, int(size))
                await socket.get_message()
            else:
                await _receive(socket, int(size))
            print(time.perf_counter() - started, flush=True)


def main() -> None:
    """One of the two ends."""
    if sys.argv[1] == "serve":
        trio.run(_serve)
    else:
        trio.run(_join, int(sys.argv[2]))


if __name__ == "__main__":
    main()
