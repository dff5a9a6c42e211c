"""A cluster for each file of tests, and a namespace for each test."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import kubernetes
import pytest

from tests.backends.support import fake_program
from tests.kubernetes_api.support import IMAGE, Client
from tests.standins.kubernetes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a storage class and an image: the fake opencode."""
    folder = scratch / f"cluster-{next(_numbers)}"
    with Cluster(folder) as made:
        made.storage_class("standard")
        made.image(IMAGE, fake_program(tmp_path_factory.mktemp("image")))
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """The official client as an administrator, with a namespace of its own. No fault outlives a test."""
    made = Client(cluster, cluster.client(), f"test-{next(_numbers)}")
    made.core.create_namespace({"metadata": {"name": made.namespace}})
    yield made
    cluster.faults.clear()
    with suppress(kubernetes.client.ApiException):  # a test may have done it
        made.core.delete_namespace(made.namespace)  # nobody waits for it, but its pods end
    made.api.close()
