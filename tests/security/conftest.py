"""What the tests with hostile pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import require
from tests.security.stage import SETTINGS, Stage, staged
from tests.support.chromium import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file; each test has profiles of its own in it."""
    require("chromium")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module", params=SETTINGS)
def _stage(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    require("postgres")
    with staged(tmp_path_factory.mktemp(request.param), browser, request.param) as made:
        yield made


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """The product in each of the settings; profiles of browsers end with the test."""
    yield _stage
    _stage.close_contexts()
