"""What one replica does for all: it asks the database whether it is the one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.store.replicas import take_duty

if TYPE_CHECKING:
    from daemon.db.database import Database


class Duty:
    """Something that need not be done by several replicas at once, and that is right if they do it all the same.

    ``holder``: this replica; ``None``: it is the only one, and nobody is asked. ``seconds``: after so long without a
    word another one takes over.
    """

    def __init__(self, db: Database, name: str, holder: str | None, seconds: float) -> None:
        self._db = db
        self._name = name
        self._holder = holder
        self._seconds = seconds

    async def is_ours(self) -> bool:
        """Whether this replica does it now. Raises :class:`~daemon.db.database.DatabaseUnavailable`."""
        if self._holder is None:
            return True
        return await self._db.run(take_duty, self._name, self._holder, self._seconds)
