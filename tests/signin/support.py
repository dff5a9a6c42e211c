"""The way to a provider and back, step by step, as a browser goes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

if TYPE_CHECKING:
    from quart import Response

    from tests.api.support import Client
    from tests.standins.small_site import SmallSite

PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def query_of(location: str) -> dict[str, str]:
    """The parameters of an address."""
    return dict(parse_qsl(urlsplit(location).query))


def path_of(location: str) -> str:
    """An address without its host."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


async def at_issuer(location: str) -> str:
    """Where :class:`~tests.standins.lying_issuer.LyingIssuer` sends a browser that comes to ``location``."""
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(location)
    assert response.status_code == 302, response.text
    return response.headers["location"]


async def at_github(location: str, login: str | None) -> str:
    """Where GitHub sends a browser whose person continues as ``login``, or cancels."""
    fields = query_of(location) | ({"no": ""} if login is None else {"yes": login})
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(location)).status_code == 200
        response = await client.post(location, data=fields)
    assert response.status_code == 302, response.text
    return response.headers["location"]


class Way:
    """From the sign-in page to a provider and back, in one browser. ``login``: who one is at GitHub."""

    def __init__(self, client: Client, site: SmallSite, provider: str) -> None:
        self.client = client
        self.site = site
        self.provider = provider

    async def leave(self, place: str = "/", **more: Any) -> str:
        """To the provider: the address there."""
        response = await self.client.get(f"/api/auth/oidc/{self.provider}/login?next={quote(place, safe='')}", **more)
        assert response.status_code == 302, await response.get_data(as_text=True)
        return str(response.headers["Location"])

    async def start(self, **body: Any) -> str:
        """The same by a page of ours: to link, or with an invitation."""
        response = await self.client.post(f"/api/auth/oidc/{self.provider}/start", body)
        assert response.status_code == 200, await response.get_data(as_text=True)
        return str((await response.get_json())["location"])

    async def there(self, location: str, login: str | None = None) -> str:
        """Sign in at the provider: the address back."""
        return await (at_issuer(location) if self.provider == "oidc" else at_github(location, login))

    async def back(self, callback: str, **more: Any) -> Response:
        """Back here."""
        return await self.client.get(path_of(callback), **more)

    async def go(self, place: str = "/", login: str | None = None) -> Response:
        """All of it."""
        return await self.back(await self.there(await self.leave(place), login))

    async def link(self, login: str | None = None) -> Response:
        """All of it, to link."""
        return await self.back(await self.there(await self.start(link=True, next="/account/sign-in"), login))


def fault_of(response: Response) -> str:
    """The code of the page that a browser was sent to; empty if it was signed in."""
    assert response.status_code == 302
    location = urlsplit(response.headers["Location"])
    if location.path != "/login":
        return ""
    assert "Set-Cookie" not in response.headers or "session" not in str(response.headers.getlist("Set-Cookie"))
    return query_of(response.headers["Location"])["error"]
