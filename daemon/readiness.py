"""Whether this daemon can serve: asked of its parts, each with a deadline, and remembered for a second."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from daemon.supervise import Health

log = structlog.get_logger(__name__)

# Load balancers ask every second or so and give up after one to five: a check of our own ends before theirs.
PROBE_SECONDS = 2.0
# However many ask, the parts are asked once in so long.
FRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to ``GET /readyz``. The texts are for anybody: which part, not why; the log has the reason."""

    ready: bool
    parts: Mapping[str, str]
    services: Mapping[str, str]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return 200 if self.ready else 503

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The HTTP headers."""
        kind = b"application/json" if self.ready else b"application/problem+json"
        return [(b"content-type", kind), (b"cache-control", b"no-store")]

    @property
    def body(self) -> bytes:
        """What is ready as JSON; what is not as a problem that names the part."""
        shown = {"parts": dict(self.parts), "services": dict(self.services)}
        if self.ready:
            return json.dumps({"status": "ready", **shown}).encode()
        bad = ", ".join(f"{name}: {word}" for name, word in self.parts.items() if word != "ready")
        problem = {"type": "about:blank", "title": "Not ready", "status": 503, "detail": bad, "code": "not_ready"}
        return json.dumps(problem | shown).encode()


@dataclass(slots=True)
class _Part:
    probe: Callable[[], Awaitable[None]]
    deadline: float
    word: str = "ready"


@dataclass(slots=True)
class Readiness:
    """The parts that must work. Services that fail are shown, and do not make the daemon unready: others still work."""

    health: Health
    draining: bool = False  # set at SIGTERM, so that load balancers go elsewhere
    _parts: dict[str, _Part] = field(default_factory=dict)
    _lock: trio.Lock = field(default_factory=trio.Lock)
    _asked: float = -FRESH_SECONDS  # on Trio's clock, which begins at zero or later

    def add(self, name: str, probe: Callable[[], Awaitable[None]], *, deadline: float = PROBE_SECONDS) -> None:
        """Ask ``probe`` about the part ``name``; it raises if the part does not work, and has ``deadline`` seconds."""
        self._parts[name] = _Part(probe, deadline)

    async def report(self) -> Report:
        """How it is, at most a second old."""
        async with self._lock:
            if trio.current_time() - self._asked >= FRESH_SECONDS:
                await self._ask_all()
                self._asked = trio.current_time()
        parts = {name: part.word for name, part in self._parts.items()}
        if self.draining:
            parts["daemon"] = "shutting down"
        services = {name: f"{state.phase}, restarts: {state.restarts}" for name, state in self.health.ailing().items()}
        return Report(all(word == "ready" for word in parts.values()), parts, services)

    async def _ask_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for name, part in self._parts.items():
                nursery.start_soon(_ask, name, part, name=f"probe {name}")


async def _ask(name: str, part: _Part) -> None:
    before = part.word
    try:
        with trio.fail_after(part.deadline):
            await part.probe()
    except trio.TooSlowError:
        part.word, reason = "no answer", f"no answer in {part.deadline:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a probe raises means that its part does not work; logged below
        part.word, reason = "failed", f"{type(error).__name__}: {error}"
    else:
        part.word, reason = "ready", ""
    if part.word != before:
        say = log.info if part.word == "ready" else log.warning
        say("readiness changed", part=name, now=part.word, reason=reason)
