"""Sees to it that opencode is there: uses the one that runs, or starts one and keeps it running.

An opencode that the agent starts gets a random password. Password and process are written down in the agent's folder,
for two cases. An agent that was killed cannot end its opencode: the next one finds it, uses it, and ends it in its
place. And two agents on one machine, each with a server of its own, share one opencode; the one that holds the lock is
responsible for it, and when that agent ends, the other starts its own.
"""

from __future__ import annotations

import os
import secrets
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from daemon.agent import program
from daemon.agent.backoff import Backoff
from daemon.agent.errors import AgentError
from daemon.agent.files import private_folder
from daemon.agent.health import DEFAULT_USER, Login, Look, State, find, look_at
from daemon.agent.locks import try_lock
from daemon.agent.record import Record, read_record, write_record
from daemon.wire.sockets import connect_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from daemon.agent.addresses import OpencodeAddress
    from daemon.agent.voice import Voice

# opencode needs 3 to 8 s, much more on a machine that has just been switched on.
START_SECONDS: Final = 60.0
# Between looks at an opencode that is not our child. Long enough to cost nothing, short enough for one who waits.
WATCH_SECONDS: Final = 5.0
_LOOK: Final = 0.25  # seconds between looks at an opencode that is starting
_PASSWORD_BYTES: Final = 32  # as all secrets of this product


@dataclass(slots=True)
class Local:
    """The one address that the tunnel leads to. It may change while the agent runs: read it at every connection."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)
    # False while opencode is being started: it may take a request then and never answer it, or not know the password
    # of the one before it, and a browser that gets a 401 asks for a password that nobody knows.
    up: bool = True


class Opencode:
    """``prepare`` decides, ``running`` does. ``random`` gives numbers from 0 to 1."""

    def __init__(
        self,
        address: OpencodeAddress,
        environ: Mapping[str, str],
        folder: Path,
        voice: Voice,
        *,
        auto_start: bool,
        random: Callable[[], float],
        start_seconds: float = START_SECONDS,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._address = address
        self._environ = environ
        self._folder = folder
        self._voice = voice
        self._auto_start = auto_start and address.is_local
        self._random = random
        self._start_seconds = start_seconds
        self._watch_seconds = watch_seconds
        self._given = _given_login(address, environ)
        self._lock: int | None = None  # held while this agent is responsible for opencode
        self._found: State | None = None
        self._ours = False  # an agent started what was found
        self._adopted: int | None = None  # the process of an opencode whose agent is gone
        self._waiting: trio.TaskStatus[None] | None = None  # who waits until opencode is there
        self.local = Local(address.hosts[0], address.port)

    def _file(self, kind: str) -> Path:
        return self._folder / f"opencode-{self._address.port}.{kind}"

    async def prepare(self) -> None:
        """Look, and see that one can be started if need be. Raises :class:`AgentError` saying what to do."""
        look = await self._find()
        if look.state is State.HEALTHY:
            self._use(look)
            if self._ours and (record := read_record(self._file("json"))) is not None and self._lead():
                self._adopted = record.pid
        elif look.state is not State.NOTHING:
            raise AgentError(self._complaint(look))
        elif not self._auto_start:
            why = "and the agent was told not to start one" if self._address.is_local else "and it is not this machine"
            raise AgentError(f"nothing answers at {self._address.url}, {why}; start opencode there")
        else:
            self._find_program()

    async def _find(self) -> Look:
        record = read_record(self._file("json"))
        given = [self._given] if self._given is not None else []
        look = await find(self._address, [*given, *([record.login] if record else [])])
        self._found = look.state
        # Only by a random password it is known to be the process that was written down.
        self._ours = record is not None and look.login == record.login and look.login != self._given
        return look

    def _find_program(self) -> str:
        try:
            return program.find_program(self._environ)
        except AgentError as error:
            raise AgentError(f"nothing answers at {self._address.url}, and {error}") from None

    def _lead(self) -> bool:
        """Become responsible for opencode, if no other agent is."""
        private_folder(self._folder)
        if self._lock is None:
            self._lock = try_lock(self._file("lock"))
        return self._lock is not None

    def _use(self, look: Look) -> None:
        """Lead the tunnel to what was found."""
        self.local.host = look.host
        self.local.up = True
        self.local.authorization = None if look.login is None else look.login.header
        if look.login is None:
            self._voice.trouble(
                f"warning: opencode at {self._address.url} has no password: every program there, and every web page "
                "that is open there, can use it (CVE-2026-22812); start it with OPENCODE_SERVER_PASSWORD, or end it "
                "and let the agent start one"
            )

    def _complaint(self, look: Look) -> str:
        """Why what was found cannot be used, and what to do."""
        url = self._address.url
        if look.state is State.SILENT:
            return f"something listens at {url} and does not answer; if it is opencode, start it anew"
        if look.state is State.STRANGER:
            return f"what answers at {url} is no working opencode ({look.detail}); say by --opencode-url where it is"
        if self._given is not None:
            return f"opencode at {url} does not take the user and the password that were given; check both"
        return (
            f"opencode at {url} wants a password; set OPENCODE_SERVER_PASSWORD to it "
            f"(and OPENCODE_SERVER_USERNAME if its user is not {DEFAULT_USER})"
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Local, None]:
        """opencode is there, and is kept there; what the agent started ends with it. After :meth:`prepare`."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._keep)
                yield self.local
                nursery.cancel_scope.cancel()
        finally:
            if self._adopted is not None:
                await program.end_group(self._adopted)
                self._file("json").unlink(missing_ok=True)
            if self._lock is not None:
                os.close(self._lock)

    async def _keep(self, task_status: trio.TaskStatus[None]) -> None:
        """Watch what runs; start what does not, and again when it ends."""
        self._waiting = task_status
        if self._found is State.HEALTHY:
            await (self._until_gone(ours=True) if self._ours else self._watch())
            self._adopted = None
        backoff = Backoff(self._random)
        while True:
            if await self._other_leads():
                await self._until_gone(ours=True)
                continue
            began = trio.current_time()
            try:
                await self._run()
            except AgentError as error:
                if self._waiting is not None:
                    raise
                self._voice.say(f"{error}; it is started again")
            await trio.sleep(backoff.ended(trio.current_time() - began))

    def _is_another(self) -> bool:
        """Whether an opencode was written down since the one that the tunnel leads to."""
        record = read_record(self._file("json"))
        return record is not None and record.login.header != self.local.authorization

    def _is_there(self) -> None:
        """Whoever waits for opencode may go on."""
        if self._waiting is not None:
            self._waiting.started()
            self._waiting = None

    async def _other_leads(self) -> bool:
        """Whether another agent keeps an opencode, which then is up. Else this one is to do it."""
        with trio.move_on_after(self._start_seconds):
            while not self._lead():
                look = await self._find()
                if look.state is State.HEALTHY:
                    self._use(look)
                    return True
                await trio.sleep(_LOOK)
            return False
        raise AgentError(f"another agent on this machine does not get opencode to run at {self._address.url}; end it")

    async def _run(self) -> None:
        """Start opencode and wait for its end. Raises :class:`AgentError` when it ended or did not come up."""
        login = self._given or Login(_user(self._environ), secrets.token_urlsafe(_PASSWORD_BYTES))
        log = self._file("log")
        if self._waiting is not None:
            log.unlink(missing_ok=True)  # of an earlier agent
        path = self._find_program()
        command = program.command_of(path, self._address.hosts[0], self._address.port)
        self.local.up = False
        try:
            process = await program.start(command, program.environment_of(self._environ, login), log)
        except OSError as error:
            raise AgentError(f"{path} cannot be started: {error.strerror}") from None
        try:
            write_record(self._file("json"), Record(process.pid, login))
            self._use(await self._until_healthy(process, login, log))
            self._voice.say(f"started opencode at {self._address.url}; its output is in {log}")
            self._is_there()
            await process.wait()
            raise AgentError(f"opencode ended by itself{_ending(process, log)}")
        finally:
            await program.end(process)
            self._file("json").unlink(missing_ok=True)

    async def _until_healthy(self, process: trio.Process, login: Login, log: Path) -> Look:
        with trio.move_on_after(self._start_seconds):
            while process.poll() is None:
                look = await look_at(self._address.hosts[0], self._address.port, login)
                # What answers is the process that was started: opencode gives up if somebody else has the port.
                if look.state is State.HEALTHY and process.poll() is None:
                    return look
                await trio.sleep(_LOOK)
            raise AgentError(f"opencode does not start{_ending(process, log)}; its output is in {log}")
        raise AgentError(f"opencode did not answer within {self._start_seconds:g} s; its output is in {log}")

    async def _watch(self) -> None:
        """Say when an opencode of somebody else goes, and when it is back. It is theirs to start it."""
        while True:
            await self._until_gone()
            self._voice.say(f"nothing answers at {self._address.url} any more; pages fail until opencode is back there")
            while (look := await self._find()).state is not State.HEALTHY:  # noqa: ASYNC110 - nobody tells us
                await trio.sleep(self._watch_seconds)
            self._voice.say(f"opencode is back at {self._address.url}")
            self._use(look)

    async def _until_gone(self, *, ours: bool = False) -> None:
        """Wait until nobody listens any more, seen twice: who restarts is given a moment.

        ``ours``: another agent may start it again between two looks, and then it has another password.
        """
        self._is_there()
        missed = 0
        while missed < 2:
            await trio.sleep(self._watch_seconds)
            if ours and self._is_another() and (look := await self._find()).state is State.HEALTHY:
                self._use(look)
            try:
                (await connect_tcp(self.local.host, self.local.port)).close()
                missed = 0
            except OSError:
                missed += 1


def _given_login(address: OpencodeAddress, environ: Mapping[str, str]) -> Login | None:
    """The user and the password that a person gave, in the URL or in opencode's own variables."""
    password = address.password or environ.get("OPENCODE_SERVER_PASSWORD")
    return Login(address.user or _user(environ), password) if password else None


def _user(environ: Mapping[str, str]) -> str:
    return environ.get("OPENCODE_SERVER_USERNAME") or DEFAULT_USER


def _ending(process: trio.Process, log: Path) -> str:
    """How it ended, for people."""
    status = process.returncode or 0
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    words = "" if how == "signal SIGKILL" else program.last_words(log)  # who is killed so has no last words
    return f" ({how}: {words})" if words else f" ({how})"
