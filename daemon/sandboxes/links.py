"""Where "open" leads: the only places are the hosts of that very sandbox. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from daemon.gateway.router import MAX_PORT, MIN_PORT

if TYPE_CHECKING:
    from daemon.config import Settings

TICKET_PATH = "/__cli-server/ticket"
_LABEL = re.compile(r"oc|[1-9][0-9]{3,4}")
# What a browser might read otherwise than we do has no place in a link.
_PLAIN = re.compile(r"[!-\[\]-~]*")
_MOST = 4096  # characters; the ticket's URL must fit the gateway's limit of a request target


class InvalidNext(Exception):
    """``next`` does not lead to this sandbox. The text says what it may be."""


@dataclass(frozen=True, slots=True)
class Link:
    """A place on a sandbox host."""

    label: str
    path: str


def open_link(settings: Settings, sandbox_id: str, wanted: str) -> Link:
    """The place that ``wanted`` names: a path on ``oc-{id}``, or a URL on a host of this sandbox."""
    if len(wanted) > _MOST or not _PLAIN.fullmatch(wanted):
        raise InvalidNext("must be a path or URL of plain ASCII characters without backslashes")
    if wanted.startswith("/") and not wanted.startswith("//"):
        return Link(f"oc-{sandbox_id}", wanted)
    start, end = settings.host_origin(f"\0-{sandbox_id}").split("\0")
    label, found, path = wanted.removeprefix(start).partition(end)
    known = wanted.startswith(start) and found and _LABEL.fullmatch(label) and (not path or path[0] in "/?")
    if not known or (label != "oc" and not MIN_PORT <= int(label) <= MAX_PORT):
        raise InvalidNext("must be a path, or a URL on a host of this sandbox")
    return Link(f"{label}-{sandbox_id}", path if path.startswith("/") else "/" + path)


def ticket_link(settings: Settings, link: Link, ticket: str, mark: str = "") -> str:
    """The URL that exchanges ``ticket`` for the host's cookie and goes on to the place.

    ``mark``: of the browser for which the ticket is (:func:`daemon.secret.ticket_hash`).
    """
    query = urlencode({"ticket": ticket, "next": link.path} | ({"browser": mark} if mark else {}))
    return f"{settings.host_origin(link.label)}{TICKET_PATH}?{query}"
