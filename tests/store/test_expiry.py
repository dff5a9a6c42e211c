"""Sessions that have run out are ended, and everybody is told."""

from __future__ import annotations

import psycopg

from daemon.store.expiry import end_expired

SETUP = """
INSERT INTO users (id, username) VALUES ('u', 'User');
INSERT INTO sessions (id, token_hash, user_id, expires_at) VALUES ('over', 'a', 'u', now() - interval '1 second'),
    ('soon', 'b', 'u', now() + interval '90 seconds'), ('later', 'c', 'u', now() + interval '30 days');
"""


def test_who_has_run_out_and_who_is_next(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert end_expired(conn) is None
        conn.execute(SETUP.encode())
        conn.execute("LISTEN cli_server")
        seconds = end_expired(conn)
        assert seconds is not None
        assert 30 < seconds <= 90
        assert [row[0] for row in conn.execute("SELECT id FROM sessions ORDER BY id")] == ["later", "soon"]
        told = [notice.payload for notice in conn.notifies(timeout=0)]
        assert told == ["session over"]
        assert end_expired(conn) is not None
        assert [notice.payload for notice in conn.notifies(timeout=0)] == []
