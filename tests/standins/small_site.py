"""A small web server in a thread, for stand-ins of sign-in providers: they can be taken down and brought back.

It is HTTP/1.0 without keep-alive, plain, on loopback only, and keeps a list of what it was asked.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.product import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_BODY = 1 << 20  # bytes; nothing here is sent more


@dataclass(frozen=True)
class Asked:
    """A request as it arrived. ``fields`` are of the query and of a form in the body."""

    method: str
    path: str
    headers: Mapping[str, str]
    fields: dict[str, str]


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> Said:
        """A JSON document."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    @classmethod
    def to(cls, location: str) -> Said:
        """A redirect."""
        return cls(302, headers={"Location": location})


class SmallSite:
    """Answers by :meth:`answer`. ``overrides`` answers a path in its place, for failures of one endpoint."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[Asked] = []
        self.overrides: dict[str, Said] = {}
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: Asked) -> Said:
        """What it says; in a thread."""
        raise NotImplementedError

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked.path == path for asked in self.asked)

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Up for the time of the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        target = urlsplit(handler.path)
        body = handler.rfile.read(min(int(handler.headers.get("Content-Length") or 0), MOST_BODY)).decode()
        fields = dict(parse_qsl(target.query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, target.path, headers, fields)
        self.asked.append(asked)
        said = self.overrides.get(asked.path) or self.answer(asked)
        handler.send_response(said.status)
        for name, value in {**said.headers, "Content-Length": str(len(said.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(said.body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site._handle(self)

            def do_POST(self) -> None:
                site._handle(self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
