"""What is still to be written of connections that began and ended, in its order. No input, no output, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Written by one transaction: some 100 ms. After a restart of the daemon some hundred agents come within seconds.
MOST_CHANGES: Final = 100


@dataclass(slots=True)
class Change:
    """A connection has begun (``up``), with what its machine says of itself, or has ended."""

    sandbox_id: str
    connection_id: str
    up: bool
    info: Mapping[str, object] | None = None
    order: int = 0


_Key = tuple[str, bool]  # connection, up


class Notes:
    """Connections that live, and the changes that the database has not heard of.

    Changes that were taken stay until their outcome is told: nobody knows whether an attempt that broke off was
    carried out, so they are taken again. Each may be carried out twice.
    """

    def __init__(self) -> None:
        self._live: dict[str, str] = {}  # connection -> sandbox
        self._newest: dict[str, str] = {}  # sandbox -> connection
        self._order: dict[str, int] = {}  # of connections
        self._begun: set[str] = set()  # connections whose beginning may be in the database
        self._pending: dict[_Key, Change] = {}
        self._taken: dict[_Key, Change] = {}
        # Each news of a machine is an event for everybody who looks on. A machine that has always something new to say
        # is heard once a round.
        self._heard: set[str] = set()  # connections
        self._unheard: dict[str, Mapping[str, object]] = {}

    # What happens

    def up(self, sandbox_id: str, connection_id: str, info: Mapping[str, object] | None, order: int = 0) -> None:
        """A connection has begun, or its machine says something (new) of itself. ``order``: among all connections."""
        if connection_id in self._live and self._newest.get(sandbox_id) != connection_id:
            return  # the last words of one that was replaced
        if info is not None and connection_id in self._heard:
            self._unheard[connection_id] = info
            return
        order = self._order.setdefault(connection_id, order)
        self._live[connection_id] = sandbox_id
        self._newest[sandbox_id] = connection_id
        new = Change(sandbox_id, connection_id, up=True, order=order)
        change = self._pending.setdefault((connection_id, True), new)
        if info is not None:
            change.info = info

    def down(self, connection_id: str) -> None:
        """It has ended. What was never written of it need not be."""
        sandbox_id = self._live.get(connection_id)
        if sandbox_id is None:
            return
        self._pending.pop((connection_id, True), None)
        if connection_id in self._begun:
            self._pending[connection_id, False] = Change(sandbox_id, connection_id, up=False)
        self._forget(connection_id)

    # What is written

    def take(self) -> Sequence[Change]:
        """The next changes, by sandbox, those of each sandbox in their order. The same again until :meth:`done`."""
        if not self._taken:
            for key in list(self._pending)[:MOST_CHANGES]:
                self._taken[key] = self._pending.pop(key)
            self._begun |= {connection for connection, up in self._taken if up}
            self._heard |= {change.connection_id for change in self._taken.values() if change.info is not None}
        return sorted(self._taken.values(), key=lambda change: change.sandbox_id)  # sorted() keeps equal ones in order

    def done(self, refused: Sequence[str]) -> list[str]:
        """What was taken is in the database; ``refused``: but for these connections' beginnings. Those that end so."""
        self._taken.clear()
        return self.lost(refused)

    def next_round(self) -> None:
        """Hear machines that had more to say."""
        unheard, self._unheard = self._unheard, {}
        self._heard.clear()
        for connection_id, info in unheard.items():
            self.up(self._live[connection_id], connection_id, info)

    def lost(self, connections: Sequence[str]) -> list[str]:
        """These are not the connections of their sandboxes (any more). Those of them that had not ended."""
        found = [connection for connection in connections if connection in self._live]
        for connection in found:
            self._pending.pop((connection, True), None)
            self._forget(connection)
        return found

    def _forget(self, connection_id: str) -> None:
        sandbox_id = self._live.pop(connection_id)
        self._begun.discard(connection_id)
        self._heard.discard(connection_id)
        self._order.pop(connection_id, None)
        self._unheard.pop(connection_id, None)
        if self._newest.get(sandbox_id) == connection_id:
            del self._newest[sandbox_id]

    # How things stand

    @property
    def waiting(self) -> int:
        """How many changes are not known to be in the database."""
        return len(self._pending) + len(self._taken)

    def waits(self, connection_id: str) -> bool:
        """Whether something about this connection is not known to be in the database."""
        keys = {(connection_id, True), (connection_id, False)}
        return not keys.isdisjoint(self._pending) or not keys.isdisjoint(self._taken)

    def live(self) -> list[str]:
        """The connections that live."""
        return list(self._live)

    def written(self) -> list[str]:
        """Those of them that the database knows."""
        return [connection for connection in self._live if connection in self._begun and not self.waits(connection)]
