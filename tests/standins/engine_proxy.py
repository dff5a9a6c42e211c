"""A Docker engine that behaves badly: the real one behind a unix socket of ours, with rules for single requests.

    proxy = EngineProxy("/var/run/docker.sock", folder / "engine.sock")
    await nursery.start(proxy.serve)
    proxy.rules.append(Rule("POST", "/containers/create", Answer(500, "no space left on device")))

The first rule that fits a request is applied, ``times`` times if that is said. ``go_away`` takes the socket away and
resets what is open, as an engine that ends does; ``come_back`` undoes it. ``requests`` remembers what was asked.
Bytes pass as they are. What it does not do: no TLS, no pipelining, no chunked requests (the backend sends none).
"""

from __future__ import annotations

import json
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from pathlib import Path

_PIECE: Final = 65536
_HEAD_END: Final = b"\r\n\r\n"
_VERSION: Final = re.compile(r"^/v1\.\d+(?=/)")
_LENGTH: Final = re.compile(rb"^content-length:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
_ABORT: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset
_BREAKS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass(frozen=True)
class Delay:
    """The request reaches the engine so many seconds later."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """The request reaches the engine once ``gate`` is set."""

    gate: trio.Event


@dataclass(frozen=True)
class Refuse:
    """The request does not reach the engine; the connection ends without an answer."""


@dataclass(frozen=True)
class Answer:
    """The request does not reach the engine; this is the answer, in the engine's shape unless ``raw``."""

    status: int
    text: str
    raw: bool = False


@dataclass(frozen=True)
class Cut:
    """The engine does what it is asked, and of its answer only the first ``after`` bytes arrive."""

    after: int = 0


@dataclass(frozen=True)
class Hang:
    """No answer, and no end of the connection. ``done``: the engine does what it is asked."""

    done: bool = False


Deed = Delay | Hold | Refuse | Answer | Cut | Hang


@dataclass
class Rule:
    """``path`` is a regular expression that fits all of the path, without version and query."""

    method: str
    path: str
    deed: Deed
    skip: int = 0  # so many requests that fit pass first
    times: int | None = None
    applied: int = 0

    def takes(self, method: str, path: str) -> bool:
        """Whether it is applied to this request."""
        if re.fullmatch(self.method, method) is None or re.fullmatch(self.path, path) is None:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.applied >= self.times:
            return False
        self.applied += 1
        return True


@dataclass
class EngineProxy:
    """The stand-in. ``host`` is what a client is given."""

    target: str
    path: Path
    rules: list[Rule] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _open: set[trio.SocketStream] = field(default_factory=set)
    _listening: tuple[trio.socket.SocketType, trio.CancelScope] | None = None
    _back: trio.Event = field(default_factory=trio.Event)

    @property
    def host(self) -> str:
        """As in ``DOCKER_HOST``."""
        return f"unix://{self.path}"

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self.come_back()
            task_status.started()
            while True:
                await self._back.wait()
                self._back = trio.Event()
                assert self._listening is not None
                sock, scope = self._listening
                with scope, sock:
                    while True:
                        try:
                            client, _ = await sock.accept()
                        except (OSError, trio.ClosedResourceError):
                            if scope.cancel_called:  # it went away just when somebody came
                                break
                            raise
                        stream = trio.SocketStream(client)
                        self._open.add(stream)
                        nursery.start_soon(self._guard, stream)

    def go_away(self) -> None:
        """As when the engine ends: connections are reset, and nobody listens."""
        assert self._listening is not None
        sock, scope = self._listening
        scope.cancel()
        sock.close()
        self.path.unlink()
        self.reset()

    def come_back(self) -> None:
        """Listen again: who connects from now on is answered, be it a moment later."""
        self._listening = self._listen(), trio.CancelScope()
        self._back.set()

    def reset(self) -> None:
        """Reset all connections."""
        for stream in self._open:
            with suppress(OSError):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            stream.socket.close()
        self._open.clear()

    def _listen(self) -> trio.socket.SocketType:
        raw = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        raw.bind(str(self.path))
        raw.listen(128)
        return trio.socket.from_stdlib_socket(raw)

    async def _guard(self, client: trio.SocketStream) -> None:
        try:
            with suppress(*_BREAKS):
                async with client, await trio.open_unix_socket(self.target) as engine:
                    self._open.add(engine)
                    try:
                        await self._relay(client, engine)
                    finally:
                        self._open.discard(engine)
        finally:
            self._open.discard(client)

    async def _relay(self, client: trio.SocketStream, engine: trio.SocketStream) -> None:
        """Requests one after the other; what the engine says passes meanwhile."""
        answers = _Answers(engine, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answers.run, nursery.cancel_scope)
            with suppress(*_BREAKS):
                await self._requests(client, engine, answers)
            nursery.cancel_scope.cancel()

    async def _requests(self, client: trio.SocketStream, engine: trio.SocketStream, answers: _Answers) -> None:
        held = b""
        while True:
            while _HEAD_END not in held:
                data = await client.receive_some(_PIECE)
                if not data:
                    return
                held += data
            held = await self._request(held, client, engine, answers)

    async def _request(
        self, held: bytes, client: trio.SocketStream, engine: trio.SocketStream, answers: _Answers
    ) -> bytes:
        """Pass on one request; what came after it."""
        end = held.index(_HEAD_END) + len(_HEAD_END)
        head = held[:end]
        assert b"transfer-encoding" not in head.lower(), "no chunked requests"
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        length = _LENGTH.search(head)
        end += int(length[1]) if length else 0
        while len(held) < end:
            data = await client.receive_some(_PIECE)
            if not data:
                raise trio.BrokenResourceError
            held += data
        path = _VERSION.sub("", target).partition("?")[0]
        self.requests.append(f"{method} {path}")
        deed = next((rule.deed for rule in self.rules if rule.takes(method, path)), None)
        if isinstance(deed, Answer):
            await client.send_all(_written(deed))
            return held[end:]
        await answers.prepare(deed)
        await engine.send_all(held[:end])
        if b"\nupgrade:" in head.lower():  # from here on it is a stream of its own
            await engine.send_all(held[end:])
            while data := await client.receive_some(_PIECE):
                await engine.send_all(data)
            await engine.send_eof()
            await trio.sleep_forever()
        return held[end:]


class _Answers:
    """What the engine says, to the client. ``left``: bytes until it is cut; ``None``: never."""

    def __init__(self, engine: trio.SocketStream, client: trio.SocketStream) -> None:
        self._engine = engine
        self._client = client
        self._left: int | None = None
        self._silent = False

    async def prepare(self, deed: Deed | None) -> None:
        """What is to become of the next answer."""
        match deed:
            case Delay(seconds):
                await trio.sleep(seconds)
            case Hold(gate):
                await gate.wait()
            case Refuse():
                raise trio.BrokenResourceError
            case Cut(after):
                self._left = after
            case Hang(done):
                self._silent = True
                if not done:
                    await trio.sleep_forever()

    async def run(self, scope: trio.CancelScope) -> None:
        """Until one of the two is gone, or an answer was cut."""
        with suppress(*_BREAKS):
            while data := await self._engine.receive_some(_PIECE):
                if self._silent:
                    continue
                if self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                await self._client.send_all(data)
                if self._left is not None and self._left <= 0:
                    break
        scope.cancel()


def _written(answer: Answer) -> bytes:
    body = answer.text if answer.raw else json.dumps({"message": answer.text})
    kind = "text/html" if answer.raw else "application/json"
    head = f"HTTP/1.1 {answer.status} No\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}\r\n\r\n"
    return (head + body).encode()
