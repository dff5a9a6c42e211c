"""HTTP/1.1 as strictly as it can be read, independent of h11 and of the gateway: the eyes of these tests.

Whatever the gateway writes, to a client or to an upstream, must pass here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

Headers = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (/[\x21-\x7e]*|\*) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_FIELD = re.compile(
    rb"(" + _TOKEN + rb"): ?((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)"
)
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Violation(Exception):
    """The bytes are not what a strict reader takes."""


class Source(Protocol):
    """Where bytes come from."""

    async def until(self, marker: bytes) -> bytes:
        """Everything up to and with ``marker``. Raises :class:`EOFError` or :class:`OSError`."""
        ...

    async def exactly(self, count: int) -> bytes:
        """So many bytes. Raises :class:`EOFError` or :class:`OSError`."""
        ...

    async def rest(self) -> bytes:
        """Everything up to the end. Raises :class:`OSError`."""
        ...


@dataclass
class Message:
    """A request or a response; ``first`` and ``second`` are method and target, or status and reason."""

    first: bytes
    second: bytes
    headers: Headers
    body: bytes = b""
    raw_head: bytes = field(default=b"", repr=False)

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.first)

    def all(self, name: str) -> list[bytes]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.encode()]

    def only(self, name: str) -> bytes | None:
        """The value of a header that must not be repeated."""
        values = self.all(name)
        if len(values) > 1:
            raise Violation(f"{name} is repeated: {values}")
        return values[0] if values else None


def parse_head(head: bytes, *, request: bool) -> Message:
    """One whole head with its empty line."""
    if not head.endswith(b"\r\n\r\n"):
        raise Violation(f"no end of the head: {head!r}")
    first, *lines = head[:-4].split(b"\r\n")
    match = (_REQUEST_LINE if request else _STATUS_LINE).fullmatch(first)
    if match is None:
        raise Violation(f"first line: {first!r}")
    message = Message(match[1], match[2], [], raw_head=head)
    for line in lines:
        pair = _FIELD.fullmatch(line)
        if pair is None:
            raise Violation(f"header line: {line!r}")
        message.headers.append((pair[1].lower(), pair[2]))
    return message


def framing(message: Message) -> int | None:
    """The declared length; -1 for chunked, ``None`` if nothing is declared."""
    coding, length = message.only("transfer-encoding"), message.only("content-length")
    if coding is not None:
        if length is not None or coding != b"chunked":
            raise Violation(f"framing: {message.headers}")
        return -1
    if length is None:
        return None
    if not _NUMBER.fullmatch(length):
        raise Violation(f"content-length: {length!r}")
    return int(length)


async def read_chunked(source: Source) -> bytes:
    """A chunked body without extensions and trailers."""
    body = bytearray()
    while True:
        size = (await source.until(b"\r\n"))[:-2]
        if not _CHUNK_SIZE.fullmatch(size):
            raise Violation(f"chunk size: {size!r}")
        data = await source.exactly(int(size, 16) + 2)
        if data[-2:] != b"\r\n":
            raise Violation(f"end of a chunk: {data[-2:]!r}")
        if data == b"\r\n":
            return bytes(body)
        body += data[:-2]


async def read_request(source: Source) -> Message:
    """One request as an upstream receives it."""
    message = parse_head(await source.until(b"\r\n\r\n"), request=True)
    if len(message.all("host")) != 1:
        raise Violation(f"host: {message.headers}")
    length = framing(message)
    message.body = await read_chunked(source) if length == -1 else await source.exactly(length or 0)
    return message


async def read_response(source: Source, method: bytes = b"GET") -> tuple[Message, list[Message]]:
    """One final response as a client receives it, and the 1xx before it."""
    before: list[Message] = []
    while True:
        message = parse_head(await source.until(b"\r\n\r\n"), request=False)
        if message.status == 101 or message.status >= 200:
            break
        if framing(message) is not None:
            raise Violation(f"1xx with framing: {message.headers}")
        before.append(message)
    length = framing(message)
    if message.status in (101, 204) and length is not None:
        raise Violation(f"{message.status} with framing: {message.headers}")
    if method == b"HEAD" or message.status in (101, 204, 304):
        return message, before
    if length == -1:
        message.body = await read_chunked(source)
    elif length is not None:
        message.body = await source.exactly(length)
    else:
        message.body = await source.rest()
    return message, before


def statuses(messages: Sequence[Message]) -> list[int]:
    """The statuses of responses."""
    return [message.status for message in messages]
