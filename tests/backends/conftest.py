"""Nothing of a sandbox may outlive a test of this folder, and a test of the contract gets its kind of backend."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.backends.cluster_kind import Kubernetes
from tests.backends.kinds import Docker, Kind, make_kind
from tests.backends.support import tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails a test that leaves processes behind."""
    before = tree(os.getpid())
    yield
    left = {pid: command for pid, command in tree(os.getpid()).items() if pid not in before}
    assert not left


@pytest.fixture
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    """The kind of backend that the test's parameter names."""
    made = make_kind(request.param, tmp_path)
    yield made
    await made.clean_up()


@pytest.fixture
async def docker_kind(tmp_path: Path) -> AsyncIterator[Docker]:
    """The backend ``docker`` on the machine's engine."""
    made = make_kind("docker", tmp_path)
    assert isinstance(made, Docker)
    yield made
    await made.clean_up()


@pytest.fixture
async def k8s_kind(tmp_path: Path) -> AsyncIterator[Kubernetes]:
    """The backend ``k8s`` before the stand-in for a cluster."""
    made = Kubernetes(tmp_path)
    yield made
    await made.clean_up()
