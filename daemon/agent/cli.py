"""The commands ``agent connect``, ``agent list`` and ``agent remove``. The context's object is the environment.

Exit codes: 0 done, or ended by a signal; 1 it could not be done, and a line on stderr says why; 2 a flag or a variable
is wrong; 130 interrupted a second time.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from daemon.agent.addresses import DEFAULT_OPENCODE, parse_opencode, parse_server
from daemon.agent.credentials import Credentials
from daemon.agent.errors import AgentError, WrongSetting
from daemon.version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from daemon.agent.credentials import Registration

_FAILED, _WRONG, _INTERRUPTED = 1, 2, 130
_NOT_NAMES = ("", "localhost", "localhost.localdomain")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), message="cli-server agent %(version)s")
def agent() -> None:
    """Join this machine: its opencode becomes a sandbox of your team's server."""


@agent.command()
@click.option("--server", metavar="URL", help="The server's address. [default: of the registration that was used last]")
@click.option("--code", help="A one-time code of the workspace's page: registers this machine anew.")
@click.option("--name", help="What this machine is called; without --code: which saved registration is used.")
@click.option("--opencode-url", metavar="URL", default=DEFAULT_OPENCODE, show_default=True, help="Where opencode is.")
@click.option("--no-auto-start", is_flag=True, help="Do not start opencode if nothing answers there.")
@click.pass_obj
def connect(
    environ: Mapping[str, str],
    server: str | None,
    code: str | None,
    name: str | None,
    opencode_url: str,
    no_auto_start: bool,
) -> None:
    """Connect this machine to a server, until SIGTERM or Ctrl-C.

    The first time it registers with a one-time code; later the saved credentials are used. If nothing answers at
    --opencode-url, opencode is started with a password and ends with the agent; OPENCODE_BIN says where the program is.
    """
    from daemon.agent.connect import Agent, Options
    from daemon.agent.session import make_serve
    from daemon.agent.voice import Voice

    voice = Voice()
    try:
        options = Options(
            server=None if server is None else parse_server(server),
            opencode=parse_opencode(opencode_url),
            code=None if code is None else code.strip(),
            name=name,
            host_name=_host_name(),
            auto_start=not no_auto_start,
        )
        agent = Agent(options, environ, _folder(), voice, make_serve)
    except AgentError as error:
        _give_up(error)
    _run(agent.run, voice.say)


@agent.command("list")
def list_registrations() -> None:
    """List the saved registrations, the one that was used last first."""
    saved = _doing(lambda credentials: credentials.load())
    if not saved:
        click.echo("this machine is not registered with a server", err=True)
        return
    rows = [("NAME", "SERVER", "SANDBOX", "WORKSPACE")]
    rows += [(one.name, one.server, one.sandbox_id, one.workspace_id) for one in saved]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


@agent.command()
@click.option("--server", metavar="URL", help="Registrations with this server.")
@click.option("--name", metavar="NAME", help="The registration with this name or sandbox id.")
@click.option("--all", "everything", is_flag=True, help="All registrations.")
def remove(server: str | None, name: str | None, everything: bool) -> None:
    """Remove saved registrations from this machine: the only one, or those that are named.

    The server keeps the sandbox, offline, until it is deleted there.
    """
    try:
        url = None if server is None else parse_server(server).url
    except AgentError as error:
        _give_up(error)

    def unwanted(one: Registration) -> bool:
        return url in (None, one.server) and (name is None or one.called(name))

    def forget(credentials: Credentials) -> list[Registration]:
        if not (url or name or everything) and len(credentials.load()) > 1:
            raise WrongSetting("say which registration: --name, --server or --all; cli-server agent list shows them")
        return credentials.remove(unwanted)

    gone = _doing(forget)
    if not gone:
        _give_up(AgentError("there is no such registration; cli-server agent list shows them"))
    for one in gone:
        click.echo(f"removed {one.name} ({one.sandbox_id}) of {one.server}; delete it there too if it is not needed")


def _folder() -> Path:
    try:
        return Path.home() / ".cli-server"
    except RuntimeError:
        raise AgentError("there is no home directory; set HOME to where the credentials are to be") from None


def _doing(what: Callable[[Credentials], list[Registration]]) -> list[Registration]:
    try:
        credentials = Credentials(_folder())
        found = what(credentials)
    except AgentError as error:
        _give_up(error)
    for note in credentials.notes:
        click.echo(note, err=True)
    return found


def _host_name() -> str:
    """What a machine is called that gets no name; some hosts have none that says anything."""
    name = socket.gethostname().partition(".")[0]
    return "laptop" if name in _NOT_NAMES else name


def _run(function: Callable[[], Coroutine[Any, Any, None]], say: Callable[[str], None]) -> None:
    """Run it under Trio. What people and servers can cause is a line; anything else is a bug, and looks like one."""
    import trio

    try:
        trio.run(function)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except AgentError as error:
        say(f"stopped: {error}")
        sys.exit(_code(error))
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            sys.exit(_INTERRUPTED)
        final, others = group.split(AgentError)
        if others is not None or final is None:
            raise
        stopped = _leaf(final)
        say(f"stopped: {stopped}")
        sys.exit(_code(stopped))


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _code(error: BaseException) -> int:
    return _WRONG if isinstance(error, WrongSetting) else _FAILED


def _give_up(error: AgentError) -> NoReturn:
    click.echo(f"cli-server: {' '.join(str(error).split())}", err=True)
    sys.exit(_code(error))
