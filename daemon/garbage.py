"""Python's search for garbage in cycles, so seldom that nobody waits for it.

Reference counts free nearly everything at once; the search is for the rest. It stops the whole process, and a whole one
looks at everything that lives: with 2,000 tunnels that are half a million objects and up to half a second, which
Python's own thresholds asked for every ten seconds under load (``docs/sizing.md``).
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Objects that are made and not freed until the youngest are searched: a few milliseconds, and at most some 10 MB of
# garbage that waits. A request in flight has about a hundred, so that those of a whole second are gone by then.
YOUNG: Final = 50_000
MIDDLE: Final = 5  # searches of the youngest until those that have survived one are searched, too
# And of those until all are: some 750,000 objects later, 100 MB if all were garbage. Python also waits until a quarter
# of all is new.
OLD: Final = 2


@contextmanager
def rarely_searched() -> Iterator[None]:
    """For the time of the block. What is there at its beginning, most of it modules, is never looked at again."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
