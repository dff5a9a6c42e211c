"""Decides once how sandboxes are confined on this machine, and makes the command lines accordingly."""

from __future__ import annotations

import os
import pwd
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
import trio

from backends.base import BackendRejected, BackendUnavailable
from backends.bubblewrap import HOME_INSIDE, Jailer, jail
from backends.environment import environment
from backends.isolation import USER, find_jailer, own_owner, run_briefly, shell, try_jail, write_etc
from backends.program import Program, find_program

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from backends.disks import Disks
    from backends.furnish import Places
    from backends.isolation import Isolation

log = structlog.get_logger(__name__)

_VERSION_SECONDS = 20.0  # opencode says its version in one second; from a cold disk in some more
_CLEAN_UP_SECONDS = 10.0  # for removing a trial's few files


@dataclass(frozen=True, slots=True)
class Run:
    """A command ready to be started: ``env`` is all of its environment, ``directory`` where it is started."""

    command: list[str]
    env: dict[str, str] = field(repr=False)
    directory: str
    log: str
    jailed: bool


class Confinement:
    """How the sandboxes of one data directory are run. ``forced`` leaves the machine no choice."""

    def __init__(self, disks: Disks, root: str, opencode: str, forced: Isolation | None) -> None:
        self._disks = disks
        self._root = root
        self._opencode = opencode
        self._forced = forced
        self._jailer: Jailer | None = None
        self.reason = ""  # why there are no jails, for people
        self._settled = False
        self._lock = trio.Lock()
        self._tried: tuple[str, int, int] | None = None

    @property
    def isolation(self) -> Isolation:
        """What :meth:`settle` found; "none" before."""
        return "none" if self._jailer is None else "bubblewrap"

    async def settle(self) -> None:
        """Find out, the first time, whether jails can be made here, and say so in the log.

        Raises :class:`BackendRejected` if they cannot and bubblewrap was asked for.
        """
        async with self._lock:
            if self._settled:
                return
            reason = "it was switched off" if self._forced == "none" else await self._try_jailer()
            if reason is None:
                log.info("sandboxes run in bubblewrap")
            elif self._forced == "bubblewrap":
                raise BackendRejected(f"bubblewrap cannot be used on this machine: {reason}")
            else:
                self.reason = reason
                log.warning("sandboxes run without isolation, with all rights of the daemon's user", reason=reason)
            self._settled = True

    async def _try_jailer(self) -> str | None:
        """Set the jailer if it works. ``None``, or why it does not."""
        jailer = find_jailer()
        if isinstance(jailer, str):
            return jailer
        self._jailer = jailer
        try:
            async with self._scratch() as places:
                reason = await try_jail(jailer, places, self._root)
        except OSError as error:
            reason = f"a trial could not be prepared: {error}"
        if reason is not None:
            self._jailer = None
        return reason

    async def try_program(self) -> None:
        """Run ``opencode --version`` as sandboxes are run, unless this very file passed before.

        Raises :class:`BackendRejected` or :class:`BackendUnavailable` with what to do.
        """
        program = await trio.to_thread.run_sync(find_program, self._opencode)
        about = os.stat(program.path)
        key = (program.path, about.st_mtime_ns, about.st_size)
        if key == self._tried:
            return
        try:
            async with self._scratch() as places:
                run = self._run(places, program, ["--version"], {})
                status, output = await run_briefly(run.command, run.env, run.directory, _VERSION_SECONDS)
        except OSError as error:
            raise BackendUnavailable(f"{program.path} could not be tried: {error}") from error
        if status == -9:
            raise BackendUnavailable(f"{program.path} --version gave no answer within {_VERSION_SECONDS:g} s")
        if status != 0:
            where = "in bubblewrap, which shows it /usr and its own files only" if run.jailed else "without isolation"
            raise BackendRejected(
                f"{program.path} --version ended with status {status} {where}: {output}; "
                "set OPENCODE_BIN to opencode's native program"
            )
        self._tried = key

    def prepare(self, sandbox_id: str, workspace_id: str, env: Mapping[str, str], arguments: list[str]) -> Run:
        """Make the sandbox's directories and the command that runs opencode with ``arguments``. Blocking.

        Raises :class:`BackendRejected` for what cannot work, :class:`OSError` if the disk fails.
        """
        program = find_program(self._opencode)
        jailer = self._jailer
        owner = jailer.owner if jailer else own_owner()
        places = self._disks.prepare(sandbox_id, workspace_id, owner, jailed=jailer is not None)
        if jailer is not None:
            write_etc(jailer, places)
        return self._run(places, program, arguments, env)

    def _run(self, places: Places, program: Program, arguments: list[str], env: Mapping[str, str]) -> Run:
        if self._jailer is not None:
            command = jail(self._jailer, places, program, self._root, [program.inside, *arguments])
            whole = environment(env, home=HOME_INSIDE, user=USER, shell=shell())
            return Run(command, whole, "/", places.log, jailed=True)
        directory = os.path.join(places.home, places.start)
        beside = os.path.dirname(program.path)
        whole = environment(env, home=places.home, user=_user_name(), shell=shell(), program_directory=beside)
        whole["TMPDIR"] = places.tmp
        return Run([program.path, *arguments], whole, directory, places.log, jailed=False)

    @asynccontextmanager
    async def _scratch(self) -> AsyncGenerator[Places, None]:
        """Places for a trial."""
        jailer = self._jailer
        owner = jailer.owner if jailer else own_owner()
        with ExitStack() as stack:
            scratch = self._disks.scratch(owner, jailed=jailer is not None)
            places = await trio.to_thread.run_sync(stack.enter_context, scratch)
            if jailer is not None:
                await trio.to_thread.run_sync(write_etc, jailer, places)
            try:
                yield places
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLEAN_UP_SECONDS):
                    await trio.to_thread.run_sync(stack.close)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a number without a name, as in many containers
        return USER
