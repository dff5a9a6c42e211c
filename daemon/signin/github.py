"""Sign-in with GitHub, which speaks OAuth 2.0 and is asked by its REST API who came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from daemon.signin.exchange import Client
from daemon.signin.faults import ProviderDown, SignInRefused
from daemon.signin.http import Http
from daemon.signin.profile import Profile, ProviderId, plain_email, plain_text

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.signin.base import Visit

# Private addresses are seen with user:email only; membership with read:org, asked for where it is of use.
_SCOPES: Final = "read:user user:email"


class GithubProvider:
    """The provider of the settings ``GITHUB_*``."""

    id: Final[ProviderId] = "github"
    name: Final = "GitHub"

    def __init__(self, settings: Settings, http: Http | None = None) -> None:
        assert settings.github_client_id is not None
        assert settings.github_client_secret is not None
        self.issuer = settings.github_url
        self._api = settings.github_api_url
        self._organisations = settings.github_allowed_orgs
        self._http = http or Http()
        scopes = f"{_SCOPES} read:org" if self._organisations else _SCOPES
        self._client = Client(self._http, settings.github_client_id, settings.github_client_secret, scopes)

    async def authorization_url(self, visit: Visit) -> str:
        """See :class:`~daemon.signin.base.Provider`. Nothing is asked, so a GitHub that is away shows itself."""
        return self._client.authorization_url(f"{self.issuer}/login/oauth/authorize", visit)

    async def profile(self, visit: Visit, code: str, issuer: str | None) -> Profile:
        """See :class:`~daemon.signin.base.Provider`."""
        tokens = await self._client.tokens(f"{self.issuer}/login/oauth/access_token", visit, code, basic=False)
        token = tokens["access_token"]
        user = await self._get("/user", token)
        # The number: a login can be changed, and taken by somebody else.
        if not isinstance(user, dict) or type(user.get("id")) is not int:
            raise SignInRefused("bad_answer", "GitHub did not say who it is")
        email, verified = primary_email(await self._get("/user/emails", token))
        return Profile(
            provider="github",
            issuer=self.issuer,
            subject=str(user["id"]),
            username=plain_text(user.get("login")),
            email=email,
            email_verified=verified,
            in_organisation=await self._in_organisation(token),
        )

    async def logout_url(self, back: str) -> str | None:
        """See :class:`~daemon.signin.base.Provider`. GitHub has no such place."""
        return None

    async def _get(self, path: str, token: str) -> Any:  # noqa: ANN401 - JSON
        status, found = await self._http.get(self._api + path, token)
        if status == 403:  # GitHub's word for a limit on requests, too
            raise ProviderDown(f"{self._api}{path} answered 403")
        if status != 200:
            raise SignInRefused("bad_answer", f"GitHub answered {status} for {path}")
        return found

    async def _in_organisation(self, token: str) -> bool:
        for name in self._organisations:
            # 404 for no member, 403 for an organisation that does not let this application look.
            status, found = await self._http.get(f"{self._api}/user/memberships/orgs/{name}", token)
            if status == 200 and isinstance(found, dict) and found.get("state") == "active":
                return True
        return False


def primary_email(addresses: object) -> tuple[str | None, bool]:
    """The address that a person calls their first one at GitHub, and whether it is verified. Pure."""
    for entry in addresses if isinstance(addresses, list) else []:
        if isinstance(entry, dict) and entry.get("primary") is True:
            email = plain_email(entry.get("email"))
            return email, email is not None and entry.get("verified") is True
    return None, False
