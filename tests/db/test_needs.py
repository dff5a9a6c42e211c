"""The marker ``needs``: a missing part is reported, and is a failure where CI is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import conftest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _one_part_is_missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    parts = {"here": (lambda: True, ""), "away": (lambda: False, "apt-get install away")}
    monkeypatch.setattr(conftest, "PARTS", parts)
    conftest.missing.cache_clear()
    yield
    conftest.missing.cache_clear()


def test_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    conftest.require("here")
    with pytest.raises(pytest.skip.Exception, match="away is missing; to install it: apt-get install away"):
        conftest.require("here", "away")


def test_failed_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="away is missing"):
        conftest.require("away")


def test_unknown_part_is_a_mistake() -> None:
    with pytest.raises(pytest.UsageError, match="known parts are here, away"):
        conftest.require("typo")
