"""Answers of a Docker engine that go on for long: a container's output, the progress of a pull.

By h11 on Trio and not by docker-py: who reads may leave at any moment, and a thread that waits for the next byte
cannot be made to.
"""

from __future__ import annotations

import json
import math
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import h11
import trio

from backends.base import BackendUnavailable
from backends.engine import LOOK_SECONDS, from_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

_LONGEST_LINE: Final = 2**20  # of a pull's progress; the engine's have some hundred bytes
_FRAME_HEAD: Final = 8  # kind, three zeros, length of the payload as 32 bits, big endian (engine API, "attach")
_PIECE: Final = 65536


@asynccontextmanager
async def answer(
    host: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, str],
    headers: Mapping[str, str | bytes] | None = None,
    body: bytes = b"",
    silence: float | None = None,
) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The body of an answer with status 200, as it comes.

    ``body``, if any, is JSON. ``silence``: seconds without a byte after which to give up. Raises
    :class:`~backends.base.BackendError`, also while the body is read.
    """
    fields = {"Host": "engine", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
    if body:
        fields["Content-Type"] = "application/json"
    head = [(name.encode(), text.encode() if isinstance(text, str) else text) for name, text in fields.items()]
    request = h11.Request(method=method, target=f"{path}?{urlencode(params)}", headers=head)
    conversation = _Conversation(await _connect(host), silence)
    try:
        response = await conversation.ask(request, body)
        async with aclosing(conversation.body()) as pieces:
            if response.status_code != 200:
                raise from_answer(response.status_code, _message(b"".join([piece async for piece in pieces])))
            yield pieces
    finally:
        await trio.aclose_forcefully(conversation.stream)


async def _connect(host: str) -> trio.SocketStream:
    try:
        with trio.fail_after(LOOK_SECONDS):
            if host.startswith("unix://"):
                return await trio.open_unix_socket(host.removeprefix("unix://"))
            parts = urlsplit(host)
            return await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
    except trio.TooSlowError as error:
        raise _late() from error
    except OSError as error:
        raise BackendUnavailable(f"the Docker engine cannot be reached ({error.strerror or error})") from error


class _Conversation:
    """One request and its answer."""

    def __init__(self, stream: trio.SocketStream, silence: float | None) -> None:
        self.stream = stream
        self._silence = math.inf if silence is None else silence
        self._wire = h11.Connection(h11.CLIENT)

    async def ask(self, request: h11.Request, body: bytes) -> h11.Response:
        """Send it; the head of the answer, which the engine sends before it has anything to say."""
        events = (request, h11.Data(body), h11.EndOfMessage())
        data = b"".join(self._wire.send(event) or b"" for event in events)
        try:
            with trio.fail_after(LOOK_SECONDS):
                await self.stream.send_all(data)
        except trio.TooSlowError as error:
            raise _late() from error
        except trio.BrokenResourceError as error:
            raise _broken(error) from error
        event = await self._next(LOOK_SECONDS if math.isinf(self._silence) else self._silence)
        if not isinstance(event, h11.Response):
            raise BackendUnavailable("the connection to the Docker engine ended before an answer")
        return event

    async def body(self) -> AsyncGenerator[bytes, None]:
        """What comes, until the answer is whole."""
        while isinstance(event := await self._next(self._silence), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise BackendUnavailable("the connection to the Docker engine ended in the middle of an answer")

    async def _next(self, patience: float) -> object:
        try:
            while (event := self._wire.next_event()) is h11.NEED_DATA:
                with trio.fail_after(patience):
                    self._wire.receive_data(await self.stream.receive_some(_PIECE))
        except trio.TooSlowError as error:
            raise _late() from error
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise _broken(error) from error
        return event


def _late() -> BackendUnavailable:
    return BackendUnavailable("the Docker engine does not answer in time")


def _broken(error: Exception) -> BackendUnavailable:
    return BackendUnavailable(f"the connection to the Docker engine broke: {error.__cause__ or error}")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")


async def output(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What a container wrote, to either of its two outputs, out of the engine's frames."""
    held, left = b"", 0
    async for piece in pieces:
        held += piece
        while held:
            if left == 0:
                if len(held) < _FRAME_HEAD:
                    break
                left = int.from_bytes(held[4:_FRAME_HEAD], "big")
                held = held[_FRAME_HEAD:]
            else:
                data, held = held[:left], held[left:]
                left -= len(data)
                yield data


async def objects(pieces: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """One JSON object a line; what is none is left out."""
    held = b""
    async for piece in pieces:
        held += piece
        *lines, held = held.split(b"\n")
        if len(held) > _LONGEST_LINE:
            raise BackendUnavailable("the Docker engine sends a line without end")
        for line in lines:
            found = _object(line)
            if isinstance(found, dict):
                yield found


def _object(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
