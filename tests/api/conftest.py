"""Fixtures of the API's tests; what they are made of is in :mod:`tests.api.support`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.api.app import create_app
from daemon.auth.throttle import block_seconds
from daemon.store import attempts
from tests.api.support import SLOWER, Bench, CountingHasher, make_parts, make_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.db.database import Database


@pytest.fixture
def make_bench(db: Database) -> Callable[..., Bench]:
    """Makes an app; ``parts`` replaces some of its parts, other arguments some of its settings."""

    def make(parts: dict[str, Any] | None = None, **changes: Any) -> Bench:
        hasher = CountingHasher()
        made = make_parts(db, hasher, make_settings(**changes), **(parts or {}))
        return Bench(create_app(made), made, hasher)

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """An app with open registration."""
    return make_bench()


@pytest.fixture
def long_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tried too often is blocked for longer, so that a machine that stalls for a second changes no outcome."""
    monkeypatch.setattr(attempts, "block_seconds", lambda failures, free: SLOWER * block_seconds(failures, free))
