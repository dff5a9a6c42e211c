"""What the doctor looks at where people sign in with providers: the addresses they come back to, and who answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from daemon.doctor import CheckFailed, Finding, warn
from daemon.signin.discovery import Discovery
from daemon.signin.faults import ProviderDown
from daemon.signin.http import Http

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.doctor import Context

_SECONDS: Final = 5.0  # the doctor's patience is 10


async def check_sign_in(context: Context) -> Finding:
    """The providers are there, and browsers come back from them to where they left."""
    settings = context.settings
    names = [
        name for name, wanted in (("oidc", settings.oidc_client_id), ("github", settings.github_client_id)) if wanted
    ]
    if not names:
        return Finding("with passwords only")
    base = settings.oidc_redirect_base_url or settings.main_origin
    found = [f"callback {base}/api/auth/oidc/{name}/callback" for name in names]
    if settings.oidc_client_id is not None:
        found.insert(0, await _ask_issuer(settings))
    if settings.github_client_id is not None:
        found.insert(0, await _ask_github(settings))
    if urlsplit(base).hostname != settings.base_domain:
        return warn(
            f"callbacks come to {base}, and people sign in at {settings.main_origin}",
            "OIDC_REDIRECT_BASE_URL must have the host of the main site: the cookie of a sign-in is there",
        )
    if base.startswith("http://") and settings.secure:
        return warn(f"callbacks come to {base}, and cookies to https only", "correct OIDC_REDIRECT_BASE_URL")
    return Finding("; ".join(found))


async def _ask_issuer(settings: Settings) -> str:
    assert settings.oidc_issuer_url is not None
    discovery = Discovery(settings.oidc_issuer_url, Http(_SECONDS))
    try:
        await discovery.metadata()
        keys = await discovery.keys()
    except ProviderDown as error:
        raise CheckFailed(f"OIDC: {error}", "check OIDC_ISSUER_URL and the network; nothing else needs it") from None
    return f"OIDC: {settings.oidc_issuer_url}, {len(keys)} keys"


async def _ask_github(settings: Settings) -> str:
    try:
        await Http(_SECONDS).get(f"{settings.github_api_url}/meta")
    except ProviderDown as error:
        remedy = "check the network, GITHUB_URL and GITHUB_API_URL; nothing else needs it"
        raise CheckFailed(f"GitHub: {error}", remedy) from None
    return f"GitHub: {settings.github_url}"
