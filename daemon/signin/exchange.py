"""A code for tokens: authlib builds the requests and reads the answers, our own client sends them."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote_plus

from authlib.common.urls import add_params_to_qs
from authlib.oauth2.client import OAuth2Client

from daemon.signin.faults import SignInRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.signin.base import Visit
    from daemon.signin.http import Http

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


class Client:
    """This server as a client of one provider (RFC 6749), with PKCE (RFC 7636)."""

    def __init__(self, http: Http, client_id: str, secret: str, scope: str) -> None:
        self._http = http
        self._client_id = client_id
        self._secret = secret
        self._scope = scope

    def authorization_url(self, endpoint: str, visit: Visit, **more: str) -> str:
        """Where the browser goes."""
        client = OAuth2Client(None, self._client_id, scope=self._scope, code_challenge_method="S256")
        url, _ = client.create_authorization_url(
            endpoint, state=visit.state, code_verifier=visit.verifier, redirect_uri=visit.redirect_uri, **more
        )
        return cast("str", url)

    async def tokens(self, endpoint: str, visit: Visit, code: str, *, basic: bool) -> Mapping[str, Any]:
        """The provider's answer to ``code``. Raises :class:`SignInRefused` if it says no, or ``ProviderDown``."""
        fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", visit.redirect_uri),
            ("code_verifier", visit.verifier),
        ]
        headers = dict(_FORM)
        if basic:
            # RFC 6749, 2.3.1: encoded as in a form first, or a secret with a colon or a percent sign is another.
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            fields += [("client_id", self._client_id), ("client_secret", self._secret)]
        status, answer = await self._http.post(endpoint, headers, add_params_to_qs("", fields))
        if status >= 400 or not isinstance(answer, dict) or "error" in answer:
            # GitHub says no with 200. The word is of the provider's: only those of RFC 6749, 5.2, and alike are shown.
            raise SignInRefused("provider_refused", f"the provider took no code ({status}, {_word(answer)})")
        if not isinstance(answer.get("access_token"), str):
            raise SignInRefused("bad_answer", "the provider gave no access token")
        return answer


def _word(answer: object) -> str:
    word = answer.get("error") if isinstance(answer, dict) else None
    return word if isinstance(word, str) and word.isidentifier() and len(word) < 40 else "without a word"
