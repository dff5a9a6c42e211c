"""What the API's routes may use, and how they get at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from quart import current_app

from daemon.auth.allowance import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backends.base import Backend
    from daemon.api.hub import EventHub
    from daemon.auth.passwords import Passwords
    from daemon.auth.throttle import Turns
    from daemon.config import Settings
    from daemon.db.database import Database
    from daemon.refusals import Refusals
    from daemon.secret import Keyring
    from daemon.signin.base import Provider

_KEY = "cli_server"


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
    hub: EventHub
    backend: Backend
    refusals: Refusals
    # With which others' accounts one can sign in, by id.
    providers: Mapping[str, Provider] = field(default_factory=dict)
    # When this process last saw a sandbox used, which may be later than what the database says.
    last_activity: Callable[[str], datetime | None] = _never
    # How many changes each user may make.
    changes: Allowance = field(default_factory=Allowance)
    # Told how every attempt to sign in ended: ok, wrong, limited.
    on_login: Callable[[str], None] = _never
    started: datetime = field(default_factory=partial(datetime.now, UTC))


def parts() -> ApiParts:
    """The parts of the running app."""
    return cast("ApiParts", current_app.extensions[_KEY])


def set_parts(extensions: dict[str, object], value: ApiParts) -> None:
    """Give an app its parts."""
    extensions[_KEY] = value
