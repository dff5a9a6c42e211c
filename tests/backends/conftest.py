"""Nothing of a sandbox may outlive a test of this folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.backends.support import tree

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails a test that leaves processes behind."""
    before = tree(os.getpid())
    yield
    left = {pid: command for pid, command in tree(os.getpid()).items() if pid not in before}
    assert not left
