"""Sends requests at a steady rate, whatever becomes of them, and says how long each kind took.

Takes a plan (:class:`Plan` as JSON) from standard input and prints what it found (:class:`Found`) as JSON. Requests
come at random moments, as those of many people do; latency counts from the moment at which a request was due.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Final

import trio

_SEED: Final = 7
_STREAM_START: Final = 5.0  # seconds over which the streams open, at most
_LAST_SECONDS: Final = 10.0  # for answers that are late
_READ: Final = 65536


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a kind: its target, with the host and the cookie that it needs. ``host`` empty: upstream."""

    host: str
    cookie: str
    path: str
    method: str = "GET"

    def head(self) -> bytes:
        """As it is sent."""
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        length = "Content-Length: 0\r\n" if self.method != "GET" else ""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: {self.host}\r\n{cookie}{length}Accept: */*\r\n\r\n"
        return head.encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """Calls that come in turns at this rate. ``port``: where they go."""

    name: str
    port: int
    rate: float
    calls: list[Call]


@dataclass(frozen=True, slots=True)
class Plan:
    """``streams`` are opened first and kept."""

    seconds: float
    kinds: list[Kind]
    port: int
    streams: list[Call]

    @classmethod
    def read(cls, text: str) -> Plan:
        """From JSON."""
        plan = json.loads(text)
        kinds = [Kind(**{**kind, "calls": [Call(**call) for call in kind["calls"]]}) for kind in plan["kinds"]]
        return cls(plan["seconds"], kinds, plan["port"], [Call(**call) for call in plan["streams"]])

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Found:
    """Milliseconds of each kind, what was no success, and the events and streams that there were."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    events: int = 0
    lost: int = 0

    def quantile(self, kind: str, part: float) -> float:
        """Of the latencies of a kind."""
        values = sorted(self.ms[kind])
        return values[min(len(values) - 1, int(part * len(values)))]


class _Broken(Exception):
    """The other end did not answer as it should."""


class _Connections:
    """Kept by host: a browser has some of its own to each."""

    def __init__(self) -> None:
        self._idle: dict[tuple[int, str], list[trio.SocketStream]] = defaultdict(list)

    async def take(self, port: int, host: str) -> trio.SocketStream:
        """An idle one, or a new one."""
        idle = self._idle[port, host]
        return idle.pop() if idle else await trio.open_tcp_stream("127.0.0.1", port)

    def keep(self, port: int, host: str, stream: trio.SocketStream) -> None:
        """Its answer has come whole."""
        self._idle[port, host].append(stream)


async def _answer(stream: trio.SocketStream) -> int:
    """Read one answer whole; its status."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some(_READ)
        if not piece:
            raise _Broken("closed")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head[9:12])
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = lines.get(b"content-length")
    while len(body) < int(length) if length is not None else not body.endswith(b"0\r\n\r\n"):
        piece = await stream.receive_some(_READ)
        if not piece:
            raise _Broken("cut")
        body += piece
    return status


class _Run:
    """One load."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._connections = _Connections()
        self.found = Found()

    async def run(self) -> Found:
        """All of it."""
        opening = min(_STREAM_START, self._plan.seconds / 3)
        async with trio.open_nursery() as streams:
            for number, call in enumerate(self._plan.streams):
                streams.start_soon(self._stream, call, opening * number / len(self._plan.streams))
            await trio.sleep(opening)
            print("begins", flush=True)
            with trio.move_on_after(self._plan.seconds + _LAST_SECONDS):
                async with trio.open_nursery() as nursery:
                    for kind in self._plan.kinds:
                        nursery.start_soon(self._kind, kind, nursery)
            streams.cancel_scope.cancel()
        return self.found

    async def _kind(self, kind: Kind, nursery: trio.Nursery) -> None:
        """The moments are drawn beforehand, so that two runs have the same."""
        draw = random.Random(f"{_SEED} {kind.name}")
        began = due = trio.current_time()
        number = 0
        while (due := due + draw.expovariate(kind.rate)) < began + self._plan.seconds:
            await trio.sleep_until(due)
            nursery.start_soon(self._call, kind, kind.calls[number % len(kind.calls)], due)
            number += 1

    async def _call(self, kind: Kind, call: Call, due: float) -> None:
        try:
            stream = await self._connections.take(kind.port, call.host)
            await stream.send_all(call.head())
            status = await _answer(stream)
        except (OSError, trio.BrokenResourceError, _Broken) as error:
            self._count(f"{kind.name}: {type(error).__name__}")
            return
        self._connections.keep(kind.port, call.host, stream)
        if status >= 400:
            self._count(f"{kind.name}: {status}")
        else:
            self.found.ms.setdefault(kind.name, []).append((trio.current_time() - due) * 1000)

    def _count(self, wrong: str) -> None:
        self.found.wrong[wrong] = self.found.wrong.get(wrong, 0) + 1

    async def _stream(self, call: Call, after: float) -> None:
        await trio.sleep(after)
        try:
            async with await trio.open_tcp_stream("127.0.0.1", self._plan.port) as stream:
                await stream.send_all(call.head())
                while piece := await stream.receive_some(_READ):
                    self.found.events += piece.count(b"data:")
        except (OSError, trio.BrokenResourceError):
            pass
        self.found.lost += 1  # they have no end


def read_found(text: str) -> Found:
    """What a load has printed."""
    found = json.loads(text)
    return Found(found["ms"], found["wrong"], found["events"], found["lost"])


def main() -> None:
    """One plan."""
    gc.disable()  # its own stops would be taken for those of what it asks
    found = trio.run(_Run(Plan.read(sys.stdin.read())).run)
    print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
