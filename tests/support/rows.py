"""Rows in a running product's own database, for what would take hours to come about by itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from daemon.db.cluster import PORT, ROLE
from daemon.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.product import Product

_SEEDED = {"type": "cloud", "status": "paused"}


@contextmanager
def database(product: Product) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the embedded PostgreSQL; each statement is committed at once."""
    host = (product.data_dir / "postgres.socket").read_text().strip()
    with psycopg.connect(host=host, port=PORT, user=ROLE, dbname=ROLE, autocommit=True) as conn:
        yield conn


def put_sandbox(product: Product, workspace_id: str, name: str, **columns: object) -> str:
    """A sandbox that nothing runs for, paused if nothing else is said; its id."""
    sandbox_id = new_id()
    row = {"id": sandbox_id, "workspace_id": workspace_id, "name": name, **_SEEDED, **columns}
    row["proxy_token_hash"] = None if row["type"] == "local" else sandbox_id.encode()
    names, values = ", ".join(row), ", ".join(["%s"] * len(row))
    with database(product) as conn:
        conn.execute(f"INSERT INTO sandboxes ({names}) VALUES ({values})", list(row.values()))
    return sandbox_id


def count_calls(product: Product, workspace_id: str, sandbox_id: str, calls: int) -> None:
    """LLM calls of a sandbox in this hour."""
    with database(product) as conn:
        conn.execute(
            "INSERT INTO usage_hourly (hour, workspace_id, sandbox_id, requests)"
            " VALUES (date_trunc('hour', now()), %s, %s, %s)",
            [workspace_id, sandbox_id, calls],
        )
