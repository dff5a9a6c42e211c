"""Calls to a Docker engine: docker-py in worker threads, with a deadline for each, and its errors in our words.

docker-py blocks and its clients are not made for several threads at once, so a client serves one thread at a time.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

import docker
import docker.errors
import requests.exceptions
import trio
from docker.constants import DEFAULT_DOCKER_API_VERSION

from backends.base import BackendError, BackendRejected, BackendUnavailable, SandboxGone

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient

P = ParamSpec("P")
T = TypeVar("T")

# Questions take the engine milliseconds; while it starts several containers on a busy machine, a second or two.
LOOK_SECONDS: Final = 10.0
# To make, start and remove things: a start waits for the disk, a removal of a large volume for all its files.
CHANGE_SECONDS: Final = 30.0
_LOOKS_AT_ONCE: Final = 4  # a question is mostly waiting; more would only queue inside the engine
_CHANGES_AT_ONCE: Final = 8  # apart from questions, which would wait behind stops that use their whole grace
_STOPS_AT_ONCE: Final = 16  # each may use its whole grace, and nobody's start should wait for that
_FULL: Final = "no space left on device"
_NO_ADDRESS: Final = "no available ipv4 addresses"
_AMBIGUOUS: Final = "is ambiguous"  # two daemons made a network at once; the younger one goes (backends/networks.py)


class Conflict(BackendUnavailable):
    """The engine says that something is in the way: a name that is taken, a container that is being removed."""


class EngineAway(BackendUnavailable):
    """There is no answer. ``errno`` is the system's word for why nobody could be reached, if it had one."""

    def __init__(self, text: str, errno: int | None = None) -> None:
        super().__init__(text)
        self.errno = errno


class Engine:
    """One Docker engine at ``host``: ``unix:///path`` or ``tcp://address:port``."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._idle: list[APIClient] = []
        self._kept = False  # whether clients are kept for the next call
        self._looks = trio.CapacityLimiter(_LOOKS_AT_ONCE)
        self._changes = trio.CapacityLimiter(_CHANGES_AT_ONCE)
        self._stops = trio.CapacityLimiter(_STOPS_AT_ONCE)

    def __enter__(self) -> Engine:
        """Within the block, connections to the engine are kept for the next call."""
        self._kept = True
        return self

    def __exit__(self, *_: object) -> None:
        self._kept = False
        self._drop_idle()

    async def look(self, question: Callable[Concatenate[APIClient, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask something that changes nothing. The deadline bounds the wait for a turn, too."""
        call = partial(self._call, LOOK_SECONDS, lambda client: question(client, *args, **kwargs))
        with trio.move_on_after(LOOK_SECONDS + 1):
            return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._looks)
        raise EngineAway(f"the Docker engine does not answer within {LOOK_SECONDS:g} s")

    async def change(self, order: Callable[Concatenate[APIClient, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have something done. It may be repeated, and cancelling waits for its end: nothing happens afterwards."""
        return await self._have_done(self._changes, lambda client: order(client, *args, **kwargs))

    async def wait_for(self, order: Callable[Concatenate[APIClient, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`change`, for what takes its time by itself, such as a stop with a grace."""
        return await self._have_done(self._stops, lambda client: order(client, *args, **kwargs))

    async def _have_done(self, limiter: trio.CapacityLimiter, order: Callable[[APIClient], T]) -> T:
        return await trio.to_thread.run_sync(partial(self._call, CHANGE_SECONDS, order), limiter=limiter)

    def _call(self, seconds: float, operation: Callable[[APIClient], T]) -> T:
        try:
            try:
                return self._with_client(seconds, operation)
            except requests.exceptions.ConnectionError as error:
                if _is_late(error):
                    raise
                # An engine that was restarted since has closed the connections that we kept. Everything we ask for
                # may be asked for twice.
                self._drop_idle()
                return self._with_client(seconds, operation)
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError) as error:
            raise in_our_words(error) from error

    def _with_client(self, seconds: float, operation: Callable[[APIClient], T]) -> T:
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._new_client(seconds)
        client.timeout = seconds
        try:
            result = operation(client)
        except docker.errors.APIError:
            self._put_back(client)  # an answer like any other
            raise
        except BaseException:
            client.close()
            raise
        self._put_back(client)
        return result

    def _new_client(self, seconds: float) -> APIClient:
        """It speaks the engine's version. docker-py would ask for that itself, and then hide why it got no answer."""
        _try_to_connect(self.host, seconds)
        asking = docker.APIClient(base_url=self.host, version=DEFAULT_DOCKER_API_VERSION, timeout=seconds)
        try:
            version = str(asking.version(api_version=False)["ApiVersion"])
        except (KeyError, TypeError) as error:
            raise ValueError("what answers is no Docker engine") from error
        finally:
            asking.close()
        return docker.APIClient(base_url=self.host, version=version, timeout=seconds)

    def _put_back(self, client: APIClient) -> None:
        if self._kept:
            self._idle.append(client)
        else:
            client.close()

    def _drop_idle(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return


def _try_to_connect(host: str, seconds: float) -> None:
    """Raises :class:`OSError`. docker-py loses the socket of a connection that fails, and buries the reason."""
    if not host.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(seconds)
        sock.connect(host.removeprefix("unix://"))


def in_our_words(error: Exception) -> BackendError:
    """What went wrong, as the caller has to take it. Pure."""
    if isinstance(error, docker.errors.APIError) and error.response is not None:
        return from_answer(int(error.response.status_code), str(error.explanation or error))
    if _is_late(error):
        return EngineAway("the Docker engine does not answer in time")
    number = _errno(error)
    why = f" ({os.strerror(number)})" if number else ""
    return EngineAway(f"the Docker engine cannot be reached{why}", number)


def _is_late(error: Exception) -> bool:
    if isinstance(error, (requests.exceptions.Timeout, TimeoutError)):
        return True
    # urllib3 says so while it reads a body.
    return isinstance(error, requests.exceptions.ConnectionError) and "timed out" in str(error).lower()


def from_answer(status: int, text: str) -> BackendError:
    """An answer of the engine that says no."""
    text = " ".join(text.split())
    lower = text.lower()
    if status == 404:
        return SandboxGone(text)
    if _FULL in lower:
        return BackendUnavailable(f"the Docker engine's disk is full; make room on its machine ({text})")
    if _NO_ADDRESS in lower:
        return BackendRejected(
            "the workspace's network has no address left; pause some of its sandboxes, or ask the operator for a "
            "larger AGENT_NETWORKS"
        )
    if status == 409 or _AMBIGUOUS in lower:
        return Conflict(text)
    if status == 400:
        return BackendRejected(f"the Docker engine refuses: {text}")
    if status in (401, 403):
        return BackendRejected(f"the Docker engine does not allow it: {text}")
    return BackendUnavailable(f"the Docker engine failed: {text}")


def _errno(error: BaseException | None) -> int | None:
    """The system's own word, which docker-py and its libraries wrap several times."""
    while error is not None:
        if isinstance(error, OSError) and error.errno and type(error).__module__ == "builtins":
            return error.errno
        inner = [found for found in error.args if isinstance(found, BaseException)]
        error = error.__cause__ or (inner[0] if inner else error.__context__)
    return None
