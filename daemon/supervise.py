"""Background services that fail are started again, with growing pauses, and everybody can see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

log = structlog.get_logger(__name__)

FIRST_PAUSE = 1.0  # seconds; most failures are a peer that restarts, and a second is what that takes
LONGEST_PAUSE = 60.0  # a minute without a sweeper or a listener hurts nobody; a log full of tracebacks does
# A run that lasted as long as the longest pause was no start that failed; the next failure begins with the first pause.
STEADY_SECONDS = 60.0
# A restarted service counts as well again after so long: one that fails at once every time must not look well between.
SETTLE_SECONDS = 5.0

Phase = Literal["running", "waiting"]


@dataclass(slots=True)
class ServiceState:
    """One service. ``since`` is on Trio's clock."""

    phase: Phase = "running"
    since: float = 0.0
    restarts: int = 0
    failure: str = ""  # the last one, for logs; empty if there was none

    def well(self, now: float) -> bool:
        """Whether it runs, and has done so for a while if it failed before."""
        return self.phase == "running" and (not self.failure or now - self.since >= SETTLE_SECONDS)


def _ignore(name: str) -> None:
    """Nobody counts."""


@dataclass(slots=True)
class Health:
    """The register of all services. ``on_restart`` is told the name of each one that failed: a metric."""

    on_restart: Callable[[str], None] = _ignore
    services: dict[str, ServiceState] = field(default_factory=dict)

    def ailing(self) -> Mapping[str, ServiceState]:
        """The services that do not work now, by name."""
        now = trio.current_time()
        return {name: state for name, state in self.services.items() if not state.well(now)}


async def supervise(
    name: str,
    service: Callable[..., Awaitable[None]],
    health: Health,
    *,
    task_status: trio.TaskStatus[None] | None = None,
) -> None:
    """Run ``service`` for ever; one that raises or returns is started again after 1, 2, 4 … 60 s.

    Use ``nursery.start_soon(supervise, name, service, health)`` for a service that takes no argument. With
    ``await nursery.start(supervise, name, service, health)`` the service is given a ``task_status``, and the start is
    over when it first reports itself, however many attempts that takes. Ends by cancellation only, or with what is
    nobody's to catch (:class:`KeyboardInterrupt`).
    """
    state = health.services[name] = ServiceState(since=trio.current_time())
    start = _Start(service, task_status)
    pause = FIRST_PAUSE
    while True:
        state.phase, state.since = "running", trio.current_time()
        failure = await _run(name, start)
        await trio.lowlevel.checkpoint_if_cancelled()  # what fails while it is ended is not started again
        if trio.current_time() - state.since >= STEADY_SECONDS:
            pause = FIRST_PAUSE
        state.phase, state.since = "waiting", trio.current_time()
        state.failure = failure
        state.restarts += 1
        health.on_restart(name)
        log.warning("service is started again", service=name, reason=failure, pause=pause, restarts=state.restarts)
        await trio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def beside(companion: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` while ``companion`` runs beside it, which ends with it. An error of ``work`` is raised as it is."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(companion)
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised outside the nursery, which would make a group of it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@dataclass(slots=True)
class _Start:
    """One way to call a service, whether it reports its start or not."""

    service: Callable[..., Awaitable[None]]
    task_status: trio.TaskStatus[None] | None

    async def run(self) -> None:
        if self.task_status is None:
            await self.service()
            return
        async with trio.open_nursery() as nursery:
            await nursery.start(self.service)
            self._report()

    def _report(self) -> None:
        if self.task_status is not None:
            self.task_status.started()
        # Only the first start is reported: started() may be called once. From now on the plain way would do, but a
        # service that wants a task_status keeps getting one.
        self.task_status = trio.TASK_STATUS_IGNORED


async def _run(name: str, start: _Start) -> str:
    """One run; returns why it ended. Cancellation goes through whole, and errors beside it are logged, not lost."""
    try:
        await start.run()
    except Exception as error:
        log.exception("service failed", service=name)
        return _words(error)
    except BaseExceptionGroup as group:
        errors, beyond = group.split(Exception)
        if errors is not None:
            log.error("service failed while it was ended", service=name, exc_info=errors)
        if beyond is not None:
            raise beyond from None
    return "it ended by itself"


def _words(error: BaseException) -> str:
    """One line about an error; of a group its first leaf."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
