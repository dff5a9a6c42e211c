"""The checks of ``cli-server doctor``, in the order in which they run. Each looks and changes nothing that lasts."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import trio

from backends.base import BackendError, BackendUnavailable
from backends.program import find_program
from daemon.cluster_checks import check_rights, examine_cluster
from daemon.datadir import DataDirError, DataDirInUse, lock_data_dir
from daemon.db.cluster import Cluster, choose_identity
from daemon.db.connect import DatabaseUnavailable, connect
from daemon.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from daemon.db.migrate import available
from daemon.doctor import Check, CheckFailed, Context, Finding, blocking, warn
from daemon.engine_checks import check_networks, engine_remedy, examine_containers, unreachable
from daemon.ids import new_id
from daemon.signin_checks import check_sign_in

if TYPE_CHECKING:
    from daemon.config import Settings

GIB = 2**30
# A sandbox's home with opencode's own data, a repository and its build takes a gigabyte or two.
ENOUGH_SPACE, LEAST_SPACE = 5 * GIB, 1 * GIB
# Beyond this, times in the web page are visibly wrong, and a ticket of 60 s loses a tenth of its life.
MOST_SKEW = 5.0
# A Date header has whole seconds, and is some network time old.
DATE_ERROR = 1.0


async def check_settings(context: Context) -> Finding:
    """Settings that are accepted, and still are no good idea."""
    settings = context.settings
    summary = f"{settings.main_origin}, backend {settings.backend}, registration {settings.registration}"
    if not settings.secure and not _is_local(settings):
        return warn(
            f"{summary}: passwords and sessions travel unencrypted",
            "put a proxy that speaks TLS in front and set BASE_SCHEME=https",
        )
    return Finding(summary)


def _is_local(settings: Settings) -> bool:
    return settings.base_domain == "localhost" or settings.base_domain.endswith(".localhost")


async def check_web_ui(context: Context) -> Finding:
    """The pages were built: the source tree has them only after ``make webui``, a package always."""
    from daemon.api.site import WEBROOT

    if not await blocking(lambda: WEBROOT.built):
        return warn(f"there are no pages in {WEBROOT.folder}; the API works", "make webui")
    return Finding(f"built, in {WEBROOT.folder}")


async def check_data_dir(context: Context) -> Finding:
    """The data directory can be written and has room; also finds out whether a daemon lives on it."""
    path = context.settings.data_dir
    context.daemon_pid = await blocking(_lock_holder, path)
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise CheckFailed(f"{there} cannot be written", "change its owner, or choose another DATA_DIR")
    free = (await blocking(shutil.disk_usage, there)).free
    detail = f"{path}, {free / GIB:.1f} GiB free" + ("" if path.exists() else ", made at the first start")
    if free < LEAST_SPACE:
        raise CheckFailed(detail, "make room, or choose another DATA_DIR")
    return warn(detail, "make room: a sandbox takes a gigabyte or two") if free < ENOUGH_SPACE else Finding(detail)


def _lock_holder(data_dir: Path) -> int | None:
    """The process that holds the directory's lock; 0 if it did not say who it is, ``None`` if nobody does."""
    with suppress(OSError):
        fd = os.open(data_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            word = os.pread(fd, 20, 0).strip()
            return int(word) if word.isdigit() else 0
        finally:
            os.close(fd)
    return None


async def check_database(context: Context) -> Finding:
    """The database answers, and its schema is one that this program knows."""
    settings = context.settings
    try:
        if settings.database_url is not None:
            return await blocking(_examine_database, context, settings.database_url)
        return await _check_embedded(context)
    except DatabaseUnavailable as error:
        raise CheckFailed(str(error), "start it, or correct DATABASE_URL") from None
    except EmbeddedPostgresError as error:
        raise CheckFailed("the embedded PostgreSQL does not start", str(error)) from None


async def _check_embedded(context: Context) -> Finding:
    path = context.settings.data_dir
    if context.daemon_pid is None and not (path / "postgres").exists():
        where = next(folder for folder in (path, *path.parents) if folder.exists())
        await blocking(choose_identity, where)
        return Finding("embedded PostgreSQL, made at the first start")
    try:
        with lock_data_dir(path) as data_dir:
            await blocking(lambda: Cluster(data_dir, choose_identity(data_dir)).exists)
            async with EmbeddedPostgres.open(data_dir) as postgres:
                return await blocking(_examine_database, context, postgres.conninfo)
    except DataDirInUse:
        return Finding(
            f"embedded PostgreSQL, in use by the daemon that runs (process {context.daemon_pid or 'unknown'})"
        )
    except DataDirError as error:
        raise CheckFailed("the embedded PostgreSQL cannot be looked at", str(error)) from None


def _examine_database(context: Context, conninfo: str) -> Finding:
    """In a thread."""
    with connect(conninfo) as conn:
        before = time.time()
        row = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('server_version')")
        now, version = row.fetchone() or (before, "?")
        context.skews["the database"] = now - (before + time.time()) / 2
        try:
            applied = {str(name) for (name,) in conn.execute("SELECT name FROM schema_migrations")}
        except psycopg.errors.UndefinedTable:
            return Finding(f"PostgreSQL {version}, no schema yet; the start makes it")
    known = available()
    if newer := sorted(applied - known.keys()):
        raise CheckFailed(f"its schema is newer than this program ({newer[-1]})", "start a newer cli-server")
    missing = len(known.keys() - applied)
    pending = f", {missing} migrations to come at the start" if missing else ""
    return Finding(f"PostgreSQL {version}, schema {max(applied, default='empty')}{pending}")


async def check_backend(context: Context) -> Finding:
    """Sandboxes can be started: the backend's own check, in a directory of its own."""
    from backends.process import ProcessBackend
    from daemon.start import StartError, make_backend

    if context.settings.backend == "k8s":
        return await examine_cluster(context.settings)
    try:
        with tempfile.TemporaryDirectory(prefix="cli-server-doctor-") as scratch:
            os.chmod(scratch, 0o711)  # as a sandbox's user, where the daemon is root, passes through DATA_DIR
            backend = make_backend(dataclasses.replace(context.settings, data_dir=Path(scratch)), new_id())
            await backend.check()
    except BackendUnavailable as error:
        remedy = engine_remedy(context.settings, error) if context.settings.backend == "docker" else "try again"
        raise CheckFailed(str(error), remedy) from None
    except (StartError, BackendError) as error:
        raise CheckFailed(f"{context.settings.backend} cannot start sandboxes", str(error)) from None
    if not isinstance(backend, ProcessBackend):
        return await blocking(examine_containers, context.settings)
    if backend.isolation == "none":
        return warn(
            "process, without isolation: sandboxes have all rights of this user",
            "apt-get install bubblewrap, on a machine that allows user namespaces; the log line above says why not",
        )
    return Finding("process, isolated by bubblewrap")


async def check_opencode(context: Context) -> Finding:
    """The opencode program runs and says its version."""
    if context.settings.backend != "process":
        return Finding(f"comes with the image {context.settings.agent_image}")
    try:
        program = await blocking(find_program, context.settings.opencode_bin)
        with tempfile.TemporaryDirectory(prefix="cli-server-doctor-") as home:
            # Nothing of our environment: it may hold the operator's key.
            env = {"HOME": home, "PATH": os.defpath, "OPENCODE_DISABLE_AUTOUPDATE": "1"}
            done = await trio.run_process(
                [program.path, "--version"],
                env=env,
                stdin=b"",
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
    except (BackendError, OSError) as error:
        raise CheckFailed(f"{context.settings.opencode_bin} does not run", str(error)) from None
    words = done.stdout.decode("utf-8", "replace").strip()[:200]
    if done.returncode != 0:
        raise CheckFailed(f"{program.path} --version ended with {done.returncode}: {words}", "set OPENCODE_BIN")
    return Finding(f"{program.path}, version {words}")


async def check_wildcard(context: Context) -> Finding:
    """Names of sandboxes resolve: a random one does, as all do or none."""
    name = f"oc-{new_id()}.{context.settings.base_domain}"
    if _is_local(context.settings):
        return Finding("browsers take every name below localhost for this machine")
    try:
        found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CheckFailed(
            f"{name} does not resolve ({error.strerror or error})",
            f"make a DNS record for *.{context.settings.base_domain} that leads to this server",
        ) from None
    return Finding(f"{name} is {', '.join(sorted({str(entry[4][0]) for entry in found}))}")


async def check_listener(context: Context) -> Finding:
    """The address of the listener is free, or it is our own daemon that has it."""
    from daemon.gateway.listener import open_sockets

    where = context.settings.listen
    shown = f"{where.host}:{where.port}"
    try:
        for opened in await blocking(open_sockets, where.host, where.port):
            opened.close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise CheckFailed(f"{shown} cannot be used ({error.strerror or error})", "correct LISTEN") from None
    else:
        return await unreachable(context.settings) or Finding(f"{shown} is free")
    if await _is_ours(context.settings):
        return await unreachable(context.settings) or Finding(f"{shown} is served by a cli-server that runs")
    raise CheckFailed(f"{shown} is used by another program", "end that one, or choose another LISTEN")


async def _is_ours(settings: Settings) -> bool:
    """Whether a daemon answers at ``LISTEN``: only ours has such parts."""
    host = settings.listen.host or "127.0.0.1"
    with suppress(ValueError):
        if ip_address(host).is_unspecified:
            host = "127.0.0.1" if ":" not in host else "::1"
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.listen.port}/readyz"
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        with suppress(httpx.HTTPError, ValueError):
            answer = (await client.get(url, headers={"Host": settings.base_domain})).json()
            return isinstance(answer, dict) and "parts" in answer and "services" in answer
    return False


async def check_llm(context: Context) -> Finding:
    """The operator's credentials are taken by the Anthropic API, or what stands for it."""
    settings = context.settings
    if not settings.anthropic_api_key and not settings.anthropic_auth_token:
        raise CheckFailed("none are set: sandboxes start, and no prompt is answered", "set ANTHROPIC_API_KEY")
    url = f"{settings.anthropic_base_url}/v1/models"
    headers = {"anthropic-version": "2023-06-01"}
    if settings.anthropic_api_key:
        headers["x-api-key"] = settings.anthropic_api_key
    if settings.anthropic_auth_token:
        headers["authorization"] = f"Bearer {settings.anthropic_auth_token}"
    try:
        # As the proxy does it: no environment, and nobody is followed with the key.
        async with httpx.AsyncClient(trust_env=False, timeout=5, follow_redirects=False) as client:
            before = time.time()
            answer = await client.get(url, headers=headers)
    except httpx.HTTPError as error:
        what = str(error) or type(error).__name__
        raise CheckFailed(f"{url} does not answer ({what})", "check the network and ANTHROPIC_BASE_URL") from None
    with suppress(KeyError, ValueError, TypeError):
        there = parsedate_to_datetime(answer.headers["date"]).timestamp()
        context.skews["the Anthropic API"] = there + DATE_ERROR / 2 - (before + time.time()) / 2
    return _judge(url, answer.status_code)


def _judge(url: str, status: int) -> Finding:
    if status in (401, 403):
        raise CheckFailed(f"{url} refuses them ({status})", "correct ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN")
    if status == 404:
        return warn(f"{url} does not exist (404), so they could not be tried", "check the path of ANTHROPIC_BASE_URL")
    if status != 200:
        raise CheckFailed(f"{url} answered {status}", "try again later, or check ANTHROPIC_BASE_URL")
    return Finding(f"accepted by {url}")


async def check_clock(context: Context) -> Finding:
    """This machine's clock agrees with those of the others."""
    if not context.skews:
        return warn("there was nobody to compare it with", "see that the time is set by NTP")
    words = ", ".join(f"{name} {seconds:+.1f} s" for name, seconds in context.skews.items())
    if any(abs(seconds) > MOST_SKEW + DATE_ERROR for seconds in context.skews.values()):
        raise CheckFailed(f"it is off: {words}", "set the time by NTP, on this machine or on that one")
    return Finding(f"agrees ({words})")


CHECKS = (
    Check("settings", check_settings),
    Check("web UI", check_web_ui),
    Check("data directory", check_data_dir),
    Check("database", check_database, 60.0),  # an embedded one may have to recover first
    Check("backend", check_backend, 60.0),  # makes a jail and runs opencode in it
    Check("rights", check_rights, 60.0),  # some twenty questions
    Check("networks", check_networks, 30.0),
    Check("opencode program", check_opencode, 30.0),  # 185 MB from a cold disk
    Check("wildcard host", check_wildcard),
    Check("listener", check_listener, 30.0),
    Check("sign-in", check_sign_in, 20.0),  # up to three requests
    Check("LLM credentials", check_llm),
    Check("clock", check_clock),
)
