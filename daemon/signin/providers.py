"""The providers that the settings have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.signin.github import GithubProvider
from daemon.signin.oidc import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config import Settings
    from daemon.signin.base import Provider


def make_providers(settings: Settings) -> Mapping[str, Provider]:
    """By their ids, in the order of their buttons. Nothing is asked of them yet."""
    found: list[Provider] = []
    if settings.oidc_client_id is not None:
        found.append(OidcProvider(settings))
    if settings.github_client_id is not None:
        found.append(GithubProvider(settings))
    return {provider.id: provider for provider in found}
