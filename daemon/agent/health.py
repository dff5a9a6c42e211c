"""Looks at what is behind ``--opencode-url``: opencode, something else, or nothing."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import h11
import trio

from daemon.agent.errors import shown
from daemon.agent.http import Answer, BadAnswer, ask
from daemon.wire.sockets import connect_tcp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.agent.addresses import OpencodeAddress

# A healthy opencode answers in milliseconds. One that is just starting may take a request and never answer it (seen
# with 1.18.33), so an attempt is given up soon and made again on a new connection.
ATTEMPT_SECONDS: Final = 2.0
ATTEMPTS: Final = 3
DEFAULT_USER: Final = "opencode"


class State(Enum):
    """What was found."""

    NOTHING = auto()  # nobody listens, or the host cannot be reached
    SILENT = auto()  # somebody listens and does not answer
    STRANGER = auto()  # it is not opencode, or not a healthy one
    LOCKED = auto()  # it wants another user or password
    HEALTHY = auto()


@dataclass(frozen=True, slots=True)
class Login:
    """What opencode's Basic authentication takes."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> bytes:
        """The value of ``Authorization``."""
        return b"Basic " + b64encode(f"{self.user}:{self.password}".encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class Look:
    """One look. ``host`` is the address that answered; ``login`` what opened it, ``None`` if it is open to all."""

    state: State
    host: str
    login: Login | None = None
    detail: str = ""


async def find(address: OpencodeAddress, logins: Iterable[Login] = ()) -> Look:
    """What is at ``address``. A password is sent only to who asks for one, and the next only if the last was wrong."""
    look = Look(State.NOTHING, address.hosts[0])
    for host in address.hosts:
        look = await _patient_look(host, address.port, None)
        if look.state is not State.NOTHING:
            break
    for login in logins:
        if look.state is not State.LOCKED:
            break
        look = await _patient_look(look.host, address.port, login)
    return look


async def _patient_look(host: str, port: int, login: Login | None) -> Look:
    for _ in range(ATTEMPTS):
        look = await look_at(host, port, login)
        if look.state is not State.SILENT:
            break
    return look


async def look_at(host: str, port: int, login: Login | None) -> Look:
    """Ask for opencode's health once."""
    try:
        stream = await connect_tcp(host, port)
    except OSError as error:
        return Look(State.NOTHING, host, detail=shown(str(error)))
    headers = [(b"host", b"localhost"), (b"accept", b"application/json"), (b"connection", b"close")]
    if login is not None:
        headers.append((b"authorization", login.header))
    try:
        with trio.move_on_after(ATTEMPT_SECONDS):
            answer = await ask(stream, h11.Request(method="GET", target="/global/health", headers=headers))
            return _judged(answer, host, login)
        return Look(State.SILENT, host)
    except (OSError, BadAnswer) as error:
        return Look(State.STRANGER, host, detail=shown(str(error)))
    finally:
        stream.close()


def _judged(answer: Answer, host: str, login: Login | None) -> Look:
    """A status of 200 proves nothing (opencode answers unknown paths with its web page): the body must say so."""
    health = answer.json()
    if answer.status == 401:
        return Look(State.LOCKED, host)
    if answer.status == 200 and health.get("healthy") is True:
        return Look(State.HEALTHY, host, login)
    if answer.status == 200 and health.get("healthy") is False:
        return Look(State.STRANGER, host, detail="it says that it is not healthy")
    return Look(State.STRANGER, host, detail=f"its /global/health has status {answer.status} and is not opencode's")
