"""The whole product around a tunnel, in two forms.

:class:`Inside`: the daemon in the test's own process, on a real database and real sockets, so that a test can look into
it and change its times. :class:`Outside`: ``cli-server serve`` in a process of its own, one for all tests. Agents are
processes, or our session in the test's nursery, or whoever a test plays.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from daemon import app
from daemon.agent import session
from daemon.agent.addresses import parse_server
from daemon.agent.credentials import Registration
from daemon.agent.dial import Dialer
from daemon.agent.handshake import open_tunnel
from daemon.agent.opencode import Local
from daemon.agent.serving import SessionEnded
from daemon.config import load
from daemon.gateway import limits
from daemon.tunnel.registry import Tunnels
from daemon.wire.link import AgentLink, ServerLink
from tests.conftest import ROOT
from tests.standins.http_local import HttpLocal
from tests.standins.tunnel_agent_v1 import TunnelAgentV1
from tests.support.product import free_port
from tests.support.visitor import Visitor
from tests.tunnel.browser import PATIENCE, Browser, Headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from tests.support.product import Product

STOP_SECONDS: Final = 20.0  # an agent has ended by then


async def eventually(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``what()`` is true; for what nobody tells of."""
    with trio.fail_after(seconds):
        while not what():  # noqa: ASYNC110
            await trio.sleep(0.005)


@dataclass(frozen=True)
class Joined:
    """A registration."""

    sandbox_id: str
    token: str
    url: str  # of the server

    @property
    def tunnel_url(self) -> str:
        """The endpoint."""
        return f"{self.url}/api/tunnel/{self.sandbox_id}"

    @property
    def registration(self) -> Registration:
        """As our agent keeps it."""
        return Registration(self.url, self.sandbox_id, self.token, "w", "machine")


@dataclass
class Team:
    """A server with one user and a workspace, whichever way the server runs."""

    visitor: Visitor
    workspace: str

    @property
    def port(self) -> int:
        """Of the server's listener."""
        return self.visitor.port

    @property
    def url(self) -> str:
        """The main site, as an agent is told."""
        return f"http://localhost:{self.port}"

    async def api(self, *args: Any, **options: Any) -> Any:
        """A call of the API."""
        return await trio.to_thread.run_sync(partial(self.visitor.api, *args, **options))

    async def code(self) -> str:
        """A new one-time code."""
        return str((await self.api("POST", f"/api/workspaces/{self.workspace}/agent-code", {}))["code"])

    async def join(self, name: str = "laptop") -> Joined:
        """Register a machine."""
        given = await self.api("POST", "/api/agent/register", {"code": await self.code(), "name": name})
        return Joined(given["sandboxId"], given["tunnelToken"], f"http://127.0.0.1:{self.port}")

    async def status(self, sandbox_id: str) -> str:
        """What the API says."""
        return await trio.to_thread.run_sync(self.visitor.status, sandbox_id)

    async def until(self, sandbox_id: str, status: str, seconds: float = PATIENCE) -> None:
        """Wait for a status."""
        await trio.to_thread.run_sync(partial(self.visitor.wait_for, sandbox_id, status, seconds=seconds))

    async def browser(self, sandbox_id: str) -> Browser:
        """A browser that has opened the sandbox."""
        return Browser.of(self.visitor, await trio.to_thread.run_sync(self.visitor.open, sandbox_id))


@asynccontextmanager
async def websocket(
    browser: Browser, target: str, headers: Headers, subprotocols: Sequence[str] = ()
) -> AsyncIterator[WebSocketConnection]:
    """A WebSocket by a library that shares nothing with ours; closed without a word at the end."""
    stream = await trio.open_tcp_stream("127.0.0.1", browser.port)
    try:
        async with trio.open_nursery() as nursery:
            yield await wrap_client_stream(
                nursery, stream, f"{browser.host}:{browser.port}", target, subprotocols=subprotocols,
                extra_headers=[(name.encode(), value.encode()) for name, value in headers], receive_buffer_size=65536,
            )  # fmt: skip
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def http_local(password: str | None = None) -> AsyncIterator[HttpLocal]:
    """A local server for an agent."""
    local = HttpLocal(password)
    async with trio.open_nursery() as nursery:
        await nursery.start(local.serve)
        yield local
        nursery.cancel_scope.cancel()
    assert not local.violations


# The daemon inside the test


@dataclass
class Inside(Team):
    """The daemon's tunnels can be looked at, and its database."""

    tunnels: Tunnels
    database_url: str

    def link(self, sandbox_id: str) -> ServerLink:
        """The live link of a sandbox."""
        link = self.tunnels.link(sandbox_id)
        assert link is not None
        return link


@asynccontextmanager
async def inside(database_url: str, folder: Path) -> AsyncIterator[Inside]:
    """Run it on a free port, ready and with a registered user."""
    made: list[Tunnels] = []
    port = free_port()

    def remembered(*args: Any, **options: Any) -> Tunnels:
        made.append(Tunnels(*args, **options))
        return made[-1]

    settings = load(
        {
            "LISTEN": f"127.0.0.1:{port}",
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": database_url,
            "OPENCODE_BIN": sys.executable,
            "METRICS_LISTEN": "off",
            "REGISTRATION": "open",
        }
    )
    visitor, ended = Visitor(port), trio.Event()

    async def run() -> None:
        await app.run_daemon(settings)
        ended.set()

    async with trio.open_nursery() as nursery:
        with patch.object(app, "Tunnels", remembered):
            nursery.start_soon(run)
            browser = Browser(port, "localhost")
            with trio.fail_after(PATIENCE):
                while not await _ready(browser):  # noqa: ASYNC110
                    await trio.sleep(0.02)
        workspace = await trio.to_thread.run_sync(visitor.register)
        yield Inside(visitor, workspace, made[0], database_url)
        with patch.object(limits, "DRAIN_SECONDS", 0.5):  # what a test left open is nobody's any more
            signal.raise_signal(signal.SIGTERM)
            await ended.wait()


async def _ready(browser: Browser) -> bool:
    try:
        return (await browser.get("/readyz")).status == 200
    except OSError:
        return False


# Our agent inside the test


@dataclass
class AgentHere:
    """Our agent's session in the test's nursery, once connected. ``error`` is how it ended."""

    draining: trio.Event = field(default_factory=trio.Event)
    link: AgentLink = field(init=False)
    error: BaseException | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(
        self, joined: Joined, port: int, authorization: bytes | None = None, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Connect and serve until the end."""
        dialed = await open_tunnel(Dialer(parse_server(joined.url), None, None), joined.registration)

        def remembered(*args: Any) -> AgentLink:
            self.link = AgentLink(*args)
            return self.link

        with patch.object(session, "AgentLink", remembered):
            serving = session.make_serve(Local("127.0.0.1", port, authorization), self.draining)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell, task_status)
                    with self.scope:
                        await serving(dialed)
                    nursery.cancel_scope.cancel()
            except* SessionEnded as group:
                self.error = group.exceptions[0]
            finally:
                dialed.stream.close()
                self.ended.set()

    async def _tell(self, task_status: trio.TaskStatus[None]) -> None:
        await eventually(lambda: hasattr(self, "link"))
        await self.link.greeted.wait()
        task_status.started()
        await trio.sleep_forever()


@asynccontextmanager
async def agent_here(team: Team, joined: Joined, port: int, *, url: str = "") -> AsyncIterator[AgentHere]:
    """Our agent, connected and running; ``url`` if the way leads through something."""
    made = AgentHere()
    where = joined if not url else Joined(joined.sandbox_id, joined.token, url)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run, where, port)
        await team.until(joined.sandbox_id, "running")
        yield made
        made.scope.cancel()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def agent_v1(team: Team, joined: Joined, port: int, **options: Any) -> AsyncIterator[TunnelAgentV1]:
    """An agent of version 1 that shares nothing with ours, connected and running."""
    made = TunnelAgentV1(joined.tunnel_url, joined.token, port, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        await team.until(joined.sandbox_id, "running")
        yield made
        nursery.cancel_scope.cancel()


# Our agent as its users run it


@dataclass
class AgentProcess:
    """``cli-server agent connect`` with a home of its own."""

    folder: Path
    opencode: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """Everything it has said."""
        return (self.folder / "agent.log").read_text(errors="replace")

    def start(self, *flags: str) -> None:
        """Start it, with a code the first time."""
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "daemon", "agent", "connect", "--no-auto-start"]
        command += ["--opencode-url", self.opencode, *flags]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)

    @property
    def sandbox_id(self) -> str:
        """From what it said."""
        found = re.search(r"oc-([a-z0-9]{16})\.", self.said) or re.search(r"sandbox ([a-z0-9]{16})", self.said)
        assert found is not None, self.said
        return found[1]

    async def until_said(self, text: str, times: int = 1) -> None:
        """Wait for a line."""
        try:
            await eventually(lambda: self.said.count(text) >= times or self.ended)
        except trio.TooSlowError:
            raise AssertionError(f"{text!r} was not said: {self.said}") from None
        assert self.said.count(text) >= times, self.said

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process is not None and self.process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def wait(self) -> int:
        """Its exit status."""
        assert self.process is not None
        return await trio.to_thread.run_sync(self.process.wait, STOP_SECONDS)


@contextmanager
def agent_process(folder: Path, opencode: str) -> Iterator[AgentProcess]:
    """An agent that has not started; killed at the end."""
    made = AgentProcess(folder, opencode)
    try:
        yield made
    finally:
        if made.process is not None and not made.ended:
            made.process.send_signal(signal.SIGKILL)
            made.process.wait(STOP_SECONDS)


@asynccontextmanager
async def connected(team: Team, folder: Path, local: HttpLocal) -> AsyncIterator[tuple[AgentProcess, str]]:
    """An agent process that has joined, and its sandbox."""
    with agent_process(folder, local.url) as agent:
        agent.start("--server", team.url, "--code", await team.code(), "--name", "laptop")
        await agent.until_said("connected")
        await team.until(agent.sandbox_id, "running")
        yield agent, agent.sandbox_id


def most_resident(pid: int) -> int:
    """The most memory that a process ever had resident, bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def forget_most_resident(pid: int) -> None:
    """Let it begin anew from what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass
class Outside(Team):
    """The daemon in a process of its own."""

    product: Product

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self.product.process is not None
        return self.product.process.pid
