"""What all tests share: the marker ``needs``, and real PostgreSQL databases."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psycopg
import pytest
import structlog

from daemon.db.cluster import Cluster, EmbeddedPostgresError, RunDirectory, choose_identity, programs, spawn
from daemon.db.database import Database
from daemon.db.migrate import migrate
from tests.support import leaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

ROOT = Path(__file__).parents[1]

# Nobody asks how long one example took, for a busy machine stops any of them; Hypothesis does the same where CI is set.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")

# As it is, structlog has rich draw an error with everything that is around it, which takes a second each time.
_PLAIN = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


def find_opencode() -> Path | None:
    """The real opencode: the platform binary that ``make setup`` puts into the clone, else one on ``PATH``."""
    carried = sorted((ROOT / ".cache" / "opencode" / "node_modules").glob("opencode-linux-*/bin/opencode"))
    on_path = shutil.which("opencode")
    return carried[0] if carried else Path(on_path) if on_path else None


def find_program(name: str) -> Path | None:
    """A system program, looked for where administrators' programs are too."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def find_nss_wrapper() -> Path | None:
    """A library that gives a program a file of host names of its own."""
    return next(Path("/usr/lib").glob("*/libnss_wrapper.so"), None)


def _bubblewrap_works() -> bool:
    bwrap = find_program("bwrap")
    if bwrap is None:
        return False
    trial = [str(bwrap), "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true"]
    return subprocess.run(trial, capture_output=True, timeout=30, check=False).returncode == 0


def _docker_works() -> bool:
    docker = find_program("docker")
    if docker is None:
        return False
    asked = [str(docker), "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


def _images_built() -> bool:
    names = ["cli-server:latest", "cli-server-sandbox:latest"]
    asked = ["docker", "image", "inspect", *names]
    return _docker_works() and subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


def find_compose() -> list[str] | None:
    """The command for compositions: version 2, a part of ``docker``, or the older program."""
    if find_program("docker") is not None:
        asked = ["docker", "compose", "version"]
        if subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0:
            return ["docker", "compose"]
    older = find_program("docker-compose")
    return None if older is None else [str(older)]


def _is_root() -> bool:
    """Whether we are root, or may become it without being asked."""
    asked = ["sudo", "-n", "true"]
    return os.geteuid() == 0 or (
        find_program("sudo") is not None and subprocess.run(asked, capture_output=True, check=False).returncode == 0
    )


def _postgres_installed() -> bool:
    try:
        return programs().is_dir()
    except EmbeddedPostgresError:
        return False


# Part: (whether it is here, how to get it).
PARTS: dict[str, tuple[Callable[[], bool], str]] = {
    "opencode": (lambda: find_opencode() is not None, "make setup"),
    "chromium": (
        lambda: find_program("chromium") is not None and find_spec("playwright") is not None,
        "apt-get install chromium, and make setup for playwright",
    ),
    "axe": (lambda: (ROOT / "webui" / "node_modules" / "axe-core" / "axe.min.js").is_file(), "make setup"),
    "webui": (lambda: (ROOT / "daemon" / "webroot" / "index.html").is_file(), "make webui"),
    "bubblewrap": (
        _bubblewrap_works,
        "apt-get install bubblewrap, on a machine that allows user namespaces",
    ),
    "postgres": (_postgres_installed, "make setup"),
    "nginx": (lambda: find_program("nginx") is not None, "apt-get install nginx-light"),
    "caddy": (lambda: find_program("caddy") is not None, "apt-get install caddy"),
    "systemd": (lambda: find_program("systemd-analyze") is not None, "apt-get install systemd"),
    "oidc-provider": (lambda: (ROOT / ".cache" / "oidc-provider" / ".installed").is_file(), "make setup"),
    "autobahn": (lambda: (ROOT / ".cache" / "autobahn" / "suite").is_dir(), "make setup"),
    "helm": (lambda: (ROOT / ".cache" / "helm" / ".installed").is_file(), "make setup"),
    "docker": (_docker_works, "apt-get install docker.io, start it, and let this user use its socket"),
    "images": (_images_built, "make images"),
    "docker-compose": (lambda: find_compose() is not None, "apt-get install docker-compose"),
    "root": (lambda: _is_root() and find_program("ip") is not None, "apt-get install iproute2, and run as root"),
    "dockerd": (
        lambda: all(find_program(name) is not None for name in ("dockerd", "containerd", "mkfs.ext4")),
        "apt-get install docker.io e2fsprogs",
    ),
    "nss-wrapper": (lambda: find_nss_wrapper() is not None, "apt-get install libnss-wrapper"),
    "wrk": (lambda: find_program("wrk") is not None, "apt-get install wrk"),
    "slowhttptest": (lambda: find_program("slowhttptest") is not None, "apt-get install slowhttptest"),
}


@cache
def missing(part: str) -> str | None:
    """Why a test that needs ``part`` cannot run here; ``None`` if it can."""
    if part not in PARTS:
        raise pytest.UsageError(f"needs({part!r}): known parts are {', '.join(PARTS)}")
    here, remedy = PARTS[part]
    return None if here() else f"{part} is missing; to install it: {remedy}"


def require(*parts: str) -> None:
    """Skip the test if a part is missing; fail where ``CI`` is set, because there a skipped test protects nothing."""
    for part in parts:
        if reason := missing(part):
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Handle ``@pytest.mark.needs("part", …)``."""
    for mark in item.iter_markers("needs"):
        require(*mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Look for secrets in the logs of all daemons and agents that have ended with this test."""
    yield
    leaks.check()


# Tests of these take longest.
_SLOW = {"opencode", "chromium", "docker", "images"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, slow files come first: none is left for one process at the end."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items for mark in item.iter_markers("needs") if _SLOW & {*mark.args}}
        items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Handle ``@pytest.mark.alone``; the wait is outside every time limit.

    Whoever is alone keeps gate and floor while it runs; others pass the gate and share the floor. So one that waits to
    be alone lets nobody begin. Both are folders, which are there anyway; the kernel opens what a killed process kept.
    """
    if not hasattr(item.config, "workerinput"):
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with _folder(item.config.rootpath) as gate, _folder(item.config.rootpath / "tests") as floor:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture(scope="session")
def opencode_program() -> Path:
    """The path of the real opencode."""
    require("opencode")
    found = find_opencode()
    assert found is not None
    return found


_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 1 << 30  # bytes; a container that allows 64 MB by default is better off with its disk


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for large files that a test soon throws away: in memory where there is room, ten times a slow disk.

    Everybody may pass through it, unlike ``tmp_path``, so that other users can be let into what is in it.
    """
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED
    place = _MEMORY if in_memory else Path(tempfile.gettempdir())
    for former in place.glob("cli-server-tests-*"):  # of sessions that were killed
        if not Path("/proc", former.name.rpartition("-")[2]).exists():
            shutil.rmtree(former, ignore_errors=True)
    path = place / f"cli-server-tests-{os.getpid()}"
    path.mkdir(mode=0o711)
    yield path
    shutil.rmtree(path)


class PostgresServer:
    """One PostgreSQL server for all tests, with a migrated database to copy."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._numbers = itertools.count()
        self.admin = psycopg.connect(self.conninfo("postgres"), autocommit=True)
        self.admin.execute("CREATE DATABASE migrated")
        migrate(self.conninfo("migrated"))

    def conninfo(self, name: str) -> str:
        """The connection string of the database ``name``."""
        return self._run.conninfo(user="postgres", dbname=name)

    def create(self, *, template: str) -> str:
        """A new database; returns its name."""
        name = f"test_{next(self._numbers)}"
        # Without fsync, copying the files is quicker than writing their content into the log.
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self.admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[PostgresServer]:
    """The session's PostgreSQL server. The kernel ends it should pytest be killed."""
    require("postgres")
    data_dir = scratch / "server"
    data_dir.mkdir()
    cluster = Cluster(data_dir, choose_identity(data_dir))
    with cluster.open_log() as log:
        fresh, command = cluster.begin_initdb()
        assert spawn(command, log).wait(60) == 0, cluster.last_words()
        cluster.end_initdb(fresh)
        run = RunDirectory.make(cluster.identity)
        # Nothing here outlives the session: no need to wait for the disk.
        process = spawn(cluster.server_command(run, fsync="off", full_page_writes="off", synchronous_commit="off"), log)
    try:
        _wait_ready(run.conninfo(user="postgres", dbname="postgres"), process, cluster)
        server = PostgresServer(run)
        yield server
        server.admin.close()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        run.remove()


def _wait_ready(conninfo: str, process: subprocess.Popen[bytes], cluster: Cluster) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            assert process.poll() is None, cluster.last_words()
            assert time.monotonic() < deadline, cluster.last_words()
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh database without a schema, for this test alone."""
    name = postgres.create(template="template0")
    yield postgres.conninfo(name)
    postgres.drop(name)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh migrated database for this test alone."""
    name = postgres.create(template="migrated")
    yield postgres.conninfo(name)
    postgres.drop(name)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open :class:`Database` on a fresh migrated database."""
    async with Database.open(database_url) as database:
        yield database
