"""``agent connect``: registers, sees to opencode, and keeps one tunnel to the server."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from daemon.agent.addresses import parse_server
from daemon.agent.backoff import LASTED, Backoff
from daemon.agent.choosing import choose, known_words, stop_words
from daemon.agent.credentials import Credentials
from daemon.agent.dial import Dialer, tls_context
from daemon.agent.errors import AgentError, Refused, Trouble, WrongSetting, shown
from daemon.agent.handshake import open_tunnel
from daemon.agent.opencode import Opencode
from daemon.agent.proxies import choose_proxy
from daemon.agent.registration import CodeRefused, register
from daemon.agent.serving import Ending, SessionEnded
from daemon.agent.stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from daemon.agent.addresses import OpencodeAddress, Server
    from daemon.agent.credentials import Registration
    from daemon.agent.handshake import Dialed
    from daemon.agent.serving import MakeServe, Serve
    from daemon.agent.voice import Voice


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asks for. Without ``code`` a saved registration is used."""

    server: Server | None
    opencode: OpencodeAddress
    code: str | None = None
    name: str | None = None
    host_name: str = "laptop"  # what a new registration is called if it gets no name
    auto_start: bool = True


class _Session:
    """One tunnel that is served in a task of its own, because a newer one may begin before it is over."""

    def __init__(self, nursery: trio.Nursery, stopping: Stopping, serve: Serve, dialed: Dialed) -> None:
        self.dialed = dialed
        self.over = trio.Event()
        self.ended = SessionEnded("the server closed it")  # how it is over
        self._stopping = stopping
        self._serve = serve
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            with self._stopping.serving():
                await self._serve(self.dialed)
        except SessionEnded as error:
            self.ended = error
        except OSError as error:
            self.ended = SessionEnded(f"it broke off ({shown(str(error))})")
        finally:
            self.dialed.stream.close()
            self.over.set()

    async def over_or_leaving(self) -> None:
        """Wait until it is over, or the server says that it shuts down."""

        async def leaving() -> None:
            await self.dialed.leaving.wait()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leaving)
            await self.over.wait()
            nursery.cancel_scope.cancel()


class Agent:
    """One run of ``agent connect``. ``folder`` is ``~/.cli-server``; ``environ`` names proxies, CAs and opencode."""

    def __init__(
        self,
        options: Options,
        environ: Mapping[str, str],
        folder: Path,
        voice: Voice,
        make_serve: MakeServe,
        *,
        stopping: Stopping | None = None,
        opencode: Opencode | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._environ = environ
        self._credentials = Credentials(folder)
        self._voice = voice
        self._make_serve = make_serve
        self._stopping = stopping or Stopping()
        self._backoff = Backoff(dice)
        self._opencode = opencode or Opencode(
            options.opencode, environ, folder, voice, auto_start=options.auto_start, random=dice
        )

    async def run(self) -> None:
        """Run until a signal. Raises :class:`AgentError`, in the groups of nurseries, when it cannot go on."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._stopping.listen)
            nursery.start_soon(self._say_that_it_ends)
            with self._stopping.scope:
                await self._work()
            nursery.cancel_scope.cancel()

    async def _say_that_it_ends(self) -> None:
        await self._stopping.draining.wait()
        if self._stopping.is_serving:
            seconds = f"{self._stopping.drain_seconds:g} s"
            self._voice.say(f"ending; requests under way get {seconds}, a second signal (Ctrl-C) ends it at once")

    async def _work(self) -> None:
        saved = self._credentials.load()
        for note in self._credentials.notes:
            self._voice.say(note)
        if self._options.code is not None:
            registration, dialer = None, self._dialer(self._options.server)
            self._credentials.check_writable()
        else:
            server = self._options.server
            registration = choose(saved, None if server is None else server.url, self._options.name)
            dialer = self._dialer(parse_server(registration.server))
        await self._opencode.prepare()  # what it lacks is known before a code is used up
        if registration is None:
            registration = await self._register(dialer, saved)
        async with self._opencode.running() as local:
            await self._keep_connected(registration, dialer, self._make_serve(local, self._stopping.draining))

    def _dialer(self, server: Server | None) -> Dialer:
        if server is None:
            raise WrongSetting("a code is for one server; name it with --server")
        if not server.tls and not server.is_local:
            self._voice.say(
                f"warning: {server.url} is not encrypted: everybody on the way can read and change what passes; "
                "use https:// if the server has it"
            )
        context = tls_context(self._environ) if server.tls else None
        return Dialer(server, choose_proxy(self._environ, server), context)

    async def _register(self, dialer: Dialer, saved: Sequence[Registration]) -> Registration:
        name = self._options.name or self._options.host_name
        try:
            registration = await register(dialer, self._options.code or "", name)
        except CodeRefused as refused:
            raise AgentError(f"{refused}{known_words(saved, dialer.server.url)}") from None
        self._credentials.put_first(registration)
        self._voice.say(
            f"registered as {name}; the credentials are in {self._credentials.path}, and from now on this is enough: "
            "cli-server agent connect"
        )
        return registration

    async def _keep_connected(self, registration: Registration, dialer: Dialer, serve: Serve) -> None:
        """One connection after the other, until the agent stops. Raises :class:`AgentError` for what is final."""
        async with trio.open_nursery() as sessions:
            await self._connect_for_ever(registration, dialer, partial(_Session, sessions, self._stopping, serve))

    async def _connect_for_ever(
        self, registration: Registration, dialer: Dialer, begin: Callable[[Dialed], _Session]
    ) -> None:
        used = False
        while True:
            try:
                dialed = await open_tunnel(dialer, registration)
            except Trouble as trouble:
                wait = self._failed(f"{trouble}; trying again", trouble.retry_after)
            except Refused as refused:
                wait = self._refused(refused, registration)
            else:
                if not used:
                    self._credentials.put_first(registration)
                    used = True
                wait = await self._served(dialed, registration, dialer, begin)
            if self._stopping.draining.is_set():
                return
            await trio.sleep(wait)

    def _failed(self, text: str, retry_after: float | None = None) -> float:
        self._voice.trouble(text)
        return self._backoff.failed(retry_after)

    def _refused(self, refused: Refused, registration: Registration) -> float:
        """How long to wait after an answer that is no tunnel. Raises :class:`AgentError` where waiting is no use."""
        final = stop_words(refused.status, refused.detail, registration)
        if final is not None:
            raise AgentError(final)
        said = f" ({refused.detail})" if refused.detail else ""
        if 300 <= refused.status < 400:
            said = f", and wants us to go to {refused.location or 'nowhere'}; the agent stays with the server it knows"
        text = f"{registration.server} does not open the tunnel (status {refused.status}){said}; trying again"
        return self._failed(text, refused.retry_after)

    async def _served(
        self, dialed: Dialed, registration: Registration, dialer: Dialer, begin: Callable[[Dialed], _Session]
    ) -> float:
        """Serve one tunnel, and those that it moves to; how long to wait after it.

        Raises :class:`AgentError` where waiting is no use.
        """
        while True:
            self._greet(dialed, registration, dialer.server)
            began = trio.current_time()
            session = begin(dialed)
            await session.over_or_leaving()
            moved = None if self._stopping.draining.is_set() else await self._elsewhere(session, dialer, registration)
            if moved is None:
                break
            dialed = moved
        await session.over.wait()
        if self._stopping.draining.is_set():
            return 0.0
        return self._after(session.ended, trio.current_time() - began, registration)

    async def _elsewhere(self, session: _Session, dialer: Dialer, registration: Registration) -> Dialed | None:
        """A tunnel by another server, if this one shuts down and there are several. What is open in it goes on."""
        if not session.dialed.leaving.is_set():
            return None
        while not self._stopping.draining.is_set():
            await trio.sleep(self._backoff.elsewhere())
            try:
                dialed = await open_tunnel(dialer, registration)
            except (Trouble, Refused):  # the only one; or it is told when it is asked in earnest
                if session.over.is_set():
                    break
            else:
                self._voice.say("the server shuts down; another one takes over")
                return dialed
        return None

    def _greet(self, dialed: Dialed, registration: Registration, server: Server) -> None:
        url = server.sandbox_url(registration.sandbox_id)
        where = f"open at {url}" if url else f"open on {registration.server} as sandbox {registration.sandbox_id}"
        text = f"connected: {registration.name} is {where}"
        if dialed.version == 1:
            text += "; the server is older (tunnel version 1): terminals do not work until it is updated"
        self._voice.say(text)

    def _after(self, ended: SessionEnded, lasted: float, registration: Registration) -> float:
        if ended.ending is Ending.REMOVED:
            raise AgentError(f"{registration.server} ended the tunnel for good: {shown(ended.reason)}")
        if ended.ending is Ending.REPLACED:
            raise AgentError(
                f"another agent has connected as {registration.name}, and this one ends; if both are to be connected, "
                "register one of them anew with a code"
            )
        if lasted >= LASTED:
            self._voice.over()
        self._voice.say(f"the tunnel ended: {shown(ended.reason)}; connecting again")
        return self._backoff.shut_down() if ended.ending is Ending.SHUTDOWN else self._backoff.ended(lasted)
