"""``pods/exec`` over a WebSocket: the protocols v4 and v5 of ``channel.k8s.io``.

Channel 0 is the standard input, 1 and 2 are the outputs, 3 tells the end as a ``Status``; 255 closes a channel (v5).
A command whose connection ends goes on, as in a cluster, until the container ends. What it does NOT do: terminals
(``tty`` gets pipes), port forwarding, and attach.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio
import wsproto
from wsproto import events
from wsproto.connection import ConnectionState
from wsproto.utilities import LocalProtocolError

from tests.standins.kubernetes import answers, jail

if TYPE_CHECKING:
    import h11

    from tests.standins.kubernetes.api import Call
    from tests.standins.kubernetes.pods import Kubelet

_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_PIECE: Final = 16384
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255


async def serve(
    stream: trio.SocketStream, wire: h11.Connection, head: h11.Request, query: dict[str, list[str]],
    kubelet: Kubelet, call: Call,
) -> None:  # fmt: skip
    """Run the command of the query in the pod. Raises a refusal before the upgrade if that is not possible."""
    words = _command(query, kubelet, call)
    ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    ws.initiate_upgrade_connection([(bytes(name), bytes(value)) for name, value in head.headers], head.target.decode())
    (request,) = ws.events()
    if not isinstance(request, events.Request):
        raise answers.bad_request("you must specify at least 1 of stdin, stdout, stderr, by a WebSocket")
    chosen = next((name for name in _PROTOCOLS if name in request.subprotocols), None)
    if chosen is None:
        raise answers.bad_request(f"unable to upgrade: none of {request.subprotocols} is known")
    await stream.send_all(ws.send(events.AcceptConnection(subprotocol=chosen)))
    ws.receive_data(wire.trailing_data[0])
    await _Session(stream, ws, kubelet).run(words, query.get("stdin", [""])[-1] in ("true", "1", "True"))


def _command(query: dict[str, list[str]], kubelet: Kubelet, call: Call) -> list[str]:
    life = kubelet.life(call.namespace, call.name)
    pod = kubelet.api.world.store.get(call.kind, call.namespace, call.name)
    if kubelet.lost:
        raise answers.Refused(500, "InternalError", "Internal error: error dialing backend: connect: no route to host")
    if life is None or life.process is None or life.process.log.ended or not life.process.children():
        name = pod["spec"]["containers"][0]["name"]
        raise answers.Refused(500, "InternalError", f'Internal error occurred: container not found ("{name}")')
    (container,) = pod["spec"]["containers"]
    if query.get("container", [container["name"]])[-1] != container["name"]:
        raise answers.bad_request(f"container {query['container'][-1]} is not valid for pod {call.name}")
    env = [f"{name}={value}" for name, value in kubelet.variables(life, pod).items()]
    return jail.inside(life.process.children()[0], pod, container, ["/usr/bin/env", "-i", *env, *query["command"]])


class _Session:
    """One command and its channels."""

    def __init__(self, stream: trio.SocketStream, ws: wsproto.WSConnection, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._stream, self._ws = stream, ws
        self._lock = trio.Lock()
        self._message = b""  # as far as it has come

    async def run(self, words: list[str], stdin: bool) -> None:
        pipe = subprocess.PIPE
        process = await trio.lowlevel.open_process(
            words, stdin=pipe if stdin else subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, process, nursery.cancel_scope)
                async with trio.open_nursery() as outputs:
                    outputs.start_soon(self._pass, _STDOUT, process.stdout)
                    outputs.start_soon(self._pass, _STDERR, process.stderr)
                await self._tell(await process.wait())
                nursery.cancel_scope.cancel()
        finally:
            if process.returncode is None:
                self._kubelet.left_alone.append(process)

    async def _pass(self, channel: int, output: Any) -> None:
        async with output:
            while piece := await output.receive_some(_PIECE):
                await self._send(events.BytesMessage(bytes([channel]) + piece))

    async def _send(self, event: Any) -> None:
        async with self._lock:
            with suppress(LocalProtocolError):  # one of the two has said goodbye: the rest is for nobody
                await self._stream.send_all(self._ws.send(event))

    async def _tell(self, code: int) -> None:
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            text = f"command terminated with non-zero exit code: exit status {code}"
            status |= {"status": "Failure", "message": text, "reason": "NonZeroExitCode", "details": {"causes": causes}}
        await self._send(events.BytesMessage(bytes([_ERROR]) + json.dumps(status).encode()))
        await self._send(events.CloseConnection(code=1000))

    async def _read(self, process: trio.Process, scope: trio.CancelScope) -> None:
        """What the client sends: input, and its going away, which ends the command."""
        try:
            while data := await self._stream.receive_some(_PIECE):
                self._ws.receive_data(data)
                for event in self._ws.events():
                    if isinstance(event, events.CloseConnection):
                        if self._ws.state is ConnectionState.REMOTE_CLOSING:
                            await self._send(event.response())
                        return
                    if isinstance(event, events.Ping):
                        await self._send(event.response())
                    if isinstance(event, events.Message):
                        self._message += event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                        if event.message_finished:
                            await self._input(process, self._message)
                            self._message = b""
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            scope.cancel()

    async def _input(self, process: trio.Process, piece: bytes) -> None:
        if not piece or process.stdin is None:
            return
        if piece[0] == _STDIN and len(piece) > 1:
            await process.stdin.send_all(piece[1:])
        elif piece[0] == _CLOSE and piece[1:] == bytes([_STDIN]):
            await process.stdin.aclose()
