"""Answers of the database kept in memory until a notification says that they changed."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

K = TypeVar("K")
V = TypeVar("V")

# Notifications make an answer stale at once; this bounds what a lost one, or an expiry that nobody announces, can do.
KEPT_SECONDS: Final = 30.0
MOST: Final = 20_000  # entries; some 10 MB
_TRIES: Final = 3  # then the answer is used once and not kept: changes come faster than answers


class CachedLookup(Generic[K, V]):
    """Looks up ``find(key)`` and keeps what it found; absence is not kept.

    ``fresh`` says whether notifications arrive at all; while they do not, nothing is kept.
    """

    def __init__(self, find: Callable[[K], Awaitable[V | None]], fresh: Callable[[], bool]) -> None:
        self._find = find
        self._fresh = fresh
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._epoch = 0

    def kept(self, key: K) -> V | None:
        """The answer if it is at hand."""
        entry = self._kept.get(key)
        if entry is None or entry[0] < trio.current_time():
            return None
        return entry[1]

    async def get(self, key: K) -> V | None:
        """The answer, at hand or looked up. Errors of ``find`` are passed on."""
        value = self.kept(key)
        if value is not None:
            return value
        for _ in range(_TRIES):
            epoch = self._epoch
            value = await self._find(key)
            if epoch == self._epoch:
                break  # nothing was announced meanwhile, so the answer is not older than the latest change
        else:
            return value
        if value is not None and self._fresh():
            self._kept[key] = (trio.current_time() + KEPT_SECONDS, value)
            self._kept.move_to_end(key)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return value

    def forget(self, matches: Callable[[K, V], bool]) -> None:
        """Drop the answers that ``matches`` says yes to."""
        self._epoch += 1
        for key in [key for key, (_, value) in self._kept.items() if matches(key, value)]:
            del self._kept[key]

    def forget_key(self, key: K) -> None:
        """Drop one answer."""
        self._epoch += 1
        self._kept.pop(key, None)

    def clear(self) -> None:
        """Drop everything: changes may have been missed."""
        self._epoch += 1
        self._kept.clear()
