"""Sign-in with any OpenID Connect provider."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from daemon.signin import idtoken
from daemon.signin.discovery import Discovery
from daemon.signin.exchange import Client
from daemon.signin.faults import SignInRefused
from daemon.signin.http import Http
from daemon.signin.places import with_query
from daemon.signin.profile import Profile, ProviderId, plain_email, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.config import Settings
    from daemon.signin.base import Visit
    from daemon.signin.discovery import Metadata


@dataclass(frozen=True, slots=True)
class AdminRule:
    """Who is an admin: members of ``group``, as ``claim`` lists them. Without a group the provider does not say."""

    claim: str
    group: str | None

    def decide(self, claims: Mapping[str, Any]) -> bool | None:
        """Whether the person is an admin; a provider that lists no groups makes nobody one."""
        if self.group is None:
            return None
        listed = claims.get(self.claim)
        return self.group in (listed if isinstance(listed, list) else [listed])


class OidcProvider:
    """The provider of the settings ``OIDC_*``."""

    id: Final[ProviderId] = "oidc"

    def __init__(
        self, settings: Settings, http: Http | None = None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        assert settings.oidc_issuer_url is not None
        assert settings.oidc_client_id is not None
        assert settings.oidc_client_secret is not None
        self.name = settings.oidc_name
        self.issuer = settings.oidc_issuer_url
        self._client_id = settings.oidc_client_id
        self._http = http or Http()
        self._wall_clock = wall_clock
        self._discovery = Discovery(self.issuer, self._http)
        self._client = Client(self._http, self._client_id, settings.oidc_client_secret, settings.oidc_scopes)
        self._admins = AdminRule(settings.oidc_groups_claim, settings.oidc_admin_group)

    async def authorization_url(self, visit: Visit) -> str:
        """See :class:`~daemon.signin.base.Provider`."""
        about = await self._discovery.metadata()
        return self._client.authorization_url(about.authorization_endpoint, visit, nonce=visit.nonce)

    async def profile(self, visit: Visit, code: str, issuer: str | None) -> Profile:
        """See :class:`~daemon.signin.base.Provider`."""
        about = await self._discovery.metadata()
        # RFC 9207, 2.4: an answer that another provider gave in this one's place.
        if issuer != about.issuer and (issuer is not None or about.says_issuer):
            raise SignInRefused("bad_answer", "the answer is of another issuer")
        tokens = await self._client.tokens(about.token_endpoint, visit, code, basic=about.basic_auth)
        claims = await self._claims(about, visit, tokens)
        more = await self._userinfo(about, str(claims["sub"]), tokens["access_token"])
        return make_profile(self.issuer, claims, more, self._admins)

    async def logout_url(self, back: str) -> str | None:
        """See :class:`~daemon.signin.base.Provider`."""
        endpoint = (await self._discovery.metadata()).end_session_endpoint
        if endpoint is None:
            return None
        return with_query(endpoint, client_id=self._client_id, post_logout_redirect_uri=back)

    async def _claims(self, about: Metadata, visit: Visit, tokens: Mapping[str, Any]) -> Mapping[str, Any]:
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise SignInRefused("bad_answer", "the provider gave no ID token")

        def verify(keys: Any) -> Mapping[str, Any]:  # noqa: ANN401 - keys as JSON
            return idtoken.verify(
                token,
                keys,
                issuer=about.issuer,
                client_id=self._client_id,
                nonce=visit.nonce,
                access_token=tokens["access_token"],
                now=self._wall_clock(),
            )

        try:
            return verify(await self._discovery.keys())
        except idtoken.UnknownKey:
            pass
        try:
            return verify(await self._discovery.newer_keys())
        except idtoken.UnknownKey:
            raise SignInRefused(
                "bad_answer", "the ID token is signed with a key that the provider does not list"
            ) from None

    async def _userinfo(self, about: Metadata, subject: str, access_token: str) -> Mapping[str, Any]:
        """More of the person; nothing where the provider has no such endpoint."""
        if about.userinfo_endpoint is None:
            return {}
        status, found = await self._http.get(about.userinfo_endpoint, access_token)
        if status != 200 or not isinstance(found, dict):
            raise SignInRefused("bad_answer", f"the provider's userinfo endpoint answered {status}")
        if found.get("sub") != subject:  # OpenID Connect Core 1.0, 5.3.2
            raise SignInRefused("bad_answer", "the provider's userinfo is of somebody else")
        return found


def make_profile(issuer: str, claims: Mapping[str, Any], userinfo: Mapping[str, Any], admins: AdminRule) -> Profile:
    """The person that a good ID token and the userinfo tell of; userinfo is newer, and has more. Pure."""
    both = {**claims, **userinfo}
    # Whether an address is verified is said beside it; never one document's word for the other's address.
    source = userinfo if "email" in userinfo else claims
    email, verified = plain_email(source.get("email")), source.get("email_verified")
    return Profile(
        provider="oidc",
        issuer=issuer,
        subject=str(claims["sub"]),
        username=plain_text(both.get("preferred_username")) or plain_text(both.get("nickname")),
        email=email,
        # Some providers send the word instead of the truth value.
        email_verified=email is not None and (verified is True or verified == "true"),
        is_admin=admins.decide(both),
    )
