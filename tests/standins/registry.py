"""A stand-in for an image registry: what a Docker engine asks when it pulls (HTTP API V2), read-only, on loopback.

    registry = Registry()
    await nursery.start(registry.serve)
    registry.add("team/sandbox:1", saved)        # an archive of `docker save`
    registry.trouble = Trouble(cut_after=100_000)
    docker.pull(registry.name("team/sandbox:1"))

An engine trusts 127.0.0.0/8 without TLS. Images are served as manifest v2, schema 2, with layers packed by gzip, as
`docker push` makes them. What it does not do: it takes nothing in, lists nothing, resumes nothing (no ranges), has one
platform for each image, and of authentication only the Basic kind.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import h11
import trio

_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_PIECE: Final = 16384
_BREAKS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass
class Trouble:
    """What goes wrong with layers: the connection ends after ``cut_after`` bytes of each, or none of them is sent on
    after ``held_after`` bytes until ``gate`` is set. ``silent``: no answer at all, to anything, before ``gate`` is set.
    """

    cut_after: int | None = None
    held_after: int | None = None
    silent: bool = False
    gate: trio.Event = field(default_factory=trio.Event)


@dataclass
class Registry:
    """The stand-in. ``asked`` has method and path of all requests. With ``credentials``, nobody else is served."""

    credentials: tuple[str, str] | None = None
    trouble: Trouble = field(default_factory=Trouble)
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)  # by repository, and tag or digest
    _blobs: dict[str, bytes] = field(default_factory=dict)

    def name(self, name: str) -> str:
        """What an engine is told to pull."""
        return f"127.0.0.1:{self.port}/{name}"

    def add(self, name: str, saved: bytes) -> None:
        """Serve the image in an archive of ``docker save`` as ``repository:tag``."""
        repository, _, tag = name.partition(":")
        with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
            index = json.loads(_read(archive, "manifest.json"))[0]
            config = self._keep(_read(archive, index["Config"]), _CONFIG)
            packed = (gzip.compress(_read(archive, layer), 1, mtime=0) for layer in index["Layers"])
            layers = [self._keep(data, _LAYER) for data in packed]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}).encode()
        self._manifests[repository, tag] = self._manifests[repository, _digest(manifest)] = manifest

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    def _keep(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = _digest(data)
        self._blobs[digest] = data
        return {"mediaType": kind, "size": len(data), "digest": digest}

    async def _handle(self, stream: trio.SocketStream) -> None:
        with suppress(*_BREAKS):
            async with stream:
                wire = h11.Connection(h11.SERVER)
                while isinstance(request := await _next_request(stream, wire), h11.Request):
                    self.asked.append(f"{request.method.decode()} {request.target.decode()}")
                    if self.trouble.silent:
                        await self.trouble.gate.wait()
                    await self._answer(stream, wire, request)
                    if wire.our_state is h11.MUST_CLOSE:
                        return
                    wire.start_next_cycle()

    async def _answer(self, stream: trio.SocketStream, wire: h11.Connection, request: h11.Request) -> None:
        status, kind, body = self._found(request)
        headers = [
            ("Docker-Distribution-Api-Version", "registry/2.0"),
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
        ]
        if status == HTTPStatus.OK:
            headers.append(("Docker-Content-Digest", _digest(body)))
        if status == HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", 'Basic realm="stand-in"'))
        await stream.send_all(wire.send(h11.Response(status_code=status, headers=headers)) or b"")
        if request.method != b"HEAD":
            troubled = kind == _LAYER
            for at in range(0, len(body), _PIECE):
                if troubled:
                    await self._worry(at)
                await stream.send_all(wire.send(h11.Data(data=body[at : at + _PIECE])) or b"")
        await stream.send_all(wire.send(h11.EndOfMessage()) or b"")

    async def _worry(self, sent: int) -> None:
        """Before the next piece of a layer."""
        if self.trouble.cut_after is not None and sent >= self.trouble.cut_after:
            raise trio.BrokenResourceError
        if self.trouble.held_after is not None and sent >= self.trouble.held_after:
            await self.trouble.gate.wait()

    def _found(self, request: h11.Request) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        if not self._may(request):
            return _error(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
        if request.method not in (b"GET", b"HEAD"):
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "it is read-only")
        path = unquote(request.target.decode().partition("?")[0])
        if path == "/v2/":
            return HTTPStatus.OK, "application/json", b"{}"
        place, _, reference = path.removeprefix("/v2/").rpartition("/")
        repository, _, sort = place.rpartition("/")
        if sort == "manifests" and (manifest := self._manifests.get((repository, reference))) is not None:
            return HTTPStatus.OK, _MANIFEST, manifest
        if sort == "blobs" and (blob := self._blobs.get(reference)) is not None:
            return HTTPStatus.OK, _CONFIG if blob.startswith(b"{") else _LAYER, blob
        return _error(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", f"manifest unknown: {reference}")

    def _may(self, request: h11.Request) -> bool:
        if self.credentials is None:
            return True
        wanted = b"Basic " + base64.b64encode(":".join(self.credentials).encode())
        return dict(request.headers).get(b"authorization") == wanted


async def _next_request(stream: trio.SocketStream, wire: h11.Connection) -> h11.Event | None:
    """The next request, read whole; ``None`` at the end."""
    request = None
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await stream.receive_some(_PIECE))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


def _error(status: HTTPStatus, code: str, message: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
