"""What the API's routes may use, and how they get at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from quart import current_app

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from backends.base import Backend
    from daemon.api.hub import EventHub
    from daemon.auth.passwords import Passwords
    from daemon.auth.throttle import Turns
    from daemon.config import Settings
    from daemon.db.database import Database
    from daemon.secret import Keyring

_KEY = "cli_server"


class Intents(Protocol):
    """How routes ask for a sandbox to be paused, resumed or deleted: the intent is recorded, and others act on it.

    Each raises :class:`daemon.sandboxes.status.IllegalStatus` if the sandbox's status does not allow it.
    """

    async def request_pause(self, sandbox_id: str) -> None:
        """Ask for a pause."""
        ...

    async def request_resume(self, sandbox_id: str) -> None:
        """Ask for a resume."""
        ...

    async def request_delete(self, sandbox_id: str) -> None:
        """Ask for it to be deleted."""
        ...


def _never(sandbox_id: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class ApiParts:
    """The parts that the routes work with."""

    settings: Settings
    db: Database
    keyring: Keyring = field(repr=False)
    passwords: Passwords
    turns: Turns
    lifecycle: Intents
    hub: EventHub
    backend: Backend
    # When this process last saw a sandbox used, which may be later than what the database says.
    last_activity: Callable[[str], datetime | None] = _never
    # Told how every attempt to sign in ended: ok, wrong, limited.
    on_login: Callable[[str], None] = _never


def parts() -> ApiParts:
    """The parts of the running app."""
    return cast("ApiParts", current_app.extensions[_KEY])


def set_parts(extensions: dict[str, object], value: ApiParts) -> None:
    """Give an app its parts."""
    extensions[_KEY] = value
