"""Sessions of version 2 message by message, and what can be done to them. From SPEC.md; shares nothing with ours."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

Frames = list[bytes]  # of a WebSocket, ready to be sent
# Members of messages; each is right for hardly any of them.
WRONG: Final[tuple[Any, ...]] = (
    None, -1, 0, 1.5, True, "", [], {}, 2**31, 2**53, "\ud800", "a\r\nb: c", [["a b", "c"]], [[1, 2]],
)  # fmt: skip
LENGTHS: Final = (0, 1, 0x7FFFFFFF, 0xFFFFFFFC, 0xFFFFFFFF)
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FLIPS: Final = 6


def message(payload: bytes = b"", /, **header: Any) -> bytes:
    """One message."""
    written = json.dumps(header, separators=(",", ":")).encode()
    return len(written).to_bytes(4, "big") + written + payload


def hello() -> bytes:
    """What each end says first."""
    return message(type="hello", version=2, software="hostile", window=65536, maxChunk=16384, maxStreams=16, info={})


# What an agent says after its hello to a server that has opened stream 1.
AGENT: Final = {
    "ping": message(type="ping", token=7),
    "credit": message(type="credit", id=1, bytes=1000),
    "interim": message(type="head", id=1, status=103, headers=[["link", "</a>"]]),
    "head": message(b"hello", type="head", id=1, status=200, headers=[["x", "y"], ["x", "z"]], length=11),
    "data": message(b" worl", type="data", id=1),
    "end": message(b"d", type="data", id=1, end=True),
}
# What a server says after its hello.
SERVER: Final = {
    "ping": message(type="ping", token=7),
    "open": message(type="open", id=1, method="GET", path="/bytes/10", headers=[["host", "x"]], end=True),
    "upload": message(b"abc", type="open", id=2, method="POST", path="/hash", headers=[["host", "x"]], length=6),
    "data": message(b"def", type="data", id=2, end=True),
    "credit": message(type="credit", id=2, bytes=1000),
    "waiting": message(type="open", id=3, method="GET", path="/never", headers=[["host", "x"]], end=True),
    "reset": message(type="reset", id=3, code="cancelled", message="left"),
    "upgrade": message(type="open", id=4, method="GET", path="/ws", headers=[["host", "x"]], upgrade="websocket"),
}


def mutations(good: dict[str, bytes], *, client: bool) -> Iterator[tuple[str, Frames]]:
    """Every session that differs from the good one in one thing. ``client``: frames are masked."""
    for name, whole in good.items():
        for what, changed in _changes(whole):
            yield f"{name} {what}", [frame(changed if other == name else good[other], client) for other in good]
    names = list(good)
    for index, name in enumerate(names):
        frames = [frame(good[other], client) for other in names]
        yield f"{name} twice", [*frames[: index + 1], frames[index], *frames[index + 1 :]]
        yield f"{name} left out", [*frames[:index], *frames[index + 1 :]]
        yield f"{name} last", [*frames[:index], *frames[index + 1 :], frames[index]]
        yield f"{name} first", [frames[index], *frames[:index], *frames[index + 1 :]]
        yield f"{name} in the middle of a fragmented one", [frame(good[name], client, fin=False), *frames]
        yield f"{name} as text", [*frames[:index], frame(good[name], client, opcode=1), *frames[index:]]
        yield f"{name} masked wrongly", [*frames[:index], frame(good[name], not client), *frames[index:]]
    for opcode in (0, 3, 7, 11, 15):
        yield f"opcode {opcode}", [frame(b"x", client, opcode=opcode)]
    yield "a fragmented ping", [frame(b"x", client, opcode=9, fin=False)]
    yield "a long ping", [frame(bytes(126), client, opcode=9)]
    yield "a reserved bit", [bytes([0xC2]) + frame(good[names[0]], client)[1:]]
    for size in (1 << 20, (1 << 63) - 1, (1 << 64) - 1):
        yield (
            f"a frame of {size} bytes",
            [bytes([0x82, 0xFF if client else 0x7F]) + size.to_bytes(8, "big") + bytes(120_000)],
        )
    yield (
        "fragments without end",
        [frame(b"", client, opcode=2, fin=False), frame(b"", client, opcode=0, fin=False) * 9],
    )
    yield "a message in too many fragments", [
        frame(bytes(9000), client, fin=False), frame(bytes(9000), client, opcode=0, fin=False) * 12,
    ]  # fmt: skip
    yield "a close without a code", [frame(b"\x03", client, opcode=8)]
    yield "a close with a bad code", [frame(b"\x00\x05bad", client, opcode=8)]
    yield "a close that is not UTF-8", [frame(b"\x03\xe8\xff\xfe", client, opcode=8)]


def _changes(whole: bytes) -> Iterator[tuple[str, bytes]]:
    header = 4 + int.from_bytes(whole[:4], "big")
    for cut in sorted({0, 1, 3, 4, 5, header // 2, header - 1, header}):
        yield f"cut at {cut}", whole[:cut]
    for length in (*LENGTHS, header - 5, header - 3, len(whole)):
        yield f"with length {length:#x}", length.to_bytes(4, "big") + whole[4:]
    dice = random.Random(whole)
    for _ in range(_FLIPS):
        at = dice.randrange(4, len(whole))
        bit = dice.randrange(8)
        yield f"with bit {bit} of byte {at}", whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    said = json.loads(whole[4:header])
    for member in said:
        for value in WRONG:
            yield f"with {member} {value!r}", message(whole[header:], **{**said, member: value})
        yield f"without {member}", message(whole[header:], **{key: said[key] for key in said if key != member})
    yield "with a large payload", whole[:header] + bytes(16385)
    yield "with a large header", message(whole[header:], **said, x="x" * 90_000)
    yield "with deep JSON", (60_000).to_bytes(4, "big") + b"[" * 60_000


def frame(payload: bytes, client: bool, *, opcode: int = 2, fin: bool = True) -> bytes:
    """A WebSocket frame, whole and by hand, so that it may be wrong."""
    first, mask = (0x80 if fin else 0) | opcode, 0x80 if client else 0
    if len(payload) < 126:
        head = bytes([first, mask | len(payload)])
    elif len(payload) < 1 << 16:
        head = bytes([first, mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if client else b"") + payload  # a mask of zeros changes nothing


class Socket:
    """A WebSocket after its handshake: sends anything, reads what comes."""

    def __init__(self, stream: trio.SocketStream, kind: ConnectionType, early: bytes = b"") -> None:
        self.stream = stream
        self.closed: CloseConnection | None = None
        self._connection = Connection(kind)
        self._events: list[dict[str, Any]] = []
        self._part = b""
        if early:
            self._take(early)

    async def send(self, data: bytes) -> None:
        """Raw bytes; nothing happens if nobody takes them any more."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            return

    async def next(self) -> dict[str, Any] | None:
        """The next message's header, with its payload as ``payload``; ``None`` when it is closed or broken off."""
        while not self._events:
            if self.closed is not None:
                return None
            try:
                data = bytes(await self.stream.receive_some(1 << 16))
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._take(data)
        return self._events.pop(0)

    async def until(self, **wanted: object) -> dict[str, Any] | None:
        """The next message with these members; ``None`` if there is none before the end."""
        while (found := await self.next()) is not None:
            if wanted.items() <= found.items():
                return found
        return None

    def _take(self, data: bytes) -> None:
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, BytesMessage):
                self._part += event.data
                if event.message_finished:
                    end = 4 + int.from_bytes(self._part[:4], "big")
                    self._events.append(json.loads(self._part[4:end]) | {"payload": self._part[end:]})
                    self._part = b""
            elif isinstance(event, CloseConnection):
                self.closed = event
            else:
                assert not isinstance(event, TextMessage)


def accept(key: str) -> str:
    """The answer to a handshake's key."""
    return b64encode(sha1((key + _GUID).encode()).digest()).decode()
