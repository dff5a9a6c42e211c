"""Fixtures of the tunnel's tests: one daemon in a process of its own, and one inside each test that wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import require
from tests.support.product import product
from tests.tunnel.harness import Inside, Outside, http_local, inside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.standins.http_local import HttpLocal


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """The daemon as its users run it, with one registered user; for all tests of the tunnel."""
    require("postgres")
    with product(tmp_path_factory.mktemp("tunnel")) as made:
        visitor = made.visitor()
        yield Outside(visitor, visitor.register(), made)


@pytest.fixture
async def team(database_url: str, tmp_path: Path) -> AsyncIterator[Inside]:
    """The daemon inside the test."""
    async with inside(database_url, tmp_path) as made:
        yield made


@pytest.fixture
async def local() -> AsyncIterator[HttpLocal]:
    """A local server without a password."""
    async with http_local() as made:
        yield made
