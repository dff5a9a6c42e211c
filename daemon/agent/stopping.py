"""Signals: the first one drains, the second one ends."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is open through the tunnel may finish so long. As long as the server gives its connections when it ends.
DRAIN_SECONDS: Final = 10.0
# SIGHUP: the terminal is closed. SIGBREAK: Ctrl-Break, or a parent process on Windows.
_NAMES: Final = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")


class Stopping:
    """``scope`` is around everything that ends at a signal; ``draining`` tells the session."""

    def __init__(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        self.scope = trio.CancelScope()
        self.draining = trio.Event()
        self.drain_seconds = drain_seconds
        self._serving = 0

    @property
    def is_serving(self) -> bool:
        """Whether a tunnel is open."""
        return self._serving > 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A tunnel is open: what happens in it may finish."""
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1

    def drain(self) -> None:
        """End: at once where nothing is open."""
        self.draining.set()
        self.scope.deadline = trio.current_time() + self.drain_seconds
        if not self.is_serving:
            self.scope.cancel()

    async def listen(self, task_status: trio.TaskStatus[None]) -> None:
        """Wait for signals, for ever. The second one raises :class:`KeyboardInterrupt`."""
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        # Who started us with nohup wants SIGHUP to be ignored.
        wanted = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*wanted) as signals:
            task_status.started()
            count = 0
            async for _ in signals:
                count += 1
                if count > 1:
                    raise KeyboardInterrupt
                self.drain()
