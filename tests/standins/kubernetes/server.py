"""The API over HTTP: who asks (a bearer token), for what (the path), may they (RBAC), and the faults on the way.

What it does NOT do: TLS, compression, HTTP/2, protobuf, and openapi documents.
"""

from __future__ import annotations

import json
import socket
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import trio

from tests.standins.kubernetes import answers, discovery, execute, rbac
from tests.standins.kubernetes.answers import Refused
from tests.standins.kubernetes.api import Answer, Api, Call, decode
from tests.standins.kubernetes.faults import Asked
from tests.standins.kubernetes.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.standins.kubernetes.kinds import Kind
    from tests.standins.kubernetes.pods import Kubelet
    from tests.standins.kubernetes.rbac import User

_PIECE: Final = 65536
_BREAKS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, OSError)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class _Cut(Exception):
    """The connection is to end without an answer."""


@contextmanager
def _left_alone() -> Iterator[None]:
    """A client may leave at any moment, also while several tasks speak with it, whose errors come as a group."""
    try:
        yield
    except* _BREAKS:
        pass


@dataclass
class _Request:
    method: str
    path: list[str]
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    head: h11.Request
    trailing: bytes = b""

    def last(self, name: str) -> str:
        return self.query.get(name, [""])[-1]


@dataclass
class Server:
    """Serves an :class:`Api` on a loopback address."""

    api: Api
    kubelet: Kubelet
    _open: set[trio.SocketStream] = field(default_factory=set)

    async def serve(
        self, sock: trio.socket.SocketType, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer on a listening socket until it is cancelled; then every connection is cut."""
        listener = trio.SocketListener(sock)
        task_status.started()
        try:
            await trio.serve_listeners(self._handle, [listener])
        finally:
            for stream in list(self._open):
                _reset(stream)

    async def _handle(self, stream: trio.SocketStream) -> None:
        self._open.add(stream)
        try:
            with _left_alone():
                async with stream:
                    wire = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
                    while (request := await _next(stream, wire)) is not None:
                        try:
                            await self._respond(stream, wire, request)
                        except _Cut:
                            _reset(stream)
                            return
                        if wire.our_state is not h11.DONE:
                            return
                        wire.start_next_cycle()
        finally:
            self._open.discard(stream)

    async def _respond(self, stream: trio.SocketStream, wire: h11.Connection, request: _Request) -> None:
        try:
            user = self._user(request)
            found = discovery.answer(self.api.world.kinds, request.path)
            if found is not None:
                return await _send(stream, wire, Answer(200, found))
            if request.path in (["healthz"], ["livez"], ["readyz"]):
                return await _send(stream, wire, Answer(200, {}))
            call = self._call(user, request)
            asked = self._admit(call)
            await self._do(stream, wire, request, call, asked)
        except Refused as refused:
            if self.api.world.faults.delay:
                await trio.sleep(self.api.world.faults.delay)
            await _send(stream, wire, Answer(refused.code, refused.status()), retry_after=refused.retry_after)

    def _user(self, request: _Request) -> User:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = self.api.world.tokens.get(token)
        if scheme != "Bearer" or user is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        return user

    def _call(self, user: User, request: _Request) -> Call:
        kind, namespace, name, sub = _target(self.api, request.path)
        query = {key: values[-1] for key, values in request.query.items()}
        verb = _VERBS.get(request.method, "")
        if request.method in ("GET", "HEAD"):
            watching = query.get("watch", "") in ("true", "1")
            verb = "get" if name else "watch" if watching else "list"
        if verb == "delete" and not name:
            verb = "deletecollection"
        if sub and sub not in kind.subresources:
            raise answers.no_such_path()
        if not verb or (not sub and verb not in kind.verbs) or (verb == "create" and name and not sub):
            raise answers.method_not_allowed()
        body = decode(request.body)
        return Call(user, verb, kind, namespace, name, sub, query, body, request.headers.get("content-type", ""))

    def _admit(self, call: Call) -> Asked:
        """Raise unless the user may, and the faults let it through."""
        world, kind = self.api.world, call.kind
        resource = f"{kind.plural}/{call.sub}" if call.sub else kind.plural
        asked = Asked(call.verb, resource, call.namespace, call.name)
        world.asked.append(f"{call.verb} {resource} {call.namespace}/{call.name}")
        within = call.name if kind.plural == "namespaces" else call.namespace
        deeds = [rbac.Deed(call.verb, kind.group, resource, within, call.name)]
        if call.sub == "exec" and call.verb == "get":
            # A WebSocket is a GET, and since Kubernetes 1.35 the right to create is asked for as well.
            deeds.append(rbac.Deed("create", kind.group, resource, within, call.name))
        for deed in deeds if kind.plural != "selfsubjectaccessreviews" else ():
            if world.faults.forbids(asked) or not rbac.allowed(world.store, call.user, deed):
                raise deed.refusal(call.user)
        world.faults.strike(asked)
        return asked

    async def _do(
        self, stream: trio.SocketStream, wire: h11.Connection, request: _Request, call: Call, asked: Asked
    ) -> None:
        world = self.api.world
        if call.verb == "watch":
            return await self._stream(stream, wire, Watch(self.api, call).events(), world.faults.watch_cut)
        if world.faults.delay:
            await trio.sleep(world.faults.delay)
        if call.sub == "exec":
            return await execute.serve(stream, wire, request.head, request.query, self.kubelet, call)
        if call.sub == "log":
            return await self._stream(stream, wire, self.kubelet.log(call), None, kind="text/plain")
        answer = self.api.handle(call)
        lost = world.faults.swallow(asked)
        if lost == 0:
            raise _Cut
        if lost is not None:
            raise Refused(lost, "Timeout", "Timeout: request did not complete within the allotted timeout")
        await _send(stream, wire, answer)

    async def _stream(
        self, stream: trio.SocketStream, wire: h11.Connection, pieces: AsyncIterator[bytes], seconds: float | None,
        *, kind: str = "application/json",
    ) -> None:  # fmt: skip
        """A body without a known end. It is cut after so many seconds, and ended when the client goes away."""
        head = h11.Response(status_code=200, headers=[("Content-Type", kind), ("Transfer-Encoding", "chunked")])
        await stream.send_all(wire.send(head) or b"")
        with trio.move_on_after(seconds if seconds is not None else float("inf")) as scope:
            async with trio.open_nursery() as nursery, aclosing(pieces):  # type: ignore[type-var]
                nursery.start_soon(_left, stream, wire, nursery.cancel_scope)
                async for piece in pieces:
                    await stream.send_all(wire.send(h11.Data(data=piece)) or b"")
                await stream.send_all(wire.send(h11.EndOfMessage()) or b"")
                nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            raise _Cut


async def _left(stream: trio.SocketStream, wire: h11.Connection, scope: trio.CancelScope) -> None:
    """Wait until the client goes away. A next request, which may come just as the body ends, is kept."""
    with suppress(*_BREAKS):
        while data := await stream.receive_some(_PIECE):
            wire.receive_data(data)
    scope.cancel()


def _reset(stream: trio.SocketStream) -> None:
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


def _target(api: Api, path: list[str]) -> tuple[Kind, str, str, str]:
    """Kind, namespace, name and subresource of a path."""
    match path:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise answers.no_such_path()
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = api.world.kind(group, version, rest[0]) if rest else None
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise answers.no_such_path()
    name, sub = (*rest[1:], "", "")[:2]
    if kind.namespaced and not namespace and name:
        raise answers.no_such_path()
    return kind, namespace, name, sub


async def _next(stream: trio.SocketStream, wire: h11.Connection) -> _Request | None:
    """The next request, read whole; ``None`` at the end."""
    head, body = None, b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await stream.receive_some(_PIECE))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
            assert head is not None
            return _parsed(head, body)
        elif isinstance(event, h11.ConnectionClosed):
            return None


def _parsed(head: h11.Request, body: bytes) -> _Request:
    parts = urlsplit(head.target.decode())
    path = [unquote(part) for part in parts.path.split("/") if part]
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
    query = parse_qs(parts.query, keep_blank_values=True)
    return _Request(head.method.decode(), path, query, headers, body, head)


async def _send(
    stream: trio.SocketStream, wire: h11.Connection, answer: Answer, *, retry_after: int | None = None
) -> None:
    body = json.dumps(answer.body).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    headers += [("Warning", f"299 - {json.dumps(text)}") for text in answer.warnings]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    data = wire.send(h11.Response(status_code=answer.code, headers=headers)) or b""
    data += wire.send(h11.Data(data=body)) or b""
    await stream.send_all(data + (wire.send(h11.EndOfMessage()) or b""))
