"""What an OIDC provider says of itself: fetched when it is first needed, kept for an hour, and asked for new keys."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import trio
from authlib.oidc.discovery import get_well_known_url

from daemon.signin.faults import ProviderDown
from daemon.values import provider_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.signin.http import Http

# An operator of a provider who moves an endpoint, or takes back a key, sees it followed within that time.
KEPT_SECONDS: Final = 3600.0
# After a failure nobody asks again for so long: those who wait for their turn behind it are told at once.
FAILURE_SECONDS: Final = 1.0
# An unknown key is asked for at once, as providers change their keys without a word; but not at the will of whoever
# makes tokens: so often in so many seconds.
MOST_FETCHES, FETCHES_SECONDS = 5, 60.0

_PLAIN: Final = re.compile(r"[!-~]+")

Key = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What we use of a discovery document (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    basic_auth: bool  # or the client's secret goes into the body
    says_issuer: bool  # RFC 9207: its answers name it


def parse_metadata(issuer: str, document: object) -> Metadata:
    """A discovery document of ``issuer``, as the settings have it. Raises :class:`ProviderDown` if it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("issuer"), str):
        raise ProviderDown(f"{issuer} has a discovery document without an issuer")
    named: str = document["issuer"]
    # The settings leave out a final slash; otherwise it must be the same, or somebody answers for somebody else.
    if named.rstrip("/") != issuer.rstrip("/"):
        raise ProviderDown(f"{issuer} has a discovery document of another issuer; OIDC_ISSUER_URL must be that one")
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=named,
        authorization_endpoint=_endpoint(document, "authorization_endpoint"),
        token_endpoint=_endpoint(document, "token_endpoint"),
        jwks_uri=_endpoint(document, "jwks_uri"),
        userinfo_endpoint=_optional(document, "userinfo_endpoint"),
        end_session_endpoint=_optional(document, "end_session_endpoint"),
        # What is not said is Basic (3).
        basic_auth=not isinstance(methods, list)
        or "client_secret_basic" in methods
        or "client_secret_post" not in methods,
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: Mapping[str, object], name: str) -> str:
    """An endpoint's URL, with its query if it has one; as the issuer, it is https or on this machine."""
    url = document.get(name)
    try:
        # It goes into a header: parsing would leave out some of what must not be there.
        if not isinstance(url, str) or urlsplit(url).fragment or not _PLAIN.fullmatch(url):
            raise ValueError
        provider_url(url.partition("?")[0])
    except ValueError:
        raise ProviderDown(f"the discovery document has no {name} that can be used") from None
    return url


def _optional(document: Mapping[str, object], name: str) -> str | None:
    return None if document.get(name) is None else _endpoint(document, name)


class Kept:
    """One document: fetched by one task at a time, kept, and not asked for again right after a failure."""

    def __init__(self, http: Http, now: Callable[[], float] = trio.current_time) -> None:
        self._http = http
        self._now = now
        self._turn = trio.Lock()
        self._document: object = None
        self._since: float | None = None
        self._failed: tuple[float, str] | None = None
        self._fetches: deque[float] = deque(maxlen=MOST_FETCHES)

    async def get(self, url: str) -> object:
        """The document, not older than an hour. Raises :class:`ProviderDown`."""
        async with self._turn:
            if self._since is None or self._now() - self._since > KEPT_SECONDS:
                await self._fetch(url)
            return self._document

    async def renew(self, url: str, seen: object) -> object:
        """The document anew, unless it is another than the one ``seen`` already, or was fetched too often."""
        async with self._turn:
            if self._document is seen and self._may_fetch():
                await self._fetch(url)
            return self._document

    def _may_fetch(self) -> bool:
        return len(self._fetches) < MOST_FETCHES or self._now() - self._fetches[0] > FETCHES_SECONDS

    async def _fetch(self, url: str) -> None:
        if self._failed is not None and self._now() - self._failed[0] < FAILURE_SECONDS:
            raise ProviderDown(self._failed[1])
        self._fetches.append(self._now())
        try:
            status, document = await self._http.get(url)
            if status != 200:
                raise ProviderDown(f"{url} answered {status}")
        except ProviderDown as error:
            self._failed = self._now(), str(error)
            raise
        self._document, self._since, self._failed = document, self._now(), None


class Discovery:
    """The provider at ``issuer``."""

    def __init__(self, issuer: str, http: Http, now: Callable[[], float] = trio.current_time) -> None:
        self._issuer = issuer
        self._about = Kept(http, now)
        self._keys = Kept(http, now)

    async def metadata(self) -> Metadata:
        """Where its endpoints are. Raises :class:`ProviderDown`."""
        document = await self._about.get(get_well_known_url(self._issuer, external=True))
        return parse_metadata(self._issuer, document)

    async def keys(self) -> Sequence[Key]:
        """The keys that it signs with. Raises :class:`ProviderDown`."""
        return _keys(await self._keys.get((await self.metadata()).jwks_uri))

    async def newer_keys(self) -> Sequence[Key]:
        """The keys, fetched anew as one was not among them; the same if that was done too often."""
        url = (await self.metadata()).jwks_uri
        return _keys(await self._keys.renew(url, await self._keys.get(url)))


def _keys(document: object) -> Sequence[Key]:
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise ProviderDown("the document of the provider's keys has none")
    return [key for key in found if isinstance(key, dict)]
