"""Reads what a call cost from a copy of its answer. No clock, no socket, and no bytes make it raise.

Only answers of 2xx count as requests: what Anthropic refuses it does not charge. An answer that was cut counts with
what had been said until then: input tokens stand in its first event, output tokens in its last ones.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.headers import Headers

# The events that count hold no text of the answer and stay below 4 KiB; a longer line or event is passed over.
MAX_EVENT: Final = 64 * 1024
# 128,000 tokens of output, every character of them escaped as \uXXXX, make 3 MB. A longer document is counted as one
# request without tokens. Parsing one of this size takes some 30 ms.
MAX_DOCUMENT: Final = 4 * 1024 * 1024
# No model reads or writes a thousandth of it in one call. Sums of it stay within PostgreSQL's bigint.
MAX_TOKENS: Final = 1_000_000_000
UNKNOWN_MODEL: Final = "unknown"

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")
# What stands in the database and in labels of metrics: no blanks, no control characters, no end of length.
_MODEL = re.compile(r"[\x21-\x7e]{1,100}")
_FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call cost, as the answer says it. ``input_tokens`` are those that no cache had part in."""

    model: str
    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def tokens(self) -> dict[str, int]:
        """The tokens by kind, for metrics."""
        return {
            "input": self.input_tokens,
            "output": self.output_tokens,
            "cache_read": self.cache_read_tokens,
            "cache_write": self.cache_write_tokens,
        }


class _Reader(Protocol):
    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...


class Meter:
    """Fed with one answer: :meth:`head`, then :meth:`feed` with the body as it comes, then :meth:`finish`."""

    def __init__(self) -> None:
        self._counted = False
        self._model = UNKNOWN_MODEL
        self._tokens = dict.fromkeys(_FIELDS.values(), 0)
        self._reader: _Reader | None = None

    def head(self, status: int, headers: Headers) -> None:
        """The answer's final head, header names in lower case."""
        self._counted = 200 <= status < 300
        found = {name: value.strip().lower() for name, value in reversed(headers)}
        if not self._counted or found.get(b"content-encoding", b"identity") not in (b"", b"identity"):
            return
        media_type = found.get(b"content-type", b"").partition(b";")[0].strip()
        if media_type == b"text/event-stream":
            self._reader = _Events(self._event)
        elif media_type == b"application/json":
            self._reader = _Document(self._message)

    def feed(self, data: bytes) -> None:
        """The next piece of the body, of any size."""
        if self._reader is not None:
            self._reader.feed(data)

    def finish(self) -> Usage | None:
        """What was seen until now; ``None`` if there is nothing to count. No :meth:`feed` may follow."""
        if self._reader is not None:
            self._reader.end()
            self._reader = None
        return Usage(self._model, **self._tokens) if self._counted else None

    def _event(self, event: dict[str, Any]) -> None:
        if event.get("type") == "message_start":
            self._message(event.get("message"))
        elif event.get("type") == "message_delta":
            self._count(event.get("usage"))

    def _message(self, message: object) -> None:
        if isinstance(message, dict):
            model = message.get("model")
            if isinstance(model, str) and _MODEL.fullmatch(model):
                self._model = model
            self._count(message.get("usage"))

    def _count(self, usage: object) -> None:
        """Counts of a stream are totals until now, and some gateways send zeros where they have no news."""
        if not isinstance(usage, dict):
            return
        for theirs, ours in _FIELDS.items():
            value = usage.get(theirs)
            if type(value) is int and self._tokens[ours] < value <= MAX_TOKENS:
                self._tokens[ours] = value


def _parsed(data: bytes | bytearray) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):  # not JSON, not text, a number of thousands of digits; nested too deep
        return None
    return found if isinstance(found, dict) else None


class _Document:
    """A JSON answer: kept until its end, unless it is too large."""

    def __init__(self, found: Callable[[object], None]) -> None:
        self._found = found
        self._kept = bytearray()
        self._too_large = False

    def feed(self, data: bytes) -> None:
        self._too_large = self._too_large or len(self._kept) + len(data) > MAX_DOCUMENT
        if self._too_large:
            self._kept.clear()
        else:
            self._kept += data

    def end(self) -> None:
        self._found(_parsed(self._kept))
        self._kept.clear()


class _Events:
    """Server-sent events (WHATWG HTML, section 9.2.6), as far as they are needed: the ``data`` of each."""

    def __init__(self, found: Callable[[dict[str, Any]], None]) -> None:
        self._found = found
        self._line = bytearray()  # what is here of the line under way
        self._data: list[bytes] = []  # the data lines of the event under way
        self._size = 0
        self._overlong_line = self._overlong_event = False
        self._after_cr = False
        self._first = True

    def feed(self, data: bytes) -> None:
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if not data:
            return
        self._after_cr = data.endswith(b"\r")
        pieces = _LINE_END.split(data)
        for piece in pieces[:-1]:
            self._append(piece)
            self._end_line()
        self._append(pieces[-1])

    def end(self) -> None:
        """The stream may have been cut: an event is taken without its blank line, if its JSON is whole."""
        self._end_line()
        self._end_event()

    def _append(self, piece: bytes) -> None:
        self._overlong_line = self._overlong_line or len(self._line) + len(piece) > MAX_EVENT
        if self._overlong_line:
            self._line.clear()
        else:
            self._line += piece

    def _end_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if self._overlong_line:
            self._overlong_line, self._overlong_event = False, True
        elif not line:
            self._end_event()
        elif line.startswith(b"data:"):
            self._size += len(line)
            self._overlong_event = self._overlong_event or self._size > MAX_EVENT
            if not self._overlong_event:
                self._data.append(line[5:].removeprefix(b" "))

    def _end_event(self) -> None:
        data, overlong = b"\n".join(self._data), self._overlong_event
        self._data.clear()
        self._size, self._overlong_event = 0, False
        # Nearly every event is a piece of text; only two kinds count, and only what may be one of them is parsed.
        if not overlong and b'"message_' in data:
            event = _parsed(data)
            if event is not None:
                self._found(event)
