"""HTTP/1.1 as llhttp reads it, by ``httptools``, without any of its leniencies: another pair of eyes than ours.

It is what Node and uvicorn read by, in front of us or behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httptools

Pairs = list[tuple[bytes, bytes]]


@dataclass
class Parsed:
    """One message. ``first`` is the method or the status, ``target`` empty for answers. Trailers are left out."""

    first: bytes = b""
    target: bytes = b""
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    upgrade: bool = False


class _Reader:
    """Callbacks of the parser."""

    def __init__(self) -> None:
        self.messages: list[Parsed] = []
        self._in_head = False
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser

    def on_message_begin(self) -> None:
        self.messages.append(Parsed())
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if self._in_head:
            self.messages[-1].headers.append((name.lower(), (value or b"").strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        message, parser = self.messages[-1], self.parser
        if isinstance(parser, httptools.HttpRequestParser):
            message.first = parser.get_method()
        else:
            message.first = b"%d" % parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].whole = True


class Requests(_Reader):
    """Reads requests."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> bool:
        """Whether it takes them, and goes on reading."""
        return _feed(self, data)


class Responses(_Reader):
    """Reads answers, to requests other than HEAD."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bool:
        """Whether it takes them, and goes on reading."""
        return _feed(self, data)


def _feed(reader: _Reader, data: bytes) -> bool:
    try:
        reader.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        reader.messages[-1].upgrade = True
        return False
    except httptools.HttpParserError:
        return False
    return True
