"""``cli-server migrate``: the schema of the database that the settings name, the embedded one included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from daemon.datadir import DataDirError, lock_data_dir
from daemon.db.connect import DatabaseUnavailable
from daemon.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from daemon.db.migrate import MigrationError, migrate

if TYPE_CHECKING:
    from daemon.config import Settings

# What it refuses with one line.
MIGRATE_ERRORS = (DataDirError, DatabaseUnavailable, EmbeddedPostgresError, MigrationError)


async def run_migrate(settings: Settings) -> list[str]:
    """Bring the schema up to date; returns the names of what was applied. Raises one of :data:`MIGRATE_ERRORS`.

    The embedded database is started for it, which a living daemon on the same directory forbids; that one has migrated.
    """
    if settings.database_url is not None:
        return await trio.to_thread.run_sync(migrate, settings.database_url)
    with lock_data_dir(settings.data_dir) as data_dir:
        async with EmbeddedPostgres.open(data_dir) as postgres:
            return await trio.to_thread.run_sync(migrate, postgres.conninfo)
