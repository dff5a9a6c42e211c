"""What passes to Anthropic: which paths, headers and credentials. Pure; what is not named here stays back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from protocol.headers import end_to_end

if TYPE_CHECKING:
    from protocol.headers import Headers

PREFIX: Final = b"/proxy/anthropic"

# A sandbox that is being started may already call; one that is being paused may not begin anything new.
MAY_CALL: Final = frozenset({"running", "creating", "resuming"})


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """The operator's upstream. ``authority`` is the value of ``Host``, ``path`` begins with a slash or is empty."""

    tls: bool
    host: str
    port: int
    authority: bytes
    path: bytes


def parse_base_url(url: str) -> BaseUrl:
    """The parts of a URL that the settings have checked: http or https, a host, no query, no credentials."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    default = 443 if tls else 80
    host, port = parts.hostname or "", parts.port or default
    name = f"[{host}]" if ":" in host else host
    authority = name if port == default else f"{name}:{port}"
    return BaseUrl(tls, host, port, authority.encode("ascii"), parts.path.rstrip("/").encode("ascii"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A call that sandboxes may make. ``metered``: its answers say what they cost."""

    method: bytes
    metered: bool = False


_ENDPOINTS: Final = {
    b"/v1/messages": Endpoint(b"POST", metered=True),
    b"/v1/messages/count_tokens": Endpoint(b"POST"),
    b"/v1/models": Endpoint(b"GET"),
}
_MODEL: Final = Endpoint(b"GET")
# Ids and aliases such as claude-sonnet-4-5, and what gateways make of them; nothing that any server could normalise.
_MODEL_PATH: Final = re.compile(rb"/v1/models/[A-Za-z0-9](?:[._:@-]?[A-Za-z0-9])*")
_LONGEST_PATH: Final = 256  # the longest id known has some 60 characters


def find_endpoint(target: bytes) -> Endpoint | None:
    """The endpoint of a request target. It is compared byte for byte: nothing is decoded or normalised before."""
    path = target.removeprefix(PREFIX).partition(b"?")[0]
    # A fragment has no place in a request; whoever reads it leniently sees another query than we do.
    if not target.startswith(PREFIX) or b"#" in target or len(path) > _LONGEST_PATH:
        return None
    return _ENDPOINTS.get(path) or (_MODEL if _MODEL_PATH.fullmatch(path) else None)


def upstream_target(base: BaseUrl, target: bytes) -> bytes:
    """The target at the upstream, with the query as it was sent."""
    return base.path + target.removeprefix(PREFIX)


class NoToken(Exception):
    """The request does not carry one proxy token. The text is for the client."""


def presented_token(headers: Headers) -> str:
    """The proxy token in ``x-api-key`` or ``Authorization: Bearer``. Raises :class:`NoToken`.

    Two different ones are refused: which of them somebody else would believe cannot be known.
    """
    found: set[bytes] = set()
    for name, value in headers:
        if name == b"x-api-key":
            found.add(value.strip())
        elif name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme and scheme.lower() != b"bearer":
                raise NoToken("The authorization header must be a bearer token.")
            found.add(token.strip())
    found.discard(b"")
    if not found:
        raise NoToken("The sandbox's proxy token is missing; send it in x-api-key or as a bearer token.")
    if len(found) > 1:
        raise NoToken("The request carries two different tokens.")
    return found.pop().decode("latin-1")


def operator_credentials(api_key: str | None, auth_token: str | None) -> Headers:
    """What takes the place of the proxy token; empty if the operator has set nothing.

    With both set both are sent, each in its own header, as Anthropic's own clients do with the same two variables.
    """
    headers: Headers = []
    if api_key:
        headers.append((b"x-api-key", api_key.encode("ascii")))
    if auth_token:
        headers.append((b"authorization", b"Bearer " + auth_token.encode("ascii")))
    return headers


_PASSED: Final = frozenset(
    {
        b"accept",
        b"accept-language",
        b"anthropic-beta",
        b"anthropic-version",
        b"content-encoding",  # belongs to the body
        b"content-type",
        b"user-agent",
        b"x-app",  # which program of Anthropic's it is
    }
)
_PASSED_PREFIX: Final = b"x-stainless-"  # platform and retry count, from Anthropic's own libraries

# Speak of Anthropic's host, and would be taken to speak of ours.
_DROPPED_FROM_ANSWERS: Final = frozenset(
    {b"set-cookie", b"set-cookie2", b"alt-svc", b"strict-transport-security", b"clear-site-data", b"nel", b"report-to"}
)


def upstream_headers(headers: Headers, base: BaseUrl, credentials: Headers) -> Headers:
    """The request's headers at the upstream. ``identity``, so that what the answer says of usage can be read."""
    passed = [(name, value) for name, value in end_to_end(headers) if _passes(name)]
    return [(b"host", base.authority), *credentials, (b"accept-encoding", b"identity"), *passed]


def _passes(name: bytes) -> bool:
    return name in _PASSED or name.startswith(_PASSED_PREFIX)


def client_headers(headers: Headers) -> Headers:
    """The answer's headers for the sandbox; hop-by-hop ones are the relay's business."""
    return [pair for pair in headers if pair[0] not in _DROPPED_FROM_ANSWERS]
