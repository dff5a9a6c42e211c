"""Counts of attempts to sign in, by bucket. What they mean is in :mod:`daemon.auth.throttle`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.auth.throttle import FORGET_SECONDS, Bucket, block_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from daemon.db.database import Connection


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that may go on; it counts as failed until :func:`take_back`. With the blocks that it began."""

    counted: tuple[tuple[Bucket, datetime | None], ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """No attempt now; the next one in ``seconds``."""

    seconds: float


def begin(conn: Connection, buckets: Sequence[Bucket]) -> Attempt | Blocked:
    """Count an attempt in all ``buckets``, unless one of them is blocked; then in none."""
    in_order = sorted(buckets, key=lambda bucket: bucket.key)  # the order of locks, the same for everybody
    states = [_lock(conn, bucket) for bucket in in_order]
    blocked = max(seconds for _, seconds in states)
    if blocked > 0:
        return Blocked(blocked)
    counted = [
        (bucket, _count(conn, bucket, failures + 1)) for bucket, (failures, _) in zip(in_order, states, strict=True)
    ]
    return Attempt(tuple(counted))


def _lock(conn: Connection, bucket: Bucket) -> tuple[int, float]:
    """Failures so far, and for how many seconds more the bucket is blocked. The row stays locked."""
    conn.execute("INSERT INTO login_failures (bucket, failures) VALUES (%s, 0) ON CONFLICT DO NOTHING", (bucket.key,))
    # Not now(): that is when the transaction began, and it may have waited for the lock since.
    row = conn.execute(
        "SELECT CASE WHEN updated_at < clock_timestamp() - make_interval(secs => %s) THEN 0 ELSE failures END,"
        " coalesce(extract(epoch FROM blocked_until - clock_timestamp()), 0)::float8"
        " FROM login_failures WHERE bucket = %s FOR UPDATE",
        (FORGET_SECONDS, bucket.key),
    ).fetchone()
    if row is None:  # forgotten between the two statements; then it is as new
        return _lock(conn, bucket)
    return row[0], row[1]


def _count(conn: Connection, bucket: Bucket, failures: int) -> datetime | None:
    seconds = block_seconds(failures, bucket.free)
    row = conn.execute(
        "UPDATE login_failures SET failures = %s, updated_at = clock_timestamp(),"
        " blocked_until = CASE WHEN %s > 0 THEN clock_timestamp() + make_interval(secs => %s) END"
        " WHERE bucket = %s RETURNING blocked_until",
        (failures, seconds, seconds, bucket.key),
    ).fetchone()
    return None if row is None else row[0]


def take_back(conn: Connection, attempt: Attempt, own: Bucket | None) -> None:
    """The attempt succeeded: ``own``, if there is one, begins anew, and in the others it did not count.

    Others lose this one count only, or whoever has an account could guess at others' between two sign-ins.
    """
    for bucket, block in attempt.counted:
        if bucket == own:
            conn.execute("DELETE FROM login_failures WHERE bucket = %s", (bucket.key,))
        else:
            conn.execute(
                "UPDATE login_failures SET failures = greatest(failures - 1, 0),"
                " blocked_until = CASE WHEN blocked_until IS DISTINCT FROM %s THEN blocked_until END"
                " WHERE bucket = %s",
                (block, bucket.key),
            )
