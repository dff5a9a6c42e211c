"""Requests to providers: each with a deadline, a bound on what is read, and no redirect followed."""

from __future__ import annotations

import json
import ssl
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio

from daemon.signin.faults import ProviderDown

if TYPE_CHECKING:
    from collections.abc import Mapping

# A person waits for it. A sign-in asks three times, and providers answer within a second.
SECONDS: Final = 10.0
# Discovery documents have some 5 KB, ten keys with certificates some 30 KB, a person in a thousand groups 100 KB.
MOST_BYTES: Final = 1 << 20
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "cli-server"}


class Http:
    """A client for one provider. It keeps no connections: sign-ins are rare."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()  # the system's authorities, where a company adds its own

    async def get(self, url: str, token: str | None = None) -> tuple[int, Any]:
        """Status and JSON value of a GET, with a bearer token where one is given. Raises :class:`ProviderDown`."""
        return await self._ask("GET", url, {} if token is None else {"Authorization": f"Bearer {token}"})

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> tuple[int, Any]:
        """Status and JSON value of a POST of a form. Raises :class:`ProviderDown`."""
        return await self._ask("POST", url, headers, body.encode())

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, Any]:
        where = url.partition("?")[0]
        try:
            with trio.fail_after(self._seconds):
                status, data = await self._exchange(method, url, {**_HEADERS, **headers}, body)
        except trio.TooSlowError:
            raise ProviderDown(f"{where} did not answer in {self._seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderDown(f"{where}: {str(error) or type(error).__name__}") from None
        if status >= 500 or status == 429 or 300 <= status < 400:
            raise ProviderDown(f"{where} answered {status}")
        return status, _parsed(where, status, data)

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        # Nothing of the environment: settings are read in one place.
        client = httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=self._seconds)
        async with client, client.stream(method, url, headers=headers, content=body) as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ProviderDown(f"{url.partition('?')[0]} answered compressed, though it was asked not to")
            data = b""
            with trio.CancelScope() as reading:
                async for piece in response.aiter_raw():
                    data += piece
                    if len(data) > MOST_BYTES:
                        reading.cancel()  # so that httpx's own reading ends orderly; a break would leave it open
            if len(data) > MOST_BYTES:
                raise ProviderDown(f"{url.partition('?')[0]} answered more than {MOST_BYTES} bytes")
            return response.status_code, data


def _parsed(where: str, status: int, data: bytes) -> Any:  # noqa: ANN401 - JSON
    if not data.strip() and status >= 400:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        if status >= 400:
            return None  # the status says enough
        raise ProviderDown(f"{where} answered {status} with something that is not JSON") from None
