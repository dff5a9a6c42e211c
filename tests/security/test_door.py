"""The door for sandboxes that the operator sets (AGENT_LISTEN): the Anthropic proxy, and nothing else of the server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.product import START_SECONDS, Product, free_port, product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.visitor import Visitor

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, Visitor]]:
    """The daemon, and somebody who is signed in and comes by the door."""
    port = free_port()
    given = {
        "AGENT_LISTEN": f"127.0.0.1:{port}",
        "ANTHROPIC_PROXY_URL": f"http://127.0.0.1:{port}/proxy/anthropic",
        "REGISTRATION": "open",
    }
    with product(tmp_path_factory.mktemp("door"), **given) as made:
        visitor = made.visitor()
        visitor.register()
        yield made, replace(visitor, port=port)


@pytest.mark.parametrize("host", ["localhost", "oc-abcdefghij234567.localhost", "5000-abcdefghij234567.localhost", "x"])
@pytest.mark.parametrize(
    "target", ["/", "/healthz", "/api/auth/me", "/api/tunnel/abcdefghij234567", "/__cli-server/ticket", "/proxy/other"]
)
def test_nothing_else_is_behind_it(running: tuple[Product, Visitor], host: str, target: str) -> None:
    """Not even for somebody who is signed in."""
    assert running[1].request("GET", host, target).status == 421


@pytest.mark.parametrize("host", ["localhost", "cli-server.agents.svc"])
def test_the_proxy_is_behind_it(running: tuple[Product, Visitor], host: str) -> None:
    headers = {"x-api-key": "no-token-of-ours", "Content-Type": "application/json"}
    answer = running[1].request("POST", host, "/proxy/anthropic/v1/messages", body=b"{}", headers=headers)
    assert (answer.status, answer.json()["error"]["type"]) == (401, "authentication_error")


def test_a_start_that_finds_it_taken(
    tmp_path_factory: pytest.TempPathFactory, running: tuple[Product, Visitor]
) -> None:
    taken = f"127.0.0.1:{running[1].port}"
    other = Product(
        tmp_path_factory.mktemp("taken"),
        {"AGENT_LISTEN": taken, "ANTHROPIC_PROXY_URL": f"http://{taken}/proxy/anthropic"},
    )
    other.start(ready=False)
    assert other.process is not None
    assert other.process.wait(START_SECONDS) != 0
    assert f"AGENT_LISTEN {taken} cannot be used" in other.log
