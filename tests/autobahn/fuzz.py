"""Runs Autobahn's test cases against a WebSocket echo: the fuzzing client of that suite, for a Python of today.

The suite is written for Python 2. Its cases are plain enough that nothing in them needs to be rewritten: they are read
from the folder where they were unpacked, with their strings taken for what they were, bytes (each character one byte),
and run on the WebSocket client of the Autobahn library, as they always were. What is left out of the suite is its
reports in HTML, its server, and TLS.

This program runs in an environment of its own (``make autobahn``) and imports nothing of ours;
:mod:`tests.autobahn.run` starts it and judges what it prints: a line of JSON for each case.
"""

from __future__ import annotations

import argparse
import binascii
import fnmatch
import importlib.abc
import importlib.util
import json
import sys
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import (  # type: ignore[import-not-found] # only there is it installed
    WebSocketClientFactory,
    WebSocketClientProtocol,
)
from autobahn.websocket.utf8validator import Utf8Validator  # type: ignore[import-not-found]
from twisted.internet import reactor  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Where Python 2 meant something else, and where modules are asked for bytes that get strings of bytes here.
REPLACED = (
    ("import binascii\n", "from latin1 import binascii\n"),
    ("from autobahn.websocket.utf8validator import", "from latin1 import"),
    ("(object, Case, )", "(Case, )"),
    ("from zope.interface import implements", "implements = str"),  # of a case that the suite itself does not run
    ("requestNoContextTakeover", "request_no_context_takeover"),  # the library has renamed them since
    ("requestMaxWindowBits", "request_max_window_bits"),
    ("acceptNoContextTakeover", "accept_no_context_takeover"),
    ("acceptMaxWindowBits", "accept_max_window_bits"),
    (" / self.p.autoFragmentSize", " // self.p.autoFragmentSize"),
)
# Of these the payload is opaque, and must reach the compression as bytes.
COMPRESSED = ("12.", "13.")


def latin(data: bytes | str) -> str:
    """Bytes as the cases know them."""
    return data.decode("latin-1") if isinstance(data, bytes) else data


def octets(data: bytes | str | None) -> bytes | None:
    """What the cases give, as bytes."""
    return data.encode("latin-1") if isinstance(data, str) else data


class Validator:
    """The library's UTF-8 validator, for such strings."""

    def __init__(self) -> None:
        self._real = Utf8Validator()
        self.reset = self._real.reset

    def validate(self, data: str) -> Any:
        """See there."""
        return self._real.validate(octets(data))


class CaseFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the modules of the suite's folder of cases as if each were at the top."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> Any:
        """See :class:`importlib.abc.MetaPathFinder`."""
        file = self._folder / ("__init__.py" if name == "cases" else f"{name}.py")
        return importlib.util.spec_from_file_location(name, file, loader=self) if file.is_file() else None

    def create_module(self, spec: object) -> None:
        """See :class:`importlib.abc.Loader`."""

    def exec_module(self, module: types.ModuleType) -> None:
        """See :class:`importlib.abc.Loader`."""
        assert module.__file__ is not None
        text = Path(module.__file__).read_text(encoding="latin-1").replace("coding=utf-8", "")
        for old, new in REPLACED:
            text = text.replace(old, new)
        lines = [line if not line.lstrip().startswith("print") else _nothing(line) for line in text.split("\n")]
        module.__dict__.update(xrange=range, unichr=chr)
        exec(compile("\n".join(lines), module.__file__, "exec", dont_inherit=True), module.__dict__)


def _nothing(line: str) -> str:
    return line[: len(line) - len(line.lstrip())] + "pass"


def load(folder: Path) -> list[Any]:
    """The classes of all cases. ``folder`` is that of the package ``autobahntestsuite``."""
    given = types.ModuleType("latin1")
    given.__dict__.update(
        Utf8Validator=Validator,
        binascii=types.SimpleNamespace(
            b2a_hex=lambda data: binascii.b2a_hex(octets(data) or b"").decode(),
            hexlify=lambda data: binascii.hexlify(octets(data) or b"").decode(),
            a2b_hex=lambda data: latin(binascii.a2b_hex(data)),
        ),
    )
    resources = types.ModuleType("pkg_resources")
    resources.__dict__["resource_filename"] = lambda _, path: str(folder / path)
    sys.modules |= {"latin1": given, "pkg_resources": resources}
    sys.meta_path.insert(0, CaseFinder(folder / "case"))
    cases = importlib.import_module("cases")
    # It compared pickles, which are equal only if strings are shared in the same places.
    cases.Case.compare = lambda _, one, other: one == other
    return list(cases.Cases)


def identity(case: Any) -> str:
    """``Case1_2_3`` is 1.2.3."""
    return ".".join(case.__name__.removeprefix("Case").split("_"))


class Fuzzer(WebSocketClientProtocol):  # type: ignore[misc] # the library has no types
    """One connection, which runs one case. A case calls it ``p``."""

    case: Any

    def __init__(self) -> None:
        super().__init__()
        self.connectionWasOpen = False
        self.createWirelog = True
        self.txFrameStats: dict[int, int] = {}
        self.error = ""
        self.began = time.monotonic()

    # What happens

    def onOpen(self) -> None:
        """The case begins."""
        self.connectionWasOpen = True
        self._tell("onOpen")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message came."""
        self._tell("onMessage", self._given(payload), isBinary)

    def onPong(self, payload: bytes) -> None:
        """A pong came."""
        self._tell("onPong", self._given(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is closed."""
        self._tell("onClose", wasClean, code, reason)

    def connectionLost(self, reason: Any) -> None:
        """It is over: the case draws its conclusion."""
        super().connectionLost(reason)
        self._tell("onConnectionLost", self.failedByMe)
        self.factory.finished(self)

    def logTxFrame(self, frameHeader: Any, payload: Any, repeatLength: Any, chopsize: Any, sync: Any) -> None:
        """A frame was sent."""
        self.txFrameStats[frameHeader.opcode] = self.txFrameStats.get(frameHeader.opcode, 0) + 1

    def logRxFrame(self, frameHeader: Any, payload: Any) -> None:
        """A frame came."""

    def _given(self, payload: bytes) -> bytes | str:
        return payload if identity(type(self.case)).startswith(COMPRESSED) else latin(payload)

    def _tell(self, name: str, *values: Any) -> None:
        """An error in a case must not look like one of the server."""
        try:
            getattr(self.case, name)(*values)
        except Exception as error:  # noqa: BLE001 - it is reported, and fails the run
            self.error = f"{name}: {error!r}"
            self.transport.abortConnection()

    # What a case can do

    def sendFrame(self, opcode: int, payload: bytes | str = b"", *values: Any, **options: Any) -> None:
        """Any frame."""
        super().sendFrame(opcode, octets(payload), *values, **options)

    def sendMessage(self, payload: bytes | str, *values: Any, **options: Any) -> None:
        """A message."""
        super().sendMessage(octets(payload), *values, **options)

    def sendMessageFrameData(self, payload: bytes | str, *values: Any, **options: Any) -> Any:
        """A part of a frame."""
        return super().sendMessageFrameData(octets(payload), *values, **options)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | str | None = None, **options: Any) -> None:
        """A close frame, which may be wrong."""
        super().sendCloseFrame(code, octets(reasonUtf8), **options)

    def enableWirelog(self, enable: bool) -> None:
        """There is no log of the wire here."""

    def _later(self, seconds: float, action: Any) -> None:
        reactor.callLater(seconds, lambda: None if self.state == self.STATE_CLOSED else action())

    def continueLater(self, delay: float, fun: Any, tag: object = None) -> None:
        """Go on after a while, if the connection is still there."""
        self._later(delay, fun)

    def killAfter(self, delay: float) -> None:
        """Fail the connection if the case has not ended by itself."""
        self._later(max(delay, self.factory.patience), self._fail_connection)

    def closeAfter(self, delay: float) -> None:
        """Close it after a while, in which nothing may come; if something has to, it is closed when it has come."""
        awaited = any(self.case.expected.values())
        self._later(max(delay, self.factory.patience) if awaited else delay, self.sendClose)


class Timer:
    """Deadlines to the millisecond. The library's own are shared in batches, and now and then one of a second is over
    after milliseconds, which looks as if the server had not closed.
    """

    def call_later(self, seconds: float, action: Any, *values: Any, **options: Any) -> Deadline:
        """Do something after a while."""
        return Deadline(reactor.callLater(seconds, action, *values, **options))


class Deadline:
    """One of them."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        """Call it off, if there is still something to call off."""
        if self._call.active():
            self._call.cancel()


class Run(WebSocketClientFactory):  # type: ignore[misc] # the library has no types
    """Runs one case after the other."""

    def __init__(
        self, url: str, address: tuple[str, int], headers: dict[str, str], cases: Iterator[Any], patience: float
    ) -> None:
        # The suite negotiates nothing but what a case offers, and closes as the RFC says, not by dropping.
        super().__init__(url, headers=headers)
        self.patience = patience
        self.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=patience,
            closeHandshakeTimeout=patience,
            serverConnectionDropTimeout=patience,
        )
        self.logFrames = True
        self._batched_timer = Timer()
        self._address = address
        self._cases = cases
        self._case: Any = None

    def next(self) -> None:
        """Begin the next case."""
        self._case = next(self._cases, None)
        if self._case is None:
            reactor.stop()
        else:
            reactor.connectTCP(*self._address, self)

    def buildProtocol(self, addr: object) -> Fuzzer:
        """See Twisted."""
        fuzzer = Fuzzer()
        fuzzer.factory = self
        fuzzer.logFrames = True
        fuzzer.case = self._case(fuzzer)
        return fuzzer

    def finished(self, fuzzer: Fuzzer) -> None:
        """A case is over."""
        case = fuzzer.case
        found = {
            "case": identity(type(case)),
            "behavior": "ERROR" if fuzzer.error else case.behavior,
            "behaviorClose": case.behaviorClose,
            "result": fuzzer.error or case.result,
            "resultClose": f"{case.resultClose}; {fuzzer.wasNotCleanReason}"
            if not fuzzer.wasClean
            else case.resultClose,
            "closeCode": fuzzer.remoteCloseCode,
            "compressed": fuzzer._perMessageCompress is not None,
            "seconds": round(time.monotonic() - fuzzer.began, 3),
        }
        sys.stdout.write(f"{json.dumps(found)}\n")
        sys.stdout.flush()
        self.next()

    def clientConnectionFailed(self, connector: object, reason: Any) -> None:
        """Nobody is there."""
        sys.stderr.write(f"{reason.getErrorMessage()}\n")
        reactor.stop()


def main() -> None:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", type=Path, help="the folder of the package autobahntestsuite")
    parser.add_argument("url")
    parser.add_argument("--connect", help="host:port to connect to, where the URL's host does not resolve")
    parser.add_argument("--header", action="append", default=[], help="Name: value")
    parser.add_argument("--case", action="append", help="a pattern such as 7.*; default: all")
    parser.add_argument("--exclude", action="append", default=[], help="a pattern")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds until what does not come is missing")
    options = parser.parse_args()
    parts = urlsplit((options.connect and f"//{options.connect}") or options.url)
    headers = dict(header.split(": ", 1) for header in options.header)
    cases = [
        case
        for case in load(options.suite)
        if any(fnmatch.fnmatch(identity(case), pattern) for pattern in options.case or ["*"])
        and not any(fnmatch.fnmatch(identity(case), pattern) for pattern in options.exclude)
    ]
    run = Run(options.url, (parts.hostname or "", parts.port or 80), headers, iter(cases), options.patience)
    reactor.callWhenRunning(run.next)
    reactor.run()


if __name__ == "__main__":
    main()
