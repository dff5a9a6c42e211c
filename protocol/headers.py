"""Header hygiene: what a proxy must not pass on. Header lists are ``(name, value)`` pairs with names in lower case."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Headers = list[tuple[bytes, bytes]]

# RFC 9110, section 7.6.1, with the two fields that older software treats the same way. Content-Length belongs to the
# framing of one hop and is written anew.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
    }
)

# What a client claims about the way it came; only our own word counts behind us.
FORWARDED = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-prefix",
        b"x-forwarded-server",
        b"x-real-ip",
        b"via",
    }
)


# What Connection must not name (RFC 9110, section 7.6.1): without it a request is none.
_KEPT = frozenset({b"host"})


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """The members of comma-separated list headers such as ``Connection``, in lower case."""
    return {token.strip().lower() for value in values for token in value.split(b",")} - {b""}


def _named_by_connection(headers: Headers) -> set[bytes]:
    for name, _ in headers:
        if name == b"connection":
            return tokens(value for key, value in headers if key == b"connection") - _KEPT
    return set()


def end_to_end(headers: Headers, also_drop: frozenset[bytes] = frozenset()) -> Headers:
    """The headers without hop-by-hop ones, those named by ``Connection``, and ``also_drop``. Repeated ones survive."""
    named = _named_by_connection(headers)
    drop = HOP_BY_HOP | also_drop if also_drop else HOP_BY_HOP
    if named:
        drop = drop | named
    return [pair for pair in headers if pair[0] not in drop]


def request_headers(headers: Headers, also_drop: frozenset[bytes] = frozenset()) -> Headers:
    """As :func:`end_to_end`, and without what the client claims about the way it came."""
    return end_to_end(headers, FORWARDED | also_drop if also_drop else FORWARDED)


def without_cookies(value: bytes, dropped: Callable[[str], bool]) -> bytes:
    """A ``Cookie`` value without the cookies whose names ``dropped`` says yes to; empty if none is left."""
    kept = []
    for part in value.split(b";"):
        part = part.strip()
        name = part.partition(b"=")[0].strip().decode("latin-1")
        if part and not dropped(name):
            kept.append(part)
    return b"; ".join(kept)


def without_query_parameter(target: bytes, name: bytes) -> bytes:
    """The request target without a query parameter, however its name is escaped; the rest stays byte for byte."""
    path, separator, query = target.partition(b"?")
    if not separator or (name not in query and b"%" not in query):
        return target
    kept = [part for part in query.split(b"&") if unquote_to_bytes(part.partition(b"=")[0]) != name]
    return path + b"?" + b"&".join(kept) if kept else path
