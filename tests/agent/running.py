"""An agent in a nursery of the test, with a session that the test ends."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from daemon.agent import backoff
from daemon.agent.addresses import parse_opencode, parse_server
from daemon.agent.connect import Agent, Options
from daemon.agent.stopping import Stopping
from daemon.agent.voice import Voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from daemon.agent.handshake import Dialed
    from daemon.agent.opencode import Local
    from daemon.agent.serving import Serve


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of the right proportions that take no time: a hundredth."""
    for name in ("FIRST", "LONGEST", "LASTED"):
        monkeypatch.setattr(backoff, name, getattr(backoff, name) / 100)
    monkeypatch.setattr(backoff, "AFTER_SHUTDOWN", (0.005, 0.04))
    monkeypatch.setattr(backoff, "ELSEWHERE", 0.01)


@dataclass
class Running:
    """What the test sees of the agent. ``session`` is what each tunnel does; by default it lasts until draining."""

    lines: list[str] = field(default_factory=list)
    served: list[Dialed] = field(default_factory=list)
    endings: list[BaseException | None] = field(default_factory=list)  # of the next tunnels
    leaving: int = 0  # of the next tunnels, so many are told that their server shuts down
    stubborn: bool = False  # a session that does not care for draining
    local: Local | None = None
    stopping: Stopping = field(default_factory=lambda: Stopping(0.2))
    error: BaseException | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    changed: trio.Condition = field(default_factory=trio.Condition)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def said(self) -> list[str]:
        """The lines without the time."""
        return [line[len("2026-01-01 00:00:00 ") :] for line in self.lines]

    def make_serve(self, local: Local, draining: trio.Event) -> Serve:
        """See :data:`daemon.agent.serving.MakeServe`."""
        self.local = local

        async def serve(dialed: Dialed) -> None:
            self.served.append(dialed)
            if self.leaving:
                self.leaving -= 1
                dialed.leaving.set()
                await draining.wait()
                return
            if self.endings:
                ending = self.endings.pop(0)
                if ending is not None:
                    raise ending
                return
            if self.stubborn:
                await trio.sleep_forever()
            await draining.wait()

        return serve

    async def until_said(self, text: str, times: int = 1, seconds: float = 10) -> str:
        """Wait for a line; returns it."""
        with trio.fail_after(seconds):
            while True:
                found = [line for line in self.said if text in line]
                if len(found) >= times:
                    return found[times - 1]
                assert not self.ended.is_set(), f"{text!r} was not said: {self.said} {self.error!r}"
                await trio.sleep(0.002)

    async def until_connected(self, times: int = 1, seconds: float = 10) -> str:
        """Wait until so many tunnels were greeted and are served: the one comes before the other. Returns the line."""
        with trio.fail_after(seconds):
            said = await self.until_said("connected", times, seconds)
            while len(self.served) < times:  # noqa: ASYNC110 - as above
                await trio.sleep(0.002)
            return said

    async def until_ended(self, seconds: float = 10) -> BaseException | None:
        """Wait for the agent's end; the error that ended it."""
        with trio.fail_after(seconds):
            await self.ended.wait()
        return self.error


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def agent(
    folder: Path,
    server: str | None,
    opencode: int,
    *,
    running: Running | None = None,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Running]:
    """Run ``agent connect`` with an opencode at that port; cancelled at the end if it has not ended."""
    found = running or Running()
    address = parse_opencode(f"http://127.0.0.1:{opencode}")
    given = Options(None if server is None else parse_server(server), address, **options)
    made = Agent(
        given, environ or {}, folder, Voice(found.lines.append), found.make_serve,
        stopping=found.stopping, dice=lambda: 0.5,
    )  # fmt: skip

    async def run() -> None:
        try:
            with found.scope:
                await made.run()
        except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:  # noqa: BLE001 - the test looks at it
            found.error = _leaf(error)
        finally:
            found.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield found
        found.scope.cancel()
        await found.ended.wait()
