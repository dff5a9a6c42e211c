"""What the sandboxes' LLM calls cost, by day and model, and how many there were lately, by hour."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import date, datetime  # noqa: TC003 - class_row reads the annotations
from typing import TYPE_CHECKING, Literal

from psycopg import errors
from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from daemon.db.database import Connection


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """What is added to one row. ``day`` is in UTC; the counts are requests and tokens."""

    day: date
    workspace_id: str
    sandbox_id: str
    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


@dataclass(frozen=True, slots=True)
class HourEntry:
    """How many requests are added to one hour. ``hour`` is when it begins, in UTC."""

    hour: datetime
    workspace_id: str
    sandbox_id: str
    requests: int


_ADD = """
    INSERT INTO usage_daily AS kept (day, workspace_id, sandbox_id, model, requests,
                                     input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (day, sandbox_id, model) DO UPDATE SET
        requests = kept.requests + excluded.requests,
        input_tokens = kept.input_tokens + excluded.input_tokens,
        output_tokens = kept.output_tokens + excluded.output_tokens,
        cache_read_tokens = kept.cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = kept.cache_write_tokens + excluded.cache_write_tokens
"""
_ADD_HOUR = """
    INSERT INTO usage_hourly AS kept (hour, workspace_id, sandbox_id, requests) VALUES (%s, %s, %s, %s)
    ON CONFLICT (sandbox_id, hour) DO UPDATE SET requests = kept.requests + excluded.requests
"""


def add_usage(
    conn: Connection,
    entries: Iterable[UsageEntry],
    began: Callable[[str], None] | None = None,
    *,
    hours: Iterable[HourEntry] = (),
) -> None:
    """Add the entries to the books, and the requests among them to their hours.

    ``began`` is told the transaction's id before anything is written: with it :func:`was_committed` answers whether
    the entries are in the books, should the connection break in the middle of the commit.
    """
    if began is not None:
        row = conn.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        began(row[0])
    # In one order everywhere, so that two replicas never wait for each other.
    rows = sorted((astuple(entry) for entry in entries), key=lambda row: row[:4])
    conn.cursor().executemany(_ADD, rows)
    counted = sorted((astuple(entry) for entry in hours), key=lambda row: row[:3])
    conn.cursor().executemany(_ADD_HOUR, counted)


def was_committed(conn: Connection, transaction: str) -> bool | None:
    """Whether a transaction of :func:`add_usage` was committed; ``None`` while it still runs."""
    try:
        with conn.transaction():
            row = conn.execute("SELECT pg_xact_status(%s::text::xid8)", (transaction,)).fetchone()
    except errors.InvalidParameterValue:
        return False  # it "is in the future": the database was restored to a time before it
    assert row is not None
    # Null: a thousand million transactions ago. Better an entry too few than one twice.
    return {"committed": True, "aborted": False, "in progress": None}.get(row[0], True)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums of one day, model and, if asked for, sandbox."""

    day: date
    model: str
    sandbox_id: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int


def read_usage(
    conn: Connection,
    column: Literal["workspace_id", "sandbox_id"],
    id_: str,
    first: date,
    last: date,
    *,
    by_sandbox: bool,
) -> list[UsageRow]:
    """What a workspace or a sandbox used from ``first`` to ``last`` (UTC days, both included), by day and model."""
    sandbox = "sandbox_id" if by_sandbox else "NULL::text"
    with conn.cursor(row_factory=class_row(UsageRow)) as cursor:
        return cursor.execute(
            (
                f"SELECT day, model, {sandbox} AS sandbox_id, sum(requests)::bigint AS requests,"
                " sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,"
                " sum(cache_read_tokens)::bigint AS cache_read_tokens,"
                " sum(cache_write_tokens)::bigint AS cache_write_tokens"
                f" FROM usage_daily WHERE {column} = %s AND day BETWEEN %s AND %s"
                " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
            ).encode(),
            (id_, first, last),
        ).fetchall()


def read_hours(conn: Connection, workspace_id: str, hours: Sequence[datetime]) -> dict[str, list[int]]:
    """Requests in each of ``hours``, by sandbox, of those sandboxes of a workspace that are there and made any."""
    places = {hour: place for place, hour in enumerate(hours)}
    rows = conn.execute(
        "SELECT u.sandbox_id, u.hour, u.requests FROM usage_hourly u"
        " JOIN sandboxes s ON s.id = u.sandbox_id AND s.workspace_id = u.workspace_id"
        " WHERE u.workspace_id = %s AND u.hour = ANY(%s) ORDER BY s.created_at, s.id",
        (workspace_id, list(hours)),
    ).fetchall()
    found: dict[str, list[int]] = {}
    for sandbox_id, hour, requests in rows:
        found.setdefault(sandbox_id, [0] * len(places))[places[hour]] = requests
    return found
