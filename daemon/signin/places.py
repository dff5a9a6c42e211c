"""Where to after signing in: a page of this very site, as ``webui/src/lib/next.ts`` has it. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

HOME: Final = "/"
MOST: Final = 2048  # characters; it is kept until the browser comes back, and our own longest are some hundred
# What a browser might read otherwise than we do: backslashes, blanks, control characters, anything beyond ASCII.
_PLAIN: Final = re.compile(r"/[!-\[\]-~]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SIGN_IN_PAGES: Final = re.compile(r"/(login|register)(/.*)?")
_SERVERS_OWN: Final = re.compile(r"/(api|agent|proxy)(/.*)?")
_OPENING: Final = re.compile(r"/api/sandboxes/[a-z0-9]+/open")


def safe_next(wanted: str | None) -> str:
    """``wanted`` if it is a path on this site that leads to a page; else the first page."""
    if wanted is None or len(wanted) > MOST or not _PLAIN.fullmatch(wanted):
        return HOME
    path = re.split(r"[?#]", wanted, maxsplit=1)[0]
    # Whoever decodes the path before looking at it, or after, finds the same.
    for seen in (path, unquote(path, "latin-1")):
        if "//" in seen or "\\" in seen or _CONTROL.search(seen) or {".", ".."} & {*seen.split("/")}:
            return HOME
        if _SIGN_IN_PAGES.fullmatch(seen) or (_SERVERS_OWN.fullmatch(seen) and not _OPENING.fullmatch(seen)):
            return HOME
    return wanted


def with_query(place: str, **parameters: str) -> str:
    """A path with more parameters in its query."""
    parts = urlsplit(place)
    query = "&".join(piece for piece in (parts.query, urlencode(parameters)) if piece)
    return parts._replace(query=query).geturl()
