"""All sandboxes' opencode in one process, reduced to the answers that the product and the load ask for.

Prints its port. It takes whole heads without bodies, one after the other on each connection.
"""

from __future__ import annotations

from typing import Final

import trio

_PAGE: Final = b"x" * 2048  # opencode's answers are JSON of some kB
_HEALTH: Final = b'{"healthy":true,"version":"sizing"}'
_EVENT: Final = b'data: {"type":"message.part.delta","properties":{"text":"a few words of an answer"}}\n\n'
_STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT_SECONDS: Final = 5.0
_BACKLOG: Final = 1024


def _answer(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


_ANSWERS: Final = {
    b"/global/health": _answer(_HEALTH),
    b"/experimental/session": _answer(b"[]"),
    b"/session/status": _answer(b"{}"),
}
_OTHERS: Final = _answer(_PAGE)


async def _events(stream: trio.SocketStream) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
    await stream.send_all(_STREAM + chunk)
    while True:
        await trio.sleep(_EVENT_SECONDS)
        await stream.send_all(chunk)


async def _serve(stream: trio.SocketStream) -> None:
    kept = b""
    try:
        while piece := await stream.receive_some():
            kept += piece
            while b"\r\n\r\n" in kept:
                head, _, kept = kept.partition(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].partition(b"?")[0]
                if path == b"/event":
                    await _events(stream)
                await stream.send_all(_ANSWERS.get(path, _OTHERS))
    except trio.BrokenResourceError:
        return


async def _main() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=_BACKLOG)
        nursery.start_soon(trio.serve_listeners, _serve, listeners)
        print(listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(_main)
