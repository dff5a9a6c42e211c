"""One run of a container: the process, its output, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.standins.kubernetes.jail import INFO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PIECE: Final = 65536
_LOG_KEPT: Final = 1 << 20  # bytes of output


@dataclass
class Log:
    """The output of one run, as far as it is kept."""

    data: bytearray = field(default_factory=bytearray)
    dropped: int = 0  # bytes that were too many
    ended: bool = False
    _more: trio.Event = field(default_factory=trio.Event)

    def add(self, piece: bytes) -> None:
        """More output; empty at the end."""
        self.data += piece
        self.ended = self.ended or not piece
        if (over := len(self.data) - _LOG_KEPT) > 0:
            del self.data[:over]
            self.dropped += over
        self._more.set()
        self._more = trio.Event()

    async def follow(self, start: int, *, further: bool) -> AsyncIterator[bytes]:
        """From a place in the kept output to its end; with ``further`` to the end of the run."""
        at = self.dropped + start
        while True:
            piece = bytes(self.data[max(at - self.dropped, 0) :])
            at = self.dropped + len(self.data)
            if piece:
                yield piece
            elif self.ended or not further:
                return
            else:
                await self._more.wait()


class Process:
    """A container's process. It is made by the thread that outlives it, as its end follows that of the thread."""

    def __init__(self, words: list[str], program: list[str], env: dict[str, str], log: Log) -> None:
        self.log = log
        self.reason = ""  # why it was killed, where that is not the usual one
        told, tell = os.pipe()
        words = [str(tell) if word == INFO else word for word in words]
        out, into = os.pipe()
        self._process = subprocess.Popen(
            [*words, *program], env=env, pass_fds=(tell,), stdin=subprocess.DEVNULL, stdout=into, stderr=into
        )
        os.close(into)
        os.close(tell)
        self._out, self._told = out, told
        self._watched = os.pidfd_open(self._process.pid)  # at once: whoever kills it may be told of its end first
        self.pid = 0  # of the first process inside, as this machine numbers it

    async def started(self) -> None:
        """Until the first process inside is there, or the whole has failed."""
        info = b""
        async with trio.lowlevel.FdStream(self._told) as stream:
            while piece := await stream.receive_some(_PIECE):
                info += piece
        with suppress(ValueError):
            self.pid = int(json.loads(info)["child-pid"])

    async def run(self) -> int:
        """Read the output until the end. The exit status, as a shell has it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            try:
                await trio.lowlevel.wait_readable(self._watched)
            finally:
                os.close(self._watched)
                self._watched = -1
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    async def _read(self) -> None:
        async with trio.lowlevel.FdStream(self._out) as stream:
            while piece := await stream.receive_some(_PIECE):
                self.log.add(bytes(piece))
        self.log.add(b"")

    def end(self) -> None:
        """SIGTERM to the program, which an init of the container would pass on."""
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def children(self) -> list[int]:
        """The program itself: bubblewrap's own first process is above it."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()][:1]
        return []

    def kill(self, reason: str = "") -> None:
        """SIGKILL to all of it."""
        self.reason = reason
        for pid in (self.pid, self._process.pid):
            with suppress(ProcessLookupError):
                if pid and self._process.poll() is None:
                    os.kill(pid, signal.SIGKILL)

    def destroy(self) -> None:
        """Kill it, and wait for that."""
        self.kill()
        self._process.wait(30)
        if self._watched >= 0:  # it was never run
            os.close(self._watched)
            self._watched = -1


def environment(
    container: dict[str, Any], secrets: dict[str, dict[str, str]], fields: dict[str, str]
) -> dict[str, str]:
    """The variables of a container. Raises :class:`LookupError` with a text where a secret or a key is missing."""
    made: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        ref = source.get("secretRef")
        assert ref is not None, "the stand-in knows secrets as the source of variables"
        if ref["name"] not in secrets and not ref.get("optional"):
            raise LookupError(f'secret "{ref["name"]}" not found')
        prefix = source.get("prefix", "")
        made |= {f"{prefix}{name}": value for name, value in secrets.get(ref["name"], {}).items()}
    for one in container.get("env") or ():
        origin = one.get("valueFrom") or {}
        if "secretKeyRef" in origin:
            ref = origin["secretKeyRef"]
            found = secrets.get(ref["name"], {})
            if ref["key"] in found:
                made[one["name"]] = found[ref["key"]]
            elif not ref.get("optional"):
                raise LookupError(f"couldn't find key {ref['key']} in Secret {ref['name']}")
        elif "fieldRef" in origin:
            made[one["name"]] = fields[origin["fieldRef"]["fieldPath"]]
        else:
            value = one.get("value", "")
            for name, had in made.items():
                value = value.replace(f"$({name})", had)
            made[one["name"]] = value
    return made
