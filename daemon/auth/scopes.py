"""What API tokens are good for: one table, nothing else. What it does not name, no token may do."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

PREFIX: Final = "clis_"  # people and scanners see what it is
LENGTH: Final = len(PREFIX) + 43  # with daemon.secret.new_token's 43 characters


class Scope(StrEnum):
    """What a token may be used for, within what its user may do."""

    READ = "read"  # see what the user sees
    WRITE = "write"  # change things
    OPEN = "open"  # open sandboxes
    ADMIN = "admin"  # /api/admin, for admins


_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Routes are written as Quart writes them: <name> stands for one part of the path.
_INVITATIONS: Final = "/api/workspaces/<workspace_id>/invitations"
# Routes that are unlike their families. None: for people only, because what it makes outlives the token or is another
# way in, and whoever got hold of the token would have it.
_ALONE: Final = MappingProxyType[tuple[str, str], Scope | None](
    {
        ("GET", "/api/auth/me"): Scope.READ,
        ("GET", "/api/sandboxes/<sandbox_id>/open"): Scope.OPEN,
        ("POST", _INVITATIONS): None,
    }
)
# The first parts of paths behind /api/ where reading needs READ and everything else WRITE.
_FAMILIES: Final = frozenset({"workspaces", "sandboxes", "events", "server"})


def needed(method: str, route: str) -> Scope | None:
    """The scope with which a token may use ``route``; ``None``: no token may."""
    reads = method in _READS
    key = ("GET" if reads else method, route)
    if key in _ALONE:
        return _ALONE[key]
    family = route.removeprefix("/api/").partition("/")[0]
    if not route.startswith("/api/"):
        return None
    if family == "admin":
        return Scope.ADMIN
    if family in _FAMILIES:
        return Scope.READ if reads else Scope.WRITE
    return None


def in_order(scopes: frozenset[Scope]) -> list[Scope]:
    """As they are listed."""
    return [scope for scope in Scope if scope in scopes]
