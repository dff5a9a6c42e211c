"""Answers of a cluster that go on for long: what changes, and what a pod writes.

A thread waits for each next piece, for the official client blocks. Whoever leaves in the middle ends that wait: the
socket is shut down under it.
"""

from __future__ import annotations

import threading
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
import urllib3
import urllib3.exceptions

from backends.kubeanswers import ClusterAway
from backends.kubecluster import LOOK_SECONDS, away, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from backends.kubecluster import Cluster

_PIECE: Final = 65536
_LONGEST_LINE: Final = 4 * 2**20  # of what changes: an object has 1.5 MiB at most in a cluster's store


class _Body:
    """One answer. ``read`` is a thread's, ``end`` anybody's; who comes last closes it."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._ended = False
        self._response: urllib3.HTTPResponse | None = None

    def open(self, cluster: Cluster, path: str, query: Mapping[str, str], silence: float | None) -> None:
        try:
            response = cluster.send("GET", path, query, None, silence)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise away(error) from error
        self._response = response
        if self._ended:  # nobody waits for it any more
            response.close()
        elif response.status >= 300:
            try:
                raise refusal(response, response.read(_PIECE))
            finally:
                response.close()

    def read(self) -> bytes:
        response = self._response
        assert response is not None
        try:
            with self._reading:
                return response.read1(_PIECE) or b""
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            if self._ended:
                return b""
            raise away(error if isinstance(error, urllib3.exceptions.HTTPError | OSError) else OSError()) from error
        finally:
            if self._ended:
                response.close()

    def end(self) -> None:
        self._ended = True
        response = self._response
        if response is None:
            return
        if self._reading.acquire(blocking=False):
            try:
                response.close()
            finally:
                self._reading.release()
        else:
            try:
                response.shutdown()
            except (OSError, ValueError, RuntimeError):  # it is over
                return


@asynccontextmanager
async def pieces(
    cluster: Cluster,
    path: str,
    query: Mapping[str, str],
    *,
    limiter: trio.CapacityLimiter,
    silence: float | None,
) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The body of an answer, as it comes. ``silence``: seconds without a byte after which it is given up.

    Raises :class:`~backends.base.BackendError`, also while the body is read.
    """
    body = _Body()
    try:
        with trio.move_on_after(LOOK_SECONDS) as scope:
            begin = partial(body.open, cluster, path, query, silence)
            await trio.to_thread.run_sync(begin, abandon_on_cancel=True, limiter=limiter)
        if scope.cancelled_caught:
            raise ClusterAway(f"the cluster does not answer within {LOOK_SECONDS:g} s")
        async with aclosing(_pieces(body, limiter)) as found:
            yield found
    finally:
        body.end()


async def _pieces(body: _Body, limiter: trio.CapacityLimiter) -> AsyncGenerator[bytes, None]:
    while piece := await trio.to_thread.run_sync(body.read, abandon_on_cancel=True, limiter=limiter):
        yield piece


async def lines(found: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """One line at a time, without its end; what is left when the body ends in the middle of one is lost."""
    held = b""
    async for piece in found:
        held += piece
        *whole, held = held.split(b"\n")
        if len(held) > _LONGEST_LINE:
            raise ClusterAway("the cluster sends a line without end")
        for line in whole:
            yield line
