"""Three replicas for all tests that do not end one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.fake_image import fake_image
from tests.conftest import require
from tests.replicas.three import Elsewhere, Three, three
from tests.tunnel.harness import http_local

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.conftest import PostgresServer
    from tests.standins.http_local import HttpLocal


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """They stay as they are."""
    require("docker")
    name = postgres.create(template="migrated")
    with three(tmp_path_factory.mktemp("replicas"), postgres.conninfo(name), AGENT_IMAGE=fake_image()) as made:
        yield made
    postgres.drop(name)


@pytest.fixture
def outside(shared: Three) -> Iterator[Elsewhere]:
    """For tests of a tunnel: agents connect to one replica, browsers to another."""
    shared.balancer.only = shared.replicas[1].port
    yield Elsewhere(shared.visitor, shared.workspace, shared)
    shared.balancer.only = None


@pytest.fixture
async def local() -> AsyncIterator[HttpLocal]:
    """A local server without a password."""
    async with http_local() as made:
        yield made
