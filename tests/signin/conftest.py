"""Stand-ins of providers, and apps that know them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from daemon.signin.providers import make_providers
from tests.api.conftest import make_bench  # noqa: F401 - the fixture
from tests.api.support import make_settings
from tests.standins.github import GithubStandIn
from tests.standins.lying_issuer import LyingIssuer
from tests.support.chromium import chromium
from tests.web.conftest import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from tests.api.support import Bench


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file."""
    expect.set_options(timeout=MILLISECONDS)
    with chromium() as made:
        yield made


@pytest.fixture
def issuer() -> Iterator[LyingIssuer]:
    """An OIDC provider."""
    with LyingIssuer().running() as made:
        yield made


@pytest.fixture
def github() -> Iterator[GithubStandIn]:
    """GitHub."""
    with GithubStandIn().running() as made:
        yield made


@pytest.fixture
def make_site(
    issuer: LyingIssuer,
    github: GithubStandIn,
    make_bench: Callable[..., Bench],  # noqa: F811
) -> Callable[..., Bench]:
    """Makes an app that knows both; other arguments are settings."""

    def make(**changes: Any) -> Bench:
        given = {name.lower(): value for name, value in {**issuer.settings(), **github.settings()}.items()} | changes
        return make_bench(parts={"providers": make_providers(make_settings(**given))}, **given)

    return make


@pytest.fixture
def site(make_site: Callable[..., Bench]) -> Bench:
    """An app that knows both, where nobody registers with a password but the first."""
    return make_site(registration="first-user")
