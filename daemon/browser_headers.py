"""The headers by which browsers keep what is ours apart from everybody else's: one list, for every answer of our own.

Answers of sandboxes are theirs, and get none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

# A page says itself what it needs; whatever else a browser takes for one (a problem, a text, JSON) can do nothing.
NOTHING: Final = "default-src 'none'; frame-ancestors 'none'"
# A year, which RFC 6797 gives as an example and preload lists ask for. Other hosts of the domain may be somebody else's
# to decide about, so without includeSubDomains: each sandbox's host says it for itself, when it is entered.
HSTS: Final = ("strict-transport-security", "max-age=31536000")
_EVERYWHERE: Final = (
    ("content-security-policy", NOTHING),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),  # what browsers understand that do not know frame-ancestors
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)


def missing(names: Collection[str], *, https: bool) -> list[tuple[str, str]]:
    """What an answer of ours with headers of these names, in lower case, still needs.

    ``https``: how the browser came. RFC 6797 forbids to say HSTS on plain HTTP, where anybody can have written it.
    """
    wanted = (*_EVERYWHERE, HSTS) if https else _EVERYWHERE
    return [pair for pair in wanted if pair[0] not in names]
