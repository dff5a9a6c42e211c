"""Answers of a Docker engine that go on for long: a container's output, the progress of a pull.

By httpx on Trio and not by docker-py: who reads may leave at any moment, and a thread that waits for the next byte
cannot be made to.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx

from backends.base import BackendUnavailable
from backends.engine import LOOK_SECONDS, from_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

_LONGEST_LINE: Final = 2**20  # of a pull's progress; the engine's have some hundred bytes
_FRAME_HEAD: Final = 8  # kind, three zeros, length of the payload as 32 bits, big endian (engine API, "attach")


@asynccontextmanager
async def answer(
    host: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    silence: float | None = None,
) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The body of an answer with status 200, as it comes. ``silence``: seconds without a byte after which to give up.

    Raises :class:`~backends.base.BackendError`, also while the body is read.
    """
    if host.startswith("unix://"):
        transport, base = httpx.AsyncHTTPTransport(uds=host.removeprefix("unix://")), "http://engine"
    else:
        transport, base = httpx.AsyncHTTPTransport(), host.replace("tcp://", "http://", 1)
    patience = httpx.Timeout(LOOK_SECONDS, read=silence)
    try:
        async with (
            httpx.AsyncClient(transport=transport, base_url=base, timeout=patience, trust_env=False) as client,
            client.stream(method, path, params=dict(params), headers=dict(headers or {})) as found,
        ):
            if found.status_code != 200:
                raise from_answer(found.status_code, _message(await found.aread()))
            yield found.aiter_raw()
    except httpx.TimeoutException as error:
        raise BackendUnavailable("the Docker engine does not answer in time") from error
    except httpx.HTTPError as error:
        raise BackendUnavailable(f"the connection to the Docker engine broke: {error}") from error


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
