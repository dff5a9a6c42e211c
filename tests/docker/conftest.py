"""The whole product with the real opencode in containers of the machine's own engine."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these need the same parts, and time for sandboxes to start."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "docker"):
            item.add_marker(pytest.mark.needs("docker", "images", "postgres"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(400))
