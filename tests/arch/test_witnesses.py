"""Stand-ins that are written from the contract testify only as long as they share nothing with what they judge."""

from __future__ import annotations

import pytest

from tests.arch.code import PRODUCT, ROOT, Module, within

WITNESSES = (
    "tests.standins.content",
    "tests.standins.http_local",
    "tests.standins.tunnel_agent_v1",
    "tests.standins.tunnel_server_v1",
    "tests.support.delay_proxy",
)


def _reached(name: str) -> set[str]:
    """Everything of ours that a module imports, and what that imports, and so on."""
    found: set[str] = set()
    left = [name]
    while left:
        path = ROOT.joinpath(*left.pop().split("."))
        module = Module(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
        left += module.ours - found
        found |= module.ours
    return found


@pytest.mark.parametrize("name", WITNESSES)
def test_witnesses_share_nothing_with_the_product(name: str) -> None:
    shared = {reached for reached in _reached(name) if within(reached, *PRODUCT)}
    assert not shared, "a mistake that both ends share is seen by neither; write it again from the contract's text"
