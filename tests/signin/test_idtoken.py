"""ID tokens: what is believed, and everything that is not. Signed with real keys, all within the process."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from daemon.signin.faults import SignInRefused
from daemon.signin.idtoken import LEEWAY_SECONDS, UnknownKey, verify

NOW = 1_800_000_000.0
ISSUER, CLIENT, NONCE = "https://id.example", "cli-server", "n" * 64
RSA, OTHER, EC = (
    RSAKey.generate_key(2048, {"kid": "r"}),
    RSAKey.generate_key(2048, {"kid": "o"}),
    ECKey.generate_key("P-256", {"kid": "e"}),
)
KEYS = [dict(key.as_dict(private=False)) for key in (RSA, EC)]
GOOD = {
    "iss": ISSUER, "sub": "ada", "aud": CLIENT, "nonce": NONCE, "iat": int(NOW), "exp": int(NOW) + 300,
}  # fmt: skip


def token(changes: dict[str, Any] | None = None, *, algorithm: str = "RS256", key: Any = RSA, **header: Any) -> str:
    claims = {name: value for name, value in {**GOOD, **(changes or {})}.items() if value is not None}
    whole = {"alg": algorithm, "kid": key.kid, **header}
    whole = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(whole, claims, key, algorithms=[algorithm])


def checked(text: str, keys: list[dict[str, Any]] | None = None, *, now: float = NOW) -> Any:
    return verify(
        text,
        KEYS if keys is None else keys,
        issuer=ISSUER,
        client_id=CLIENT,
        nonce=NONCE,
        access_token="at",
        now=now,
    )


def refused(text: str, keys: list[dict[str, Any]] | None = None, *, now: float = NOW) -> str:
    with pytest.raises(SignInRefused) as caught:
        checked(text, keys, now=now)
    assert caught.value.__cause__ is None
    return caught.value.fault


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", RSA), ("RS512", RSA), ("PS256", RSA), ("ES256", EC)],
)
def test_a_good_token(algorithm: str, key: Any) -> None:
    assert checked(token(algorithm=algorithm, key=key))["sub"] == "ada"


def test_a_token_that_names_no_key_is_tried_with_all() -> None:
    assert checked(token(kid=None), [dict(OTHER.as_dict(private=False)), *KEYS])["sub"] == "ada"


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "m" * 64},
        {"nonce": None},
        {"iss": ISSUER + "/"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"aud": [CLIENT, "another"]},  # without azp nobody knows for whom it was made
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"exp": None},
        {"iat": None},
        {"exp": "tomorrow"},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
    ids=str,
)
def test_a_token_that_says_something_else(changes: dict[str, Any]) -> None:
    assert refused(token(changes)) in ("bad_answer", "clock" if changes.get("exp") == "tomorrow" else "bad_answer")


def test_an_audience_of_several_names_its_party() -> None:
    assert checked(token({"aud": [CLIENT, "another"], "azp": CLIENT}))


@pytest.mark.parametrize("skew", [-LEEWAY_SECONDS + 1, 0, LEEWAY_SECONDS])
def test_clocks_may_differ_by_the_leeway(skew: int) -> None:
    assert checked(token({"iat": int(NOW) + skew, "exp": int(NOW) + skew + 1}))
    assert checked(token({"nbf": int(NOW) + skew}))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW) - LEEWAY_SECONDS - 1},
        {"iat": int(NOW) + LEEWAY_SECONDS + 1, "exp": int(NOW) + 900},
        {"nbf": int(NOW) + LEEWAY_SECONDS + 1},
    ],
    ids=str,
)
def test_clocks_that_differ_by_more_are_said_to(changes: dict[str, Any]) -> None:
    assert refused(token(changes)) == "clock"


def _bare(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    pieces = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(urlsafe_b64encode(piece).decode().rstrip("=") for piece in pieces)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, "HS256", "RS1", ["RS256"], "dir"])
def test_algorithms_that_prove_nothing(algorithm: Any) -> None:
    header = {"kid": "r"} if algorithm is None else {"alg": algorithm, "kid": "r"}
    if isinstance(algorithm, list):
        with pytest.raises((SignInRefused, TypeError)):
            checked(_bare(header, GOOD))
        return
    assert refused(_bare(header, GOOD)) == "bad_answer"


@pytest.mark.parametrize("material", [RSA.as_pem(private=False), json.dumps(KEYS[0]).encode()])
def test_the_public_key_is_no_secret(material: bytes) -> None:
    """Signed with HMAC, and the public key for a secret."""
    unsigned = _bare({"alg": "HS256", "kid": "r"}, GOOD).removesuffix(".")
    signature = hmac.digest(material, unsigned.encode(), "sha256")
    forged = f"{unsigned}.{urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert refused(forged) == "bad_answer"
    # Even if the provider listed a secret among its keys.
    assert refused(forged, [*KEYS, {"kty": "oct", "kid": "r", "k": "AAAA"}]) == "bad_answer"


def test_a_signature_of_somebody_else() -> None:
    assert refused(token(key=OTHER, kid="r")) == "bad_answer"
    head, _, signature = token().split(".")
    _, body, _ = token({"sub": "eve"}).split(".")
    assert refused(f"{head}.{body}.{signature}") == "bad_answer"


def test_a_key_in_the_token_itself_is_not_used() -> None:
    jwk = OTHER.as_dict(private=False)
    assert refused(_bare({"alg": "RS256", "kid": "r", "jwk": jwk}, GOOD, b"x" * 256)) == "bad_answer"


def test_a_key_that_is_not_listed() -> None:
    with pytest.raises(UnknownKey):
        checked(token(key=OTHER))
    with pytest.raises(UnknownKey):
        checked(token(), [])
    with pytest.raises(UnknownKey):  # one for encryption
        checked(token(), [KEYS[0] | {"use": "enc"}])
    with pytest.raises(UnknownKey):  # of another kind
        checked(token(algorithm="ES256", key=EC, kid="r"))


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(SignInRefused):
        checked(text)


def test_a_token_without_end_is_not_read() -> None:
    assert refused("a" * 10_000_000) == "bad_answer"


def test_the_test_itself_signs_in_time() -> None:
    """Else a broken clock would pass all tests of clocks."""
    assert refused(token(), now=time.time()) == "clock" or time.time() >= NOW
