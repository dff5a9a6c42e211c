"""A running daemon with a sandbox that says any bytes (tests/standins/raw_opencode.py), and raw connections to it."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import trio

from tests.gateway.peer import Peer
from tests.support.product import ROOT, product

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.product import Product
    from tests.support.visitor import Visitor

PROGRAM: Final = ROOT / "tests/standins/raw_opencode.py"


@dataclass
class Raw:
    """The daemon, who is signed in there, and the sandbox that was opened."""

    running: Product
    visitor: Visitor
    workspace: str
    sandbox: str

    @property
    def port(self) -> int:
        """Of the daemon's listener."""
        return self.running.port

    @property
    def host(self) -> str:
        """The sandbox's, as ``Host`` has it."""
        return f"oc-{self.sandbox}.{self.running.domain}:{self.port}"

    @property
    def main_host(self) -> str:
        """The main site's."""
        return f"{self.running.domain}:{self.port}"

    def lines(self) -> bytes:
        """What a request to the sandbox needs besides its first line: its host, and that we may pass."""
        jar = self.visitor.cookies[self.host.partition(":")[0]]
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
        return f"Host: {self.host}\r\nCookie: {cookie}\r\n".encode()

    def main_lines(self) -> bytes:
        """The same for the main site."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.visitor.cookies[self.running.domain].items())
        return f"Host: {self.main_host}\r\nCookie: {cookie}\r\n".encode()

    def get(self, target: str, *more: str) -> bytes:
        """A GET to the sandbox."""
        extra = "".join(f"{line}\r\n" for line in more)
        return f"GET {target} HTTP/1.1\r\n".encode() + self.lines() + extra.encode("latin-1") + b"\r\n"

    def seen(self) -> list[dict[str, str]]:
        """What reached the sandbox since the last time."""
        found: list[dict[str, str]] = self.ask("/seen")
        self.ask("/forget")
        return found

    def ask(self, target: str) -> Any:
        """What the sandbox tells of itself."""
        return json.loads(self.visitor.request("GET", self.host.partition(":")[0], target).body)

    @asynccontextmanager
    async def client(self, address: str = "127.0.0.1") -> AsyncIterator[Peer]:
        """A connection to the daemon, from any of this machine's own addresses."""
        with trio.socket.socket() as sock:
            await sock.bind((address, 0))
            await sock.connect(("127.0.0.1", self.port))
            yield Peer(sock)


def saying(data: bytes, *, late: bytes = b"", close: bool = False) -> str:
    """The target at which the sandbox says this."""
    query = {"say": base64.urlsafe_b64encode(data).decode()}
    if late:
        query["late"] = base64.urlsafe_b64encode(late).decode()
    if close:
        query["end"] = "close"
    return "/raw?" + urlencode(query)


@contextmanager
def raw_sandbox(folder: Path, **env: str) -> Iterator[Raw]:
    """Run the daemon with such a sandbox, opened by somebody who is signed in."""
    with product(folder, OPENCODE_BIN=str(PROGRAM), REGISTRATION="open", **env) as made:
        visitor = made.visitor()
        workspace = visitor.register()
        sandbox = visitor.running(workspace)
        visitor.open(sandbox)
        yield Raw(made, visitor, workspace, sandbox)
