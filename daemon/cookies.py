"""Names of our cookies, and how they are read and set. Sibling hosts can toss cookies at us: see :func:`only_value`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# What is tossed at a deeper path stays, and disturbs nothing above it. Of domains: a sandbox's host, ours, and two that
# ours may be a part of.
_DEEPEST_PATH: Final = 6
_MOST_DOMAINS: Final = 4
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~%-]+")  # what may stand in an attribute without a doubt
SESSION_SECONDS = 30 * 24 * 3600  # a month, as GitLab and code-server do; renewed by use


@dataclass(frozen=True, slots=True)
class CookieNames:
    """Where the scheme is https the ``__Host-`` prefix keeps sibling hosts from setting cookies in our name."""

    session: str
    device: str
    sandbox: str
    entering: str  # the beginning of the names of those that sandbox hosts keep while a browser gets a ticket
    sign_in: str  # while a browser is away at a provider

    @classmethod
    def for_scheme(cls, *, secure: bool) -> CookieNames:
        """The names for the scheme by which browsers reach us."""
        prefix = "__Host-" if secure else ""
        kinds = ("session", "device", "sandbox", "entering", "sign_in")
        return cls(*(f"{prefix}cli_server_{kind}" for kind in kinds))


def is_ours(name: str) -> bool:
    """Whether a cookie name is one of ours under either scheme; such cookies never reach a sandbox."""
    return name.lower().removeprefix("__host-").removeprefix("__secure-").startswith("cli_server_")


def values(header: str, name: str) -> list[str]:
    """All values of the cookie ``name`` in a ``Cookie`` header, in order."""
    found = []
    for part in header.split(";"):
        key, separator, value = part.strip().partition("=")
        if separator and key == name:
            found.append(value)
    return found


def only_value(header: str, name: str) -> str | None:
    """The value of the cookie, or ``None`` if it is absent or there are two: then one was tossed by a sibling host."""
    found = values(header, name)
    return found[0] if len(found) == 1 else None


def expire_tossed(name: str, host: str, path: str) -> list[str]:
    """``Set-Cookie`` values that remove every cookie ``name`` that a sibling of ``host`` can have set for ``path``.

    Ours is of this host alone, which browsers keep apart from one of a domain that happens to be the same. Of a domain
    without a dot, such as ``localhost``, they keep none.
    """
    parts = host.split(".")
    domains = [".".join(parts[first:]) for first in range(len(parts) - 1)]
    return [
        f"{name}=; Path={place}; Domain={domain}; Max-Age=0; HttpOnly; SameSite=Lax"
        for domain in domains[:_MOST_DOMAINS]
        for place in _paths(path)
    ]


def _paths(path: str) -> list[str]:
    """The paths whose cookies are sent to ``path``: each folder on the way, with and without its slash."""
    found = ["/"]
    whole = ""
    for part in path.split("/")[1 : 1 + _DEEPEST_PATH]:
        if not _PLAIN.fullmatch(part):
            break
        whole += f"/{part}"
        found += [whole, f"{whole}/"]
    return found


def set_cookie(name: str, value: str, *, secure: bool, max_age: int) -> str:
    """A ``Set-Cookie`` value for one of our cookies; ``max_age`` in seconds, 0 removes it."""
    flags = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{flags}"
