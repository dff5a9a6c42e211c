"""Each value set of the chart's README, rendered once."""

from __future__ import annotations

import pytest

from tests.chart.support import Rendered, cases, render
from tests.conftest import require


@pytest.fixture(scope="session")
def all_rendered() -> dict[str, Rendered]:
    """By the case's name."""
    require("helm")
    return {name: render(values) for name, values in cases().items()}


@pytest.fixture(params=list(cases()))
def case(request: pytest.FixtureRequest, all_rendered: dict[str, Rendered]) -> Rendered:
    """One after the other."""
    return all_rendered[request.param]


@pytest.fixture
def case_name(request: pytest.FixtureRequest) -> str:
    """The name of the present case."""
    name = request.node.callspec.params["case"]
    assert isinstance(name, str)
    return name
