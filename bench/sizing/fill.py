"""Fills a database as a large installation's would be filled after some months, by statements over series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.sizing.size import FAILED_EVERY, ident_sql, secret_hash_sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.sizing.size import Size
    from daemon.db.database import Connection

_AGENT_INFO: Final = '{"os": "Linux 6.1", "arch": "x86_64", "hostname": "a-machine", "agentVersion": "1.0.0"}'
AUDIT_DAYS: Final = 100  # over which the entries of the audit log lie
_HOURS: Final = 48  # what is kept of usage by the hour
MODELS: Final = 2  # that each sandbox uses in a day


def _series(count: int) -> str:
    return f"FROM generate_series(0, {count - 1}) AS n"


def _people(size: Size) -> Iterator[str]:
    user, workspace = ident_sql("user", "n"), ident_sql("workspace", "n")
    yield (
        "INSERT INTO users (id, username, email, last_seen_at)"
        f" SELECT {user}, 'user' || n, 'user' || n || '@example.com', now() {_series(size.users)}"
    )
    yield f"INSERT INTO workspaces (id, name) SELECT {workspace}, 'workspace ' || n {_series(size.workspaces)}"
    # Everybody is in two workspaces; in the first, as many others as there are users to a workspace.
    role = f"CASE WHEN n < {size.workspaces} THEN 'owner' ELSE 'developer' END"
    for place in (f"n % {size.workspaces}", f"(n * 7 + 3) % {size.workspaces}"):
        yield (
            f"INSERT INTO members (workspace_id, user_id, role) SELECT {ident_sql('workspace', f'({place})')}, {user},"
            f" {role} {_series(size.users)} ON CONFLICT DO NOTHING"
        )
    # Two browsers each, the first of which has a token that is known.
    yield (
        "INSERT INTO sessions (id, token_hash, user_id, expires_at, user_agent, ip)"
        f" SELECT {ident_sql('session', 'n')}, {secret_hash_sql('session', 'n')},"
        f" {ident_sql('user', f'(n % {size.users})')}, now() + interval '20 days', 'Mozilla/5.0 (X11; Linux x86_64)"
        f" AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36', '192.0.2.7'"
        f" {_series(2 * size.users)}"
    )


def _sandboxes(size: Size) -> Iterator[str]:
    status = f"CASE WHEN n < {size.running} THEN 'running' WHEN n % {FAILED_EVERY} = 0 THEN 'failed' ELSE 'paused' END"
    home, creator = ident_sql("workspace", f"(n % {size.workspaces})"), ident_sql("user", f"(n % {size.users})")
    yield (
        "INSERT INTO sandboxes (id, workspace_id, name, type, status, status_reason, generation, created_by,"
        " proxy_token_hash, paused_at)"
        f" SELECT {ident_sql('sandbox', 'n')}, {home}, 'sandbox ' || n, 'cloud', {status},"
        f" CASE WHEN n % {FAILED_EVERY} = 0 AND n >= {size.running} THEN 'opencode exited with status 137' END,"
        f" 40, {creator}, {secret_hash_sql('proxy', 'n')}, CASE WHEN n >= {size.running} THEN now() END"
        f" {_series(size.sandboxes)}"
    )
    yield (
        "INSERT INTO sandboxes (id, workspace_id, name, type, status, generation, created_by, tunnel_token_hash,"
        " agent_info)"
        f" SELECT {ident_sql('machine', 'n')}, {home}, 'machine ' || n, 'local', 'offline', 40, {creator},"
        f" {secret_hash_sql('tunnel', 'n')}, '{_AGENT_INFO}' {_series(size.machines)}"
    )
    # A cookie of its creator's for each that is to be opened.
    for kind, count in (("sandbox", size.running), ("machine", size.machines)):
        box = ident_sql("sandbox" if kind == "sandbox" else "machine", "n")
        yield (
            "INSERT INTO sandbox_cookies (token_hash, session_id, sandbox_id, host)"
            f" SELECT {secret_hash_sql(kind, 'n')}, {ident_sql('session', f'(n % {size.users})')}, {box},"
            f" 'oc-' || {box} {_series(count)}"
        )


def _history(size: Size) -> Iterator[str]:
    box, home = ident_sql("sandbox", f"(n % {size.sandboxes})"), ident_sql("workspace", f"(n % {size.workspaces})")
    actions = "(ARRAY['sandbox.opened', 'sandbox.resumed', 'sandbox.paused', 'session.started'])[n % 4 + 1]"
    user, session = ident_sql("user", f"(n % {size.users})"), ident_sql("session", f"(n % {size.users})")
    yield (
        "INSERT INTO audit (at, actor_id, actor_name, action, target_kind, target_id, target_name, workspace_id, ip,"
        f" detail) SELECT now() - interval '{AUDIT_DAYS} days' * (1 - n / {size.audit}.0), {user},"
        f" 'user' || n % {size.users}, {actions}, 'sandbox', {box}, 'sandbox ' || n % {size.sandboxes}, {home},"
        f" '192.0.2.7', jsonb_build_object('session', {session}) {_series(size.audit)}"
    )
    yield (
        "INSERT INTO events (kind, workspace_id, sandbox_id, at)"
        f" SELECT 'sandbox.updated', {home}, {box}, now() - interval '1 day' * (1 - n / {size.events}.0)"
        f" {_series(size.events)}"
    )
    used = ident_sql("sandbox", "n")
    yield (
        "INSERT INTO usage_daily SELECT current_date - day, "
        f"{home}, {used}, 'claude-model-' || model, 40, 400000, 20000, 3000000, 100000 {_series(size.running)},"
        f" generate_series(1, {size.usage_days}) AS day, generate_series(1, {MODELS}) AS model"
    )
    yield (
        "INSERT INTO usage_hourly SELECT date_trunc('hour', now()) - interval '1 hour' * hour, "
        f"{home}, {used}, 12 {_series(size.running)}, generate_series(1, {_HOURS}, 4) AS hour"
    )


def fill(conn: Connection, size: Size) -> None:
    """``conn`` is the superuser's, in autocommit mode: triggers are left out, or there would be no old events."""
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        for statement in (*_people(size), *_sandboxes(size), *_history(size)):
            conn.execute(statement.encode())
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")


def reset(conn: Connection) -> None:
    """Running sandboxes are as if they had just been used, machines offline; nobody hears of it."""
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            "UPDATE sandboxes SET status = 'running', last_activity_at = now(), last_busy_at = NULL,"
            " lease_owner = NULL, lease_until = NULL"
            " WHERE type = 'cloud' AND status IN ('running', 'pausing', 'resuming')"
        )
        conn.execute(
            "UPDATE sandboxes SET status = 'offline', tunnel_connection = NULL, last_heartbeat_at = NULL"
            " WHERE type = 'local'"
        )
    conn.execute("VACUUM ANALYZE sandboxes")


def make_idle(conn: Connection, count: int) -> None:
    """So many of those that run were used last an hour ago."""
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            "UPDATE sandboxes SET last_activity_at = now() - interval '1 hour' WHERE id IN"
            " (SELECT id FROM sandboxes WHERE type = 'cloud' AND status = 'running' ORDER BY id LIMIT %s)",
            (count,),
        )
