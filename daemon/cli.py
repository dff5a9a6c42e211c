"""The command ``cli-server``. Nothing of the server is imported before a command needs it: a default install has none.

Exit codes: 0 done; 1 it could not be done, and a line on stderr says why (``doctor``: a check failed); 2 a flag or a
setting is wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

import click

from daemon.agent.cli import agent
from daemon.config import SETTINGS, ConfigError, load
from daemon.version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from daemon.config import Setting, Settings

# One module of each distribution in the extra "server" that a start cannot do without.
_SERVER_MODULES = (
    "argon2", "httpx", "hypercorn", "prometheus_client", "psycopg", "pydantic", "quart", "quart_schema", "quart_trio",
    "structlog",
)  # fmt: skip
_FAILED, _WRONG, _INTERRUPTED = 1, 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), message="cli-server %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """opencode for a team, in the browser, from your own server."""
    context.obj = os.environ


main.add_command(agent)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each setting."""
    for setting in reversed(SETTINGS):
        text = f"{setting.help[0].upper()}{setting.help[1:]}. Accepts {setting.accepted}."
        if setting.secret:
            text += " Shown to everybody on this machine when given as a flag; prefer the variable, or a file."
        option = click.option(
            setting.flag,
            setting.field,
            metavar="VALUE",
            help=f"{text} [env: {setting.variable}; default: {setting.default_text}]",
        )
        if setting.secret:
            command = _file_option(setting)(command)
        command = option(command)
    return command


def _file_option(setting: Setting) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The flag by which a secret comes from a file, listed behind the one by which it comes itself."""
    return click.option(
        setting.file_flag,
        f"{setting.field}_file",
        metavar="PATH",
        help=f"File that holds what {setting.flag} takes. [env: {setting.file_variable}]",
    )


@main.command()
@_with_settings
def serve(**flags: str | None) -> None:
    """Run the daemon, until SIGTERM or Ctrl-C.

    With no setting at all it runs on this machine alone, at http://localhost:8080.
    """
    settings = _settings(flags)
    _configure_logs(settings)
    from daemon.app import run_daemon
    from daemon.start import StartError
    from daemon.systemd import take_manager

    try:
        manager = take_manager(os.environ, os.getpid())
    except ValueError as error:
        _give_up(str(error), _WRONG)
    _run(partial(run_daemon, manager=manager), settings, StartError)


@main.command()
@_with_settings
def migrate(**flags: str | None) -> None:
    """Bring the database schema up to date and exit.

    The daemon also does it at start. This is for those who want it done before.
    """
    settings = _settings(flags)
    _configure_logs(settings, quiet=True)
    from daemon.database_command import MIGRATE_ERRORS, run_migrate

    for name in _run(run_migrate, settings, *MIGRATE_ERRORS) or ["nothing to do"]:
        click.echo(name)


@main.command()
@_with_settings
def doctor(**flags: str | None) -> None:
    """Check the settings against the world, and say what to do about each failure.

    It may run while the daemon does. The exit code is 1 if a check failed.
    """
    settings = _settings(flags)
    _configure_logs(settings, quiet=True)
    from daemon.doctor import run_doctor

    if not _run(run_doctor, settings):
        sys.exit(_FAILED)


@main.command("version")
def show_version() -> None:
    """Show the version."""
    click.echo(f"cli-server {version()}")


def _settings(flags: dict[str, str | None]) -> Settings:
    """The settings of this process, or the end of it."""
    missing = [name for name in _SERVER_MODULES if find_spec(name) is None]
    if missing:
        _give_up(
            f"the server's parts are not installed ({missing[0]} is missing); install them: "
            f"pip install 'cli-server[server]'",
            _FAILED,
        )
    given = {name.upper(): value for name, value in flags.items() if value is not None}
    try:
        return load(os.environ, given, terminal=sys.stderr.isatty())
    except ConfigError as error:
        _give_up(str(error), _WRONG)


def _configure_logs(settings: Settings, *, quiet: bool = False) -> None:
    """``quiet``: a command whose answer is on stdout logs what is wrong and no more, unless it is to be debugged."""
    from daemon import logs

    level = "warning" if quiet and settings.log_level == "info" else settings.log_level
    logs.configure(settings.log_format, level, secrets=settings.secrets)


def _run(
    function: Callable[[Settings], Coroutine[Any, Any, Any]], settings: Settings, *refusals: type[Exception]
) -> Any:  # noqa: ANN401 - what the function returns
    """Run ``function`` under Trio; an error among ``refusals`` becomes one line, in the groups of nurseries too."""
    import trio

    try:
        return trio.run(function, settings)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except refusals as error:
        _give_up(str(error), _FAILED)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            sys.exit(_INTERRUPTED)
        refused, others = group.split(refusals) if refusals else (None, group)
        if others is not None or refused is None:
            raise
        _give_up(str(_leaf(refused)), _FAILED)


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _give_up(line: str, code: int) -> NoReturn:
    click.echo(f"cli-server: {' '.join(line.split())}", err=True)
    sys.exit(code)
