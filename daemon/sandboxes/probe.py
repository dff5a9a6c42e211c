"""Asks opencode whether it works: ``GET /session/status``, for every directory that something may be going on in.

opencode answers for one directory at a time (query parameter ``directory``, by default the one it was started in): a
session that is busy elsewhere does not show. So the directories of the sessions that were touched lately are asked for
first. A 200 proves nothing, because unknown paths answer with the web page; only JSON of the right shape is an answer.
"""

from __future__ import annotations

import json
from base64 import b64encode
from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import h11
import structlog
import trio

from backends.base import BackendError
from daemon.sandboxes.idle import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.base import Address, Backend
    from daemon.store.sandboxes import SandboxRow

log = structlog.get_logger(__name__)

DEADLINE: Final = 5.0  # seconds for all questions to one sandbox; an opencode that is well answers each in some 10 ms
MAX_ANSWER: Final = 1024 * 1024  # bytes; a hundred sessions make 70 kB
SESSIONS: Final = 100  # the latest touched; somebody who works in more places at once calls the model in some of them
# A session that is busy now was touched since opencode was started, at most so long ago. Older directories are not
# asked for, because opencode loads a project (its watchers, its language servers) to answer.
OLDEST_SECONDS: Final = 24 * 3600.0
WORKING: Final = frozenset({"busy", "retry"})
KNOWN: Final = WORKING | {"idle"}


class Unreadable(Exception):
    """opencode said nothing that can be understood. The text is for the log."""


class Probe:
    """Call it with a sandbox; ``password`` is the keyring's."""

    def __init__(
        self,
        backend: Backend,
        password: Callable[[SandboxRow], str],
        *,
        deadline: float = DEADLINE,
        oldest: float = OLDEST_SECONDS,
    ) -> None:
        self._backend = backend
        self._password = password
        self._deadline = deadline
        self._oldest = oldest

    async def __call__(self, sandbox: SandboxRow) -> Work:
        """What opencode says of itself, within the deadline. Never raises for what a sandbox or a backend does."""
        reason = f"no answer in {self._deadline:g} s"
        with trio.move_on_after(self._deadline):
            try:
                return await self._ask(sandbox)
            except Unreadable as error:
                reason = str(error)
            except BackendError as error:  # the reconciler says so, once for all sandboxes
                log.debug("a sandbox cannot be asked", sandbox=sandbox.id, reason=str(error))
                return Work.UNKNOWN
        log.info("session status cannot be read", sandbox=sandbox.id, reason=reason)
        return Work.UNKNOWN

    async def _ask(self, sandbox: SandboxRow) -> Work:
        address = await self._backend.address(sandbox.id)
        if address is None:
            raise Unreadable("opencode does not run")
        credentials = b64encode(f"opencode:{self._password(sandbox)}".encode())
        opencode = _Opencode(address, b"Basic " + credentials)
        since = int((time() - self._oldest) * 1000)
        sessions = await opencode.get("/experimental/session", start=since, limit=SESSIONS, archived="true")
        for directory in directories(sessions):
            where = {} if directory is None else {"directory": directory}
            if is_working(await opencode.get("/session/status", **where)):
                return Work.BUSY
        return Work.IDLE


def directories(sessions: object) -> list[str | None]:
    """Where to ask: opencode's own directory, and those of ``sessions``. Raises :class:`Unreadable`."""
    if not isinstance(sessions, list):
        raise Unreadable("the list of sessions is no list")
    found: dict[str | None, None] = {None: None}
    for session in sessions:
        directory = session.get("directory") if isinstance(session, dict) else None
        if not isinstance(directory, str):
            raise Unreadable("a session has no directory")
        found[directory] = None
    return list(found)


def is_working(statuses: object) -> bool:
    """Whether any session is busy or retries. Raises :class:`Unreadable` for a status that we do not know."""
    if not isinstance(statuses, dict):
        raise Unreadable("the session status is no object")
    words = [entry.get("type") if isinstance(entry, dict) else None for entry in statuses.values()]
    if any(word in WORKING for word in words if isinstance(word, str)):
        return True
    if any(not isinstance(word, str) or word not in KNOWN for word in words):
        raise Unreadable("a session has a status that is not known")
    return False


class _Opencode:
    """Asks by plain h11: no redirect is followed, no proxy of our environment is used, and an answer has an end."""

    def __init__(self, address: Address, authorization: bytes) -> None:
        self._address = address
        self._authorization = authorization

    async def get(self, path: str, **parameters: str | int) -> object:
        """The JSON at ``path``. Raises :class:`Unreadable`."""
        try:
            body = await self._fetch(f"{path}?{urlencode(parameters)}" if parameters else path)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise Unreadable(f"{path}: {type(error).__name__}") from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Unreadable(f"{path}: no JSON") from None

    async def _fetch(self, target: str) -> bytes:
        head = h11.Request(
            method="GET",
            target=target,
            headers=[
                (b"host", b"opencode"),
                (b"authorization", self._authorization),
                (b"accept", b"application/json"),
                (b"connection", b"close"),
            ],
        )
        conn = h11.Connection(h11.CLIENT)
        async with await trio.open_tcp_stream(self._address.host, self._address.port) as stream:
            await stream.send_all((conn.send(head) or b"") + (conn.send(h11.EndOfMessage()) or b""))
            body = bytearray()
            while not isinstance(event := await _next_event(conn, stream), h11.EndOfMessage):
                if isinstance(event, h11.Response):
                    _check_head(event)
                elif isinstance(event, h11.Data):
                    body += event.data
                if len(body) > MAX_ANSWER:
                    raise Unreadable(f"more than {MAX_ANSWER} bytes")
            return bytes(body)


async def _next_event(conn: h11.Connection, stream: trio.SocketStream) -> h11.Event:
    while (event := conn.next_event()) is h11.NEED_DATA:
        conn.receive_data(await stream.receive_some())
    if not isinstance(event, h11.Event):
        raise Unreadable("the connection was closed")
    return event


def _check_head(response: h11.Response) -> None:
    if response.status_code != 200:
        raise Unreadable(f"status {response.status_code}")
    kind = dict(response.headers).get(b"content-type", b"")
    if kind.partition(b";")[0].strip() != b"application/json":
        raise Unreadable("no JSON, but " + kind.decode("latin-1")[:40])
