"""How large the installation is, and the names of what is in it: made from numbers, so that nothing need be kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["workspace", "user", "session", "sandbox", "machine"]

# Of the sandboxes that do not run, one in so many has failed; the rest is paused.
FAILED_EVERY: Final = 30


@dataclass(frozen=True, slots=True)
class Size:
    """Counts. Of ``sandboxes``, the first ``running`` run; ``machines`` come on top, each with a tunnel."""

    workspaces: int = 500
    users: int = 2_000
    sandboxes: int = 10_000
    running: int = 2_000
    machines: int = 2_000
    audit: int = 500_000  # entries, of 100 days
    events: int = 40_000  # they are kept for a day
    usage_days: int = 90  # in each of which the running ones used two models
    idle: tuple[int, ...] = (0, 10, 200)  # so many are idle at once when the sweeper looks
    active: int = 250  # pages of sandboxes that are in use, and as many of machines
    streams: int = 200  # of /api/events
    rate: float = 100.0  # requests a second to sandboxes, and as many to machines
    api_rate: float = 20.0
    change_rate: float = 2.0  # pauses and resumes a second
    direct_rate: float = 50.0  # requests a second to the upstream itself, to compare with
    seconds: float = 30.0  # of load
    # For what is measured while nobody asks for anything: two heartbeats of the machines, after a first one.
    rest_seconds: float = 30.0
    settle_seconds: float = 16.0
    repeat: int = 5  # rounds of which the median is told


FULL: Final = Size()
# For the test of this very program: everything happens, in a few seconds.
SMALL: Final = Size(
    workspaces=10, users=40, sandboxes=200, running=40, machines=20, audit=2_000, events=500, usage_days=3,
    idle=(0, 2), active=10, streams=4, rate=20.0, api_rate=10.0, change_rate=2.0, direct_rate=20.0, seconds=1.5,
    rest_seconds=0.3, settle_seconds=0.2, repeat=1,
)  # fmt: skip


def ident(kind: Kind, number: int) -> str:
    """An id as the product makes them. :func:`ident_sql` is the same in SQL."""
    return kind[0] + hashlib.md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest()[:15]


def ident_sql(kind: Kind, number: str) -> str:
    """:func:`ident` as an expression; ``number`` is one."""
    return f"'{kind[0]}' || substr(md5('{kind}' || {number}), 1, 15)"


def secret(kind: str, number: int) -> str:
    """A token. They are no secrets here."""
    return f"{kind}-of-the-sizing-{number}"


def secret_hash_sql(kind: str, number: str) -> str:
    """What the database keeps of :func:`secret`, as an expression."""
    return f"sha256(convert_to('{kind}-of-the-sizing-' || {number}, 'UTF8'))"
