"""Readiness probes: an HTTP request, a connection, or a command in the container."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import Any, Final

import h11
import trio

from tests.standins.kubernetes import jail, network

Json = dict[str, Any]
_PIECE: Final = 65536


async def asked(probe: Json, pid: int, address: str, pod: Json, container: Json) -> bool:
    """Whether the container answers as its probe wants."""
    with trio.move_on_after(probe.get("timeoutSeconds", 1)):
        with suppress(OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
            if "httpGet" in probe:
                return await _http(probe["httpGet"], pid, address, container)
            if "tcpSocket" in probe:
                stream = await _connect(probe["tcpSocket"], pid, address, container)
                await stream.aclose()
                return True
            words = jail.inside(pid, pod, container, probe["exec"]["command"])
            done = await trio.run_process(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return done.returncode == 0
    return False


async def _connect(handler: Json, pid: int, address: str, container: Json) -> trio.SocketStream:
    port = handler["port"]
    if isinstance(port, str):
        port = next(one["containerPort"] for one in container.get("ports", ()) if one.get("name") == port)
    return await network.connect(pid, address, port)


async def _http(handler: Json, pid: int, address: str, container: Json) -> bool:
    async with await _connect(handler, pid, address, container) as stream:
        wire = h11.Connection(h11.CLIENT)
        headers = [("Host", address), ("User-Agent", "kube-probe/1.37"), ("Connection", "close")]
        headers += [(one["name"], one["value"]) for one in handler.get("httpHeaders") or ()]
        request = h11.Request(method="GET", target=handler.get("path") or "/", headers=headers)
        await stream.send_all((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.receive_some(_PIECE))
            elif isinstance(event, h11.Response):
                return 200 <= event.status_code < 400
            elif not isinstance(event, h11.InformationalResponse):
                return False
