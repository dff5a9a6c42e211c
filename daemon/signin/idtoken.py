"""Checking an ID token (OpenID Connect Core 1.0, 3.1.3.7). Pure: keys and time are passed in."""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jwk import import_key

from daemon.signin.faults import SignInRefused
from daemon.signin.profile import MAX_SUBJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.signin.discovery import Key
    from daemon.signin.faults import SignInFault

# Signatures with a public key, and no other: with "none" there is no signature, and with HS256 whoever takes the
# public key for a secret can sign. Each with the kind of key it is made with.
ALGORITHMS: Final = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC",
}  # fmt: skip
LEEWAY_SECONDS: Final = 60  # clocks of machines without NTP are off by seconds, those of broken ones by hours
_LONGEST: Final = 100_000  # characters; a person in a thousand groups has some 50,000
_CLOCK_CLAIMS: Final = {"iat", "nbf", "exp"}


class UnknownKey(Exception):
    """The token names a key that is not among the keys."""


def verify(
    token: str, keys: Sequence[Key], *, issuer: str, client_id: str, nonce: str, access_token: str, now: float
) -> Mapping[str, Any]:
    """The claims of a token that is good. Raises :class:`UnknownKey` or :class:`SignInRefused`."""
    header = _header(token)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise SignInRefused("bad_answer", "the ID token is not signed in a way that is accepted")
    claims = _signed(token, algorithm, _candidates(keys, header.get("kid"), ALGORITHMS[algorithm]))
    checked = CodeIDToken(
        claims,
        header,
        {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
        {"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    try:
        checked.validate(int(now), LEEWAY_SECONDS)
    except ExpiredTokenError:
        raise SignInRefused("clock", "the ID token has run out") from None
    except InvalidClaimError as error:
        fault: SignInFault = "clock" if error.claim in _CLOCK_CLAIMS else "bad_answer"
        raise SignInRefused(fault, f"the ID token's {error.claim} is wrong") from None
    except (ClaimError, JoseError, ValueError, TypeError) as error:
        raise SignInRefused("bad_answer", f"the ID token misses something: {type(error).__name__}") from None
    if not (0 < len(claims["sub"]) <= MAX_SUBJECT and claims["sub"].isprintable()):
        raise SignInRefused("bad_answer", "the ID token's sub is empty, too long, or no text")
    return claims


def _header(token: str) -> dict[str, Any]:
    encoded = token.partition(".")[0]
    try:
        if len(token) > _LONGEST:
            raise ValueError
        header = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        header = None
    if not isinstance(header, dict):
        raise SignInRefused("bad_answer", "there is no ID token that can be read")
    return header


def _candidates(keys: Sequence[Key], kid: object, kind: str) -> list[Key]:
    """The keys that may have signed: of this kind, for signing, and with this id if the token names one."""
    fit = [key for key in keys if key.get("kty") == kind and key.get("use", "sig") == "sig"]
    found = [key for key in fit if key.get("kid") == kid] if kid is not None else fit
    if not found:
        raise UnknownKey
    return found


def _signed(token: str, algorithm: str, keys: Sequence[Key]) -> dict[str, Any]:
    for key in keys:
        try:
            return dict(jwt.decode(token, import_key(key), algorithms=[algorithm]).claims)
        except (JoseError, ValueError, TypeError):  # another key's signature, or a key that is none
            continue
    raise SignInRefused("bad_answer", "the ID token's signature is wrong")
